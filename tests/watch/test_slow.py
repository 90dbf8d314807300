"""A writer who takes its time never shows a digest that did not stand.

Each state between of a same-length rewrite in place is valid JSON with a digest that never existed; each pause is longer
than the settling time. What tells it from a file that stands still is who has it open: a daemon knows it by events, other
commands by /proc. No lock of any kind is taken for it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from catalog.cli.config import load_settings
from catalog.errors import NotInTime
from catalog.ingest.fresh import make_fresh
from catalog.layout.beneath import opened_path
from catalog.layout.files import stat_index
from catalog.layout.held import OpenFiles
from catalog.names.query import parse_query
from tests.cli.program import _AS_NOBODY, needs_root
from tests.forking import CLEAN, Code, Popen
from tests.watch.harness import Followed, Load, wait_for
from tests.writers import dump, empty_index, fake_descriptor, make_layout, name_entry, write_index

SETTLE_MS = 60
PAUSE = 0.2
ROUNDS = 3
REF = "oci-layout://root/a:t"
DIGESTS = [fake_descriptor(seed)["digest"] for seed in ("one", "two")]

IN_PLACE = """
import os, time
path, pause, rounds = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
data = [dump(empty_index(name_entry(fake_descriptor(seed), "tag", "", "t"))) for seed in ("two", "one")]
for number in range(rounds):
    new = data[number % 2]
    start = new.index(b"sha256:") + 7
    with open(f"{path}/index.json", "r+b", buffering=0) as file:
        for at in (start, start + 16, start + 32, start + 48):
            file.seek(at)
            file.write(new[at : at + 16])
            time.sleep(pause)
    print(number, flush=True)
    time.sleep(max(pause, 0.3))
"""

TRUNCATED = """
import os, time
path, pause, rounds = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
data = [dump(empty_index(name_entry(fake_descriptor(seed), "tag", "", "t"))) for seed in ("two", "one")]
for number in range(rounds):
    new = data[number % 2]
    with open(f"{path}/index.json", "wb", buffering=0) as file:
        time.sleep(pause)
        file.write(new[:150])
        time.sleep(pause)
        file.write(new[150:])
        time.sleep(pause)
    print(number, flush=True)
    time.sleep(max(pause, 0.3))
"""


@pytest.fixture
def store(quick: Followed) -> str:
    """The layout `root/a`, its tag `t` at the first of DIGESTS, indexed."""
    quick.configure(settle_ms=SETTLE_MS)
    return tagged(quick)


def tagged(catalog: Followed) -> str:
    path = make_layout(catalog.path("root/a"))
    write_index(path, empty_index(name_entry(fake_descriptor("one"), "tag", "", "t")))
    catalog.add_root("root")
    return path


@contextlib.contextmanager
def writing(code: str, path: str, pause: float = PAUSE, rounds: int = ROUNDS) -> Iterator[Load]:
    load = Load(code, path, str(pause), str(rounds))
    try:
        yield load
    finally:
        load.kill()


@contextlib.contextmanager
def indexing(catalog: Followed) -> Iterator[None]:
    """Run `ocicat index` on and on, each a process of its own, all of which have to end well."""
    over = threading.Event()
    statuses: list[int] = []

    def index() -> None:
        while not over.is_set():
            statuses.append(catalog.program("index").status)
            over.wait(0.05)

    thread = threading.Thread(target=index)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert set(statuses) == {0}


def watch_answers(catalog: Followed, load: Load) -> set[str | None]:
    """Ask all the time until the writer has ended; everything that was answered."""
    seen: set[str | None] = set()
    while load.process.poll() is None:
        seen.add(catalog.ask(REF).digest)
        # The processor is for the writer and the daemon, and each state in between stands twenty times as long.
        time.sleep(0.01)
    return seen


@pytest.mark.parametrize("code", [IN_PLACE, TRUNCATED], ids=["in-place", "truncated"])
def test_beside_a_daemon(quick: Followed, store: str, code: str) -> None:
    quick.start("--rescan", "0.1")  # it looks all the time, not only when told
    with writing(code, store) as load:
        assert watch_answers(quick, load) <= set(DIGESTS)
    quick.settled()
    assert quick.ask(REF).digest == DIGESTS[ROUNDS % 2]
    told = quick.spans()
    assert {span[3] for span in told} == set(DIGESTS)
    assert len(told) == ROUNDS + 1, told  # each of them once, in turn
    assert [line for line in quick.log() if "invalid" in line] == []


@pytest.mark.parametrize("code", [IN_PLACE, TRUNCATED], ids=["in-place", "truncated"])
def test_beside_index_run_on_and_on(quick: Followed, store: str, code: str) -> None:
    quick.configure(settle_ms=SETTLE_MS, patience_ms=300)
    with indexing(quick), writing(code, store) as load:
        assert watch_answers(quick, load) <= set(DIGESTS)
        quick.settled()
    assert {span[3] for span in quick.spans()} == set(DIGESTS)


@pytest.mark.parametrize("code", [IN_PLACE, TRUNCATED], ids=["in-place", "truncated"])
@pytest.mark.parametrize("daemon", [False, True], ids=["alone", "daemon"])
def test_with_fresh(quick: Followed, store: str, code: str, daemon: bool) -> None:
    """It answers what stood, or says that it is not in time."""
    if daemon:
        quick.start()
    settings = load_settings(quick.config)
    query = parse_query(REF)
    outcomes: set[str | None] = set()
    with writing(code, store) as load:
        while load.process.poll() is None:
            try:
                make_fresh(quick.reader, [query], None, settings, 0.3)
            except NotInTime:
                outcomes.add("not in time")
            else:
                outcomes.add(quick.ask(REF).digest)
                time.sleep(0.005)  # while the file stands still, it would ask thousands of times
    assert outcomes <= {*DIGESTS, "not in time"}
    make_fresh(quick.reader, [query], None, settings, 30)
    assert quick.ask(REF).digest == DIGESTS[ROUNDS % 2]
    assert {span[3] for span in quick.spans()} == set(DIGESTS)


def test_one_who_never_closes_the_file_is_taken_in_the_end(quick: Followed, store: str) -> None:
    """A minute after the last change, by default; here after half a second."""
    quick.configure(settle_ms=SETTLE_MS, held_ms=500)
    quick.start("--rescan", "0.1")
    with open(f"{store}/index.json", "r+b", buffering=0) as file:
        file.write(dump(empty_index(name_entry(fake_descriptor("two"), "tag", "", "t"))))
        wait_for(lambda: quick.ask(REF).digest == DIGESTS[1])


@needs_root
@pytest.mark.parametrize("code", [IN_PLACE, TRUNCATED], ids=["in-place", "truncated"])
def test_a_daemon_knows_of_the_writers_of_other_users(public: Followed, code: str) -> None:
    """It may read the files, and nobody tells it what others have open: events do."""
    store = tagged(public)
    public.configure(settle_ms=SETTLE_MS)
    as_another(public)
    with writing(code, store) as load:
        assert watch_answers(public, load) <= set(DIGESTS)
    wait_for(lambda: public.ask(REF).digest == DIGESTS[ROUNDS % 2])
    assert {span[3] for span in public.spans()} <= set(DIGESTS)


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY, os.O_RDWR])
def test_who_has_a_file_open(quick: Followed, store: str, flags: int, linked: bool) -> None:
    """A file counts as open by its own directory or by a hard link elsewhere; a file with its name in another layout does not."""
    other = make_layout(quick.path("other"))
    if linked:
        os.unlink(f"{other}/index.json")
        os.link(f"{store}/index.json", f"{other}/index.json")
    else:
        write_index(other, empty_index())
    file, path = stat_index(store), opened_path(store, quick.path("root"), follow=False)
    opened = os.open(f"{other if linked else store}/index.json", flags)
    changed = time.time_ns()
    assert OpenFiles().has(path, file, changed) == (flags != os.O_RDONLY)
    assert not OpenFiles().has(path, file._replace(ino=file.ino + 1), changed)
    os.close(opened)
    assert not OpenFiles().has(path, file, changed)


def test_a_look_on_a_busy_machine_goes_on_until_it_finds_the_writer(quick: Followed, store: str) -> None:
    """A look ends after a quarter of a second of processor time, not of the clock, which goes on while others compute."""
    younger = [subprocess.Popen(["sleep", "3600"]) for _ in range(20)]
    try:
        with open(f"{store}/index.json", "r+b"):
            # Other programs are given the processor between two processes.
            assert OpenFiles().has(store, stat_index(store), time.time_ns(), lambda: time.sleep(0.02))
    finally:
        for process in younger:
            process.kill()
            process.wait()


def test_one_look_serves_many_files(quick: Followed, store: str) -> None:
    """As long as none of them changed after it; and what was open is looked at anew."""
    looks = CountedLooks()
    file = stat_index(store)
    before = time.time_ns() - 10**9
    with open(f"{store}/index.json", "r+b"):
        assert looks.has(store, file, before)
        for other in range(100):
            assert not looks.has(store, file._replace(ino=file.ino + 1 + other), before)
        assert looks.count() == 1
        assert not looks.has(store, file._replace(ino=file.ino + 1), time.time_ns())
        assert looks.count() == 2
    wait_for(lambda: not looks.has(store, file, before))


class CountedLooks(OpenFiles):
    def count(self) -> int:
        """How many looks there were, by their times."""
        self.times = getattr(self, "times", set()) | {at for at, _ in self._looks.values()}
        return len(self.times)


@needs_root
def test_a_process_that_may_not_look_sees_nobody(public: Followed) -> None:
    script = """
import os, time
from catalog.layout.files import stat_index
from catalog.layout.held import OpenFiles
file = stat_index(sys.argv[1])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
print(OpenFiles().has(sys.argv[1], file, time.time_ns()))
"""
    store = tagged(public)
    with open(f"{store}/index.json", "r+b"):
        load = Load(script, store)
        assert load.out.read() == b"False\n"
        assert load.end() == 0


LOCKS = """
import fcntl, os, sys
COMMANDS = {getattr(fcntl, name) for name in dir(fcntl) if name.startswith(("F_SETL", "F_SETOWN", "F_SETSIG", "F_OFD_SETL", "F_NOTIFY"))}
def hook(event, args):
    if event in ("fcntl.flock", "fcntl.lockf") or (event == "fcntl.fcntl" and args[1] in COMMANDS):
        sys.stderr.write("LOCKED " + os.readlink(f"/proc/self/fd/{args[0]}") + "\\n")
sys.addaudithook(hook)
from catalog.cli.start import main
main()
"""


def test_no_file_of_a_layout_is_ever_locked(quick: Followed, store: str) -> None:
    """Neither by a lease nor by any other lock: a writer's open, its non-blocking one too, succeeds at every moment."""
    for command in (["index"], ["index", "--full"], ["resolve", "--fresh", REF], ["verify"]):
        write_index(store, empty_index(name_entry(fake_descriptor("two"), "tag", "", "t")))
        done = subprocess.run(
            Code(LOCKS, "--db", quick.db, "--config", quick.config, *command),
            env=CLEAN, capture_output=True, text=True, check=False,
        )  # fmt: skip
        locked = [line for line in done.stderr.splitlines() if line.startswith("LOCKED ")]
        assert all("/catalog.db" in line for line in locked), locked
        assert locked or command[0] == "verify", done  # the catalog's own: the hook sees locks


def test_every_open_of_a_writer_succeeds(quick: Followed, store: str) -> None:
    """Without blocking, at every moment while a daemon reads what changed."""
    quick.start("--rescan", "0.05")
    for number in range(1, 9):
        seed = ("one", "two")[number % 2]
        write_index(store, empty_index(name_entry(fake_descriptor(seed), "tag", "", "t")))
        while quick.ask(REF).digest != DIGESTS[number % 2]:
            for _ in range(200):
                os.close(os.open(f"{store}/index.json", os.O_RDWR | os.O_NONBLOCK))
            time.sleep(0.002)


def as_another(catalog: Followed, *options: str) -> None:
    """Start the daemon as user 65534, who owns the catalog but not the layouts."""
    for name in os.listdir(catalog.directory):
        if name.startswith("catalog.db"):
            os.chown(f"{catalog.directory}/{name}", 65534, 65534)
    os.chown(catalog.directory, 65534, 65534)
    options = options or ("--rescan", "0.1")
    if Popen.is_whole:
        catalog.start(*options, program=[sys.executable, "-c", "import encodings.ascii, secrets\n" + _AS_NOBODY])
    else:  # as `ran_as_nobody`: all modules are loaded before
        catalog.start(*options, user={"user": 65534, "group": 65534, "extra_groups": []})
