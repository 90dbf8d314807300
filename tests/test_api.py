"""The Python API (docs/python.md), as its users call it."""

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
    """A catalog of two stores that agree on one name and differ in another."""
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
    """What `__all__` promises can be imported, and nothing else."""
    for name in catalog.__all__:
        assert getattr(catalog, name) is not None
    assert set(dir(catalog)) == set(catalog.__all__)
    with pytest.raises(AttributeError):
        _ = catalog.Catalogue


def test_a_reference_has_its_parts() -> None:
    """A reference keeps its text beside what it means."""
    found = Reference.parse("alpine")
    assert (found.domain, found.path, found.repository) == ("docker.io", "library/alpine", "docker.io/library/alpine")
    assert (found.tag, found.digest) == (None, None)
    assert (found.canonical, found.familiar) == ("docker.io/library/alpine:latest", "alpine")
    with pytest.raises(InvalidReference):
        Reference.parse("UPPER")


def test_a_catalog_resolves(path: str) -> None:
    """One answer where the stores agree; an error that says which kind of none it is where not."""
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
        with pytest.raises(UsageError, match="no time"):
            opened.query(":edge", since="yesterday")
        with pytest.raises(UnknownStore):
            opened.resolve("alpine", store="nowhere")
        assert opened.index() == 0


def test_a_match_has_the_fields_of_an_object(path: str) -> None:
    """Each key of the objects of `query` is an attribute too, of the same value."""
    with Catalog.open(path) as opened:
        found = opened.resolve("alpine:3.16")
        assert found.as_object() == {field: getattr(found, field) for field in found.as_object()}
        assert (found.media_type, found.names, found.platforms, found.shadowed) == (
            writers.MANIFEST_TYPE,
            ["docker.io/library/alpine:3.16"],
            ["linux/amd64"],
            False,
        )


def test_notes_say_what_stands_beside_an_answer(path: str, tmp_path: Path) -> None:
    """buildx's single-entry rule is an answer, and is told."""
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


def test_no_catalog_is_told(tmp_path: Path) -> None:
    """A catalog that is not there is an error of ours."""
    with pytest.raises(CatalogUnavailable):
        Catalog.open(str(tmp_path / "none.db"))


def test_its_types_are_there_for_those_who_use_it(tmp_path: Path) -> None:
    """What mypy says of a program that is right, but for one filter that there is not."""
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
