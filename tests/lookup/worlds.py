"""Generate layouts of every naming style, with few repositories, tags and digests, so that names collide."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests import writers
from tests.conftest import Catalogue, stamp
from tests.oracle import OracleStore
from tests.writers import IMAGE_NAME, REF_NAME, Descriptor

REPOSITORIES = (
    "docker.io/library/alpine", "docker.io/user/app", "quay.io/user/app", "localhost:5000/app", "my_host.com/app",
)  # fmt: skip
TAGS = ("latest", "3.16", "3.17", "1")
DIGESTS = (
    f"sha256:{'a' * 64}", f"sha256:{'a' * 12}{'b' * 52}", f"sha256:{'c' * 64}", f"sha512:{'d' * 128}",
    f"blake3:{'e' * 64}",
)  # fmt: skip


def _index(*children: str) -> bytes:
    descriptors = [{"mediaType": writers.MANIFEST_TYPE, "digest": child, "size": 2} for child in children]
    return writers.dump({"schemaVersion": 2, "mediaType": writers.INDEX_TYPE, "manifests": descriptors})


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


_LEAF = writers.dump({"schemaVersion": 2, "mediaType": writers.MANIFEST_TYPE, "layers": []})
_INNER = _index(DIGESTS[0], DIGESTS[3], _digest(_LEAF), DIGESTS[0])
_OUTER = _index(_digest(_INNER), DIGESTS[2])
BLOBS = {_digest(data): data for data in (_LEAF, _INNER, _OUTER)}
"""A manifest, an index above it and above some of DIGESTS, and an index above that."""

BAD_DIGESTS = (None, 5, "", "sha256:../../x", f"sha256:{'A' * 64}", "sha256:abc", f"sha384:{'a' * 64}")
LONG = "x+" * 600

repositories = st.sampled_from(REPOSITORIES)
tags = st.sampled_from(TAGS)
digests = st.sampled_from((*DIGESTS, *BLOBS))
full = st.builds("{}:{}".format, repositories, tags)
familiar = full.map(writers.familiar)
at_digest = st.builds("{}@{}".format, full | familiar | repositories | tags, digests)
garbage = st.sampled_from(
    ["", "v1+build.5", "x y", "UPPER", "alpine", "a" * 64, "3.16\0", "\ud800", "é:3.16", "weird path/x:3.16", ":3.16",
     "latest:", "@", ",", "*", "[::1]:5000/app", LONG, f"{LONG}:3.16", f"docker.io/library/{'z' * 300}:1", "\U0010ffff"]
)  # fmt: skip
joined = st.lists(full | familiar | tags | at_digest | garbage, min_size=2, max_size=3).map(",".join)
ref_names = st.one_of(
    tags,
    familiar,
    full,
    repositories,
    full.map(lambda name: name.replace("docker.io/", "index.docker.io/")),
    at_digest,
    joined,
    garbage,
    digests.map("@{}".format),
)
image_names = st.one_of(full, familiar, repositories, at_digest, garbage, tags)
OTHER_NAME = "org.opencontainers.image.base.name"
odd: st.SearchStrategy[Any] = st.sampled_from([None, 5, True, ["3.16"], {}])


@st.composite
def entries(draw: st.DrawFn) -> Any:
    """Draw an element of `manifests`, sometimes one that is not a descriptor or has an unusable part."""
    kind = draw(st.integers(0, 24))
    if kind == 0:
        return draw(st.sampled_from([None, 5, "sha256", [], {}]))
    annotations: dict[str, Any] = {}
    style = draw(st.integers(0, 8))
    if style == 0:  # containerd's pair
        repository, tag = draw(repositories), draw(tags)
        annotations = {IMAGE_NAME: f"{repository}:{tag}", REF_NAME: draw(st.sampled_from([tag, f"{repository}:{tag}"]))}
    elif style < 7:
        if style != 1:
            annotations[REF_NAME] = draw(ref_names)
        if style < 4:
            annotations[IMAGE_NAME] = draw(image_names)
    if draw(st.integers(0, 3)) == 0:
        annotations[OTHER_NAME] = draw(ref_names)
    if draw(st.integers(0, 7)) == 0:
        annotations[draw(st.sampled_from(["k", "org.example\0", REF_NAME, IMAGE_NAME]))] = draw(odd | st.just("v"))
    entry: dict[str, Any] = {
        "mediaType": draw(st.sampled_from([writers.MANIFEST_TYPE, writers.INDEX_TYPE])),
        "digest": draw(digests if kind > 1 else st.sampled_from(BAD_DIGESTS)),
        "size": draw(st.sampled_from([2, 2, 2, 3, -1, None, "2"])),
    }
    if annotations or style == 8:
        entry["annotations"] = annotations if kind != 2 else draw(odd)
    return entry


indexes: st.SearchStrategy[list[Descriptor]] = st.lists(entries(), max_size=7)

# Paths below the working directory, with the names that the stores then have; `reg` and `lot` are roots, `lot/in` is one
# inside of the other.
PLACES = {
    "reg/alpine": "reg/alpine",
    "reg/library/alpine": "reg/library/alpine",
    "reg/user/app": "reg/user/app",
    "reg/user": "reg/user",
    "reg/UPPER": "reg/UPPER",
    "reg/ap:p@1%": "reg/ap%3Ap%401%25",
    "lot/one": "lot/one",
    "lot/two words": "lot/two%20words",
    "lot/in": "in",
    "lot/in/alpine": "in/alpine",
    "solo": "solo",
    "s@1.3": "s%401.3",
    ".hidden": "%2Ehidden",
}
ROOTS = ("reg", "lot", "lot/in")

NAMINGS = (
    "annotations",
    "path",
    "path:tag",
    "fixed=alpine",
    "fixed=quay.io/user/app",
    f"annotation={OTHER_NAME}",
)


class Policy(NamedTuple):
    """The options for `add`."""

    naming: str = "annotations"
    prefix: str | None = None
    priority: int = 0

    @property
    def options(self) -> dict[str, Any]:
        return self._asdict()


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    naming = draw(st.sampled_from(NAMINGS))
    prefix = draw(st.sampled_from([None, None, "quay.io", "localhost:5000"])) if naming.startswith("path") else None
    return Policy(naming, prefix, draw(st.integers(-1, 1)))


class World(NamedTuple):
    """The elements of each layout, the blobs in it, the policies of the roots, and those of stores that have their own."""

    layouts: dict[str, list[Descriptor]]
    blobs: dict[str, list[str]]
    roots: dict[str, Policy]
    own: dict[str, Policy]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    chosen = draw(st.lists(st.sampled_from(sorted(PLACES)), min_size=1, max_size=6, unique=True))
    layouts = {place: draw(indexes) for place in chosen}
    blobs = {place: draw(st.lists(st.sampled_from(sorted(BLOBS)), max_size=3, unique=True)) for place in chosen}
    roots = {root: draw(policies()) for root in ROOTS}
    own = {
        place: draw(policies())
        for place in chosen
        if root_of(place) is None or (place not in ROOTS and draw(st.integers(0, 3)) == 0)
    }
    return World(layouts, blobs, roots, own)


def make(world: World, catalogue: Catalogue, directory: str) -> list[OracleStore]:
    """Register the roots, write the layouts and index them. Returns the stores for the oracle."""
    for root, policy in world.roots.items():
        os.makedirs(f"{directory}/{root}", exist_ok=True)
        catalogue.add(f"{directory}/{root}", index=False, **policy.options)
    stores = []
    for place, elements in world.layouts.items():
        path = writers.make_layout(f"{directory}/{place}")
        for digest in world.blobs[place]:
            writers.write_blob(path, BLOBS[digest], "")
        writers.write_recreate(path, json.dumps({"schemaVersion": 2, "manifests": elements}).encode())
        stamp(f"{path}/index.json")
        if place in world.own:
            catalogue.add(path, index=False, **world.own[place].options)
        stores.append(_as_oracle(world, directory, place))
    catalogue.index()
    return stores


def _as_oracle(world: World, directory: str, place: str) -> OracleStore:
    root = root_of(place)
    inherited = Policy() if root is None else world.roots[root]
    own = world.own.get(place, inherited)
    return OracleStore(
        PLACES[place],
        f"{directory}/{place}",
        own.priority,
        own.naming,
        None if root is None else f"{directory}/{root}",
        own.prefix or inherited.prefix,
    )


def root_of(place: str) -> str | None:
    """Return the deepest root at or above a place."""
    return next((root for root in reversed(ROOTS) if f"{place}/".startswith(f"{root}/")), None)
