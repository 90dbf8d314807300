"""Files in a shared directory of blobs that no store reaches, so that the catalog knows nothing about them.

Most are garbage. But one may be a manifest whose subject is in use (cosign 3 lists its signatures nowhere), or a manifest that a
writer is about to list. So files that look like JSON are read here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from catalog.layout.blobs import BlobDirectories, BlobProblem
from catalog.layout.config import parse_config
from catalog.layout.list_limits import ListLimits
from catalog.layout.manifest import AmbiguousManifest, Manifest, parse_manifest
from catalog.layout.mentions import mentions_digest
from catalog.names.escape import shown
from catalog.plans.files import File
from catalog.plans.stores import PlanStore

_BEGINNING = 64


class Unclear(Exception):
    """A file may be a manifest but cannot be understood, so what it needs is unknown. The message names it."""


class Unlisted(NamedTuple):
    """A manifest that no store reaches: what it needs, and its subject, if any."""

    needs: tuple[str, ...]
    subject: str | None


def read_unlisted(store: PlanStore, digests: Iterable[str], *, others_matter: bool = True) -> dict[str, Unlisted]:
    """Return the manifests among these blobs, keyed by digest.

    Raises Unclear for a manifest that cannot be understood. If `others_matter`, also raises it for a blob that mentions digests but
    is not a manifest.
    """
    found: dict[str, Unlisted] = {}
    limit = ListLimits().descriptor_bytes
    with BlobDirectories(store.opened, store.standing.shared_blobs) as blobs:
        for digest in digests:
            try:
                if not looks_like_json(blobs.beginning(digest, _BEGINNING)):
                    continue
                data = blobs.read(digest, limit)
            except BlobProblem as problem:
                raise Unclear(f"{shown(digest)} {problem.reason}") from None
            if data is None:
                continue
            try:
                manifest = parse_manifest(data)
            except AmbiguousManifest:
                raise Unclear(f"{shown(digest)} is a manifest that contradicts itself") from None
            except ValueError:
                if others_matter and mentions_digest(data):
                    raise Unclear(f"{shown(digest)} is not JSON, and refers to other blobs") from None
                continue
            if manifest is not None and manifest.flaws:
                raise Unclear(f"{shown(digest)} has descriptors that cannot be used")
            if manifest is not None:
                found[digest] = _needs(manifest)
            elif others_matter and parse_config(data) is None and mentions_digest(data):
                raise Unclear(f"{shown(digest)} has an unknown kind, and refers to other blobs")
    return found


def looks_like_json(beginning: bytes) -> bool:
    """Return whether the first bytes of a file may be those of a JSON object."""
    return beginning.lstrip(b" \t\r\n")[:1] == b"{"


def _needs(manifest: Manifest) -> Unlisted:
    subject = None if manifest.subject is None else manifest.subject.digest
    parts = [*manifest.manifests, *manifest.layers, *([manifest.config] if manifest.config is not None else [])]
    return Unlisted(tuple(each.digest for each in parts) + ((subject,) if subject is not None else ()), subject)


def newly_kept(
    manifests: Mapping[str, Unlisted], files: Mapping[str, list[File]], kept: set[str], newest: int
) -> set[str]:
    """Add to `kept` the manifests whose subject is kept or that were written after `newest`, and what they need.

    `newest` is in milliseconds since 1970. Returns the digests that were added.
    """
    added: set[str] = set()
    todo = [
        digest
        for digest, manifest in manifests.items()
        if digest not in kept
        and (manifest.subject in kept or any(file.changed_ms > newest for file in files.get(digest, ())))
    ]
    while todo:
        digest = todo.pop()
        if digest not in kept:
            kept.add(digest)
            added.add(digest)
            todo += manifests[digest].needs if digest in manifests else ()
    return added
