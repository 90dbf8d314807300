"""Opening a file that is not a catalog, may not be read, is locked, damaged, or of another version: status 4 and one line."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from catalog.db.schema import SCHEMA_MAJOR, SCHEMA_MINOR
from catalog.engine.locks import DAEMON, WRITER, FileLock, is_held
from catalog.engine.sqlite.reader import SqliteReader
from catalog.engine.sqlite.writer import SqliteWriter
from catalog.errors import CatalogLocked, CatalogUnavailable
from tests import writers
from tests.cli.program import called, common_directory, needs_root, one_error, ran_as_nobody
from tests.effort import some
from tests.forking import CLEAN

READERS = (("query",), ("resolve", ":1"), ("stores",), ("check",), ("sql", "select 1"), ("db", "check"))
WRITERS = (("index",), ("remove", "x"), ("db", "upgrade"), ("db", "vacuum"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the bytes of a catalog with some contents, in one file."""
    base = tmp_path_factory.mktemp("sound")
    path = str(base / "c.db")
    writers.big_layout(str(base / "layout"), 500)
    settings = base / "settings.toml"
    settings.write_text("[watch]\nsettle_ms = 0\n")
    assert called("--config", str(settings), "add", str(base / "layout"), db=path).status == 0
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return Path(path).read_bytes()


def sql(path: str, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def refused(path: str, *words: str, also: tuple[tuple[str, ...], ...] = ()) -> None:
    """Assert that every command except `db path` ends with status 4 and one line."""
    for arguments in (*READERS, *WRITERS, ("add", "/"), *also):
        result = called(*arguments, db=path)
        one_error(result, 4, *words)
        assert result.out == ""
    assert called("db", "path", db=path).status == 0


Spoil = Callable[[str], None]


def _write(path: str, data: bytes) -> None:
    Path(path).write_bytes(data)


def _other_database(path: str) -> None:
    sql(path, "CREATE TABLE bookmarks (url)", "INSERT INTO bookmarks VALUES ('x')")


NO_CATALOGS: dict[str, Spoil] = {
    "text": lambda path: _write(path, b"hello\n"),
    "noise": lambda path: _write(path, bytes(range(256)) * 64),
    "another program's database": _other_database,
    "a table meta": lambda path: sql(path, "CREATE TABLE meta (x)"),
    "a table meta like ours": lambda path: sql(path, "CREATE TABLE meta (key, value)"),
    "its schema null": lambda path: sql(
        path, "CREATE TABLE meta (key, value)", "INSERT INTO meta VALUES ('schema', NULL)"
    ),
    "its schema no number": lambda path: sql(
        path, "CREATE TABLE meta (key, value)", "INSERT INTO meta VALUES ('schema', 'x.y')"
    ),
    "its schema a number": lambda path: sql(
        path, "CREATE TABLE meta (key, value)", "INSERT INTO meta VALUES ('schema', 1)"
    ),
}


@pytest.mark.parametrize("what", NO_CATALOGS)
def test_a_file_that_is_not_a_catalog_is_refused_and_left_alone(tmp_path: Path, what: str) -> None:
    path = str(tmp_path / "c.db")
    NO_CATALOGS[what](path)
    before = Path(path).read_bytes()
    refused(path, "c.db")
    assert Path(path).read_bytes() == before
    assert {name for name in os.listdir(tmp_path) if name != "c.db" + WRITER} == {"c.db"}


def test_a_directory(tmp_path: Path) -> None:
    refused(str(tmp_path), "is a directory", "--db")


def test_a_place_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = str(tmp_path / "file" / "c.db")
    for arguments in READERS:
        one_error(called(*arguments, db=path), 4, "no catalog")
    one_error(called("add", "/", db=path), 4, "cannot create a catalog")


def test_an_empty_file_becomes_a_catalog(tmp_path: Path) -> None:
    path = str(tmp_path / "c.db")
    Path(path).touch()
    for arguments in READERS:
        one_error(called(*arguments, db=path), 4, "is empty", "'ocicat add PATH'")
    assert called("db", "upgrade", db=path) == (0, "", "")
    result = called("stores", db=path)
    assert (result.status, result.out) == (0, "")
    assert "no stores yet" in result.err


@pytest.mark.parametrize("keep", [1, 100, 4096, 10_000, 0.5, 0.95])
def test_a_truncated_catalog(tmp_path: Path, sound: bytes, keep: float) -> None:
    path = str(tmp_path / "c.db")
    Path(path).write_bytes(sound[: int(keep if isinstance(keep, int) else len(sound) * keep)])
    for arguments in (("query",), ("db", "check"), ("query", "@sha256:000000"), ("sql", "SELECT * FROM images")):
        result = called(*arguments, db=path)
        assert result.status == 4, (arguments, result)
        assert result.said[-1].startswith("ocicat: error: ")
        assert "defect" not in result.err
        assert any(word in result.said[-1] for word in ("damaged", "cannot be used", "is empty"))
    result = called("add", "/proc/self/task", db=path)
    assert result.status in (0, 4)
    assert "defect" not in result.err


def test_a_schema_that_is_not_utf8(tmp_path: Path, sound: bytes) -> None:
    """SQLite's message quotes the bytes of the schema, which sqlite3 cannot decode."""
    path = str(tmp_path / "c.db")
    Path(path).write_bytes(sound)
    sql(
        path,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET sql = CAST(x'43524541544520a0ff' AS TEXT) WHERE name = 'entry'",
    )
    refused(path, "is damaged", "'ocicat add' again", also=(("query", "--count"), ("db", "check")))


@pytest.mark.slow
def test_no_page_full_of_noise_gives_a_traceback(tmp_path: Path, sound: bytes) -> None:
    """Each page of the catalog is overwritten in turn. Every command answers, or ends with status 4 and one line."""
    path = str(tmp_path / "c.db")
    statuses = set()
    for number in some(range(0, len(sound) // 4096, 3), 2):
        broken = bytearray(sound)
        broken[number * 4096 + 8 : (number + 1) * 4096] = bytes((number * 7 + at) % 256 for at in range(4088))
        for leftover in ("-wal", "-shm"):
            Path(path + leftover).unlink(missing_ok=True)
        Path(path).write_bytes(broken)
        for arguments in (
            ("query", "--format", "json"),
            ("resolve", ":1.3", "--first"),
            ("check",),
            ("stores",),
            ("db", "check"),
        ):
            result = called("--quiet", *arguments, db=path)
            statuses.add(result.status)
            assert result.status in (0, 1, 4)
            assert "defect" not in result.err, (number, arguments, result.err)
            assert len(result.said) == 1 or result.status < 4, (number, arguments, result)
    assert statuses >= {0, 4}


# Versions


def version(path: str, text: str) -> None:
    sql(path, f"UPDATE meta SET value = '{text}' WHERE key = 'schema'")


def test_a_newer_major_is_refused(tmp_path: Path, sound: bytes) -> None:
    path = str(tmp_path / "c.db")
    Path(path).write_bytes(sound)
    version(path, f"{SCHEMA_MAJOR + 1}.0")
    before = Path(path).read_bytes()
    refused(path, f"schema {SCHEMA_MAJOR + 1}.0", "upgrade ocicat")
    assert Path(path).read_bytes() == before


def test_a_newer_minor_is_read_and_written(tmp_path: Path, sound: bytes) -> None:
    path = str(tmp_path / "c.db")
    Path(path).write_bytes(sound)
    version(path, f"{SCHEMA_MAJOR}.{SCHEMA_MINOR + 7}")
    sql(path, "ALTER TABLE store ADD COLUMN later TEXT")
    assert called("query", "--count", db=path).out == "500\n"
    assert called("index", db=path).status == 0
    assert called("sql", "SELECT count(*) FROM stores", db=path).out == "1\n"
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone() == (
        f"{SCHEMA_MAJOR}.{SCHEMA_MINOR + 7}",
    )
    connection.close()


def test_an_older_major_asks_for_an_upgrade(tmp_path: Path, sound: bytes) -> None:
    path = str(tmp_path / "c.db")
    Path(path).write_bytes(sound)
    version(path, f"{SCHEMA_MAJOR - 1}.9")
    for arguments in READERS:
        one_error(called(*arguments, db=path), 4, "'ocicat db upgrade'")


# Permission


@pytest.fixture
def others(sound: bytes) -> Iterator[str]:
    """Return our catalog, cleanly closed, in a directory that everybody may enter."""
    with common_directory() as directory:
        path = directory / "c.db"
        path.write_bytes(sound)
        path.chmod(0o640)
        SqliteWriter(str(path)).close()
        yield str(path)


def open_to_all(path: str) -> None:
    for name in os.listdir(os.path.dirname(path)):
        os.chmod(os.path.join(os.path.dirname(path), name), 0o644)


@needs_root
def test_without_the_right_to_read(others: str) -> None:
    one_error(ran_as_nobody("query", db=others), 4, "no permission", others)
    one_error(ran_as_nobody("index", db=others), 4, others)
    os.chmod(others, 0o644)
    one_error(ran_as_nobody("index", db=others), 4, "you may read, but not write", "run this as root, its owner")


NO_TEMPORARY_FILES = """
for each in /tmp /var/tmp; do mount --bind $each $each && mount -o remount,ro,bind $each || exit; done
cd /proc && exec "$0" -c '
import sys
from catalog.engine.sqlite.writer import SqliteWriter
from catalog.errors import NoRoom
many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT randomblob(60) FROM n ORDER BY 1"
try:
    with SqliteWriter(sys.argv[1]) as writer, writer.transaction() as connection:
        connection.exec_driver_sql(many).fetchone()
except NoRoom as error:
    print(error)
' "$1"
"""


@needs_root
@pytest.mark.skipif(
    subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0,
    reason="this machine does not let root mount something for one process alone",
)
def test_without_a_directory_for_temporary_files(sound: bytes) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        path = f"{directory}/c.db"
        Path(path).write_bytes(sound)
        command = ["unshare", "-m", "sh", "-c", NO_TEMPORARY_FILES, sys.executable, path]
        env = {name: value for name, value in os.environ.items() if name not in ("TMPDIR", "SQLITE_TMPDIR")}
        done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
        assert "no directory for temporary files" in done.stdout, done.stderr
        assert "set SQLITE_TMPDIR" in done.stdout
        with_one = env | {"SQLITE_TMPDIR": directory}
        assert subprocess.run(command, capture_output=True, text=True, env=with_one, check=False).stdout == ""


@needs_root
def test_without_the_right_to_look_into_the_directory(others: str) -> None:
    os.chmod(os.path.dirname(others), 0o700)
    one_error(ran_as_nobody("query", db=others), 4, "no permission to read", "ask root, its owner")
    one_error(ran_as_nobody("index", db=others), 4, "no permission to read", "ask root, its owner")


def test_a_writer_that_only_read_leaves_the_wal_behind(others: str) -> None:
    """As `index` does where nothing has changed. Without the WAL, a user who may not write the directory could not read."""
    with SqliteWriter(others) as writer, writer.snapshot() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM store").fetchall()
    assert {"c.db", "c.db-shm", "c.db-wal"} <= set(os.listdir(os.path.dirname(others)))


def nobody_may_run(program: str) -> bool:
    """Return whether user 65534 may execute an interpreter. One in the home directory of root may be out of reach."""
    try:
        done = subprocess.run([program, "-c", ""], user=65534, group=65534, cwd="/", env=CLEAN, check=False)
    except PermissionError:
        return False
    return done.returncode == 0


@needs_root
def test_a_reader_who_may_not_write_the_directory_reads_after_a_clean_close(others: str) -> None:
    """The writer leaves -wal and -shm behind, because without them such a reader could not open the catalog."""
    open_to_all(others)
    assert {"c.db", "c.db-shm", "c.db-wal"} <= set(os.listdir(os.path.dirname(others)))
    before = {
        name: os.stat(os.path.join(os.path.dirname(others), name)).st_mtime_ns
        for name in os.listdir(os.path.dirname(others))
    }
    result = ran_as_nobody("query", "--count", db=others)
    assert result == (0, "500\n", "")
    assert ran_as_nobody("stores", "--format", "{state}", db=others) == (
        0,
        "ok\n",
        "",
    )
    counted = ran_as_nobody("sql", "SELECT count(*) FROM stores", db=others)
    if nobody_may_run(sys.executable):
        assert counted == (0, "1\n", "")
    else:
        one_error(counted, 4, "not allowed to execute")
    assert {name: os.stat(os.path.join(os.path.dirname(others), name)).st_mtime_ns for name in before} == before


@needs_root
def test_a_reader_who_may_not_write_the_directory_reads_beside_a_writer(others: str) -> None:
    open_to_all(others)
    with SqliteWriter(others) as writer, writer.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM store")
        assert ran_as_nobody("query", "--count", db=others) == (0, "500\n", "")
    result = ran_as_nobody("query", "--count", db=others)
    assert (result.status, result.out) == (0, "0\n")
    assert "no stores yet" in result.err


@needs_root
def test_a_reader_cannot_write(others: str) -> None:
    open_to_all(others)
    one_error(ran_as_nobody("index", db=others), 4, others)
    assert called("query", "--count", db=others).out == "500\n"


@needs_root
def test_a_catalog_cannot_be_created_there(others: str) -> None:
    one_error(ran_as_nobody("add", "/", db=os.path.dirname(others) + "/new.db"), 4, "Permission denied", "--db")
    assert not os.path.exists(os.path.dirname(others) + "/new.db")


def test_the_files_of_a_catalog_are_for_owner_and_group(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        assert called("db", "upgrade", db=str(tmp_path / "a" / "c.db")).status == 0
    finally:
        os.umask(before)
    modes = {name: (tmp_path / "a" / name).stat().st_mode & 0o777 for name in os.listdir(tmp_path / "a")}
    assert modes.pop("c.db" + WRITER) == 0o600
    assert set(modes.values()) == {0o640}, modes


# Locks


def test_a_second_writer_waits_for_the_first(tmp_path: Path) -> None:
    path = str(tmp_path / "c.db")
    SqliteWriter(path).close()
    lock = FileLock(path + WRITER, "busy: try again")
    lock.acquire(0)
    with pytest.raises(CatalogLocked, match="is being written by another process: try again"):
        SqliteWriter(path, timeout=0.2)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: SqliteWriter(path, timeout=600).close())
        with pytest.raises(TimeoutError):
            waiting.result(0.2)
        lock.release()
        waiting.result()
    SqliteWriter(path, timeout=0).close()


def test_a_writer_waits_until_its_time_limit(tmp_path: Path) -> None:
    import threading

    path = str(tmp_path / "c.db")
    lock = FileLock(path + WRITER, "busy: try again")
    lock.acquire(0)
    timer = threading.Timer(0.3, lock.release)
    timer.start()
    with SqliteWriter(path, timeout=20) as writer, writer.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM store")
    timer.join()


def test_a_writer_holds_the_lock_only_while_it_writes(tmp_path: Path) -> None:
    path = str(tmp_path / "c.db")
    with SqliteWriter(path) as one:
        assert not is_held(path + WRITER)
        with one.transaction():
            assert is_held(path + WRITER)
            with pytest.raises(CatalogLocked):
                SqliteWriter(path, timeout=0)
        with SqliteWriter(path, timeout=0) as two, two.transaction() as connection:
            connection.exec_driver_sql("DELETE FROM store")
    assert not is_held(path + WRITER)
    assert not is_held(path + DAEMON)
    assert not is_held(str(tmp_path / "nowhere"))


def test_a_writer_that_cannot_have_the_lock_again_still_closes(tmp_path: Path) -> None:
    path = str(tmp_path / "c.db")
    writer = SqliteWriter(path, timeout=0.1)
    with SqliteWriter(path) as other, other.transaction():
        writer.close()
    writer.close()
    with pytest.raises(CatalogUnavailable, match="closed"), writer.transaction():
        pass


def test_a_failed_transaction_is_rolled_back(tmp_path: Path, sound: bytes) -> None:
    path = str(tmp_path / "c.db")
    Path(path).write_bytes(sound)
    with SqliteWriter(path) as writer:

        def delete_and_then(statement: str) -> None:
            with writer.transaction() as connection:
                connection.exec_driver_sql("DELETE FROM store")
                connection.exec_driver_sql(statement)

        for wrong in ("INSERT INTO entry (id) VALUES (1)", "nonsense"):
            with pytest.raises(CatalogUnavailable):
                delete_and_then(wrong)
        assert not is_held(path + WRITER)
    reader = SqliteReader(path)
    assert next(reader.select("SELECT count(*) FROM entry", {})) == (500,)
    reader.close()


def test_sqlite_locked_by_somebody_else_is_status_4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program writes to the file without taking our lock."""
    path = str(tmp_path / "c.db")
    SqliteWriter(path).close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr("catalog.engine.sqlite.writer._BUSY_MS", 100)  # or it would wait for five seconds
    one_error(called("remove", "x", db=path), 4, "locked by another process", "try again")
    assert called("stores", db=path).status == 0
    connection.execute("ROLLBACK")
    connection.close()


def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path: Path) -> None:
    path = str(tmp_path / "c.db")
    os.symlink(tmp_path / "victim", path + WRITER)
    one_error(called("db", "upgrade", db=path), 4, "c.db.writer")
    assert not (tmp_path / "victim").exists()
