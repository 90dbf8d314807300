"""Generated layouts whose entries are images and indexes of them: nested, sparse, repeated, corrupt, in several stores."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests import writers
from tests.conftest import Catalogue, stamp
from tests.oracle import OracleStore
from tests.writers import Descriptor

REPOSITORIES = ("docker.io/library/alpine", "quay.io/user/app")
TAGS = ("1", "2")
PLATFORMS: tuple[dict[str, Any], ...] = (
    {"os": "linux", "architecture": "amd64"},
    {"os": "linux", "architecture": "x86_64"},
    {"os": "linux", "architecture": "amd64", "variant": "v2"},
    {"os": "linux", "architecture": "arm", "variant": "v6"},
    {"os": "linux", "architecture": "arm", "variant": "v7"},
    {"os": "linux", "architecture": "arm"},
    {"os": "linux", "architecture": "aarch64", "variant": "v8"},
    {"os": "windows", "architecture": "amd64"},
    {"os": "windows", "architecture": "amd64", "os.version": "10.0.17763.1"},
    {"os": "windows", "architecture": "amd64", "os.version": "10.0.20348.1"},
    {"os": "windows", "architecture": "amd64", "os.version": "10.0.20348.2", "os.features": ["win32k"]},
)
ODD_PLATFORMS: tuple[Any, ...] = (
    {"os": "unknown", "architecture": "unknown"},
    {"architecture": "amd64"},
    {"os": "linux", "architecture": "amd64/v2"},
    {"os": 5, "architecture": "amd64"},
    {"os": "windows", "architecture": "amd64", "os.version": 10},
    {"os": "windows", "architecture": "amd64", "os.version": "10.0.20348+(/", "os.features": "win32k"},
    "linux/amd64",
    None,
)
ASKED = (
    "linux/amd64",
    "linux/amd64/v3",
    "linux/arm/v8",
    "linux/arm/v6",
    "linux/arm64",
    "windows/amd64",
    "windows(10.0.17763)/amd64",
    "windows(10.0.20348.2+win32k)/amd64",
    "windows(10.0.26100)/amd64",
    "unknown/unknown",
)


class Blobs:
    """Blobs by digest, as JSON says them; `documents` are those that stores refer to, `configs` the others."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}

    def add(self, document: Any, media_type: str) -> Descriptor:
        data = json.dumps(document).encode()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.data[digest] = data
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def reached(self, digest: str) -> set[str]:
        """A digest and all that it points to."""
        found, todo = set(), [digest]
        while todo:
            each = todo.pop()
            if each not in found and each in self.data:
                found.add(each)
                document = json.loads(self.data[each])
                pointed = [*document.get("manifests", ()), *document.get("layers", ()), document.get("config")]
                todo += [one["digest"] for one in pointed if isinstance(one, dict) and "digest" in one]
        return found


class World(NamedTuple):
    """`nodes` are the descriptors of images and indexes; each store has entries, blobs left out, and corrupt ones."""

    blobs: Blobs
    nodes: list[Descriptor]
    stores: dict[str, tuple[list[Descriptor], set[str], set[str]]]


@st.composite
def images(draw: st.DrawFn, blobs: Blobs, number: int) -> Descriptor:
    kind = draw(st.integers(0, 9))
    config: dict[str, Any] = {"number": number, "config": {"Env": ["A=b"]}}
    if kind:
        config |= draw(st.sampled_from(PLATFORMS))
    media_type = writers.CONFIG_TYPE if kind != 1 else "application/vnd.docker.container.image.v1+json"
    manifest = {"schemaVersion": 2, "config": blobs.add(config, media_type), "layers": []}
    if kind == 2:
        del manifest["config"]
    if kind == 3:
        return blobs.add({"number": number, "neither": []}, "application/x-unknown")
    return blobs.add(manifest, draw(st.sampled_from([writers.MANIFEST_TYPE, "application/x-unknown"])))


@st.composite
def indexes(draw: st.DrawFn, blobs: Blobs, nodes: list[Descriptor]) -> Descriptor:
    children = []
    for child in draw(st.lists(st.sampled_from(nodes), min_size=1, max_size=5)):
        how = draw(st.integers(0, 3))
        said = {} if how == 0 else {"platform": draw(st.sampled_from(PLATFORMS if how < 3 else ODD_PLATFORMS))}
        children.append({key: value for key, value in child.items() if key != "platform"} | said)
    media_type = draw(
        st.sampled_from([writers.INDEX_TYPE, "application/vnd.docker.distribution.manifest.list.v2+json"])
    )
    return blobs.add({"schemaVersion": 2, "manifests": children, "number": len(nodes)}, media_type)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    blobs = Blobs()
    nodes = [draw(images(blobs, number)) for number in range(draw(st.integers(2, 4)))]
    for _ in range(draw(st.integers(1, 4))):
        nodes.append(draw(indexes(blobs, nodes)))
    stores = {}
    for name in draw(st.sampled_from([("a",), ("a", "b"), ("a", "b", "c")])):
        entries = []
        for node in draw(st.lists(st.sampled_from(nodes), min_size=1, max_size=4)):
            style = draw(st.sampled_from(["tag", "short", "canonical", "containerd", "none"]))
            repository, tag = draw(st.sampled_from(REPOSITORIES)), draw(st.sampled_from(TAGS))
            entry = writers.name_entry(node, style, repository, tag)
            if draw(st.integers(0, 5)) == 0:
                entry["platform"] = draw(st.sampled_from(PLATFORMS))  # a claim that its content may belie
            entries.append(entry)
        known = sorted(set().union(*(blobs.reached(entry["digest"]) for entry in entries)))
        some = st.sets(st.sampled_from(known), max_size=3)
        stores[name] = (entries, draw(some), draw(some))
    return World(blobs, nodes, stores)


def make(world: World, catalogue: Catalogue, directory: str) -> list[OracleStore]:
    """Writes the layouts and indexes them; the stores as the oracle is to see them."""
    stores = []
    for number, (name, (entries, left_out, corrupt)) in enumerate(world.stores.items()):
        path = writers.make_layout(f"{directory}/{name}")
        reached = set().union(*(world.blobs.reached(entry["digest"]) for entry in entries))
        for digest in reached - left_out:
            put(path, digest, world.blobs.data[digest] if digest not in corrupt else lie(world, digest))
        writers.write_recreate(path, writers.dump(writers.empty_index(*entries)))
        stamp(f"{path}/index.json")
        catalogue.add(path, priority=-number, index=False)
        stores.append(OracleStore(name, path, -number))
    catalogue.index()
    return stores


def put(path: str, digest: str, data: bytes) -> None:
    algorithm, _, encoded = digest.partition(":")
    os.makedirs(f"{path}/blobs/{algorithm}", exist_ok=True)
    with open(f"{path}/blobs/{algorithm}/{encoded}", "wb") as file:
        file.write(data)


def lie(world: World, digest: str) -> bytes:
    """An index that pretends to be the blob: it lists itself, all blobs that exist, and some that do not."""
    listed = [{"digest": digest}, *world.nodes, {"digest": f"sha256:{'0' * 64}"}]
    return writers.dump({"schemaVersion": 2, "manifests": listed})


def references(world: World, stores: list[OracleStore]) -> list[str]:
    """References of every form to every digest that there is, and to names."""
    asked: dict[str, None] = {}
    names = [f"{repository}:{tag}" for repository in REPOSITORIES for tag in TAGS]
    asked.update(dict.fromkeys([*names, ":1", ":2", "docker.io/library/alpine:*", f"@sha256:{'0' * 64}"]))
    for digest in sorted(world.blobs.data):
        asked.update(dict.fromkeys((digest, digest[:13], f"alpine@{digest}", f"quay.io/user/app:1@{digest}")))
        for store in stores:
            asked.update(
                dict.fromkeys((f"oci-layout://{store.name}@{digest}", f"oci-layout://{store.name}/alpine@{digest}"))
            )
    for store in stores:
        asked.update(
            dict.fromkeys((f"oci-layout://{store.name}", f"oci-layout://{store.path}:1", f"oci:{store.path}:1"))
        )
        asked.update(
            dict.fromkeys((f"oci:{store.path}", f"ocidir://{store.path}:2", f"oci-layout://{store.name}/alpine:1"))
        )
    return list(asked)
