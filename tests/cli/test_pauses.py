"""A reader of an answer who pauses does not hold a state of the catalog for long, so the WAL can be emptied."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from itertools import islice
from pathlib import Path

import pytest

from catalog.api import PAGE, Catalog
from catalog.cli.output import KEPT_BYTES
from tests.cli.program import called
from tests.conftest import file_of
from tests.forking import CLEAN, OCICAT
from tests.watch.harness import wait_for
from tests.writers import MANIFEST_TYPE, empty_index, fake_descriptor, make_layout, name_entry, write_index

ENTRIES = 1500
LONG = "SELECT digest, printf('%0*d', 100000, 1) AS more FROM images"
assert ENTRIES * 100_000 > 2 * KEPT_BYTES


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> str:
    base = tmp_path_factory.mktemp("pauses")
    layout = make_layout(str(base / "a"))
    entries = [name_entry(fake_descriptor(f"{n}"), "canonical", "docker.io/acme/app", f"v{n}") for n in range(ENTRIES)]
    write_index(layout, empty_index(*entries))
    path = str(base / "c.db")
    assert called("add", layout, db=path).status == 0
    return path


def is_free(db: str) -> bool:
    """Return whether a writer can write and then empty the WAL, which means that nothing holds an older state."""
    connection = sqlite3.connect(db, isolation_level=None, timeout=0)
    try:
        connection.execute("UPDATE meta SET value = value")
        return bool(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)
    finally:
        connection.close()


def started(db: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([OCICAT, "--db", db, *arguments], env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize(
    "arguments",
    [
        ("query", "--format", "json"),
        ("query", "acme/app:*", "--format", "json"),
        ("sql", "SELECT * FROM images", "--format", "json"),
        ("report", "duplicates", "--format", "json"),
    ],
)
def test_a_reader_who_pauses_holds_nothing_once_all_rows_are_read(db: str, arguments: tuple[str, ...]) -> None:
    expected = called(*arguments, db=db).out
    process = started(db, *arguments)
    assert process.stdout is not None
    first = process.stdout.read(1)  # it has begun, and from here on nothing reads
    wait_for(lambda: is_free(db))
    if len(expected) > 1 << 17:  # more than a pipe holds
        assert process.poll() is None
    assert (first + process.stdout.read()).decode() == expected
    assert process.wait() == 0
    process.communicate()


def test_a_python_caller_who_pauses_holds_nothing_between_two_pages(db: str) -> None:
    with Catalog(db) as catalog:
        expected = [match.name for match in catalog.query("acme/app:*", media_type=MANIFEST_TYPE)]
        assert len(set(expected)) == ENTRIES > PAGE
        answer = catalog.query("acme/app:*")
        told = []
        for count in (1, PAGE - 1, 1):  # the first page is read, and the next one begun
            told += [match.name for match in islice(answer, count)]
            assert is_free(db)
        assert told + [match.name for match in answer] == expected


class Counted:
    """A progress handler, which SQLite calls every hundred steps."""

    count = 0

    def __call__(self) -> bool:
        self.count += 1
        return False


def test_its_pages_together_read_no_more_than_three_times_the_answer(tmp_path: Path) -> None:
    steps: dict[int, Counted] = {}
    for size in (PAGE // 2, 8 * PAGE):
        layout = make_layout(str(tmp_path / f"{size}"))
        entries = [name_entry(fake_descriptor(f"{n}"), "canonical", "docker.io/acme/app", f"v{n}") for n in range(size)]
        write_index(layout, empty_index(*entries))
        path = str(tmp_path / f"{size}.db")
        assert called("add", layout, db=path).status == 0
        with Catalog(path) as catalog:
            counted = steps[size] = Counted()
            file_of(catalog._reader).set_progress_handler(counted, 100)
            assert sum(1 for _ in catalog.query("acme/app:*")) == size
    assert 0 < steps[8 * PAGE].count < 16 * 3 * steps[PAGE // 2].count


def test_a_reader_with_too_much_unread_is_waited_for_up_to_the_limit(db: str) -> None:
    process = started(db, "sql", LONG, "--timeout", "2")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(1)
    assert process.wait(60) == 4
    assert b"not read in time" in process.stderr.read()
    assert is_free(db)
    process.communicate()


def test_a_reader_who_continues_gets_everything(db: str) -> None:
    process = started(db, "sql", LONG, "--format", "tsv")
    assert process.stdout is not None
    length = 0
    while data := process.stdout.read(1 << 20):
        length += len(data)
    assert length == ENTRIES * (len("sha256:") + 64 + 1 + 100_000 + 1)
    assert process.wait() == 0
    process.communicate()


def test_output_to_a_file_is_not_kept_back(db: str, tmp_path: Path) -> None:
    with open(tmp_path / "out", "wb") as out:
        done = subprocess.run([OCICAT, "--db", db, "sql", LONG], env=CLEAN, stdout=out, check=True)
    assert done.returncode == 0
    assert os.path.getsize(tmp_path / "out") > ENTRIES * 100_000
