"""What a destination lacks to hold some images: the blobs in the order in which to write them, and the entries of index.json.

Nothing is copied here. If an image is incomplete, an error names the missing digest, because a plan that left it out would
produce an image that looks complete.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple, Self

from catalog.db.kinds import INDEX
from catalog.engine.interface import Reader
from catalog.errors import Incomplete, NotFound, UsageError
from catalog.layout.files import is_file
from catalog.lookup.content import check_pending, for_platform
from catalog.lookup.match import CONTENT_ID, CONTENT_KIND, PLATFORM, Match
from catalog.names.escape import shown
from catalog.names.platform import Platform
from catalog.plans.closure import Closure, NeededBlob
from catalog.plans.destination import IMAGE_NAME, REF_NAME, Destination, elements, ref_name
from catalog.plans.files import BlobFiles, File
from catalog.plans.stores import PlanStore
from catalog.plans.walk import AT_ONCE, in_stores

_OF_ENTRY = (
    "SELECT entry.id, entry.store_id, entry.content_id, content.digest, media_type.name, COALESCE(entry.size, content.size),"
    " artifact.name, platform.name, entry.ref_name, entry.image_name, entry.embedded, content.kind FROM entry"
    " JOIN content ON content.id = entry.content_id JOIN media_type ON media_type.id = entry.media_type_id"
    " LEFT JOIN media_type AS artifact ON artifact.id = entry.artifact_type_id"
    " LEFT JOIN platform ON platform.id = entry.platform_id WHERE entry.id IN ({0})"
)
_CONTENT = "SELECT id FROM content WHERE digest = :digest"
_HERE = (
    "SELECT content_id, store_id, size FROM store_blob WHERE content_id IN ({0}) AND {1} AND NOT embedded"
    " AND (is_good IS NULL OR is_good) ORDER BY content_id, store_id"
)
_ELSEWHERE = (
    "SELECT content_id, store_id, size FROM store_blob WHERE content_id IN ({0}) AND NOT embedded AND is_good"
    " ORDER BY content_id, store_id"
)
_BAD = "SELECT 1 FROM store_blob WHERE content_id = :content_id AND store_id IN ({0}) AND NOT is_good"


class Copied(NamedTuple):
    """A blob to copy from `source`, a file of the store `source_store`, to `path`. `size` is in bytes."""

    digest: str
    size: int
    source_store: str
    source: str
    path: str


class Listed(NamedTuple):
    """An entry for the destination's index.json. `platform` is set if it is one image of an index, chosen by platform."""

    store: PlanStore
    descriptor: dict[str, Any]
    is_index: bool
    platform: Platform | None
    is_entry: bool
    """Whether the source's index.json has this entry, and not only an index above it."""

    @property
    def ref_name(self) -> str | None:
        """The raw org.opencontainers.image.ref.name, or None."""
        return ref_name(self.descriptor)


class CopyPlan:
    """The plan for some matches, as a context manager. `blobs` returns what to copy first; `entries` are what to add to index.json then."""

    def __init__(
        self,
        reader: Reader,
        stores: Mapping[int, PlanStore],
        destination: Destination,
        matches: Sequence[Match],
        *,
        platforms: Sequence[Platform] = (),
        referrers: bool = False,
    ) -> None:
        """Raises NotFound, Incomplete, NotInTime, and UsageError for an image of another host."""
        self._reader = reader
        self._stores = stores
        self._destination = destination
        self._sources = list(dict.fromkeys(match.store_id for match in matches))
        for match in matches:
            if match.store_id not in stores:
                raise UsageError(
                    f"{shown(match.answered)} is in {shown(match.store)}, on another host"
                    f" ({shown(match.host or '?')}): plan its copy there"
                )
        self._closure = Closure(reader, self._sources, referrers=referrers)
        listed = [each for match in matches for each in self._chosen(match, platforms)]
        self._closure.add(root for root, _ in listed)
        every = listed + [(row[2], self._of_entry(row)) for row in self._rows(self._closure.entries)]
        unique = {json.dumps(each.descriptor, sort_keys=True): each for _, each in reversed(every)}
        self.wanted = list(reversed(unique.values()))
        """The entries of everything to copy, in the order of the references."""
        self.entries = [each for each in self.wanted if not destination.lists(each.descriptor)]
        """The entries that the destination lacks."""
        self._roots = [root for root, _ in every]
        self._embedded = {each.descriptor["digest"] for each in self.wanted if "data" in each.descriptor}
        self._open = ExitStack()
        self._files: dict[int, BlobFiles] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def blobs(self) -> list[Copied]:
        """Return the blobs that the destination lacks. Raises NotInTime, and Incomplete, which names a blob that no store has."""
        needed = self._closure.blobs
        known = self._destination.bad_and_listed(needed)
        lacking = [
            blob for one, blob in needed.items() if not self._destination.has(blob.digest, blob.size, known.get(one))
        ]
        found = self._sought(lacking, _HERE, in_stores("store_id", self._sources))
        missing = [blob for blob in lacking if blob.content_id not in found]
        found |= self._sought(missing, _ELSEWHERE)
        copied = []
        for blob in lacking:
            if blob.content_id in found:
                store, file = found[blob.content_id]
                to = self._destination.path_of(blob.digest)
                copied.append(Copied(blob.digest, file.found.st_size, store.name, file.path, to))
            elif not blob.is_carried and blob.digest not in self._embedded:
                raise self._not_there(blob)
        return copied

    def unlisted(self) -> str | None:
        """Return the digest of a blob to copy that no entry of `wanted` leads to, or None if there is none."""
        reached = self._closure.reached(self._roots)
        left = [blob.digest for one, blob in self._closure.blobs.items() if one not in reached]
        return left[-1] if left else None  # a manifest: its parts come before it

    def _sought(
        self, blobs: Sequence[NeededBlob], statement: str, stores: str = ""
    ) -> dict[int, tuple[PlanStore, File]]:
        """Return the first file of each blob that exists and has the right size, and its store."""
        wanted = {blob.content_id: blob for blob in blobs}
        found: dict[int, tuple[PlanStore, File]] = {}
        for at in range(0, len(blobs), AT_ONCE):
            marks = ",".join(str(blob.content_id) for blob in blobs[at : at + AT_ONCE])
            for one, store_id, size in self._reader.select(statement.format(marks, stores), {}):
                blob = wanted[one]
                if one in found or store_id not in self._stores or blob.size not in (None, size):
                    continue
                for file in self._files_of(store_id).find(blob.digest):
                    if file.found.st_size == size:
                        found[one] = self._stores[store_id], file
                        break
        return found

    def _files_of(self, store_id: int) -> BlobFiles:
        if store_id not in self._files:
            store = self._stores[store_id]
            files = BlobFiles(store.opened, store.standing.shared_blobs)
            self._files[store_id] = self._open.enter_context(files)
        return self._files[store_id]

    def _not_there(self, blob: NeededBlob) -> Incomplete:
        check_pending(self._reader, frozenset(self._sources), blob.what)
        stores = ",".join(map(str, self._sources))
        archives = [shown(self._stores[each].name) for each in self._sources if is_file(self._stores[each].opened)]
        if archives:
            return Incomplete(
                f"{blob.what} is in the tar archive {', '.join(sorted(archives))}, from which no single file can be copied:"
                " 'ocicat resolve --format oci-archive' prints the source for 'skopeo copy'"
            )
        is_bad = next(iter(self._reader.select(_BAD.format(stores), {"content_id": blob.content_id})), None)
        where = ", ".join(sorted(shown(self._stores[each].name) for each in self._sources))
        return Incomplete(
            f"{blob.what} is {'damaged' if is_bad else 'missing'} in {where}, and no other store of this host has a verified copy;"
            " copy the image there again, with all its blobs, or run 'ocicat verify' if another store has it"
        )

    def _chosen(self, match: Match, platforms: Sequence[Platform]) -> Iterator[tuple[int, Listed]]:
        """Yield what to copy for a match, each with its content id: the match itself, or its image for each platform."""
        for platform in platforms:
            found, why = for_platform(self._reader, match, platform)
            if found is None:
                check_pending(self._reader, frozenset((match.store_id,)), f"what {shown(match.store)} contains")
                raise NotFound(f"{shown(match.name or match.digest)} cannot be copied for {platform}: {why}")
            yield self._one(found, platform, is_named=len(platforms) == 1)
        if not platforms:
            yield self._one(match, None, is_named=True)

    def _one(self, match: Match, platform: Platform | None, *, is_named: bool) -> tuple[int, Listed]:
        root = match.row[CONTENT_ID]
        if root is None:
            row = next(iter(self._reader.select(_CONTENT, {"digest": match.answered})), None)
            if row is None:
                raise Incomplete(f"the manifest {match.answered} is missing; copy the image again, with all its blobs")
            root = row[0]
        for row in self._rows((match.entry_id,)):
            if row[2] == root:
                return root, self._of_entry(row)._replace(platform=platform)
        named = [(REF_NAME, match.ref_name), (IMAGE_NAME, match.image_name)] if platform and is_named else []
        descriptor = _descriptor(
            match.media_type, match.digest, match.size, match.artifact_type, match.row[PLATFORM], dict(named)
        )
        is_index = match.row[CONTENT_KIND] == INDEX
        return root, Listed(self._stores[match.store_id], descriptor, is_index, platform, is_entry=False)

    def _rows(self, entries: Iterable[int]) -> list[tuple[Any, ...]]:
        some = list(entries)
        return [
            row
            for at in range(0, len(some), AT_ONCE)
            for row in self._reader.select(_OF_ENTRY.format(",".join(map(str, some[at : at + AT_ONCE]))), {})
        ]

    def _of_entry(self, row: tuple[Any, ...]) -> Listed:
        entry, store_id, _, digest, media_type, size, artifact, platform, ref, image, is_embedded, kind = row
        annotations = dict(self._reader.rows("ENTRY_ANNOTATIONS", {"entry_id": entry}))
        annotations |= {REF_NAME: ref, IMAGE_NAME: image}
        descriptor = _descriptor(media_type, digest, size, artifact, platform, annotations)
        store = self._stores[store_id]
        if is_embedded:
            descriptor["data"] = _data(store, digest)
        return Listed(store, descriptor, kind == INDEX, None, is_entry=True)


def _descriptor(
    media_type: str | None,
    digest: str,
    size: int | None,
    artifact_type: str | None,
    platform: str | None,
    annotations: Mapping[str, str | None],
) -> dict[str, Any]:
    found: dict[str, Any] = {"mediaType": media_type or "", "digest": digest, "size": size}
    if artifact_type is not None:
        found["artifactType"] = artifact_type
    if platform is not None:
        parsed = Platform.parse(platform)
        said = {"os": parsed.os, "architecture": parsed.arch, "variant": parsed.variant, "os.version": parsed.version}
        found["platform"] = {key: value for key, value in said.items() if value}
    if present := {key: value for key, value in sorted(annotations.items()) if value is not None}:
        found["annotations"] = present
    return found


def _data(store: PlanStore, digest: str) -> str:
    """Return the field `data` of the entry with this digest, if its bytes match. Raises Incomplete."""
    for each in elements(store.opened):
        data = each.get("data")
        if each.get("digest") == digest and isinstance(data, str):
            try:
                found = base64.b64decode(data, validate=True)
                algorithm, _, encoded = digest.partition(":")
                if hashlib.new(algorithm, found).hexdigest() == encoded:
                    return data
            except ValueError:
                continue
    raise Incomplete(
        f"index.json of {shown(store.name)} no longer embeds {digest}, as it did when it was indexed; run 'ocicat index'"
    )
