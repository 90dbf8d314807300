"""A text that looks like the URL of a catalog but is not one is refused, and a password in it is never repeated."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from catalog import Catalog
from catalog.errors import CatalogUnavailable
from tests.cli.program import called, one_error

WRONG = (
    "postgresql:/user:secret@host/db",
    "postgresql:user:secret@host/db",
    "postgresql+psycopg:/user:secret@host/db",
    "postgresql:/host/db?user=u&password=secret",
    "postgresql:\\\\user:secret@host\\db",
    "postgresql//user:secret@host/db",
    "postgresql;//user:secret@host/db",
    "PostgreSQL:/user:secret@host/db",
    " postgresql:/user:secret@host/db",
    " postgresql://user:secret@host/db",
    "postgres:user:secret@host",
    "postgresql:/user:secret@host/db?x=://",
    "user:secret@postgresql://host/db",
    "user:secret@host/db",
    "user:secret@host:5432",
    "//user:secret@host/db",
    "/user:secret@host/db",
    "//user:secret@host",
    "mysql:/user:secret@host/db",
    "jdbc:postgresql://user:secret@host/db",
    "sqlite:/secret.db",
    "file:/secret.db",
    "host=db password=secret dbname=x",
    "password = secret host = db",
    "dbname=x\tpassword=secret",
    "db?password=secret",
)

COMMANDS = (
    ("resolve", "a:1"),
    ("query",),
    ("stores",),
    ("status",),
    ("index",),
    ("add", "."),
    ("remove", "a"),
    ("watch",),
    ("check",),
    ("verify",),
    ("sql", "SELECT 1"),
    ("report", "usage"),
    ("history", "a:1"),
    ("wait", "a:1"),
    ("db", "path"),
    ("db", "upgrade"),
    ("db", "check"),
    ("db", "vacuum"),
    ("db", "copy", "--to", "postgresql+psycopg://host/db"),
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("text", WRONG)
@pytest.mark.parametrize("way", ["--db", "OCICAT_DB"])
def test_a_url_that_is_not_one_is_refused_and_not_repeated(tmp_path: Path, text: str, way: str) -> None:
    for command in (("resolve", "a:1"), ("stores",), ("add", ".")):
        arguments = ("--db", text, *command) if way == "--db" else command
        result = called("--debug", *arguments, env={} if way == "--db" else {"OCICAT_DB": text})
        assert result.status == 4, result
        assert "secret" not in result.err + result.out
        assert "postgresql+psycopg://" in result.err
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_by_every_command(tmp_path: Path, command: tuple[str, ...]) -> None:
    assert "secret" not in one_error(called(*command, env={"OCICAT_DB": WRONG[0]}), 4, "postgresql+psycopg://")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("text", WRONG)
def test_as_the_place_that_a_catalog_is_copied_to(tmp_path: Path, empty_catalog: str, text: str) -> None:
    db = str(shutil.copy(empty_catalog, tmp_path / "c.db"))
    assert called("db", "upgrade", db=db).status == 0  # it has all its files now
    before = sorted(os.listdir(tmp_path))
    result = called("db", "copy", "--to", text, db=db)
    assert result.status in (2, 4)
    assert "secret" not in result.err + result.out
    assert sorted(os.listdir(tmp_path)) == before


def test_in_python() -> None:
    for text in WRONG:
        with pytest.raises(CatalogUnavailable) as raised:
            Catalog.open(text)
        assert "secret" not in str(raised.value)


def test_paths_that_only_look_like_urls_are_paths(tmp_path: Path) -> None:
    os.makedirs(tmp_path / "a:b@c")
    for path in (
        f"{tmp_path}/a:b@c/c.db",
        "./user:x@host.db",
        f"{tmp_path}/at@home.db",
        "plain.db",
        "10:30.db",
        "a=b.db",
    ):
        assert called("--db", path, "db", "upgrade") == (0, "", "")
        assert os.path.exists(path)


@pytest.mark.parametrize("part", [":", "@", "/", ",", "&a="])
def test_a_url_that_is_too_long_is_refused_before_it_is_taken_apart(tmp_path: Path, part: str) -> None:
    text = f"postgresql://secret{part * 100_000}"
    said = one_error(called("stores", env={"OCICAT_DB": text}), 4, "give a shorter one")
    assert "secret" not in said
    assert len(said) < 200
    assert os.listdir(tmp_path) == []
