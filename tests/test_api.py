"""The Python API (docs/python.md), used as its users do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import catalog
import ocicat
from catalog import (
    Ambiguous,
    Catalog,
    CatalogUnavailable,
    InvalidReference,
    NotFound,
    Reference,
    RefusedSQL,
    UnknownStore,
    UsageError,
)
from tests import effort, writers
from tests.forking import CLEAN, OCICAT


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A catalog of two stores that agree on one name and disagree on another."""
    top = tmp_path_factory.mktemp("api")
    root = top / "images"
    for store, seed in (("a", "same"), ("b", "same")):
        writers.make_layout(str(root / store))
        image = writers.make_image(str(root / store), seed)
        other = writers.make_image(str(root / store), f"other {store}")
        index = writers.empty_index()
        index = writers.append(index, writers.name_entry(image, "canonical", "docker.io/library/alpine", "3.16"))
        index = writers.append(index, writers.name_entry(other, "tag", "docker.io/library/alpine", "edge"))
        writers.write_index(str(root / store), index, "umoci")
    found = str(top / "catalog.db")
    subprocess.run([OCICAT, "--db", found, "add", str(root)], env=CLEAN, check=True, timeout=60)
    return found


def test_everything_public_is_there() -> None:
    """Exactly the names in `__all__` can be imported."""
    for name in catalog.__all__:
        assert getattr(catalog, name) is not None
    assert set(dir(catalog)) == set(catalog.__all__)
    with pytest.raises(AttributeError):
        _ = catalog.Catalogue


def test_every_object_shows_what_it_is(path: str) -> None:
    """The repr of each object says which one it is."""
    with Catalog.open(path) as asked:
        match = asked.resolve("alpine:3.16")
        name, digest = "'docker.io/library/alpine:3.16'", repr(match.digest)
        then = repr(asked.history("alpine:3.16")[0])
        assert repr(asked) == f"Catalog({path!r})"
        assert repr(asked.at("2020-01-01")).startswith(f"Catalog({path!r}).at('20")
        assert repr(match) == f"Match('images/a', {name}, {digest})"
        assert then.startswith(f"Span('images/a', {name}, {digest}, '20")
        assert then.endswith("Z', None)")
        change = repr(next(each for each in asked.changes() if each.tag == "3.16"))
        assert change.startswith(f"Change('added', 'images/a', {name}, None, {digest}, '20")
        assert repr(asked.stores()[0]).startswith("ListedStore('images/a', '/")
        page = asked.inspect("alpine:3.16")
        assert repr(page).startswith(f"Page({digest}, names=2, stores=2, ")
        assert repr(page.sections["stores"]).startswith("Section([{'store': 'images/a', ")
        assert repr(asked.sql("SELECT 1 AS one")) == "Result(columns=('one',))"


def test_a_reference_has_its_parts() -> None:
    """A reference has its original text and its normalised parts."""
    found = Reference.parse("alpine")
    assert (found.domain, found.path, found.repository) == ("docker.io", "library/alpine", "docker.io/library/alpine")
    assert (found.tag, found.digest) == (None, None)
    assert (found.canonical, found.familiar) == ("docker.io/library/alpine:latest", "alpine")
    with pytest.raises(InvalidReference):
        Reference.parse("UPPER")


def test_a_catalog_resolves(path: str) -> None:
    """`resolve` returns one answer if the stores agree, and raises the right error if there is none."""
    with Catalog.open(path) as opened:
        found = opened.resolve("alpine:3.16")
        assert (found.store, found.name) == ("images/a", "docker.io/library/alpine:3.16")
        assert opened.resolve("alpine:3.16", platform="linux/amd64").digest == found.digest
        assert [m.store for m in opened.query(":edge")] == ["images/a", "images/b"]
        assert opened.resolve(":edge", store="images/b").store == "images/b"
        assert opened.resolve(":edge", first=True).store == "images/a"
        assert list(opened.query("nothing")) == []
        assert [m.store for m in opened.query("alpine:*", repository="alpine", store="*/b")] == ["images/b"]
        with pytest.raises(Ambiguous):
            opened.resolve(":edge")
        with pytest.raises(NotFound, match="ask for ':edge'"):
            opened.resolve("edge")
        assert [m.store for m in opened.query(":edge", annotations="org.opencontainers.image.ref.name=edge")] == [
            "images/a",
            "images/b",
        ]
        assert list(opened.query(":edge", labels=("no-such",))) == []
        with pytest.raises(UsageError, match="not a time"):
            opened.query(":edge", since="someday")
        with pytest.raises(UnknownStore):
            opened.resolve("alpine", store="nowhere")
        assert opened.index() == 0


def test_a_match_has_the_fields_of_an_object(path: str) -> None:
    """Each key of the JSON objects of `query` is also an attribute with the same value."""
    with Catalog.open(path) as opened:
        found = opened.resolve("alpine:3.16")
        assert found.as_object() == {field: getattr(found, field) for field in found.as_object()}
        assert (found.media_type, found.names, found.platforms, found.shadowed) == (
            writers.MANIFEST_TYPE,
            ["docker.io/library/alpine:3.16"],
            ["linux/amd64"],
            False,
        )


def test_notes_explain_an_answer(path: str, tmp_path: Path) -> None:
    """An answer by buildx's single-entry rule comes with a note."""
    writers.make_layout(str(tmp_path / "one"))
    index = writers.append(writers.empty_index(), writers.make_image(str(tmp_path / "one"), "single"))
    writers.write_index(str(tmp_path / "one"), index, "skopeo")
    found = str(tmp_path / "catalog.db")
    subprocess.run([OCICAT, "--db", found, "add", str(tmp_path / "one")], env=CLEAN, check=True, timeout=60)
    with Catalog.open(found) as opened:
        assert opened.resolve("oci-layout://one").fallback
        assert len(opened.notes) == 1
        assert opened.resolve(f"@{opened.resolve('oci-layout://one').digest}").fallback is False
        assert opened.notes == []


def test_a_missing_catalog_is_reported(tmp_path: Path) -> None:
    """A missing catalog raises CatalogUnavailable."""
    with pytest.raises(CatalogUnavailable):
        Catalog.open(str(tmp_path / "none.db"))


def test_its_types_are_there_for_those_who_use_it(tmp_path: Path) -> None:
    """mypy accepts a correct program and reports only its one unknown filter.

    No public type is one of SQLAlchemy, so the short run does not have mypy read it: that takes three quarters of the time.
    """
    program = tmp_path / "program.py"
    program.write_text(
        "from catalog import Catalog, Match\n\n"
        "with Catalog.open() as catalog:\n"
        '    found: Match = catalog.resolve("x", platform="linux/amd64", store=("a", "b"))\n'
        "    digest: str = found.digest\n"
        "    size: int | None = found.size\n"
        '    for match in catalog.query("*", labels="a=b", unnamed=True):\n'
        "        reveal_type(match.annotations)\n"
        '    catalog.query("x", bogus=1)\n',
        encoding="utf-8",
    )
    settings = tmp_path / "mypy.ini"
    settings.write_text("[mypy-sqlalchemy.*]\nfollow_imports = skip\n" if effort.is_short() else "[mypy]\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", settings, "--cache-dir", os.devnull, str(program)],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    notes = [line for line in done.stdout.splitlines() if ": note: Revealed type is " in line]
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert [note.rpartition("dict[")[2] for note in notes] == ['str, str]"']
    assert len(errors) == 1
    assert 'Unexpected keyword argument "bogus" for "query" of "Questions"' in errors[0]


def printed(path: str, *arguments: str) -> Any:
    """What a command prints as JSON."""
    program = [OCICAT, "--db", path, *arguments, "--format", "json"]
    return json.loads(subprocess.run(program, env=CLEAN, capture_output=True, text=True, check=True, timeout=60).stdout)


def test_the_other_questions_give_what_the_commands_print(path: str) -> None:
    with Catalog.open(path) as opened:
        assert [each.as_object() for each in opened.find("images", "edge")] == printed(path, "find", "images", "edge")
        assert [each.as_object() for each in opened.stores()] == printed(path, "stores")
        assert [each.as_object() for each in opened.history(":edge")] == printed(path, "history", ":edge")
        digest = opened.resolve("alpine:3.16").digest
        assert [each.as_object() for each in opened.history(digest)] == printed(path, "history", digest)
        assert [each.as_object() for each in opened.changes()] == printed(path, "changes")
        page = opened.inspect(digest).as_object()
        assert {"reference": digest, **page} == printed(path, "inspect", digest)
        usage = list(opened.report("usage").objects())
        assert usage == printed(path, "report", "usage")
        assert len(usage) == 2
        assert list(opened.sql("SELECT name FROM stores WHERE name LIKE :like", {"like": "%/b"})) == [("images/b",)]


def test_only_some_stores_are_asked(path: str) -> None:
    with Catalog.open(path) as opened:
        assert {each.store for each in opened.find("edge", store="images/b")} == {"images/b"}
        assert {each.store for each in opened.history(":edge", store="images/b")} == {"images/b"}
        assert {each.store for each in opened.changes(store="images/b")} == {"images/b"}
        with pytest.raises(UnknownStore):
            opened.changes(store="nowhere*")
        assert [row["store"] for row in opened.report("usage", store="*/b").objects()] == ["images/b"]
        assert (
            opened.inspect(":edge", store="images/b").head["digest"] == opened.resolve(":edge", store="images/b").digest
        )


def test_changes_go_on_after_a_cursor(path: str) -> None:
    with Catalog.open(path) as opened:
        changes = list(opened.changes())
        assert len(changes) == 4
        for number, change in enumerate(changes, 1):
            assert [each.cursor for each in opened.changes(cursor=change.cursor)] == [
                each.cursor for each in changes[number:]
            ]
        assert len(list(opened.changes(since="1h"))) == 4
        with pytest.raises(UsageError, match="leave one out"):
            opened.changes(since="1h", cursor=changes[0].cursor)


def test_the_past(path: str) -> None:
    with Catalog.open(path) as opened:
        now = opened.at(datetime.now(UTC))
        assert now.resolve("alpine:3.16").digest == opened.resolve("alpine:3.16").digest
        assert [each.store for each in now.query(":edge")] == ["images/a", "images/b"]
        before = opened.at("1d")
        assert list(before.query(":edge")) == []
        with pytest.raises(NotFound):
            before.resolve("alpine:3.16")
        with pytest.raises(UsageError, match="for the past"):
            before.resolve("alpine:3.16", platform="linux/amd64")
        with pytest.raises(UsageError, match="--label cannot be used for the past"):
            before.query(":edge", labels="a=b")
        with pytest.raises(UsageError, match="not a time"):
            opened.at("some day")


def test_a_wrong_statement_or_report_is_an_error(path: str) -> None:
    with Catalog.open(path) as opened:
        with pytest.raises(RefusedSQL):
            opened.sql("DELETE FROM stores")
        with pytest.raises(UsageError, match="did you mean 'usage'"):
            opened.report("usge")
        with pytest.raises(UsageError, match="has no parameter"):
            opened.report("usage", {"x": "1"})
        with pytest.raises(UsageError, match="nothing to find"):
            opened.find("")


def test_a_result_that_is_closed_gives_nothing_more(path: str) -> None:
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n"
    with Catalog.open(path) as opened:
        with opened.sql(endless) as found:
            assert next(iter(found)) == (1,)
        assert list(found) == []
        assert list(opened.sql("SELECT count(*) FROM stores")) == [(2,)]


def test_ocicat_is_another_name_for_it(path: str) -> None:
    """Every name is the same object, and `python -m ocicat` is the command line."""
    assert set(dir(ocicat)) == set(catalog.__all__)
    assert all(getattr(ocicat, name) is getattr(catalog, name) for name in catalog.__all__)
    with pytest.raises(AttributeError):
        _ = ocicat.Catalogue
    assert [each["name"] for each in printed(path, "stores")] == ["images/a", "images/b"]
