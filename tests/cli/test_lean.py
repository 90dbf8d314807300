"""catalog.cli.lean answers as catalog.cli.start does, or not at all."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from catalog.cli import lean, limits
from catalog.engine.sqlite import frozen
from catalog.errors import InvalidReference
from catalog.names.limits import is_long
from catalog.names.pattern import upper_bound
from catalog.names.query import DIGEST, DIGEST_PREFIX, NAME, TAG, parse_query
from catalog.names.reference import repository_name, split_reference
from tests import writers
from tests.cli.conftest import Shelf
from tests.cli.program import called, ran
from tests.cli.test_two_ways import REFS, VARIABLES, arguments
from tests.conftest import ON_SQLITE, Catalogue
from tests.content.worlds import World, make, references, worlds
from tests.effort import examples, is_short, some
from tests.forking import CLEAN, OCICAT
from tests.lookup import asking
from tests.lookup import worlds as lookup_worlds

pytestmark = pytest.mark.whole_start


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("OCICAT_", "XDG_", "STATE_"))]:
        monkeypatch.delenv(name)


def lean_answer(words: list[str], db: str, variables: dict[str, str] | None = None) -> str | None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (variables or {}).items():
            patch.setenv(name, value)
        try:
            found = lean.answered(["--db", db, *words])
        except Exception:  # noqa: BLE001 - as lean.answer does
            return None
    return None if found is None else found.decode()


WITHOUT_FUNCTOOLS = """
import sys
sys.path.insert(0, sys.argv[1])
from catalog.cli import lean
before = set(sys.modules)
driver = lean.sqlite()
assert set(sys.modules) - before <= {"_sqlite3", "_functools"}, set(sys.modules) - before
assert driver is lean.sqlite() is sys.modules["_sqlite3"]
import functools, sqlite3
assert functools.__spec__ and functools.partial
connection = sqlite3.connect(":memory:")
for _ in range(2):
    assert [connection.execute(f"SELECT {number}").fetchone() for number in range(300)] == [(number,) for number in range(300)]
connection.close()
"""


def test_the_driver_takes_nothing_but_its_cache_from_functools_and_works_as_ever_afterwards() -> None:
    source = os.path.dirname(os.path.dirname(os.path.dirname(lean.__file__)))
    command = [sys.executable, "-I", "-S", "-c", WITHOUT_FUNCTOOLS, source]
    done = subprocess.run(command, capture_output=True, text=True, env=CLEAN, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@ON_SQLITE
@settings(max_examples=examples(300))
@given(arguments(), VARIABLES)
@example(["resolve", "ctr:3.16"], {})
@example(["query", "ctr:3.16"], {})
@example(["query", "busybox"], {})
@example(["resolve", "hurt:3.17"], {})
def test_it_answers_as_the_program_or_not_at_all(shelf: Shelf, words: list[str], variables: dict[str, str]) -> None:
    words = [word for word in words if "\0" not in word]
    found = lean_answer(words, shelf.db, variables)
    event("left to start" if found is None else "answered")
    if found is not None:
        assert called(*words, db=shelf.db, env=variables) == (0, found, "")


@ON_SQLITE
def test_it_answers_every_name_of_a_catalog(shelf: Shelf) -> None:
    with sqlite3.connect(shelf.db) as connection:
        names = [name for (name,) in connection.execute("SELECT DISTINCT name FROM name ORDER BY name")]
    connection.close()
    assert compared(shelf.db, names) > len(names)


@ON_SQLITE
def test_it_answers_tags_and_digests_of_a_catalog(shelf: Shelf) -> None:
    with sqlite3.connect(shelf.db) as connection:
        tags = [f":{tag}" for (tag,) in connection.execute("SELECT tag FROM name UNION SELECT ref_name FROM entry")]
        digests = [digest for (digest,) in connection.execute("SELECT digest FROM content WHERE digest LIKE 'sha256%'")]
    connection.close()
    assert compared(shelf.db, tags)
    assert compared(shelf.db, digests) > len(digests) / 4  # most are configs and layers
    few = some(digests)  # in other spellings
    assert compared(shelf.db, [f"@{digest[:20]}" for digest in few]) > len(few) / 4
    assert compared(shelf.db, [digest[7:] for digest in digests[:5]])
    assert compared(shelf.db, [digest[:13] for digest in few])


def compared(db: str, refs: Iterable[str]) -> int:
    """Ask each, and compare what is answered with what the program says; return how many are."""
    answered = 0
    for ref in refs:
        for command in ("resolve", "query"):
            found = lean_answer([command, ref], db)
            if found is not None:
                answered += 1
                assert called(command, ref, db=db) == (0, found, ""), ref
    return answered


@contextlib.contextmanager
def in_directory(new_catalogue: Callable[[str], Catalogue]) -> Iterator[tuple[Catalogue, str]]:
    """A new catalog and its temporary directory, which is the working directory meanwhile."""
    with tempfile.TemporaryDirectory() as made:
        directory = os.path.realpath(made)
        with contextlib.chdir(directory), contextlib.closing(new_catalogue(directory)) as catalogue:
            yield catalogue, directory


def test_nested_and_unlisted_manifests(new_sqlite_catalogue: Callable[[str], Catalogue]) -> None:
    """A digest that is below an index, or that no entry reaches, is left to the program, or answered as it does."""
    answered = 0
    turns = itertools.cycle(range(3 if is_short() else 1))

    @settings(max_examples=examples(60))
    @given(worlds(), st.booleans())
    def alike(world: World, is_pending: bool) -> None:
        nonlocal answered
        with in_directory(new_sqlite_catalogue) as (catalogue, directory):
            stores = make(world, catalogue, directory)
            if is_pending:
                with catalogue.writer.transaction() as connection:
                    connection.exec_driver_sql("UPDATE store SET content_pending = 1")
            path = str(catalogue.reader.path)
            every = list(references(world, stores))
            answered += compared(path, every[next(turns) :: 3] if is_short() else every)

    alike()
    assert answered


def test_names_that_collide(new_sqlite_catalogue: Callable[[str], Catalogue]) -> None:
    """Few names, tags and raw annotations on many entries, and digests that begin alike."""
    answered = 0

    @settings(max_examples=examples(40))
    @given(lookup_worlds.worlds())
    def alike(world: lookup_worlds.World) -> None:
        nonlocal answered
        with in_directory(new_sqlite_catalogue) as (catalogue, directory):
            stores = lookup_worlds.make(world, catalogue, directory)
            refs = asking.references(asking.Still(stores), directory)
            answered += compared(str(catalogue.reader.path), some([ref for ref in refs if "\0" not in ref]))

    alike()
    assert answered


def test_digests_that_begin_alike_are_left_to_the_program(
    new_sqlite_catalogue: Callable[[str], Catalogue], tmp_path: Path
) -> None:
    """The program orders them by digest, and asks of each what is above it."""
    catalogue = new_sqlite_catalogue(str(tmp_path))
    alike = lookup_worlds.DIGESTS[:2]
    for number, digest in enumerate(reversed(alike)):
        path = writers.make_layout(str(tmp_path / str(number)))
        writers.write_index(path, writers.empty_index(writers.fake_descriptor("x") | {"digest": digest}))
        catalogue.add(path)
    db = str(catalogue.reader.path)
    assert lean_answer(["query", "sha256:aaaaaa"], db) is None
    assert compared(db, [*alike, "sha256:aaaaaa", f"@{alike[1][:25]}"]) == 6
    catalogue.close()


_PIECES = st.one_of(
    st.sampled_from([*REFS, "docker.io", "index.docker.io", "library", "localhost", "/", ":", "@", "oci", "ocidir", "oci-layout", "//"]),
    st.sampled_from(["a", "b-c", "d__e", "X", "1.2", "sha256", "sha512", "latest", "f" * 64, "é", "[::1]", "host:5000", "..", "_", "-"]),
    st.text("ab1.-_/:@[]*A", max_size=8),
)  # fmt: skip


@settings(max_examples=examples(2000))
@given(st.lists(_PIECES, max_size=7).map("".join))
@example("f" * 64)
@example("sha256:abcdef")
@example("oci:abc")
@example("ocidir://x")
@example("ocifoo")
@example("oci/x:1")
def test_a_text_means_a_key_only_if_the_grammar_says_so(text: str) -> None:
    found = lean.canonical(text)
    try:
        query = parse_query(text)
    except InvalidReference:
        query = None
    if query is not None and query.kind == NAME:
        assert found in (None, query.name)
        return
    parts = None if found is None else split_reference(found)
    is_key = parts is not None and f"{repository_name(parts[0], parts[1])}:{parts[2]}" == found and parts[3] is None
    assert not is_key


@settings(max_examples=examples(2000))
@given(st.lists(_PIECES, max_size=5).map("".join))
@example(":3.16")
@example(":x" * 200)
@example(":" + "x" * 128)
@example(":é")
@example("sha256:abcde")
@example("@sha256:abcdef")
@example("sha256:abcdef…")
@example("sha256:" + "a" * 65)
@example("@" + "f" * 64)
@example("f" * 64)
def test_a_tag_or_digest_is_one_for_the_program(text: str) -> None:
    found = lean.asked(text)
    if found is None or found[0] == "name":
        return
    query = parse_query(text)
    if found[0] == "tag":
        assert (query.kind, query.tag) == (TAG, found[1][0])
        assert not is_long(found[1][0])
    else:
        assert query.kind in (DIGEST, DIGEST_PREFIX)
        assert found[1] == (query.digest, upper_bound(query.digest or ""))


def test_its_constants_are_those_of_the_program() -> None:
    assert f"{frozen.SCHEMA_MAJOR}.{frozen.SCHEMA_MINOR}" == lean.SCHEMA
    assert {"resolve": limits.ASK_SECONDS, "query": limits.LIST_SECONDS} == lean._SECONDS


@ON_SQLITE
def test_its_statements_search_indexes(shelf: Shelf) -> None:
    connection = sqlite3.connect(shelf.db)
    for (_, kind), statement in lean.STATEMENTS.items():
        asked = ("x", "y") if kind == "digest" else ("x",)
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", asked)]
        scans = ("SCAN CONSTANT ROW", "SCAN (subquery-")  # of what was found: the schema, and one row of a count
        assert not [line for line in plan if line.startswith("SCAN") and not line.startswith(scans)], plan
    connection.close()


@ON_SQLITE
def test_the_installed_program_loads_nothing_else(shelf: Shelf) -> None:
    digest = shelf.digests["ctr", "3.16"]
    for command, ref in (
        ("resolve", "ctr:3.16"),
        ("query", "ctr:3.16"),
        ("query", ":1"),
        ("query", digest),
        ("resolve", digest[:20]),
    ):
        done = subprocess.run(
            [sys.executable, "-I", "-X", "importtime", OCICAT, "--db", shelf.db, command, ref],
            capture_output=True, env=CLEAN, timeout=60, check=True,
        )  # fmt: skip
        names = {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()}
        assert {name for name in names if name.partition(".")[0] == "catalog"} == {
            "catalog",
            "catalog.cli",
            "catalog.cli.lean",
        }
        assert "sqlite3" not in names


def _link(db: str) -> None:
    os.rename(db, f"{db}.real")
    os.symlink(f"{db}.real", db)


def _fifo(db: str) -> None:
    os.mkfifo(f"{db}-journal")


def _linked_wal(db: str) -> None:
    os.rename(f"{db}-wal", f"{db}-wal.real")
    os.symlink(f"{db}-wal.real", f"{db}-wal")


def _other_version(db: str) -> None:
    connection = sqlite3.connect(db)
    connection.execute("UPDATE meta SET value = '1.999' WHERE key = 'schema'")
    connection.commit()
    connection.close()


def _damaged(db: str) -> None:
    with open(db, "r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 50_000)


def _gone(db: str) -> None:
    os.unlink(db)


@ON_SQLITE
@pytest.mark.parametrize("change", [_link, _fifo, _linked_wal, _other_version, _damaged, _gone])
def test_a_strange_catalog_is_left_to_the_program(shelf: Shelf, tmp_path: Path, change: object) -> None:
    db = str(tmp_path / "catalog.db")
    shutil.copy(shelf.db, db)
    words = ["resolve", "ctr:3.16"]
    before = called(*words, db=db)
    assert lean_answer(words, db) == before.out != ""
    change(db)  # type: ignore[operator]
    assert lean_answer(words, db) is None


@ON_SQLITE
def test_it_finds_the_default_catalog(shelf: Shelf, tmp_path: Path) -> None:
    path = tmp_path / ".local" / "share" / "ocicat"
    path.mkdir(parents=True)
    shutil.copy(shelf.db, path / "catalog.db")
    environment = {**CLEAN, "HOME": str(tmp_path)}
    plain = called("resolve", "ctr:3.16", db=shelf.db)
    done = subprocess.run(
        [OCICAT, "resolve", "ctr:3.16"], capture_output=True, env=environment, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, plain.out, b"")


@ON_SQLITE
def test_output_that_cannot_be_written_is_reported_once(shelf: Shelf) -> None:
    for target, status in (("/dev/full", 1), (None, 0)):
        redirect = ">&-" if target is None else f"> {target}"
        script = f'exec "$0" --db "$1" resolve ctr:3.16 {redirect}'
        done = subprocess.run(
            ["sh", "-c", script, OCICAT, shelf.db], capture_output=True, env=CLEAN, timeout=60, check=False
        )
        plain = ran("--quiet", "resolve", "ctr:3.16", db=shelf.db)
        assert plain.status == 0
        assert (done.returncode != 0) == (status != 0)
        assert done.stderr.count(b"\n") == status
