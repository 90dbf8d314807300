"""Manifests that are called something else, or written oddly: `plan prune` and the report never list what they need.

Each case is a layout whose one entry leads to a config and a layer in some odd way, beside an image that nothing lists.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from catalog.engine.open import open_reader
from catalog.plans.needs import suspects, with_suspects
from catalog.plans.stores import plan_stores
from tests import writers
from tests.cli.conftest import Own
from tests.content.layouts import file_of
from tests.plans.played import AT_ONCE

Descriptor = dict[str, Any]
Make = Callable[[str, Descriptor, Descriptor], bytes]
ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"


def dumped(document: object) -> bytes:
    return json.dumps(document).encode()


def manifest(config: Descriptor, layer: Descriptor, **more: object) -> bytes:
    return dumped({"schemaVersion": 2, "config": config, "layers": [layer], **more})


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(each):04x}" for each in text)


def below(path: str, config: Descriptor, layer: Descriptor, media_type: str) -> Descriptor:
    """A manifest in the layout, as something that has this media type."""
    return writers.write_blob(path, manifest(config, layer), media_type)


def embedded(path: str, config: Descriptor, layer: Descriptor) -> Descriptor:
    """A manifest that is not in the layout, but in the field `data` of its descriptor."""
    found = below(path, config, layer, writers.MANIFEST_TYPE)
    with open(file_of(path, found["digest"]), "rb") as file:
        data = file.read()
    os.unlink(file_of(path, found["digest"]))
    return {**found, "data": base64.b64encode(data).decode()}


ODD: dict[str, Make] = {
    "fields in another case": lambda _, c, part: dumped({"Config": c, "LAYERS": [part]}),
    "layers twice": lambda _, c, part: b'{"config":%s,"layers":[],"layers":[%s]}' % (dumped(c), dumped(part)),
    "byte order mark": lambda _, c, part: b"\xef\xbb\xbf" + manifest(c, part),
    "white space before": lambda _, c, part: b" \n\t" + manifest(c, part),
    "garbage behind": lambda _, c, part: manifest(c, part) + b"x",
    "NUL behind": lambda _, c, part: manifest(c, part) + b"\0",
    "nested deep": lambda _, c, part: manifest(c, part)[:-1] + b',"x":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "large": lambda _, c, part: manifest(c, part, annotations={"x": "x" * (5 << 20)}),
    "layers in an object": lambda _, c, part: dumped({"config": c, "layers": {"0": part}}),
    "config a string": lambda _, c, part: dumped({"config": c["digest"], "layers": [part]}),
    "layers strings": lambda _, c, part: dumped({"config": c, "layers": [part["digest"]]}),
    "two kinds at once": lambda _, c, part: manifest(c, part, manifests=[]),
    "unknown kind": lambda _, c, part: dumped({"things": [c, part]}),
    "unknown kind, escaped": lambda _, c, part: (
        b'{"things":["%s","%s"]}' % (escaped(c["digest"]).encode(), escaped(part["digest"]).encode())
    ),
    "an array": lambda _, c, part: dumped([c, part]),
    "a string": lambda _, c, part: dumped(f"{c['digest']} {part['digest']}"),
    "YAML": lambda _, c, part: f"config: {c['digest']}\nlayers:\n - {part['digest']}\n".encode(),
    "JSON lines": lambda _, c, part: dumped({"config": c}) + b"\n" + dumped({"layer": part}) + b"\n",
    "schema 1": lambda _, c, part: dumped({"schemaVersion": 1, "fsLayers": [{"blobSum": each["digest"]} for each in (c, part)]}),
    "foreign layer": lambda _, c, part: manifest(c, {**part, "urls": ["https://example.com"]}),
    "index of a layer and a config": lambda _, c, part: dumped({"manifests": [c, part]}),
    "child called a layer": lambda p, c, part: dumped({"manifests": [below(p, c, part, writers.LAYER_TYPE)]}),
    "child called bytes": lambda p, c, part: dumped({"manifests": [below(p, c, part, "application/octet-stream")]}),
    "child embedded": lambda p, c, part: dumped({"manifests": [embedded(p, c, part)]}),
    "layer that is a manifest": lambda p, c, part: dumped(
        {"config": writers.write_blob(p, b"{}", EMPTY), "layers": [below(p, c, part, writers.MANIFEST_TYPE)]}
    ),
    "config that is a manifest": lambda p, c, part: dumped({"config": below(p, c, part, writers.MANIFEST_TYPE), "layers": []}),
}  # fmt: skip
"""How the bytes of the entry's blob are written."""

TYPES: dict[str, Descriptor] = {
    "no media type": {"mediaType": ""},
    "another media type": {"mediaType": "application/x-other"},
    "called a layer": {"mediaType": writers.LAYER_TYPE},
    "called a config": {"mediaType": writers.CONFIG_TYPE},
    "called bytes": {"mediaType": "application/octet-stream"},
    "called an artifact": {"mediaType": ARTIFACT},
    "size too small": {"size": 1},
    "size a string": {"size": "9"},
    "wrong data": {"data": base64.b64encode(b"{}").decode()},
    "annotations a list": {"annotations": [1]},
    "digest in capitals": {},
    "large element": {"x": "x" * (5 << 20)},
}
"""What is odd about the entry."""


def test_what_odd_manifests_need_is_not_planned(cli: Own, tmp_path: Path) -> None:
    needed: dict[str, set[str]] = {}
    for name in (*ODD, *TYPES):
        path = writers.make_layout(f"{tmp_path}/all/{name}")
        config = writers.write_blob(path, dumped({"os": "linux", "architecture": "amd64", "n": 1}), writers.CONFIG_TYPE)
        layer = writers.write_blob(path, b"layer", writers.LAYER_TYPE)
        data = ODD[name](path, config, layer) if name in ODD else manifest(config, layer)
        entry = writers.write_blob(path, data, writers.MANIFEST_TYPE) | TYPES.get(name, {})
        digest = str(entry["digest"])
        if name == "digest in capitals":
            entry["digest"] = f"sha256:{digest.removeprefix('sha256:').upper()}"
        needed[path] = {file_of(path, str(each["digest"])) for each in (config, layer)} | {file_of(path, digest)}
        writers.make_image(path, "garbage")
        writers.write_index(path, {"schemaVersion": 2, "manifests": [entry]})
    cli("--quiet", "add", f"{tmp_path}/all")
    result = cli("plan", "prune", *AT_ONCE, "--format", "json")
    assert result.status == 0, result
    listed = {row["path"] for row in json.loads(result.out)}
    assert {path: sorted(files & listed) for path, files in needed.items() if files & listed} == {}
    rows = json.loads(cli("report", "unreferenced", "-p", "older_than=0s", "--format", "json").out)
    reported = {file_of(f"{tmp_path}/{unquote(row['store'])}", row["digest"]) for row in rows}
    assert {path: sorted(files & reported) for path, files in needed.items() if files & reported} == {}
    assert reported, "the report says something of the others"
    with closing(open_reader(cli.db)) as reader:  # of many stores, only those are asked for suspects that may have some
        suspicious = {unquote(store.name) for store in plan_stores(reader).values() if suspects(reader, store)}
        may_be = with_suspects(reader)
        assert suspicious <= {unquote(store.name) for store in plan_stores(reader).values() if store.id in may_be}
        assert {
            f"all/{name}" for name in ("called a layer", "layer that is a manifest", "child called a layer")
        } <= suspicious
        assert len(may_be) < len(needed)
    unjudged = sum("nothing is planned for" in line for line in result.said)
    assert len({os.path.dirname(path) for path in listed}) + unjudged == len(needed), "each is planned, or named"


def test_a_sparse_store_keeps_what_a_manifest_needs_that_only_another_store_has(cli: Own, tmp_path: Path) -> None:
    path, other = writers.make_layout(f"{tmp_path}/sparse"), writers.make_layout(f"{tmp_path}/other")
    image = writers.make_image(path, "kept")
    kept = set(os.listdir(f"{path}/blobs/sha256"))
    index = writers.write_blob(path, dumped({"schemaVersion": 2, "manifests": [image]}), writers.INDEX_TYPE)
    os.rename(file_of(path, image["digest"]), file_of(other, image["digest"]))
    writers.make_image(path, "garbage")
    writers.write_index(path, writers.empty_index(index))
    writers.write_index(other, writers.empty_index(image))
    cli.done("add", "--sparse", other, path)
    rows = json.loads(cli("plan", "prune", "sparse", *AT_ONCE, "--format", "json").out)
    assert len(rows) == 3
    assert not {row["digest"].removeprefix("sha256:") for row in rows} & kept


def test_a_buildkit_cache_is_judged(cli: Own, tmp_path: Path) -> None:
    """Its config names the layers that the index above it lists as well, and is no manifest."""
    path = writers.make_layout(f"{tmp_path}/cache")
    layers = [writers.write_blob(path, f"layer {number}".encode(), writers.LAYER_TYPE) for number in range(3)]
    records = {"layers": [{"blob": each["digest"], "parent": -1} for each in layers], "records": [{"digest": "x"}]}
    config = writers.write_blob(path, dumped(records), "application/vnd.buildkit.cacheconfig.v0")
    index = writers.write_blob(path, dumped({"schemaVersion": 2, "manifests": [*layers, config]}), writers.INDEX_TYPE)
    writers.write_index(path, writers.empty_index(index))
    garbage = writers.write_blob(path, b"garbage", writers.LAYER_TYPE)
    cli.done("add", path)
    for command in (("plan", "prune", *AT_ONCE), ("report", "unreferenced", "-p", "older_than=0s")):
        assert [row["digest"] for row in json.loads(cli(*command, "--format", "json").out)] == [garbage["digest"]]
