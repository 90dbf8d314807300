"""What a client may do: the limits of `ocicat serve`, who may ask, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from catalog.serve.blobs import Opened
from catalog.serve.conditions import Part
from catalog.serve.transfers import Transfers
from catalog.web.asgi import Message
from tests.cli.program import called
from tests.forking import CLEAN, OCICAT
from tests.programs import needs
from tests.serve.served import Layouts, Registry, serving
from tests.serve.test_faults import LARGE, begin, large_blob, rest
from tests.watch.harness import wait_for
from tests.web import SECONDS

_HEAD = b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost:x", "[::1", "a b"])
def test_another_host_is_refused(site: Registry, host: str) -> None:
    assert site.get("/v2/", {"Host": host}).status == 421


def test_hosts_that_are_served(layouts: Layouts, site: Registry) -> None:
    for host in ("localhost", "LOCALHOST:5000", "127.0.0.1", "[::1]:80", "10.0.0.7:1"):
        assert site.get("/v2/", {"Host": host}).status == 200, host
    assert site.raw(b"GET /v2/ HTTP/1.1\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 421")
    assert site.raw(b"GET /v2/ HTTP/1.0\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 200")
    assert site.raw(b"GET http://localhost/v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").startswith(
        b"HTTP/1.1 200"
    )
    assert site.raw(_HEAD + b"Host: localhost\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 421")  # two of them
    with serving(layouts.db, "--host", "registry.lan") as named:
        assert named.get("/v2/", {"Host": "registry.lan:5000"}).status == 200
        assert named.get("/v2/", {"Host": "other.lan"}).status == 421
    assert called("serve", "--host", "http://x/", db=layouts.db).status == 2


def test_a_page_of_another_site_is_refused(site: Registry) -> None:
    assert site.get("/v2/", {"Sec-Fetch-Site": "cross-site"}).status == 403
    assert site.get("/v2/", {"Origin": "http://evil.example"}).status == 403
    assert site.get("/v2/", {"Sec-Fetch-Site": "none"}).status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),  # the hello of TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0" * 1000,
        b"GET /v2/\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://localhost HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        _HEAD + b"X: " + b"x" * (200 << 10) + b"\r\n\r\n",
        _HEAD + b"X: 1\r\n" * 5000 + b"\r\n",
        _HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        _HEAD + b"Content-Length: -1\r\n\r\n",
        _HEAD.replace(b"/v2/", b"/v2/?n=" + b"9" * 9000) + b"Connection: close\r\n\r\n",
        _HEAD.replace(b"/v2/", b"/v2/_catalog?" + b"a=1&" * 500) + b"Connection: close\r\n\r\n",
        _HEAD.replace(b"/v2/", b"/v2/" + b"a/" * 3000 + b"tags/list") + b"Connection: close\r\n\r\n",
    ],
)
def test_what_is_not_a_request_is_refused_at_once(site: Registry, data: bytes) -> None:
    try:
        got = site.raw(data)
    except ConnectionResetError:
        got = b""
    assert got == b"" or got.startswith(b"HTTP/1.1 4"), got[:200]
    assert site.get("/v2/").status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v2/../../etc/passwd", "/v2/%2e%2e/%2e%2e/etc/passwd/tags/list", "/v2/a%2fb/blobs/..%2f..%2fetc", "//etc/passwd",
        "/v2/x/blobs/sha256:..%2f..%2f..%2fetc%2fpasswd", "/v2/x/blobs/sha256:%00", "/v2/x/manifests/%0d%0aX:%201",
        "/v2/x/tags/list?last=%00%ff", "/v2/_catalog?n=1&ns=%0d%0aX:1", "/v2/x/tags/list?n=%EF%BC%91",
        "/v2/stores.localhost/%2Fetc/tags/list", "/v2/stores.localhost/./one/manifests/1", "/v2/" + "a" * 2000 + "/tags/list",
        "/v2//manifests/1", "/v2/manifests/1", "/v2/a//b/manifests/1", "/api/resolve?ref=oci:/etc:x", "/api/resolve?ref=%00",
        "/api/query?limit=1e9", "/api/resolve?ref=oci-layout:///etc/passwd",
    ],
)  # fmt: skip
def test_no_path_leads_out_or_is_an_internal_error(site: Registry, path: str) -> None:
    got = site.get(path)
    assert 400 <= got.status < 500, got
    assert b"root:" not in got.body
    assert got.headers.get("X") is None


def test_many_requests_at_once_on_one_connection_are_cut_off_or_answered(site: Registry) -> None:
    answered = site.raw((_HEAD + b"\r\n") * 4 + _HEAD + b"Connection: close\r\n\r\n")
    assert answered.count(b"HTTP/1.1 200") == 5
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        site.raw((_HEAD + b"\r\n") * 20_000)
    assert site.get("/v2/").status == 200


def test_clients_that_send_nothing_or_too_slowly_are_closed(site: Registry) -> None:
    with site.connect() as silent, site.connect() as slow:
        slow.sendall(b"GET /v2/ HT")
        for each in (silent, slow):
            each.settimeout(SECONDS)
            with contextlib.suppress(ConnectionResetError):
                assert each.recv(1000) == b""


def _whole(connection: socket.socket) -> bytes:
    """Receive a short response, which may come in pieces."""
    found = b""
    while not found.endswith(b"{}"):
        piece = connection.recv(1000)
        if not piece:
            break
        found += piece
    return found


def test_more_connections_than_fit_are_closed_at_once(layouts: Layouts) -> None:
    """How many fit depends on the limit of open files: a third of 136, and the others for files of its own."""
    with serving(layouts.db, files=200) as site, contextlib.ExitStack() as held:
        for _ in range(45):
            connection = held.enter_context(site.connect())
            connection.sendall(_HEAD + b"\r\n")
            assert _whole(connection).startswith(b"HTTP/1.1 200")
        for _ in range(5):
            with contextlib.suppress(ConnectionError):
                assert site.raw(_HEAD + b"\r\n") == b""
        connection.sendall(_HEAD + b"\r\n")
        assert _whole(connection).startswith(b"HTTP/1.1 200")
        held.close()

        def is_let_in() -> bool:
            with contextlib.suppress(ConnectionError, http.client.HTTPException):
                return site.get("/v2/").status == 200
            return False

        wait_for(is_let_in)


def test_a_client_that_takes_nothing_is_cut_off(tmp_path: Path) -> None:
    """The time is a parameter, because a minute is long for a test; the client is a `send` that waits as uvicorn's does."""
    (tmp_path / "blob").write_bytes(b"x" * 10)
    descriptor = os.open(tmp_path / "blob", os.O_RDONLY)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def transfer() -> Transfers:
        with ThreadPoolExecutor(1) as files:
            transfers = Transfers(files, piece_seconds=0.01)
            await transfers.give({}, send, Opened(descriptor, 10), Part(0, 10), 200, ())
        return transfers

    transfers = asyncio.run(transfer())
    assert (transfers.count, transfers.cut, transfers.sent) == (0, 1, 0)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_socket_and_tls(layouts: Layouts, tmp_path: Path) -> None:
    path = f"{tmp_path}/sock"
    with serving(layouts.db, "--socket", path) as _:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: registry.example.com\r\nConnection: close\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        done = called("serve", "--socket", path, db=layouts.db)
        assert (done.status, done.out) == (4, "")
    with serving(layouts.db, "--socket", path) as _:  # what the other one left is replaced
        pass
    assert called("serve", "--listen", "127.0.0.1:1", "--socket", path, db=layouts.db).status == 2
    assert called("serve", "--tls-cert", path, db=layouts.db).status == 2
    assert (
        called(
            "serve", "--listen", "127.0.0.1:0", "--tls-cert", layouts.config, "--tls-key", layouts.config, db=layouts.db
        ).status
        == 2
    )


@needs("openssl")
def test_tls(layouts: Layouts, tmp_path: Path) -> None:
    cert, key = f"{tmp_path}/cert.pem", f"{tmp_path}/key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "9", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True, timeout=SECONDS,
    )  # fmt: skip
    with serving(layouts.db, "--tls-cert", cert, "--tls-key", key) as site:
        context = ssl.create_default_context(cafile=cert)
        assert site.url.startswith("https://")
        with context.wrap_socket(site.connect(), server_hostname="127.0.0.1") as connection:
            connection.sendall(
                b"GET /v2/acme/app/manifests/1.0 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            )
            assert connection.recv(100).startswith(b"HTTP/1.1 200")


def test_systemd_passes_the_socket(layouts: Layouts) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        os.set_inheritable(listening.fileno(), True)
        # As systemd does: the socket is descriptor 3, and LISTEN_PID is the process that gets it.
        script = f"exec 3<&{listening.fileno()}; LISTEN_FDS=1 LISTEN_PID=$$ exec {OCICAT} serve"
        process = subprocess.Popen(
            ["bash", "-c", script], pass_fds=[listening.fileno()], env={**CLEAN, "OCICAT_DB": layouts.db},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            with socket.create_connection(listening.getsockname(), timeout=SECONDS) as connection:
                connection.sendall(_HEAD + b"Connection: close\r\n\r\n")
                assert connection.recv(100).startswith(b"HTTP/1.1 200")
        finally:
            process.terminate()
            out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out, err) == (0, b"", b"")


def read_slowly(connection: socket.socket, is_over: threading.Event) -> int:
    """Read 200 KB per second until `is_over`, which would take minutes for a large blob, then the rest. Return how many bytes came."""
    count = 0
    with contextlib.suppress(ConnectionResetError):
        while not is_over.wait(0.01):
            count += len(connection.recv(2_000))
    return count + rest(connection)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_the_middle_of_a_transfer(own: Layouts, number: int) -> None:
    digest = large_blob(own)
    is_over = threading.Event()
    with serving(own.db) as site, site.connect() as connection, site.connect(), ThreadPoolExecutor(1) as clients:
        assert begin(connection, digest).startswith(b"HTTP/1.1 200")
        # The client goes on reading, so that the transfer is not ended because it stalls.
        client = clients.submit(read_slowly, connection, is_over)
        try:
            assert site.end(number) == (0, b"", b"")
        finally:
            is_over.set()
        assert client.result(SECONDS) < LARGE
