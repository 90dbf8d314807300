"""Stores whose content is read together are as if each had been read alone."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

from catalog.db.views import VIEWS
from tests import writers
from tests.conftest import Catalogue
from tests.content.layouts import digest_of, index, layout, manifest, named, put_as, write

STORES = 19
APART = 9
"""So far apart that their ids are not searched for as one range (catalog.ingest.parameters)."""

New = Callable[[Path], Catalogue]


def fill(path: str, seed: str) -> str:
    """Write a layout of everything that the content stage asks about: images of its own and one that all have; manifests that are
    embedded, unlisted, called a layer, missing, broken, and below several levels.
    """
    own, common = (manifest(path, on_arch("amd64", text)) for text in (seed, "common"))
    small = writers.dump({"schemaVersion": 2, "config": own, "layers": [], "annotations": {"seed": seed}})
    embedded = absent(small) | {"data": base64.b64encode(small).decode()}
    hidden = manifest(path, on_arch("arm64", f"unlisted {seed}"))
    index(path, hidden, annotations={"seed": seed})
    called_a_layer = manifest(path, on_arch("s390x", f"layer {seed}")) | {"mediaType": writers.LAYER_TYPE}
    broken = manifest(path, on_arch("riscv64", f"broken {seed}"))
    put_as(path, broken["digest"], b"{}")
    inner = index(path, own, common, embedded)
    write(
        path,
        named(index(path, inner, absent(f"missing {seed}".encode()), broken), "app:all"),
        named(manifest(path, on_arch("arm", seed), called_a_layer), "app:odd"),
        named(common, "app:common"),
        named(embedded, "app:embedded"),
        named(absent(f"gone {seed}".encode()), "app:gone"),
    )
    return path


def on_arch(architecture: str, seed: str) -> dict[str, str]:
    return {"os": "linux", "architecture": architecture, "seed": seed}


def absent(data: bytes) -> writers.Descriptor:
    """The descriptor of a manifest that no file holds."""
    return {"mediaType": writers.MANIFEST_TYPE, "digest": digest_of(data), "size": len(data)}


def said(catalogue: Catalogue) -> dict[str, list[tuple[Any, ...]]]:
    """What the views say, without times."""
    assert catalogue.sql("SELECT count(*) FROM stores WHERE pending") == [(0,)]
    found = {}
    for view in VIEWS:
        if view.name not in ("stores", "history", "snapshots"):
            columns = ", ".join(name for name, expression, _ in view.columns if not expression.startswith("@"))
            found[view.name] = sorted(catalogue.sql(f"SELECT {columns} FROM {view.name}"), key=repr)
    return found


def test_they_are_as_if_each_had_been_read_alone(catalogue_in: New, tmp_path: Path) -> None:
    together, alone = catalogue_in(tmp_path / "together"), catalogue_in(tmp_path / "alone")
    paths = [fill(layout(tmp_path / "root" / f"s{number:02}"), f"{number}") for number in range(STORES)]
    together.add(str(tmp_path / "root"))
    for path in paths:
        alone.add(path, name=f"root/{path[-3:]}")
    rows = said(together)
    assert rows == said(alone)
    assert [name for name, found in rows.items() if not found] == ["unnamed", "labels", "referrers"]

    some = paths[::APART]
    for path in some:
        fill(path, f"again {path[-2:]}")
    together.index()
    for path in some:
        alone.index(path)
    assert said(together) == said(alone) != rows
