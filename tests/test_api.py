"""The Python API (docs/python.md), used as its users do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import catalog
from catalog import (
    Ambiguous,
    Catalog,
    CatalogUnavailable,
    InvalidReference,
    NotFound,
    Reference,
    UnknownStore,
    UsageError,
)
from tests import writers


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
    program = [sys.executable, "-c", "from catalog.cli.start import main; main()"]
    subprocess.run([*program, "--db", found, "add", str(root)], check=True, timeout=60)
    return found


def test_everything_public_is_there() -> None:
    """Exactly the names in `__all__` can be imported."""
    for name in catalog.__all__:
        assert getattr(catalog, name) is not None
    assert set(dir(catalog)) == set(catalog.__all__)
    with pytest.raises(AttributeError):
        _ = catalog.Catalogue


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
    program = [sys.executable, "-c", "from catalog.cli.start import main; main()"]
    subprocess.run([*program, "--db", found, "add", str(str(tmp_path / "one"))], check=True, timeout=60)
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
    """mypy accepts a correct program and reports only its one unknown filter."""
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
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(program)],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    notes = [line for line in done.stdout.splitlines() if ": note: Revealed type is " in line]
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert [note.rpartition("dict[")[2] for note in notes] == ['str, str]"']
    assert len(errors) == 1
    assert 'Unexpected keyword argument "bogus" for "query" of "Catalog"' in errors[0]
