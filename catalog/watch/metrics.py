"""Metrics for Prometheus over HTTP (`ocicat watch --metrics HOST:PORT`), with prometheus_client from the extra `metrics`.

Without the option, the daemon does not listen and does not import this module. Each client has a thread, which uses the daemon's
counters and reads the catalog through a read-only connection.

A client may be slow, send without end, or open many connections. So the bytes of a request and the time of a client are limited. If
there are too many clients, the oldest is disconnected, because an honest scrape takes milliseconds. A request of a web page
whose host name points to this machine (DNS rebinding) is recognised by its Host header.
"""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

from catalog._version import __version__
from catalog.engine.open import open_reader
from catalog.errors import CatalogUnavailable, UsageError
from catalog.lookup.stores import STATES
from catalog.names.escape import shown
from catalog.names.http_host import host_of, is_address, parse_address
from catalog.watch.figures import Figures
from catalog.watch.status import kernel_limit

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_STORES = (
    "SELECT state, count(*), sum(CASE WHEN content_pending THEN 1 ELSE 0 END), sum(entries) FROM store GROUP BY state"
)
_CLIENT_SECONDS = 10.0
_CLIENTS = 8
_REQUEST_BYTES = 16 << 10
_LOOK_SECONDS = 1.0  # between two checks for clients that take too long
_BUSY_SECONDS = 1.0  # the time until the next try if there is no file descriptor for a client


def serve(address: str, path: str, figures: Figures) -> str:
    """Listen at `address` for scrapes of the daemon that follows the catalog at `path`. Return the URL.

    Raises UsageError if the address is not valid or prometheus_client is not installed, and CatalogUnavailable if listening fails.
    """
    host, port = parse_address(address, 9418)
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
    """A server with a thread for each client, and a limited number of them."""

    timeout = _LOOK_SECONDS

    def __init__(self, host: str, port: int, registry: Any) -> None:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        self.address_family = found[0]
        self.registry = registry
        self.names = {"localhost", host.lower(), socket.gethostname().lower()}
        self._lock = threading.Lock()
        self._clients: dict[socket.socket, float] = {}  # the time when each connected, the oldest first
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own method looks up this host's name, which may take seconds.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def run(self) -> None:
        """Serve until the process ends."""
        while True:
            self.handle_request()

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError:
            time.sleep(_BUSY_SECONDS)  # The client still waits to be accepted; trying again at once would fail again.
            raise

    def handle_timeout(self) -> None:
        """Disconnect slow clients; called if no client has connected for a while."""
        self._disconnect(_CLIENTS)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._disconnect(_CLIENTS - 1)
        with self._lock:
            # Threads of disconnected clients may still be running if the catalog is slow.
            is_full = len(self._clients) >= 2 * _CLIENTS
            if not is_full:
                self._clients[request] = time.monotonic()
        if is_full:
            self.shutdown_request(request)
            return
        thread = threading.Thread(
            target=self._serve, args=(request, client_address), name="metrics client", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # No further thread can be started.
            self._leave(request)

    def _serve(self, request: socket.socket, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except OSError:
            self.handle_error(request, client_address)
        finally:
            self._leave(request)

    def _leave(self, request: socket.socket) -> None:
        with self._lock:
            self._clients.pop(request, None)
        self.shutdown_request(request)

    def _disconnect(self, most: int) -> None:
        """Disconnect clients that take too long, and the oldest of more than `most` clients."""
        now = time.monotonic()
        with self._lock:
            clients = list(self._clients.items())
        for number, (client, since) in enumerate(clients):
            if number < len(clients) - most or now - since > _CLIENT_SECONDS:
                with contextlib.suppress(OSError):  # if the client has disconnected itself
                    client.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect."""


class _Head(io.RawIOBase):
    """The first _REQUEST_BYTES that a client sends, and then the end of the stream."""

    def __init__(self, sent: io.RawIOBase) -> None:
        self._sent = sent
        self._left = _REQUEST_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        count = self._sent.readinto(memoryview(buffer)[: self._left])
        self._left -= count or 0
        return count


class _Handler(BaseHTTPRequestHandler):
    timeout = _CLIENT_SECONDS
    rbufsize = 0
    server: _Server
    server_version = f"ocicat/{__version__}"
    sys_version = ""

    def setup(self) -> None:
        super().setup()
        self.rfile = io.BufferedReader(_Head(self.rfile))  # type: ignore[arg-type]

    def do_GET(self) -> None:
        from prometheus_client.exposition import choose_encoder, generate_latest

        hosts = self.headers.get_all("Host", [])
        host = host_of(hosts[0]) if len(hosts) == 1 else ""
        if host not in self.server.names and not is_address(host):
            self.send_error(421, "Unrecognised Host header: use an IP address, localhost or the name in --metrics")
            return
        if self.path.partition("?")[0] not in ("/metrics", "/"):
            self.send_error(404, "not found: use /metrics")
            return
        encode: Callable[[Any], bytes] = generate_latest
        kind = "text/plain; version=0.0.4; charset=utf-8"
        with contextlib.suppress(ValueError, IndexError, TypeError):  # an invalid header
            encode, kind = choose_encoder(self.headers.get("Accept", ""))
        body = encode(self.server.registry)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that http.server has
        """Log nothing."""


class _Collector:
    """Collects the metrics. docs/operations.md lists each of them."""

    def __init__(self, path: str, figures: Figures) -> None:
        self._path = path
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Yield the current metrics."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        figures = self._figures
        build = GaugeMetricFamily(
            "ocicat_build_info", "Always 1; the label is the version of ocicat.", labels=["version"]
        )
        build.add_metric([__version__], 1)
        yield build
        for name, help_, count in (
            ("changes", "Changes of stores that were taken into the catalog.", figures.changes),
            ("rescans", "How many times all stores were checked.", figures.sweeps),
            ("overflows", "How many times events were lost because the kernel's queue was full.", figures.overflows),
        ):
            yield CounterMetricFamily(f"ocicat_{name}", help_, value=count)
        for name, help_, values in (
            ("ingest", "Seconds to read and write the stores of one transaction.", figures.ingest),
            ("lag", "Seconds from the change of an index.json to its commit.", figures.lag),
        ):
            buckets, total = values.read()
            yield HistogramMetricFamily(f"ocicat_{name}_seconds", help_, buckets=buckets, sum_value=total)
        for name, help_, value in (
            ("watches", "Directories that are watched.", figures.watches),
            ("watches_allowed", "How many watches one user may have.", kernel_limit("max_user_watches")),
            ("unwatched", "Directories that could not be watched.", figures.unwatched),
            ("polled", "Directories on file systems without events.", figures.silent),
            ("waiting", "Stores that have not settled yet.", figures.waiting),
            ("last_rescan_timestamp_seconds", "When all stores were last checked.", _seconds(figures.last_sweep)),
        ):
            if value is not None:
                yield GaugeMetricFamily(f"ocicat_{name}", help_, value=value)
        yield from self._of_catalog()

    def _of_catalog(self) -> Iterator[Metric]:
        """Yield the metrics that come from the catalog, or none if it cannot be read."""
        from prometheus_client.core import GaugeMetricFamily

        stores = GaugeMetricFamily("ocicat_stores", "Stores in each state.", labels=["state"])
        counts = dict.fromkeys(STATES, 0)
        pending = entries = 0
        try:
            reader = open_reader(self._path)
            try:
                for state, count, without_content, of_state in reader.select(_STORES, {}):
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
        yield GaugeMetricFamily("ocicat_content_pending_stores", "Stores with unread manifests.", value=pending)
        yield GaugeMetricFamily("ocicat_database_bytes", "Size of the catalog on disk.", value=size)


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
