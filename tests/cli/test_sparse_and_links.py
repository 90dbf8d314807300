"""Sparse stores, and links in a store: how `add`, `check`, `verify` and `report missing` treat them."""

from __future__ import annotations

import os
from pathlib import Path

from tests import writers
from tests.cli.conftest import Own, objects
from tests.content.layouts import file_of, layer, layout, manifest, named, write

AMD64 = {"os": "linux", "architecture": "amd64"}


def test_layers_of_a_sparse_store_are_not_missing(cli: Own, tmp_path: Path) -> None:
    path = layout(tmp_path / "images/s")
    absent = layer("config")
    entry = manifest(path, absent | {"mediaType": writers.CONFIG_TYPE}, layer("base"))
    write(path, named(entry))
    cli.done("add", path)
    assert {row["role"] for row in objects(cli("report", "missing", "--format", "json"))} == {"config", "layer"}
    cli.done("add", path, "--sparse")
    assert cli.stores()["s"]["sparse"] is True
    assert [row["subject"] for row in objects(cli("check", "--format", "json"))] == [absent["digest"]]
    assert {row["role"] for row in objects(cli("report", "missing", "--format", "json"))} == {"config"}
    cli.done("add", path, "--no-sparse")
    assert cli.stores()["s"]["sparse"] is False
    assert len(objects(cli("check", "--format", "json"))) == 2


def test_a_sparse_root_has_sparse_stores(cli: Own, tmp_path: Path) -> None:
    for name in ("a", "b"):
        path = layout(tmp_path / f"images/{name}")
        write(path, named(manifest(path, AMD64, layer("base"))))
    cli.done("add", str(tmp_path / "images"))
    cli.done("add", str(tmp_path / "images/b"), "--no-sparse")
    cli.done("add", str(tmp_path / "images"), "--sparse")
    assert {name: each["sparse"] for name, each in cli.stores().items()} == {"images/a": True, "images/b": False}
    assert [row["store"] for row in objects(cli("check", "--format", "json"))] == ["images/b"]
    path = layout(tmp_path / "images/c")
    write(path, named(manifest(path, AMD64, layer("base"))))
    cli.done("index")
    assert cli.stores()["images/c"]["sparse"] is True


def test_verify_counts_links(cli: Own, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    entry = manifest(path, AMD64)
    write(path, named(entry))
    file = file_of(path, entry["digest"])
    os.rename(file, tmp_path / "away")
    os.symlink(tmp_path / "away", file)
    cli("add", path)
    result = cli("verify", "--format", "{kind} {subject}")
    assert (result.status, result.lines) == (1, [f"bad-blob {entry['digest']}"])
    assert "1 not read, since they are symbolic links or not regular files" in result.err
    os.unlink(file)
    os.rename(f"{path}/blobs", tmp_path / "elsewhere")
    os.rename(tmp_path / "away", tmp_path / "elsewhere" / "sha256" / entry["digest"].partition(":")[2])
    os.symlink(tmp_path / "elsewhere", f"{path}/blobs")
    result = cli("verify", "--format", "{kind} {subject}")
    assert (result.status, result.lines) == (1, [f"linked {path}/blobs"])
    cli("index")
    assert [row["kind"] for row in objects(cli("check", "--format", "json"))] == ["linked"]
    assert cli("report", "missing").out == ""
    advice = f"'ocicat add {path} --shared-blob-dir {tmp_path}/elsewhere'"
    assert advice in str(objects(cli("check", "--format", "json"))[0]["detail"])
    cli.done("add", path, "--shared-blob-dir", str(tmp_path / "elsewhere"))
    assert cli.done("check").out == ""
    assert cli("verify").status == 0


def test_an_index_that_is_a_link_is_reported_with_advice(cli: Own, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    os.rename(f"{path}/index.json", tmp_path / "away.json")
    os.symlink(tmp_path / "away.json", f"{path}/index.json")
    cli("add", path)
    result = cli("check", "--format", "{kind} {detail}")
    assert result.status == 1
    assert result.out.startswith("linked index.json is a symbolic link, which is not followed: ")
