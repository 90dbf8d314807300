"""Open and read blobs of the stores through the descriptors that catalog.layout opened safely. No path is opened a second time."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from catalog.errors import Incomplete
from catalog.exhausted import refuse_exhausted
from catalog.layout.blobs import BlobDirectories, BlobProblem
from catalog.layout.hashing import file_identity
from catalog.layout.list_limits import ListLimits
from catalog.layout.manifest import AmbiguousManifest, parse_manifest
from catalog.lookup.holders import Carried, Holder, StorePlace
from catalog.names.escape import shown
from catalog.names.media_types import DOCKER_LIST, INDEXES, OCI_INDEX, OCI_MANIFEST
from catalog.serve.carried import read_carried

MANIFEST_BYTES = ListLimits().descriptor_bytes
"""The largest manifest that is served, which is the largest that ocicat reads: 4 MiB, as the distribution-spec suggests."""


class Opened(NamedTuple):
    """A blob that is open for reading: its descriptor, which the caller closes, and its size in bytes.

    `is_in_memory` is true for an embedded blob, whose file is a copy in memory. In an archive, its bytes begin at `begin`.
    """

    descriptor: int
    size: int
    is_in_memory: bool = False
    begin: int = 0


class ReadManifest(NamedTuple):
    """The bytes of a manifest, which match its digest, and their media type."""

    data: bytes
    media_type: str


def open_blob(digest: str, holders: Iterable[Holder], carried: Iterable[Carried]) -> Opened:
    """Open a blob in the first store that has it and whose copy is not known to be bad, or else take it from a descriptor.

    Raises Incomplete, which says why no store can serve it, and Exhausted.
    """
    reasons: list[str] = []
    for holder in holders:
        where = shown(holder.place.store)
        try:
            with BlobDirectories(holder.place.opened, holder.place.shared) as directories:
                opened = directories.open(digest)
        except BlobProblem as problem:
            reasons.append(f"in {where} it {problem.reason}")
            continue
        if opened is None:
            reasons.append(f"it is not in {where} any more")
            continue
        descriptor, found, begin = opened
        if holder.is_good is False and holder.verified_as == file_identity(found):
            os.close(descriptor)
            reasons.append(f"in {where} its bytes do not match the digest")
            continue
        return Opened(descriptor, found.st_size, begin=begin)
    data = read_carried(carried)
    if data is not None:
        return _in_memory(data)
    raise Incomplete(_why(digest, reasons))


def _in_memory(data: bytes) -> Opened:
    """Return a file in memory with these bytes. Raises Exhausted."""
    try:
        descriptor = os.memfd_create("embedded", os.MFD_CLOEXEC)
    except OSError as error:
        refuse_exhausted(error)
        raise
    with os.fdopen(descriptor, "wb", buffering=0, closefd=False) as file:
        file.write(data)
    return Opened(descriptor, len(data), is_in_memory=True)


def read_manifest(
    digest: str, places: Iterable[StorePlace], claimed: str | None, carried: Iterable[Carried]
) -> ReadManifest:
    """Return a manifest from the first store whose bytes match its digest, else from a descriptor.

    `claimed` is the media type in its descriptor, if any.

    Raises Incomplete, which says why no store can serve it, and Exhausted.
    """
    reasons: list[str] = []
    for place in places:
        where = shown(place.store)
        try:
            with BlobDirectories(place.opened, place.shared) as directories:
                data = directories.read(digest, MANIFEST_BYTES)
            if data is None:
                reasons.append(f"it is not in {where} any more")
                continue
            return ReadManifest(data, _media_type(data, claimed))
        except BlobProblem as problem:
            reasons.append(f"in {where} it {problem.reason}")
    data = read_carried(carried)
    if data is not None:
        try:
            return ReadManifest(data, _media_type(data, claimed))
        except BlobProblem as problem:
            reasons.append(f"it {problem.reason}")
    raise Incomplete(_why(digest, reasons))


def _why(digest: str, reasons: list[str]) -> str:
    return f"no store can serve {shown(digest)}: {'; '.join(reasons[:5]) or 'no store has it'}"


def _media_type(data: bytes, claimed: str | None) -> str:
    """Return the media type of a manifest: the one in its bytes, else `claimed`, else the one for its form. Raises BlobProblem."""
    try:
        manifest = parse_manifest(data)
    except AmbiguousManifest as error:
        raise BlobProblem("ambiguous-manifest", str(error)) from error
    except ValueError as error:
        manifest = None
        if claimed is None:
            raise BlobProblem("bad-blob", "is not a manifest") from error
    if manifest is None:
        if claimed is None:
            raise BlobProblem("bad-blob", "is not a manifest")
        return claimed
    if manifest.media_type:
        return manifest.media_type
    if claimed is not None and (claimed in INDEXES) == manifest.is_index and claimed != DOCKER_LIST:
        return claimed
    return OCI_INDEX if manifest.is_index else OCI_MANIFEST
