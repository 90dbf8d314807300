"""The layouts of a stress run: where they are, what they hold at first, and what the next state of one is.

Every state of every store has another digest behind its tag `t`: so an answer tells which state it is of. The layouts are
of two shapes: synthetic ones, with entries and no blobs, and real ones, with images for two platforms below an index.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from tests.writers import (
    CREATED,
    IMAGE_NAME,
    REF_NAME,
    Descriptor,
    Index,
    append,
    duplicate,
    empty_index,
    entries_of,
    fake_descriptor,
    make_image,
    make_index_image,
    make_layout,
    name_entry,
    platform,
    remove,
    reorder,
    retag_replace,
    retag_skopeo,
    write_index,
)

ROOTS = 4
GROUPS = 25
WRITERS = 8
TAG = "t"
_MOST_ENTRIES = 14


class Place(NamedTuple):
    """A layout of the run."""

    number: int

    @property
    def name(self) -> str:
        """What the catalog calls it."""
        return f"root{self.number % ROOTS}/g{self.number // ROOTS % GROUPS}/s{self.number:05}"

    def path(self, directory: str) -> str:
        return f"{directory}/{self.name}"

    @property
    def repository(self) -> str:
        return f"docker.io/library/app-{self.number:05}"

    @property
    def writer(self) -> int:
        """The process that writes it: one alone, since what several lose to each other is their own affair."""
        return self.number % WRITERS

    @property
    def _kind(self) -> int:
        return self.number // WRITERS % 10

    @property
    def is_real(self) -> bool:
        """Whether its blobs are there."""
        return self._kind == 1

    @property
    def is_slow(self) -> bool:
        """Whether its writer pauses in the middle of a write, for longer than the settling time."""
        return self._kind == 2

    @property
    def comes_and_goes(self) -> bool:
        """Whether its directory is deleted and made again."""
        return self._kind == 3

    @property
    def refs(self) -> tuple[str, ...]:
        """References to its tag that no other store answers."""
        return f"{self.repository.rpartition('/')[2]}:{TAG}", f"oci-layout://{self.name}:{TAG}"


def places(stores: int) -> list[Place]:
    return [Place(number) for number in range(stores)]


def roots() -> list[str]:
    return [f"root{number}" for number in range(ROOTS)]


def first(place: Place, path: str) -> str:
    """Make the layout with its state 0; the digest of its tag."""
    make_layout(path)
    styles = ("tag", "short", "canonical", "containerd", "crane", "joined", "garbage", "none")
    others = [
        name_entry(_descriptor(place, f"{number:06}"), style, place.repository, f"v{number}")
        for number, style in enumerate(styles)
    ]
    others[0]["annotations"]["org.opencontainers.image.created"] = CREATED
    index, digest = following(random.Random(place.number), place, path, empty_index(*others), 0)
    write_index(path, index)
    return digest


def following(rng: random.Random, place: Place, path: str, index: Index, state: int) -> tuple[Index, str]:
    """The state of that number, which follows `index`, and the digest of its tag; blobs come before who names them."""
    descriptor = _image(place, path, state) if place.is_real else _descriptor(place, f"t{state:05}")
    how = rng.random()
    entry = name_entry(descriptor, "containerd" if how < 0.3 else "canonical", place.repository, TAG)
    if how > 0.7:
        # skopeo takes one annotation alone off the old entry: with the other one it would still answer.
        index = retag_skopeo(_without_tag(index, place, IMAGE_NAME), entry)
    else:
        index = retag_replace(_without_tag(index, place), entry)
    if how < 0.1:
        index = duplicate(index, next(at for at, each in enumerate(entries_of(index)) if not _has_tag(each, place)))
    elif how < 0.2:
        index = append(index, name_entry(descriptor, "none", "", ""))
    elif how < 0.3:
        index = reorder(index, rng)
    while len(entries_of(index)) > _MOST_ENTRIES:
        index = remove(index, next(at for at, each in enumerate(entries_of(index)) if not _has_tag(each, place)))
    return index, entry["digest"]


def same_length(place: Place, index: Index, state: int) -> tuple[Index, str]:
    """As `following`, with nothing changed but digits of the digest. Not for those with blobs."""
    descriptor = _descriptor(place, f"t{state:05}")
    changed = [
        {**each, "digest": descriptor["digest"]} if _has_tag(each, place) else each for each in entries_of(index)
    ]
    return {**index, "manifests": changed}, descriptor["digest"]


def _descriptor(place: Place, what: str) -> Descriptor:
    return fake_descriptor(f"{place.number:05}-{what}")


def _image(place: Place, path: str, state: int) -> Descriptor:
    children = [
        make_image(path, f"{place.number}-{state}-{arch}", arch=arch, labels={"state": str(state)})
        | {"platform": platform("linux", arch)}
        for arch in ("amd64", "arm64")
    ]
    return make_index_image(path, children)


def _has_tag(entry: Descriptor, place: Place, *keys: str) -> bool:
    annotations = entry.get("annotations") or {}
    return any(annotations.get(key) == f"{place.repository}:{TAG}" for key in keys or (IMAGE_NAME, REF_NAME))


def _without_tag(index: Index, place: Place, *keys: str) -> Index:
    kept = [each for each in entries_of(index) if not _has_tag(each, place, *keys)]
    return {**index, "manifests": kept}
