"""`--fresh` brings the catalog up to date first, or ends with status 4 after five seconds (docs/scripts.md)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalog.engine.locks import WRITER, FileLock
from tests.cli.conftest import Own, objects, retag
from tests.cli.program import Ran, needs_root, one_error, ran_as_nobody
from tests.forking import CLEAN, OCICAT
from tests.watch.harness import DEADLINE, Followed, followed, wait_for
from tests.writers import empty_index, fake_descriptor, make_layout, name_entry, read_index, torn, write_index

Layout = Callable[..., str]


@pytest.fixture
def catalog(tmp_path: Path, empty_catalog: str) -> Iterator[Followed]:
    """A root with the layouts `a` and `b`, each with the tag `t`, and no daemon yet."""
    shutil.copy(empty_catalog, tmp_path / "catalog.db")
    with followed(tmp_path, settle_ms=20) as made:
        write_layouts(made)
        yield made


def write_layouts(catalog: Followed) -> None:
    for name in ("a", "b"):
        path = make_layout(catalog.path(f"root/{name}"))
        write_index(path, empty_index(name_entry(fake_descriptor(name), "short", f"docker.io/library/{name}", "t")))
    catalog.add_root("root")


def digest(seed: str) -> str:
    found: str = fake_descriptor(seed)["digest"]
    return found


def move(catalog: Followed, name: str, seed: str) -> str:
    """Let the tag of the layout `name` point to an image made from `seed`."""
    entry = name_entry(fake_descriptor(seed), "short", f"docker.io/library/{name}", "t")
    write_index(catalog.path(f"root/{name}"), empty_index(entry))
    return digest(seed) + "\n"


daemons = pytest.mark.parametrize("daemon", [False, True], ids=["alone", "daemon"])


@daemons
def test_every_form_finds_what_was_just_written(catalog: Followed, daemon: bool) -> None:
    if daemon:
        catalog.start()
    for number, ref in enumerate(
        ["a:t", "docker.io/library/a:t", "oci-layout://root/a/a:t", f"oci-layout://{catalog.path('root/a')}/a:t",
         "a:*", ":t", f"oci:{catalog.path('root/a')}:a:t", f"ocidir://{catalog.path('root/a')}:t"]
    ):  # fmt: skip
        new = move(catalog, "a", f"{number}")
        options = ("--store", "root/a") if ref == ":t" else ()
        assert catalog("resolve", "--fresh", ref, *options).out == new, ref
        new = move(catalog, "a", f"{number} again")
        assert catalog("query", "--fresh", ref, *options, "--format", "{digest}").out == new, ref
    new = move(catalog, "b", "last")
    assert new in catalog("query", "--fresh", "--format", "{digest}").out
    assert catalog("query", "--fresh", "--count").out == "2\n"


@daemons
def test_references_from_stdin_are_each_made_fresh(catalog: Followed, daemon: bool) -> None:
    """A script changes a layout between two references that it gives to the same process."""
    if daemon:
        catalog.start()
    process = subprocess.Popen(
        [OCICAT, "--db", catalog.db, "--config", catalog.config, "resolve", "--fresh", "-"],
        env=CLEAN, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    for number in range(5):
        new = move(catalog, "a", f"{number}")
        process.stdin.write(b"a:t\n")
        process.stdin.flush()
        assert process.stdout.readline().decode() == new
    process.communicate()
    assert process.returncode == 0


@daemons
def test_stores_that_appear_and_disappear(catalog: Followed, daemon: bool) -> None:
    if daemon:
        catalog.start()
    for step in range(2):
        path = make_layout(catalog.path("root/deep/er/new"))
        write_index(path, empty_index(name_entry(fake_descriptor(f"{step}"), "short", "docker.io/library/new", "t")))
        assert catalog("resolve", "--fresh", "oci-layout://root/deep/er/new/new:t").out == digest(f"{step}") + "\n"
        assert catalog("resolve", "--fresh", "new:t").out == digest(f"{step}") + "\n"
        shutil.rmtree(catalog.path("root/deep"))
        assert catalog("resolve", "--fresh", "new:t").status == 1
    torn(catalog.path("root/a"), b'{"manifests": [', 9)
    said = catalog("resolve", "--fresh", "a:t")
    assert (said.status, said.out) == (0, digest("a") + "\n")  # its last answer
    assert "invalid" in said.err
    assert catalog("resolve", "--fresh", "--strict", "a:t").status == 1
    os.unlink(catalog.path("root/a/index.json"))
    assert catalog("resolve", "--fresh", "--strict", "a:t").status == 1
    move(catalog, "a", "back")
    assert catalog("resolve", "--fresh", "--strict", "a:t").out == digest("back") + "\n"


@daemons
def test_changed_times_and_modes_do_not_make_it_wait_in_vain(catalog: Followed, daemon: bool) -> None:
    if daemon:
        catalog.start()
    path = catalog.path("root/a/index.json")
    for change in (
        lambda: os.utime(path, (1, 1)),
        lambda: os.chmod(path, 0o600),
        lambda: os.link(path, path + ".link"),
    ):
        change()  # type: ignore[no-untyped-call]
        assert catalog("resolve", "--fresh", "a:t").out == digest("a") + "\n"


@daemons
def test_a_new_store_inside_a_store(catalog: Followed, daemon: bool) -> None:
    """The text after a store's name may be an image in it, or a store inside it that is not known yet."""
    if daemon:
        catalog.start()
    for number, ref in enumerate(("oci-layout://root/a/in/{}:t", "oci-layout://" + catalog.path("root/a/in/{}:t"))):
        path = make_layout(catalog.path(f"root/a/in/{number}"))
        write_index(path, empty_index(name_entry(fake_descriptor("in"), "tag", "", "t")))
        assert catalog("resolve", "--fresh", ref.format(number)).out == digest("in") + "\n"
    assert catalog("resolve", "--fresh", "oci-layout://root/a/in/none:t").status == 1


def test_it_looks_only_at_the_stores_that_are_concerned(catalog: Followed) -> None:
    """Without a daemon, stores that the reference does not concern are not read."""
    move(catalog, "a", "new a")
    move(catalog, "b", "new b")
    assert catalog("resolve", "--fresh", "oci-layout://root/a/a:t").out == digest("new a") + "\n"
    assert catalog("resolve", "b:t").out == digest("b") + "\n"
    assert catalog("query", "--fresh", "--store", "root/a", "--count").out == "1\n"
    assert catalog("resolve", "b:t").out == digest("b") + "\n"
    assert catalog("resolve", "--fresh", "a:t").out == digest("new a") + "\n"  # a name may be in any store
    assert catalog("resolve", "b:t").out == digest("new b") + "\n"


def test_wrong_usage_is_reported_before_any_wait(catalog: Followed) -> None:
    assert catalog("resolve", "--fresh", "UPPER").status == 2
    assert catalog("resolve", "--fresh", "oci-layout://nowhere:t").status == 2
    assert catalog("query", "--fresh", "--store", "nowhere").status == 2
    new = move(catalog, "a", "new")
    said = catalog("resolve", "--fresh", "UPPER", "a:t")
    assert (said.status, said.out) == (2, "\n" + new)
    new = move(catalog, "a", "newer")
    said = catalog("resolve", "--fresh", "oci-layout://root/b/UPPER:t", "oci-layout://root/a/a:t")
    assert (said.status, said.out) == (2, "\n" + new)


def test_status_4_if_the_catalog_cannot_be_brought_up_to_date(catalog: Followed, tmp_path: Path) -> None:
    """A writer keeps the file open, with and without a daemon, or another writer locks the catalog: each ends after five seconds."""
    others = [followed(tmp_path / name, settle_ms=20) for name in ("daemon", "locked")]
    for name in ("daemon", "locked"):
        shutil.copytree(catalog.path("root"), f"{tmp_path}/{name}/root")
    with others[0] as beside, others[1] as locked:
        processes = []
        for each in (beside, locked):
            each.add_root("root")
        beside.start()
        lock = FileLock(locked.db + WRITER, "busy")
        held = [open(each.path("root/a/index.json"), "r+b") for each in (catalog, beside)]
        try:
            lock.acquire(0)
            move(locked, "a", "new")
            for file in held:
                file.write(file.read(1))
                file.flush()
            processes = [
                subprocess.Popen(
                    [OCICAT, "--db", each.db, "--config", each.config, "resolve", "--fresh", "a:t"],
                    env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                )
                for each in (catalog, beside, locked)
            ]  # fmt: skip
            several = catalog("resolve", "--fresh", "oci-layout://root/a/a:t", "oci-layout://root/b/b:t")
            assert (several.status, several.out) == (4, "\n" + digest("b") + "\n")  # the others are still answered
            one_error(several, 4, "did not settle", "5 seconds")
            for process, word in zip(processes, ("did not settle", "did not settle", "another process"), strict=True):
                out, err = process.communicate(timeout=60)
                assert out == b""
                one_error(Ran(process.returncode, "", err.decode()), 4, word, "5 seconds")
        finally:
            for file in held:
                file.close()
            lock.release()
        for each in (catalog, beside, locked):
            assert each("resolve", "--fresh", "a:t").status == 0


def test_it_does_not_wait_in_vain_for_a_daemon_that_hangs_or_polls(catalog: Followed) -> None:
    catalog.start("--poll", "3600")
    assert catalog("resolve", "--fresh", "a:t").out == digest("a") + "\n"
    new = move(catalog, "a", "new")
    assert catalog("resolve", "--fresh", "a:t").out == new
    make_layout(catalog.path("root/c"))
    move(catalog, "c", "c")
    assert catalog("resolve", "--fresh", "c:t").out == digest("c") + "\n"
    catalog.hang()
    new = move(catalog, "a", "newer")
    assert catalog("resolve", "--fresh", "a:t").out == new
    catalog.send(signal.SIGCONT)
    assert catalog.stop() == 0


_SLOW_TO_WRITE = """
import sys
sys.path.insert(0, sys.argv[1])
from catalog.cli.config import load_settings
from catalog.engine.open import open_reader
from catalog.ingest.fresh import make_fresh
from catalog.lookup.resolve import Asking
from catalog.names.query import parse_query
reader, query = open_reader(sys.argv[2]), parse_query("a:t")
make_fresh(reader, [query], None, load_settings(sys.argv[3]), seconds=60)
print(Asking(reader, print).resolve(query).digest)
"""


def test_a_daemon_that_is_late_is_not_waited_for_longer_than_it_needs(catalog: Followed, tmp_path: Path) -> None:
    """Where the processors are busy, loading what writing needs takes longer than the daemon."""
    os.mkdir(tmp_path / "slow")
    loads = tmp_path / "loads"
    (tmp_path / "slow/sqlalchemy.py").write_text(f"import time; open({str(loads)!r}, 'w'); time.sleep(3600)")
    catalog.start()
    catalog.hang()
    new = move(catalog, "a", "new")
    arguments = (str(tmp_path / "slow"), catalog.db, catalog.config)
    process = subprocess.Popen([sys.executable, "-c", _SLOW_TO_WRITE, *arguments], env=CLEAN, stdout=subprocess.PIPE)
    try:
        wait_for(loads.exists)
        catalog.send(signal.SIGCONT)
        assert process.communicate(timeout=DEADLINE)[0].decode() == new
    finally:
        process.kill()
        process.communicate()


@needs_root
def test_a_user_who_may_not_write_the_catalog() -> None:
    """If the catalog is up to date, nothing has to be written. Otherwise only the daemon may write it."""
    with tempfile.TemporaryDirectory() as directory, followed(Path(directory), settle_ms=20) as catalog:
        os.chmod(directory, 0o755)
        write_layouts(catalog)
        for end in ("", "-wal", "-shm"):
            os.chmod(catalog.db + end, 0o644)
        arguments = ("--config", catalog.config, "resolve", "--fresh", "a:t")
        assert ran_as_nobody(*arguments, db=catalog.db).out == digest("a") + "\n"
        # The blobs were very new when they were listed, so they may have changed since, but that does not delay an answer.
        assert ran_as_nobody(*arguments[:-1], digest("a"), db=catalog.db).out == digest("a") + "\n"
        move(catalog, "a", "new")
        assert ran_as_nobody(*arguments, db=catalog.db).status == 4
        catalog.start()
        for step in range(2):
            new = move(catalog, "a", f"{step}")
            said = ran_as_nobody(*arguments, db=catalog.db)
            assert (said.status, said.out) == (0, new), said


def test_without_settling_as_other_tests_have_it(cli: Own, layout: Layout) -> None:
    path = layout("app", "1")
    cli.done("add", path)
    new = retag(path, "1", "new")
    assert cli.done("resolve", "--fresh", ":1").out == new + "\n"
    assert objects(cli.done("query", "--fresh", ":1", "--format", "json"))[0]["digest"] == new
    assert read_index(path)["manifests"]
