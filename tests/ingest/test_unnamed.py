"""Names of entries that have none of their own: from the store's path, or from another annotation."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalog.errors import UsageError
from catalog.names.keys import Naming
from tests.conftest import Catalogue, Said
from tests.ingest.test_policies import digest, entry, layout
from tests.oracle import Oracle, OracleStore
from tests.writers import Descriptor

BASE = "org.opencontainers.image.base.name"


def based(letter: str, name: str, ref_name: str | None = None) -> Descriptor:
    made = entry(letter, ref_name)
    annotations: dict[str, str] = {**made["annotations"], BASE: name}
    return {**made, "annotations": annotations}


@pytest.mark.parametrize("naming", ["path", "path:tag"])
def test_a_single_entry_takes_its_name_from_the_path(catalogue: Catalogue, tmp_path: Path, naming: str) -> None:
    root = f"{tmp_path}/repo"
    path = layout(f"{root}/index.docker.io/library/busybox/1.36", entry("a"))
    catalogue.add(root, naming=naming)
    name = "repo/index.docker.io/library/busybox/1.36"
    oracle = Oracle([OracleStore(name, path, naming=naming, root=root)], below=False)

    def both(ref: str) -> Said:
        said = catalogue.resolve(ref)
        assert (said.status, said.digest) == (oracle.resolve(ref).status, oracle.resolve(ref).digest)
        return said

    assert both("busybox:1.36") == Said(0, digest("a"), name)
    assert both(":1.36") == Said(0, digest("a"), name)
    layout(path, entry("a"), entry("b"))
    catalogue.index()
    assert both("busybox:1.36").status == (0 if naming == "path:tag" else 1)
    layout(path, entry("b"))
    catalogue.index()
    assert both("busybox:1.36") == Said(0, digest("b"), name)
    layout(path, entry("b", "x"))
    catalogue.index()
    assert both("busybox:1.36").status == 1
    assert both("busybox:x" if naming == "path:tag" else "library/busybox/1.36:x").status == 0


def test_rekeying_by_an_annotation(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "zarf", based("a", "alpine:3.16"), based("b", "busybox:1", "own"), based("c", "UPPER"))
    catalogue.add(path)
    assert catalogue.resolve("alpine:3.16").status == 1
    catalogue.add(path, naming=f"annotation={BASE}")
    oracle = Oracle([OracleStore("zarf", path, naming=f"annotation={BASE}")], below=False)
    for ref in ("alpine:3.16", ":3.16", "oci-layout://hauler/alpine:3.16", "busybox:1", ":own", ":3.16"):
        assert catalogue.resolve(ref).digest == oracle.resolve(ref).digest
    assert catalogue.resolve("alpine:3.16") == Said(0, digest("a"), "zarf")
    problems = catalogue.sql("SELECT kind, subject FROM problem WHERE kind = 'unusable-name'")
    assert problems == [("unusable-name", BASE)]
    layout(path, based("d", "alpine:3.16"))
    catalogue.index()
    assert catalogue.resolve("alpine:3.16") == Said(0, digest("d"), "zarf")
    catalogue.add(path, naming="annotations")
    assert catalogue.resolve("alpine:3.16").status == 1


@pytest.mark.parametrize("text", ["path:tag", f"annotation={BASE}", "annotation=x y"])
def test_policies_that_are_read(text: str) -> None:
    assert str(Naming.parse(text)) == text


@pytest.mark.parametrize("text", ["annotation", "annotation=", "path:", "path:tags", "path:tag=x"])
def test_policies_that_are_not(text: str) -> None:
    with pytest.raises(UsageError, match="annotation=KEY"):
        Naming.parse(text)


def test_a_path_that_is_no_repository_with_a_tag(catalogue: Catalogue, tmp_path: Path) -> None:
    layout(tmp_path / "R/alpine", entry("a"))
    catalogue.add(f"{tmp_path}/R", naming="path:tag")
    assert catalogue.sql("SELECT subject FROM problem WHERE kind = 'no-repository'") == [("naming=path:tag",)]


def test_hints(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "hauler", entry("a", f"alpine:3.16@{digest('b')}"))
    catalogue.add(path)
    from catalog.names.query import parse_query

    for ref in ("alpine:3.16", f"alpine@{digest('b')}", f"alpine:3.16@{digest('b')}", digest("b")):
        asking = catalogue.asking()
        assert digest("a") in str(asking.missing(parse_query(ref)))
        assert catalogue.resolve(ref).status == 1
