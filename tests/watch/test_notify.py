"""systemd's notify protocol, over real sockets, from real daemons (sd_notify(3))."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.layout.discover import discover
from catalog.watch.notify import Notifier
from tests.watch.harness import Followed, wait_for
from tests.watch.test_config import said_of
from tests.watch.test_daemon import tag, writer_lock
from tests.writers import make_layout

Line = tuple[str, str]


class Manager:
    """Stands in for systemd: a datagram socket that keeps the messages in order."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.setblocking(False)
        self.heard: list[Line] = []
        self.watchdogs: list[float] = []

    def listen(self) -> list[Line]:
        """All lines so far."""
        while True:
            try:
                message = self.socket.recv(1 << 16).decode()
            except BlockingIOError:
                return self.heard
            for line in message.split("\n"):
                name, equals, value = line.partition("=")
                assert equals, message
                self.heard.append((name, value))
                if name == "WATCHDOG":
                    self.watchdogs.append(time.monotonic())

    def wait(self, *wanted: Line, count: int = 1) -> None:
        """Wait until each of these was said `count` times."""
        wait_for(lambda: all(self.listen().count(line) >= count for line in wanted), what=lambda: self.heard)

    def names(self) -> list[str]:
        """The names of what was said that is no sign of life, doubles in a row once."""
        names = [n for n, _ in self.listen() if n not in ("WATCHDOG", "EXTEND_TIMEOUT_USEC", "STATUS")]
        return [name for at, name in enumerate(names) if not at or names[at - 1] != name]


@contextlib.contextmanager
def manager(address: str) -> Iterator[Manager]:
    made = Manager(address)
    try:
        yield made
    finally:
        made.socket.close()


def start(followed: Followed, address: str, *, ready: bool = True, environ: dict[str, str] | None = None) -> None:
    """Start the daemon as systemd does; WATCHDOG_PID=SELF becomes its number."""
    environ = {"NOTIFY_SOCKET": address, **(environ or {})}
    before = []
    if environ.get("WATCHDOG_PID") == "SELF":  # which only a process knows that becomes the daemon
        before = ["sh", "-c", 'export WATCHDOG_PID=$$; exec "$@"', "sh"]
    followed.start(before=before, env=environ, ready=ready)


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@ocicat-test-{os.getpid()}-{time.monotonic_ns()}"


def test_ready_after_the_first_sweep_and_stopping_at_the_end(quick: Followed, address: str) -> None:
    store = make_layout(quick.path("root/a"))
    quick.add_root("root")
    digest = tag(store, "1", "x")
    with manager(address) as systemd:
        start(quick, address, ready=False)
        wait_for(lambda: ("READY", "1") in systemd.listen())
        wait_for(lambda: said_of(quick)["last_sweep"])
        wait_for(lambda: quick.ask("app:1").digest == digest)
        systemd.wait(("STATUS", "following: 1 store, 1 root, 0 waiting"))
        assert quick.stop() == 0
        assert systemd.names() == ["READY", "STOPPING"]
        status = [value for name, value in systemd.listen() if name == "STATUS"]
        assert status[0].startswith("starting: ")
        # Without WATCHDOG_USEC nobody waits for these.
        assert not systemd.watchdogs


def test_not_ready_while_the_catalog_cannot_be_opened(quick: Followed, tmp_path: Path) -> None:
    make_layout(quick.path("root/a"))
    quick.add_root("root")
    address = str(tmp_path / "notify")
    with manager(address) as systemd, writer_lock(quick):
        start(quick, address, ready=False)
        # It lives, and asks for more time to start.
        wait_for(lambda: "EXTEND_TIMEOUT_USEC" in [name for name, _ in systemd.listen()])
        wait_for(lambda: any("written by another process" in value for _, value in systemd.listen()))
        assert "READY" not in systemd.names()
        assert quick.stop() == 0
        assert "READY" not in systemd.names()


def test_sighup_is_a_reload(quick: Followed, tmp_path: Path) -> None:
    make_layout(quick.path("root/a"))
    quick.add_root("root")
    address = str(tmp_path / "notify")
    with manager(address) as systemd:
        start(quick, address)
        systemd.wait(("READY", "1"))
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        for turn in range(2, 4):
            quick.send(signal.SIGHUP)
            systemd.wait(("READY", "1"), count=turn)
        Path(quick.config).write_text("this is no TOML")
        quick.send(signal.SIGHUP)
        systemd.wait(("READY", "1"), count=4)  # It continues as before, so it is ready again.
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert systemd.names() == ["READY", *["RELOADING", "MONOTONIC_USEC", "READY"] * 3]
        times = [int(value) for name, value in systemd.listen() if name == "MONOTONIC_USEC"]
        assert times == sorted(times)
        assert before <= times[0] <= times[-1] <= after


def test_watchdog_at_half_of_its_time_from_the_loop(quick: Followed, tmp_path: Path) -> None:
    make_layout(quick.path("root/a"))
    quick.add_root("root")
    address = str(tmp_path / "notify")
    with manager(address) as systemd:
        start(quick, address, environ={"WATCHDOG_USEC": "400000", "WATCHDOG_PID": "SELF"})
        systemd.wait(("WATCHDOG", "1"), count=6)  # idle, and yet it says so
        quick.send(signal.SIGSTOP)  # it hangs
        systemd.listen()
        heard = len(systemd.watchdogs)
        time.sleep(1)
        systemd.listen()
        assert len(systemd.watchdogs) <= heard + 1
        quick.send(signal.SIGCONT)
        systemd.wait(("WATCHDOG", "1"), count=heard + 3)


def test_a_search_shows_life_at_each_directory(tmp_path: Path) -> None:
    """Of a root without layouts nothing else comes, however long the search takes."""
    for number in range(20):
        (tmp_path / f"{number % 4}" / f"{number}").mkdir(parents=True)
    calls: list[None] = []
    assert list(discover(str(tmp_path), lambda path, _error: pytest.fail(path), lambda: calls.append(None))) == []
    assert len(calls) == 1 + 4 + 20


def test_watchdog_goes_on_while_the_catalog_is_locked(quick: Followed, tmp_path: Path) -> None:
    store = make_layout(quick.path("root/a"))
    quick.add_root("root")
    address = str(tmp_path / "notify")
    with manager(address) as systemd:
        start(quick, address, environ={"WATCHDOG_USEC": "8000000"})
        with writer_lock(quick):
            tag(store, "1", "x")
            wait_for(lambda: any("written by another process" in line for line in quick.log()))
            heard = len(systemd.watchdogs)
            systemd.wait(("WATCHDOG", "1"), count=heard + 3)
            assert any(name == "STATUS" and "another process" in value for name, value in systemd.listen())


def test_the_watchdog_of_another_process_is_not_ours(quick: Followed, tmp_path: Path) -> None:
    quick.done("add", make_layout(quick.path("a")))
    address = str(tmp_path / "notify")
    with manager(address) as systemd:
        start(quick, address, environ={"WATCHDOG_USEC": "100000", "WATCHDOG_PID": str(os.getpid())})
        systemd.wait(("READY", "1"))
        assert quick.stop() == 0
        systemd.listen()
        assert not systemd.watchdogs


@pytest.mark.parametrize("given", ["", "nonsense", "@", "/nonexistent/notify", "/" + "x" * 200, "unix:/x"])
def test_nobody_listens(given: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": given, "WATCHDOG_USEC": "1000000"})
    notifier.status("x")
    notifier.alive()
    notifier.reloading()
    notifier.ready()
    notifier.stopping()


@pytest.mark.parametrize("given", ["", "0", "-1", "x", "1e6", "²"])
def test_no_watchdog(given: str, tmp_path: Path) -> None:
    environ = {"NOTIFY_SOCKET": str(tmp_path / "s"), "WATCHDOG_USEC": given}
    assert Notifier(environ).interval is None
    assert Notifier({"WATCHDOG_USEC": "1000000"}).interval is None
    assert Notifier(environ | {"WATCHDOG_USEC": "1000000"}).interval == 0.5


def test_a_full_queue_holds_nobody_up(tmp_path: Path) -> None:
    with manager(str(tmp_path / "s")) as systemd:
        notifier = Notifier({"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "1000000"})
        for _ in range(5000):
            notifier.alive()
        assert 0 < len(systemd.listen()) < 10_000


def test_a_status_is_one_line(tmp_path: Path) -> None:
    with manager(str(tmp_path / "s")) as systemd:
        notifier = Notifier({"NOTIFY_SOCKET": systemd.address})
        notifier.status("one\nREADY=1\x1b[31m")
        notifier.status("one\nREADY=1\x1b[31m")
        assert [name for name, _ in systemd.listen()] == ["STATUS"]
