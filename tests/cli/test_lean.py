"""catalog.cli.lean answers as catalog.cli.start does, or not at all."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from catalog.cli import lean, limits
from catalog.engine.sqlite import frozen
from catalog.errors import InvalidReference
from catalog.names.query import NAME, parse_query
from catalog.names.reference import repository_name, split_reference
from tests.cli.conftest import Shelf
from tests.cli.program import called, ran
from tests.cli.test_two_ways import REFS, VARIABLES, arguments
from tests.conftest import ON_SQLITE
from tests.effort import examples
from tests.forking import CLEAN, OCICAT

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
    answered = 0
    for name in names:
        for command in ("resolve", "query"):
            found = lean_answer([command, name], shelf.db)
            if found is not None:
                answered += 1
                assert called(command, name, db=shelf.db) == (0, found, "")
    assert answered > len(names)


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


def test_its_constants_are_those_of_the_program() -> None:
    assert f"{frozen.SCHEMA_MAJOR}.{frozen.SCHEMA_MINOR}" == lean.SCHEMA
    assert {"resolve": limits.ASK_SECONDS, "query": limits.LIST_SECONDS} == lean._SECONDS


@ON_SQLITE
def test_its_statements_search_indexes(shelf: Shelf) -> None:
    connection = sqlite3.connect(shelf.db)
    for statement in (lean.RESOLVE, lean.QUERY):
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", ("x",))]
        assert not [line for line in plan if line.startswith("SCAN") and line != "SCAN CONSTANT ROW"], plan
    connection.close()


@ON_SQLITE
def test_the_installed_program_loads_nothing_else(shelf: Shelf) -> None:
    for command in ("resolve", "query"):
        done = subprocess.run(
            [sys.executable, "-I", "-X", "importtime", OCICAT, "--db", shelf.db, command, "ctr:3.16"],
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
