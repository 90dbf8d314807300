"""Several processes use one catalog: created at the same time, killed at any moment, read during writes, on a full disk."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from catalog.engine.sqlite import writer as engine
from catalog.engine.sqlite.reader import SqliteReader
from tests import writers
from tests.cli.program import called, one_error, ran
from tests.forking import CLEAN, OCICAT, Code, Popen


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[[float | None, *tuple[str, ...]], int]:
    """Run the program in processes that have finished their imports, `make stress` too, and kill them after some seconds."""
    monkeypatch.setattr(Popen, "is_whole", False)

    def run(kill_after: float | None, *arguments: str) -> int:
        process = subprocess.Popen([OCICAT, *arguments], env=CLEAN, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if kill_after is not None:
            time.sleep(kill_after)
            process.kill()
        return process.wait(100)

    return run


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "settings.toml"
    path.write_text("[watch]\nsettle_ms = 0\n")
    return str(path)


def rows(db: str) -> list[str]:
    """Return the contents of the catalog, as `query` prints them."""
    result = called("query", "--format", "tsv", db=db)
    assert (result.status, result.err) == (0, ""), result
    return sorted(result.lines)


def check(db: str) -> None:
    assert called("db", "check", db=db) == (0, "", "")


def test_twelve_processes_make_one_catalog(tmp_path: Path, config: str) -> None:
    db = str(tmp_path / "new" / "c.db")
    layouts = [writers.big_layout(str(tmp_path / f"layout{number}"), 5, seed=number) for number in range(12)]
    processes = [
        subprocess.Popen(
            [OCICAT, "--config", config, "add", layout], env=CLEAN | {"OCICAT_DB": db}, stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for layout in layouts
    ]  # fmt: skip
    results = [(process.communicate(timeout=100), process.returncode) for process in processes]
    assert results == [((b"", b""), 0)] * 12
    check(db)
    assert len(called("stores", db=db).lines) == 12
    assert called("query", "--count", db=db).out == "60\n"
    connection = sqlite3.connect(db)
    assert connection.execute("SELECT count(*) FROM host").fetchone() == (1,)
    assert connection.execute("SELECT count(*) FROM meta WHERE key = 'schema'").fetchone() == (1,)
    connection.close()


def test_a_reader_never_sees_a_half_created_catalog(tmp_path: Path) -> None:
    db = str(tmp_path / "c.db")
    with subprocess.Popen([OCICAT, "db", "upgrade"], env=CLEAN | {"OCICAT_DB": db}) as process:
        seen = set()
        while process.poll() is None:
            result = called("stores", db=db)
            if result.status:
                seen.add(one_error(result, 4, "'ocicat add PATH'"))
        assert process.returncode == 0
    assert all("there is no catalog" in message or "is empty" in message for message in seen), seen
    result = called("stores", db=db)
    assert (result.status, result.out) == (0, "")
    assert "no stores yet" in result.err


def test_the_first_writer_commits_between_two_reads_of_a_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The catalog was still empty when its version was read, and complete when its application id was read."""
    db = tmp_path / "c.db"
    db.touch()
    look = SqliteReader._first

    def row(self: SqliteReader, statement: str, parameters: Mapping[str, object]) -> tuple[object, ...] | None:
        if "sqlite_master" in statement:
            assert ran("db", "upgrade", db=str(db)).status == 0
        return look(self, statement, parameters)

    # It does what it did; nothing else stops between the two looks.
    monkeypatch.setattr(SqliteReader, "_first", row)
    SqliteReader(str(db)).close()


def test_a_kill_at_any_moment_leaves_a_consistent_catalog(tmp_path: Path, config: str, run: Callable[..., int]) -> None:
    db, images = str(tmp_path / "c.db"), tmp_path / "images"
    rng = random.Random(7)
    for number in range(6):
        writers.big_layout(str(images / f"l{number}"), 300, seed=number)

    killed = turn = 0
    bound = 1.0  # seconds, and fewer each time that a run was quicker than its end
    while killed < 8 and turn < 40:
        turn += 1
        after = rng.uniform(0, bound)
        if run(after, "--db", db, "--config", config, *(("add", str(images)), ("index",))[turn % 2]) < 0:
            killed += 1
        else:
            bound = max(after, 0.02)
            path = str(images / f"l{turn % 6}")
            index = writers.read_index(path)
            index["manifests"] = rng.sample(index["manifests"], len(index["manifests"]) - 20)
            writers.write_index(path, writers.append(index, *writers.big_entries(150, seed=100 + turn)), "umoci")
        if os.path.exists(db) and called("stores", db=db).status == 0:
            check(db)
            for line in called("stores", "--format", "jsonl", db=db).lines:
                store = json.loads(line)
                held = called("query", "--store", store["name"], "--count", db=db).out
                assert held == f"{store['entries']}\n"  # never half a store
    assert killed >= 3
    for each in (db, str(tmp_path / "compare.db")):
        assert run(None, "--db", each, "--config", config, "add", str(images)) == 0
    check(db)
    assert rows(db) == rows(str(tmp_path / "compare.db"))


def test_readers_beside_a_busy_writer_never_fail(tmp_path: Path, config: str) -> None:
    db = str(tmp_path / "c.db")
    path = writers.make_layout(str(tmp_path / "layout"))
    entries = [writers.name_entry(writers.fake_descriptor(f"{n}"), "tag", "", "1") for n in range(2)]
    noise = list(writers.big_entries(400))
    writers.write_index(path, writers.empty_index(entries[0], *noise))
    assert called("--config", config, "add", path, db=db).status == 0
    busy = (
        "import sys; sys.path.insert(0, sys.argv[1]); from tests import writers; from catalog.cli import start; import json\n"
        "path, db, config, entries = sys.argv[2], sys.argv[3], sys.argv[4], json.loads(sys.argv[5])\n"
        "noise = list(writers.big_entries(400)); turn = 0\n"
        "while True:\n"
        "    turn += 1\n"
        "    kept = [each for number, each in enumerate(noise) if (number + turn) % 3]\n"
        "    writers.write_index(path, writers.empty_index(entries[turn % 2], *kept), 'umoci')\n"
        "    if start.run(['--db', db, '--config', config, 'index']): sys.exit(9)\n"
    )
    arguments = [str(Path(__file__).parents[2]), path, db, config, json.dumps(entries)]
    with subprocess.Popen(Code(busy, *arguments), env=CLEAN, stderr=subprocess.PIPE) as process:
        try:
            digests = {entry["digest"] for entry in entries}
            seen: set[str] = set()
            until = time.monotonic() + 60
            for number in itertools.count(1):
                result = called("resolve", ":1", db=db)
                assert (result.status, result.err) == (0, ""), result
                seen.add(result.out.strip())
                listing = called("query", "--format", "tsv", db=db)
                assert (listing.status, listing.err) == (0, "")
                assert sum(line.split("\t")[2] == "1" for line in listing.lines) == 1  # one state, not two
                if (number >= 50 and seen == digests) or time.monotonic() > until:  # both states, however busy it is
                    break
            for _ in range(3):
                assert ran("resolve", ":1", db=db).status == 0
            assert process.poll() is None
            assert seen == digests
        finally:
            process.kill()
    check(db)


# No room


def test_a_catalog_that_may_not_grow_loses_nothing(
    tmp_path: Path, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = str(tmp_path / "c.db")
    assert called("--config", config, "add", writers.big_layout(str(tmp_path / "small"), 20), db=db).status == 0
    before = rows(db)
    large = writers.big_layout(str(tmp_path / "large"), 3000, seed=1)
    connection = sqlite3.connect(db)
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.close()
    with monkeypatch.context() as patch:
        # SQLite's own limit of size, which fails as a full disk does; the test below has such a disk, where it may mount one.
        patch.setattr(engine, "_PRAGMAS", (*engine._PRAGMAS, f"max_page_count={pages + 30}"))
        result = called("--config", config, "add", large, db=db)
        one_error(result, 4, "no room", "free some space", "nothing was lost")
    assert rows(db) == before
    check(db)
    assert called("--config", config, "index", db=db).status == 0
    assert called("query", "--count", db=db).out == "3020\n"


_FULL = """
set -e
"$O" --db "$OUT.db" --config "$C" add "$SMALL"
mount -t tmpfs -o "size=$(( $(stat -c %s "$OUT.db") / 1024 + 150 ))k" none "$ROOM"  # room for it, but not for many rows
cp "$OUT.db" "$ROOM/c.db"
"$O" --db "$ROOM/c.db" query --format tsv > "$OUT/before"
set +e
"$O" --db "$ROOM/c.db" --config "$C" add "$LARGE" 2> "$OUT/error"; echo $? > "$OUT/status"
"$O" --db "$ROOM/c.db" query --format tsv > "$OUT/after" 2> "$OUT/after-error"
"$O" --db "$ROOM/c.db" db check > "$OUT/check" 2>&1; echo $? >> "$OUT/status"
mount -o remount,size=80m "$ROOM"
"$O" --db "$ROOM/c.db" --config "$C" add "$LARGE" > "$OUT/again" 2>&1; echo $? >> "$OUT/status"
"$O" --db "$ROOM/c.db" query --count > "$OUT/count"
"""


def test_a_full_disk_loses_nothing(tmp_path: Path, config: str) -> None:
    if (
        shutil.which("unshare") is None
        or subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("unshare -Urm is refused here: no file system of our own can be mounted, and filled")
    for name in ("room", "out"):
        (tmp_path / name).mkdir()
    env = CLEAN | {
        "O": OCICAT, "ROOM": str(tmp_path / "room"), "OUT": str(tmp_path / "out"), "C": config,
        "SMALL": writers.big_layout(str(tmp_path / "small"), 20),
        "LARGE": writers.big_layout(str(tmp_path / "large"), 2000, seed=1),
    }  # fmt: skip
    done = subprocess.run(
        ["unshare", "-Urm", "bash", "-c", _FULL], env=env, capture_output=True, timeout=100, check=False
    )
    out = {name: (tmp_path / "out" / name).read_text() for name in os.listdir(tmp_path / "out")}
    assert done.stderr == b"", done
    assert out["status"].split() == ["4", "0", "0"], out
    (line,) = out["error"].splitlines()
    assert line.startswith("ocicat: error: no room to write "), line
    assert "free some space" in line
    assert out["after"] == out["before"] != ""
    assert out["after-error"] == out["check"] == out["again"] == ""
    assert out["count"] == "2020\n"
