"""Metrics for Prometheus over HTTP (`ocicat watch --metrics HOST:PORT`), by prometheus_client, from the extra `metrics`.

Nothing listens and nothing of it is imported unless it was asked for. One thread answers one scrape after another: what the
daemon counts it has at hand, and what the catalog says it asks the catalog, through a connection that only reads.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

from catalog._version import __version__
from catalog.errors import CatalogUnavailable, UsageError
from catalog.lookup.reader import open_reader
from catalog.names.escape import shown
from catalog.watch.figures import Figures
from catalog.watch.observer import kernel_limit

if TYPE_CHECKING:
    from prometheus_client.core import Metric

LOOPBACK = "127.0.0.1"
_STATES = ("ok", "empty", "invalid", "unreadable", "missing")
_STORES = (
    "SELECT state, count(*), sum(CASE WHEN content_pending THEN 1 ELSE 0 END), sum(entries) FROM store GROUP BY state"
)
_IDLE_SECONDS = 2.0  # so long a client may say nothing before the next one has its turn
_BUSY_SECONDS = 1.0  # to the next try where no descriptor is left for a client


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, `[ADDRESS]:PORT` or `PORT`, which is on loopback; raises UsageError."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host or (colon and not host and text.count(":") > 1):
        port = ""
    if not (port.isascii() and port.isdecimal() and int(port) < 1 << 16):
        raise UsageError(f"no address to listen at: {shown(text)}: write HOST:PORT, as in {LOOPBACK}:9418")
    return host or LOOPBACK, int(port)


def serve(address: str, path: str, figures: Figures) -> str:
    """Listen at `address` for scrapes of the daemon that follows the catalog at `path`; returns the URL.

    Raises UsageError where the address is none or prometheus_client is not installed, CatalogUnavailable where it is taken.
    """
    host, port = parse_address(address)
    try:
        from prometheus_client import CollectorRegistry, ProcessCollector
    except ImportError as error:
        raise UsageError("--metrics needs prometheus_client: install ocicat[metrics]") from error
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    registry.register(_Collector(path, figures))
    try:
        server = _Server(host, port, registry)
    except OSError as error:
        reason = error.strerror or str(error)
        raise CatalogUnavailable(f"cannot listen at {shown(address)} ({reason}): give another --metrics") from error
    threading.Thread(target=server.run, name="metrics", daemon=True).start()
    shown_host = f"[{host}]" if ":" in host else host
    return f"http://{shown_host}:{server.server_port}/metrics"


class _Server(HTTPServer):
    """One client at a time, each for a moment: a scrape takes milliseconds, and nobody can hold up more than the next."""

    def __init__(self, host: str, port: int, registry: Any) -> None:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        self.address_family = found[0]
        self.registry = registry
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own asks the resolver for this host's name, which may take seconds.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def run(self) -> None:
        """Answer until the process ends."""
        while True:
            self.handle_request()

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError:
            time.sleep(_BUSY_SECONDS)  # it still waits to be accepted: asking again at once would do nothing else
            raise

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nobody's trouble."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _IDLE_SECONDS
    server: _Server
    server_version = f"ocicat/{__version__}"
    sys_version = ""

    def do_GET(self) -> None:
        from prometheus_client.exposition import choose_encoder, generate_latest

        if self.path.partition("?")[0] not in ("/metrics", "/"):
            self.send_error(404, "not found: /metrics")
            return
        encode: Callable[[Any], bytes] = generate_latest
        kind = "text/plain; version=0.0.4; charset=utf-8"
        with contextlib.suppress(ValueError, IndexError, TypeError):  # a header that says nothing
            encode, kind = choose_encoder(self.headers.get("Accept", ""))
        body = encode(self.server.registry)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that http.server has
        """Scrapes are no news."""


class _Collector:
    """What is shown. docs/operations.md lists each metric."""

    def __init__(self, path: str, figures: Figures) -> None:
        self._path = path
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        figures = self._figures
        build = GaugeMetricFamily("ocicat_build_info", "Always 1; its label says which ocicat.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        for name, help_, count in (
            ("changes", "Changes of stores taken into the catalog.", figures.changes),
            ("rescans", "Times that all stores were looked at.", figures.sweeps),
            ("overflows", "Times that events were lost, the kernel's queue being full.", figures.overflows),
        ):
            yield CounterMetricFamily(f"ocicat_{name}", help_, value=count)
        for name, help_, values in (
            ("ingest", "Seconds to read and write what one transaction took.", figures.ingest),
            ("lag", "Seconds from the change of an index.json to the commit of what it says.", figures.lag),
        ):
            classes, total = values.read()
            yield HistogramMetricFamily(f"ocicat_{name}_seconds", help_, buckets=classes, sum_value=total)
        for name, help_, value in (
            ("watches", "Directories that are watched.", figures.watches),
            ("watches_allowed", "Watches that one user may have.", kernel_limit("max_user_watches")),
            ("unwatched", "Directories that could not be watched.", figures.unwatched),
            ("polled", "Directories on file systems that tell of no changes.", figures.silent),
            ("waiting", "Stores that do not stand still.", figures.waiting),
            ("last_rescan_timestamp_seconds", "When all stores were last looked at.", _seconds(figures.last_sweep)),
        ):
            if value is not None:
                yield GaugeMetricFamily(f"ocicat_{name}", help_, value=value)
        yield from self._of_catalog()

    def _of_catalog(self) -> Iterator[Metric]:
        """What the catalog says; nothing of it while it cannot be asked."""
        from prometheus_client.core import GaugeMetricFamily

        stores = GaugeMetricFamily("ocicat_stores", "Stores in each state.", labels=["state"])
        counts = dict.fromkeys(_STATES, 0)
        pending = entries = 0
        try:
            reader = open_reader(self._path)
            try:
                for state, count, without_content, of_state in reader.rows(_STORES, {}):
                    counts[state] = count
                    pending += without_content
                    entries += of_state
                size = reader.size_bytes()
            finally:
                reader.close()
        except CatalogUnavailable:
            return
        for state, count in counts.items():
            stores.add_metric([state], count)
        yield stores
        yield GaugeMetricFamily("ocicat_entries", "Entries of all stores.", value=entries)
        yield GaugeMetricFamily(
            "ocicat_content_pending_stores", "Stores whose manifests are not all read yet.", value=pending
        )
        yield GaugeMetricFamily("ocicat_database_bytes", "Size of the catalog on disk.", value=size)


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
