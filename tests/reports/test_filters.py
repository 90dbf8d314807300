"""The filters of `query` that need content return what the files of the layouts contain."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.cli.program import called
from tests.effort import SHARE, is_short
from tests.reports.conftest import World
from tests.reports.disk import Disk, Layout, platform

Entry = dict[str, Any]
Entries = Counter[tuple[str, str]]
NOWHERE = f"sha256:{'0' * 64}"
_numbers = itertools.count()
PLATFORMS = ("linux/amd64", "linux/arm64", "linux/386", "linux/s390x", "windows/amd64", "unknown/unknown")


def said(world: World, *filters: str) -> Entries:
    """Return the store and digest of each entry that `ocicat query` prints. `--count` is compared for some questions."""
    ran = called("query", *filters, "--format", "json", db=world.catalogue.path)
    assert (ran.status, ran.err) == (0, ""), (filters, ran)
    found = Counter((each["store"], each["digest"]) for each in json.loads(ran.out))
    number = next(_numbers)
    if number % SHARE == 0 or not is_short():
        assert called("query", *filters, "--count", db=world.catalogue.path).out == f"{found.total()}\n"
    return found


def every(disk: Disk) -> list[tuple[Layout, Entry]]:
    return [(layout, entry) for layout in disk.layouts for entry in layout.entries]


def those(found: Iterable[tuple[Layout, Entry]]) -> Entries:
    return Counter((layout.name, entry["digest"]) for layout, entry in found)


def below(disk: Disk, digest: str) -> set[str]:
    """Return a manifest and every manifest that it reaches, in whichever layout, because a digest means the same everywhere."""
    found: set[str] = set()
    pending = {digest}
    while pending:
        found |= pending
        pending = {child for each in pending for child in disk.children(each)} - found
    return found


def pairs(values: Iterable[tuple[str, str]]) -> list[tuple[str, str | None]]:
    """Yield every key alone, with each of its values and with another key's value, and a key that does not occur."""
    found = dict.fromkeys(values)
    keys = dict.fromkeys(key for key, _ in found)
    return [*found, *((key, None) for key in keys), *((key, "no such value") for key in keys), ("no such key", None)]


def has(found: set[tuple[str, str]], key: str, value: str | None) -> bool:
    return any(k == key and value in (None, v) for k, v in found)


def option(key: str, value: str | None) -> str:
    return key if value is None else f"{key}={value}"


def test_labels(world: World) -> None:
    """A label of an image, or of one that an index reaches."""
    disk = world.disk
    labels: dict[str, set[tuple[str, str]]] = {}
    for digest, _, key, value, _ in disk.label_rows():
        labels.setdefault(digest, set()).add((key, value))
    of = {
        entry["digest"]: set().union(*(labels.get(digest, set()) for digest in below(disk, entry["digest"])))
        for _, entry in every(disk)
    }
    for key, value in world.some(pairs(pair for each in labels.values() for pair in each)):
        expected = those(found for found in every(disk) if has(of[found[1]["digest"]], key, value))
        assert said(world, "--label", option(key, value)) == expected, (key, value)


def test_annotations_of_the_entry_and_everything_it_reaches(world: World) -> None:
    """Annotations of the manifests themselves, and of the descriptors of their layers and of an index's children."""
    disk = world.disk

    def of(entry: Entry) -> set[tuple[str, str]]:
        found = {*(entry.get("annotations") or {}).items()}
        for digest in below(disk, entry["digest"]) & set(disk.manifests):
            for each in (disk.manifests[digest], *(one for _, one in disk.described(digest))):
                found |= {*(each.get("annotations") or {}).items()}
        return found

    for key, value in world.some(pairs(pair for _, entry in every(disk) for pair in of(entry))):
        expected = those(found for found in every(disk) if has(of(found[1]), key, value))
        assert said(world, "--annotation", option(key, value)) == expected, (key, value)


def test_artifact_types(world: World) -> None:
    disk = world.disk

    def of(entry: Entry) -> str | None:
        return entry.get("artifactType") or disk.artifact_type(entry["digest"])

    for wanted in [*filter(None, dict.fromkeys(of(entry) for _, entry in every(disk))), "no/such"]:
        expected = those(found for found in every(disk) if of(found[1]) == wanted)
        assert said(world, "--artifact-type", wanted) == expected, wanted


def test_platforms(world: World) -> None:
    """For an image that cannot be read, the platform in its descriptor counts."""
    disk = world.disk

    def of(layout: Layout, entry: Entry) -> set[str]:
        claimed = entry.get("platform") or {}
        known = entry["digest"] in disk.read or not claimed.get("os")
        found = disk.platforms(layout, entry["digest"]) if known else {platform(claimed)} - {"unknown/unknown"}
        return {re.sub(r"\(.*?\)", "", each) for each in found}  # a platform without an OS version matches any version

    for wanted in PLATFORMS:
        assert said(world, "--platform", wanted) == those(found for found in every(disk) if wanted in of(*found)), (
            wanted
        )


def test_entries_that_reach_a_digest(world: World) -> None:
    """A manifest, config or layer, at any depth, through manifests that are in that store. An entry reaches itself."""
    disk = world.disk
    reached = [(layout, entry, disk.reached(layout, {entry["digest"]})) for layout, entry in every(disk)]
    digests = set().union(*(each for *_, each in reached), *(layout.blobs for layout in disk.layouts))
    for wanted in world.some(sorted(digests | {NOWHERE})):
        expected = those((layout, entry) for layout, entry, each in reached if wanted in each)
        assert said(world, "--contains", wanted) == expected, wanted


WAYS = ("subject", "fallback", "cosign", "buildkit", "containerd", "kind")
SHOWN = ("subject", "fallback-tag", "cosign-tag", "attestation", "attestation", "kind")


def referrers(world: World, subject: str, *filters: str) -> Counter[tuple[str, str, str]]:
    """Return the store and digest of each referrer that `ocicat query` prints, and how it is known."""
    db = world.catalogue.path
    ran = called("query", "--referrers-of", subject, *filters, "--format", "json", db=db)
    assert (ran.status, ran.err) == (0, ""), (subject, filters, ran)
    found = Counter((each["store"], each["digest"], each["how"]) for each in json.loads(ran.out))
    number = next(_numbers)
    if number % SHARE == 0 or not is_short():
        assert called("query", "--referrers-of", subject, *filters, "--count", db=db).out == f"{found.total()}\n"
    return found


def test_referrers_however_they_name_their_subject(world: World) -> None:
    """The referrer itself is returned, once per layout that has it, and never the index that contains it."""
    disk = world.disk
    about: dict[str, dict[str, int]] = {}
    for subject, referrer, how, _ in disk.referrer_rows():
        ways = about.setdefault(subject, {})
        ways[referrer] = min(ways.get(referrer, len(WAYS)), WAYS.index(how))
    listed = [
        (layout, disk.below(layout, set(layout.digests)) | set(layout.blobs) & set(disk.manifests))
        for layout in disk.layouts
    ]
    digests = {digest for layout in disk.layouts for digest in (*layout.digests, *layout.blobs)}
    for wanted in world.some(sorted(digests | set(about) | {NOWHERE})):
        expected = Counter(
            (layout.name, referrer, SHOWN[way])
            for layout, each in listed
            for referrer, way in about.get(wanted, {}).items()
            if referrer in each
        )
        assert referrers(world, wanted) == expected, wanted


def test_filters_are_those_of_the_referrer(world: World) -> None:
    disk = world.disk
    for subject in world.some(sorted({row[0] for row in disk.referrer_rows()})):
        found = referrers(world, subject)
        types = {digest: disk.artifact_type(digest) for _, digest, _ in found}
        for wanted in {"x/sbom", "x/fallback", *filter(None, types.values())}:
            expected = Counter({row: n for row, n in found.items() if types[row[1]] == wanted})
            assert referrers(world, subject, "--artifact-type", wanted) == expected, (subject, wanted)
        inside = {digest: {digest, *disk.parts(digest)} for _, digest, _ in found if not disk.is_index(digest)}
        can_be_told = len(inside) == len({row[1] for row in found})
        for wanted in world.some(sorted(set().union(*inside.values()))) if can_be_told else ():
            lying = {(layout.name, digest) for layout in disk.layouts for digest in layout.blobs}
            expected = Counter(
                {
                    row: n
                    for row, n in found.items()
                    if wanted == row[1] or (wanted in inside[row[1]] and row[:2] in lying)
                }
            )
            assert referrers(world, subject, "--contains", wanted) == expected, (subject, wanted)


def test_filters_narrow_each_other(world: World) -> None:
    disk = world.disk
    for layout in disk.layouts:
        for entry in world.some(layout.entries[:3]):
            here = said(world, "--store", layout.name, "--contains", entry["digest"], "--platform", "linux/amd64")
            both = said(world, "--contains", entry["digest"]) & said(world, "--platform", "linux/amd64")
            assert here == Counter({pair: n for pair, n in both.items() if pair[0] == layout.name})


@pytest.mark.parametrize("way", ["contains", "referrers-of"])
def test_a_filter_refuses_a_partial_digest(world_of: Callable[[str], World], way: str) -> None:
    ran = called("query", f"--{way}", "sha256:12", db=world_of("by hand").catalogue.path)
    assert (ran.status, ran.out) == (2, ""), ran


def test_a_filter_takes_a_name(world: World) -> None:
    """A name is resolved first. Every reference that resolves to a digest gives the same answer as the digest."""
    disk = world.disk
    db = world.catalogue.path
    for layout in disk.layouts:
        for entry in world.some(layout.entries):
            name = (entry.get("annotations") or {}).get("org.opencontainers.image.ref.name", "")
            resolved = called("resolve", name, "--store", layout.name, "--format", "{digest}", db=db)
            if ":" not in name or resolved.status:
                continue
            for option in ("--referrers-of", "--contains"):
                by_name = called("query", option, name, "--store", layout.name, "--format", "json", db=db)
                wanted = resolved.out.strip()
                by_digest = called("query", option, wanted, "--store", layout.name, "--format", "json", db=db)
                assert (by_name.status, by_name.out) == (by_digest.status, by_digest.out), (option, name)


@pytest.mark.parametrize("way", ["contains", "referrers-of"])
@pytest.mark.parametrize(
    ("asked", "status"),
    [("no/such:1", 1), (":no-such", 1), (NOWHERE[:30], 1), (NOWHERE, 0), ("acme/*:1", 2), ("UPPER", 2), ("", 2)],
)
def test_a_filter_that_finds_nothing_or_is_malformed(
    world_of: Callable[[str], World], way: str, asked: str, status: int
) -> None:
    ran = called("query", f"--{way}", asked, db=world_of("by hand").catalogue.path)
    assert (ran.status, ran.out) == (status, ""), ran


def test_a_reference_narrows_to_the_referrers_that_it_is_or_holds(world: World) -> None:
    """Each reference counts by itself: one that only contains what another contains has found something, too.

    Of the references that find nothing, which are most, the short run tries some.
    """
    disk = world.disk
    db = world.catalogue.path
    for subject in world.some(sorted({row[0] for row in disk.referrer_rows()})):
        everything = {row[:2] for row in referrers(world, subject)}
        for layout, entry in world.some(every(disk)):
            digest = entry["digest"]
            expected = {
                (each.name, referrer)
                for each in disk.layouts
                for name, referrer in everything
                if each.name == name and digest in each.digests and referrer in disk.below(each, {digest})
            }
            if not expected and is_short() and next(_numbers) % SHARE:
                continue
            asked = ("query", digest, digest, "--referrers-of", subject, "--format", "json")
            ran = called(*asked, "--store", layout.name, db=db)
            found = {(each["store"], each["digest"]) for each in json.loads(ran.out)}
            assert found == {row for row in expected if row[0] == layout.name}, (subject, digest)
            assert ran.status == (0 if found else 1), (subject, digest)
