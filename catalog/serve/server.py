"""The server process of `ocicat serve`: its sockets, its threads, and uvicorn with uvloop and httptools."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import ssl
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import uvicorn

from catalog.engine.interface import Reader
from catalog.errors import CatalogUnavailable, UsageError
from catalog.names.escape import shown
from catalog.serve.application import Site
from catalog.serve.connection import CONNECTIONS, Connection
from catalog.serve.counts import Counts
from catalog.serve.distribution import Distribution
from catalog.serve.finding import Serving
from catalog.serve.naming import Asked
from catalog.serve.programs import Programs
from catalog.serve.recent import RecentManifests
from catalog.serve.threads import CatalogThreads
from catalog.serve.transfers import Transfers
from catalog.watch.notify import Notifier
from catalog.web.running import run

_END_SECONDS = 5  # how long transfers may go on after a signal
_KEEP_ALIVE_SECONDS = 30
_FILE_THREADS = 16
_BACKLOG = 1024
_FILES = 8192
"""How many files this process should be able to open."""
_OTHER_FILES = 64
_FIRST_PASSED = 3
"""The first socket that systemd passes (sd_listen_fds(3))."""


class Given(NamedTuple):
    """The options, and the functions that the command line passes to the server.

    `names` are the Host headers that are allowed besides addresses. `status` returns the object of `ocicat status`, `document` is
    the OpenAPI document, and `defect` reports an exception that is a bug. `freshen` brings the catalog up to date for a tag.
    """

    path: str
    rules: Serving
    seconds: float
    names: frozenset[str]
    status: Callable[[Reader], dict[str, object]]
    document: dict[str, Any]
    defect: Callable[[Exception], object]
    freshen: Callable[[Reader, Asked, str], None] | None = None
    certificate: tuple[str, str] | None = None


def passed_sockets(environ: Mapping[str, str] = os.environ) -> list[socket.socket]:
    """Return the listening sockets that systemd has opened for this process; none without socket activation."""
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(os.getpid()) or not (count.isascii() and count.isdecimal()):
        return []
    return [socket.socket(fileno=_FIRST_PASSED + number) for number in range(int(count))]


def listen_at(path: str) -> socket.socket:
    """Return a socket that listens at a path. It replaces a socket that a server left there when it ended.

    Raises CatalogUnavailable if this process cannot listen there.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.lstat(path).st_mode) and not _answers(path):
                os.unlink(path)
        listening.bind(path)
        os.chmod(path, 0o660)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise CatalogUnavailable(f"cannot listen at {shown(path)} ({reason}): give another --socket") from error
    return listening


def _answers(path: str) -> bool:
    """Return whether a process listens at the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trying:
        trying.settimeout(1)
        try:
            trying.connect(path)
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True


def serve(given: Given, listening: Sequence[socket.socket], lines: Sequence[str]) -> None:
    """Print `lines`, the addresses of the server, and answer until SIGINT or SIGTERM. Raises UsageError for a bad certificate."""
    Connection.most = _allowed_connections()
    questions = CatalogThreads(given.path, given.seconds)
    files = ThreadPoolExecutor(_FILE_THREADS, thread_name_prefix="file")
    notifier = Notifier()

    def ready() -> None:
        for line in lines:
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        notifier.ready()

    try:
        server = uvicorn.Server(_config(given, questions, files, is_local=listening[0].family == socket.AF_UNIX))
        run(server, listening, ready)
    finally:
        notifier.stopping()
        for each in listening:
            each.close()
        questions.close()
        files.shutdown(wait=False, cancel_futures=True)


def _config(given: Given, questions: CatalogThreads, files: ThreadPoolExecutor, *, is_local: bool) -> uvicorn.Config:
    transfers = Transfers(files)
    counts = Counts()
    counts.gauges += [
        ("ocicat_serve_transfers", "Blobs that are being sent.", "gauge", lambda: transfers.count),
        (
            "ocicat_serve_questions",
            "Questions to the catalog that are waiting or being answered.",
            "gauge",
            lambda: questions.in_progress,
        ),
        ("ocicat_serve_sent_bytes_total", "Bytes of blobs that were sent.", "counter", lambda: transfers.sent),
        ("ocicat_serve_cut_total", "Transfers that were cut off.", "counter", lambda: transfers.cut),
    ]
    site = Site(
        Distribution(questions, files, transfers, given.rules, RecentManifests(given.path), given.freshen),
        Programs(questions, given.rules, counts, given.status, given.document),
        counts,
        None if is_local else given.names,
        given.defect,
    )
    certificate, key = given.certificate or (None, None)
    config = uvicorn.Config(
        site,
        http=Connection,
        loop="uvloop",
        ws="none",
        lifespan="off",
        log_level="critical",  # application.py reports errors
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_END_SECONDS,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"cannot use the certificate {shown(certificate or '')} with the key {shown(key or '')} ({error}): give"
            " files in PEM form that belong together"
        ) from error
    return config


def _allowed_connections() -> int:
    """Raise the limit on open files, to _FILES if that is allowed; return how many connections fit in it, each with a blob."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return CONNECTIONS if soft == resource.RLIM_INFINITY else max(8, min(CONNECTIONS, (soft - _OTHER_FILES) // 3))
