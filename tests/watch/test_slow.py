"""A writer who takes its time never shows a digest that did not stand.

Each state between of a same-length rewrite in place is valid JSON with a digest that never existed; each pause is longer
than the settling time. What tells it from a file that stands still is the lease; where that is refused, the settling time
alone is the rule.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

import pytest

from catalog.cli.config import load_settings
from catalog.errors import NotInTime
from catalog.ingest.fresh import make_fresh
from catalog.layout.files import StoreFile
from catalog.names.query import parse_query
from tests.cli.program import _AS_NOBODY, OCICAT, needs_root
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


def watch_answers(catalog: Followed, load: Load) -> set[str | None]:
    """Ask all the time until the writer has ended; everything that was answered."""
    seen: set[str | None] = set()
    while load.process.poll() is None:
        seen.add(catalog.ask(REF).digest)
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
    loop = "import subprocess\nwhile True: subprocess.run(sys.argv[1:], check=True, stderr=subprocess.DEVNULL)"
    quick.configure(settle_ms=SETTLE_MS, patience_ms=300)
    index = Load(loop, OCICAT, "--db", quick.db, "--config", quick.config, "index")
    try:
        with writing(code, store) as load:
            assert watch_answers(quick, load) <= set(DIGESTS)
        quick.settled()
    finally:
        index.kill()
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
def test_where_the_lease_is_refused_the_settling_time_is_the_rule(public: Followed, code: str) -> None:
    """A daemon of another user, who may read the files and has no CAP_LEASE: pauses shorter than the settling time are
    safe; longer ones it cannot tell from a file that stands still (docs say so)."""
    store = tagged(public)
    public.configure(settle_ms=1000)
    as_another(public)
    with writing(code, store, pause=0.1) as load:
        assert watch_answers(public, load) <= set(DIGESTS)
    wait_for(lambda: public.ask(REF).digest == DIGESTS[ROUNDS % 2])
    assert {span[3] for span in public.spans()} <= set(DIGESTS)


@needs_root
def test_whether_a_file_is_held_is_not_told_to_everybody(public: Followed) -> None:
    """The two cases of the test above, seen at the lease itself."""
    script = """
import os
from catalog.layout.files import StoreFile
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
print(StoreFile(sys.argv[1], "index.json").is_held())
"""
    store = tagged(public)
    with open(f"{store}/index.json", "r+b"):
        opened = StoreFile(store, "index.json")
        assert opened.is_held()
        opened.close()
        load = Load(script, store)
        assert load.out.read() == b"False\n"
        assert load.end() == 0


def test_a_lease_hurts_no_writer(quick: Followed, store: str) -> None:
    """Taken and given back all the time, it neither kills the reader nor makes a writer fail."""
    stop = threading.Event()
    asked = []

    def lease() -> None:
        while not stop.is_set():
            opened = StoreFile(store, "index.json")
            asked.append(opened.is_held())
            opened.close()

    thread = threading.Thread(target=lease)
    thread.start()
    try:
        for _ in range(2000):
            with open(f"{store}/index.json", "r+b"):
                pass
    finally:
        stop.set()
        thread.join()
    assert set(asked) <= {True, False}


def as_another(catalog: Followed, *options: str) -> None:
    """Start the daemon as user 65534, to whom the catalog belongs, and the layouts do not."""
    for name in os.listdir(catalog.directory):
        if name.startswith("catalog.db"):
            os.chown(f"{catalog.directory}/{name}", 65534, 65534)
    os.chown(catalog.directory, 65534, 65534)
    options = options or ("--rescan", "0.1")
    catalog.start(*options, program=[sys.executable, "-c", "import encodings.ascii, secrets\n" + _AS_NOBODY])
