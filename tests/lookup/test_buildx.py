"""The catalog resolves everything that buildx resolves, to the same digest (docs/resolution.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests import writers
from tests.conftest import Catalogue, stamp
from tests.ingest.test_policies import digest, entry
from tests.names import shared_vectors


def test_everything_that_buildkit_finds(catalogue: Catalogue, tmp_path: Path) -> None:
    """../shared/vectors/buildkit_index.json: `Get` of BuildKit's index, and buildx's rule of the only entry."""
    path = writers.make_layout(str(tmp_path / "s"))
    catalogue.add(path)
    for row in shared_vectors("buildkit_index.json"):
        final: list[dict[str, Any]] = row["final"]
        entries = [entry(each["d"], each.get("ref_name"), each.get("image_name")) for each in final]
        writers.write_index(path, writers.empty_index(*entries), "buildkit")
        stamp(f"{path}/index.json")
        catalogue.index()
        for text, got in row["get"].items():
            tagged = bool(text) and "/" not in text and ":" not in text
            said = catalogue.resolve(f"oci-layout://{path}{':' if tagged else '/'}{text}")
            wanted = got or (row["get_or_single"][text] if tagged else None)
            if text and wanted:
                assert (said.status, said.digest) == (0, digest(wanted)), (row["title"], text)
                assert not (got and said.fallback), (row["title"], text)
            if tagged and not wanted:
                assert said.status == 1, (row["title"], text)


def test_layout_references_find_what_buildx_finds(catalogue: Catalogue, tmp_path: Path) -> None:
    """../shared/vectors/oci_layout_ref.json: a store where buildx looks for it, with the tag or digest that it reads."""
    rows = [row for row in shared_vectors("oci_layout_ref.json") if row["match"]]
    for number, row in enumerate(row for row in rows if row["valid"] and row["path"].startswith("/")):
        base = str(tmp_path / str(number))
        wanted = row["digest"] or digest("a")
        path = writers.make_layout(f"{base}{row['path']}".rstrip("/"))
        tagged = {**entry("a", row["tag"] or "other"), "digest": wanted}
        writers.write_index(path, writers.empty_index(entry("b", "x"), tagged))
        catalogue.add(path, name=f"s{number}")
        assert catalogue.resolve(row["input"].replace("://", f"://{base}", 1)).digest == wanted, row["input"]
    for row in rows:
        if not row["valid"]:
            assert catalogue.resolve(row["input"]).status == 2, row["input"]
