"""`--metrics`: scraped over HTTP from a real daemon, and read by prometheus_client's parsers."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

from catalog.errors import UsageError
from catalog.names.http_host import parse_address
from catalog.watch.figures import Figures, Histogram
from catalog.watch.metrics import _Collector
from tests.cli.program import one_error
from tests.watch.harness import Followed, followed, wait_for
from tests.watch.test_daemon import tag
from tests.writers import make_layout

OPERATIONS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")


def url_of(followed: Followed) -> str:
    (line,) = [line for line in followed.log() if "metrics at " in line]
    return line.rpartition(" ")[2]


def get(url: str, **headers: str) -> tuple[str, str]:
    """The body and its type."""
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
        return answer.read().decode(), answer.headers["Content-Type"]


def scrape(followed: Followed) -> dict[str, float]:
    """Every sample by its name, and its label's value behind it."""
    samples = {}
    for family in parser.text_string_to_metric_families(get(url_of(followed))[0]):
        assert family.documentation
        for sample in family.samples:
            samples[" ".join([sample.name, *sample.labels.values()])] = sample.value
    return samples


def test_what_is_scraped_is_so(quick: Followed) -> None:
    stores = [make_layout(quick.path(f"root/{number}")) for number in range(4)]
    quick.add_root("root")
    tag(stores[0], "1", "before it runs")
    quick.start("--metrics", "127.0.0.1:0")
    wait_for(lambda: scrape(quick)["ocicat_stores ok"] == 1)
    first = scrape(quick)
    assert first["ocicat_stores empty"] == 3
    assert first["ocicat_entries"] == 1
    assert first["ocicat_rescans_total"] >= 1
    assert first["ocicat_lag_seconds_count"] == 0  # nobody was there to be late
    assert first["ocicat_ingest_seconds_count"] >= 1
    wait_for(lambda: scrape(quick)["ocicat_watches"] == 5)

    for number, store in enumerate(stores):
        tag(store, "2", f"x{number}")
    Path(f"{stores[3]}/index.json").write_text("torn {")
    quick.settled()
    wait_for(lambda: scrape(quick)["ocicat_stores invalid"] == 1)
    wait_for(lambda: scrape(quick)["ocicat_content_pending_stores"] == 0)
    now = scrape(quick)
    assert now["ocicat_stores ok"] == 3
    assert now["ocicat_stores missing"] == now["ocicat_stores unreadable"] == 0
    assert now["ocicat_changes_total"] - first["ocicat_changes_total"] in (3, 4)
    assert now["ocicat_lag_seconds_count"] in (3, 4)
    assert 0 < now["ocicat_lag_seconds_sum"] < 120
    assert now["ocicat_lag_seconds_bucket +Inf"] == now["ocicat_lag_seconds_count"]
    assert now["ocicat_lag_seconds_bucket 0.025"] == 0  # less than the settling time
    assert now["ocicat_overflows_total"] == 0
    assert now["ocicat_unwatched"] == now["ocicat_polled"] == now["ocicat_waiting"] == 0
    assert now["ocicat_watches_allowed"] == int(Path("/proc/sys/fs/inotify/max_user_watches").read_text())
    assert now["ocicat_database_bytes"] >= os.path.getsize(quick.db) > 0
    assert now["ocicat_last_rescan_timestamp_seconds"] >= first["ocicat_last_rescan_timestamp_seconds"]
    assert now["process_resident_memory_bytes"] > 1 << 20
    assert quick.stop() == 0


def test_where_the_catalog_cannot_be_asked_the_rest_is_served(tmp_path: Path) -> None:
    names = {family.name for family in _Collector(f"{tmp_path}/nowhere.db", Figures()).collect()}
    assert "ocicat_watches" in names
    assert not names & {"ocicat_stores", "ocicat_database_bytes"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Followed]:
    """A daemon that the tests share."""
    with followed(tmp_path_factory.mktemp("served"), settle_ms=50) as made:
        make_layout(made.path("root/a"))
        made.add_root("root")
        made.start("--metrics", "127.0.0.1:0")
        yield made


def test_both_formats_of_prometheus(served: Followed) -> None:
    text, kind = get(url_of(served), Accept="application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    families = openmetrics.text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    assert "ocicat_stores" in {family.name for family in families}
    for accept in ("*/*", "text/html", "", "application/openmetrics-text; version=nonsense"):
        _, kind = get(url_of(served), Accept=accept)
        assert kind.startswith(("text/plain", "application/openmetrics-text"))
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(url_of(served).replace("/metrics", "/etc/passwd"))


def test_a_client_that_says_nothing_holds_nobody_up_for_long(served: Followed) -> None:
    store = served.path("root/a")
    host, _, port = url_of(served).removeprefix("http://").removesuffix("/metrics").partition(":")
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(socket.create_connection((host, int(port)))).send(b"GET /metr")
        tag(store, "1", "x")  # it is another thread's business
        served.settled()
    wait_for(lambda: "ocicat_watches" in scrape(served))


def test_it_listens_on_loopback_unless_told_otherwise(quick: Followed) -> None:
    quick.done("add", make_layout(quick.path("a")))
    for given, listens in {"0": "127.0.0.1", "0.0.0.0:0": "0.0.0.0"}.items():
        quick.start("--metrics", given)
        ((at, port),) = listening(quick)
        assert at == listens
        assert [line for line in quick.log() if "metrics at " in line][-1].endswith(f":{port}/metrics")
        assert quick.stop() == 0


def listening(followed: Followed) -> set[tuple[str, int]]:
    """The addresses at which the daemon's process listens."""
    assert followed.daemon is not None
    sockets = set()
    for name in os.listdir(f"/proc/{followed.daemon.pid}/fd"):
        with contextlib.suppress(OSError):
            sockets.add(os.readlink(f"/proc/{followed.daemon.pid}/fd/{name}"))
    found = set()
    for line in Path(f"/proc/{followed.daemon.pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
            address, _, port = fields[1].partition(":")
            found.add((socket.inet_ntoa(bytes.fromhex(address)[::-1]), int(port, 16)))
    return found


def test_nothing_listens_and_nothing_is_imported_unless_asked(quick: Followed) -> None:
    make_layout(quick.path("root/a"))
    quick.add_root("root")
    code = (
        "import sys, os\n"
        "from catalog.cli import start\n"
        "status = start.run(sys.argv[1:])\n"
        "print(status, any(name.split('.')[0] in ('prometheus_client', 'http') for name in sys.modules), flush=True)\n"
        "os._exit(0)\n"
    )
    daemon = subprocess.Popen(
        [sys.executable, "-c", code, "--db", quick.db, "watch"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    quick.daemon = daemon
    wait_for(quick._has_looked)
    assert not listening(quick)
    daemon.terminate()
    assert daemon.communicate(timeout=60)[0] == b"0 False\n"


def test_without_the_extra_the_error_names_it(quick: Followed, tmp_path: Path) -> None:
    (tmp_path / "prometheus_client").mkdir()
    (tmp_path / "prometheus_client" / "__init__.py").write_text("raise ModuleNotFoundError('not installed here')\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from catalog.cli import start; sys.exit(start.run(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "--db", quick.db, "watch", "--metrics", "0"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done
    assert done.stderr == "ocicat: error: --metrics needs prometheus_client: install ocicat[metrics]\n"


def test_a_port_that_is_taken(quick: Followed) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        one_error(quick("watch", "--metrics", address), 4, address, "give another --metrics")
    one_error(quick("watch", "--metrics", "nowhere.invalid:9418"), 4, "cannot listen at nowhere.invalid:9418")
    one_error(quick("watch", "--metrics", "127.0.0.1:port"), 2, "write HOST:PORT")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("9418", "127.0.0.1", 9418), (":9418", "127.0.0.1", 9418), ("0", "127.0.0.1", 0), ("[::1]:1", "::1", 1),
        ("0.0.0.0:65535", "0.0.0.0", 65535), ("host.example:80", "host.example", 80),
    ],
)  # fmt: skip
def test_addresses(text: str, host: str, port: int) -> None:
    assert parse_address(text, 9418) == (host, port)


@pytest.mark.parametrize(
    "text", ["", ":", "host", "host:", "::1:80", "::1", "1:2:3", "host:65536", "host:-1", "a:1x", "²", "9" * 5000]
)
def test_no_addresses(text: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        parse_address(text, 9418)


def test_ipv6(quick: Followed) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("there is no IPv6 here")
    quick.done("add", make_layout(quick.path("a")))
    quick.start("--metrics", "[::1]:0")
    assert "ocicat_watches" in scrape(quick)


def test_classes_of_a_histogram() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 9.0):
        histogram.add(value)
    assert histogram.read() == ([("1.0", 2), ("2.0", 4), ("+Inf", 5)], 14.0)


def documented() -> Iterator[str]:
    yield from re.findall(r"^\| `(ocicat_[a-z_]+)`", OPERATIONS, re.MULTILINE)


def test_every_metric_is_documented(served: Followed) -> None:
    text, _ = get(url_of(served))
    families = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in parser.text_string_to_metric_families(text)
        if family.name.startswith("ocicat_")
    }
    assert sorted(documented()) == sorted(families)


def place_of(followed: Followed) -> tuple[str, int]:
    host, _, port = url_of(followed).removeprefix("http://").removesuffix("/metrics").partition(":")
    return host, int(port)


def test_slow_clients_in_numbers_hold_no_scrape_up(served: Followed) -> None:
    """More of them than there are threads: of each a byte now and then, while others scrape."""
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(place_of(served))) for _ in range(40)]
        for byte in b"GET /metrics HTTP/1.1\r\nX: ":
            for client in slow:
                with contextlib.suppress(OSError):  # it was turned away
                    client.send(bytes((byte,)))
            assert "ocicat_watches" in scrape(served)
        client.settimeout(30)
        with contextlib.suppress(ConnectionError):
            assert client.recv(1) == b"", "a client is turned away in the end, though it never stops sending"


@pytest.mark.parametrize("request_", [b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: ", b"GET /", b"\r\n" * 4000])
def test_a_request_without_end_is_not_read_to_it(served: Followed, request_: bytes) -> None:
    """A refusal, or the end of the connection, long before 64 MiB were taken."""
    sent = 0
    with socket.create_connection(place_of(served)) as client, contextlib.suppress(ConnectionError):
        client.sendall(request_)
        while sent < 64 << 20:
            client.sendall(b"x" * 65_536)
            sent += 65_536
    assert sent < 64 << 20
    assert "ocicat_watches" in scrape(served)


def test_a_client_that_does_not_read_holds_nobody_up(served: Followed) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            client.connect(place_of(served))
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert "ocicat_watches" in scrape(served)


@pytest.mark.parametrize(
    ("hosts", "status"),
    [
        (("localhost",), 200),
        (("LocalHost:9418",), 200),
        (("127.0.0.1:80",), 200),
        (("[::1]",), 200),
        ((socket.gethostname(),), 200),
        (("rebound.example.com",), 421),
        (("127.0.0.1.example.com",), 421),
        (("localhost", "rebound.example.com"), 421),
        ((), 421),
    ],
)
def test_only_a_name_of_ours_is_answered(served: Followed, hosts: tuple[str, ...], status: int) -> None:
    """A page that makes its own name mean this machine keeps it in the Host header."""
    head = "".join(f"Host: {host}\r\n" for host in hosts)
    with socket.create_connection(place_of(served)) as client:
        client.sendall(f"GET /metrics HTTP/1.1\r\n{head}\r\n".encode())
        with client.makefile("rb") as answer:
            assert int(answer.readline().split()[1]) == status
            assert (b"ocicat_watches" in answer.read()) == (status == 200)
