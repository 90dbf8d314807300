"""Read manifests and configs from a store: check the bytes against the digest, then parse them.

A blob that is missing or unreadable, or does not match its digest, is recorded as a problem of the store and not used.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from catalog.db.schema import AMBIGUOUS, INDEX, MANIFEST, OPAQUE, OTHER, UNUSABLE
from catalog.exhausted import TOO_LARGE
from catalog.ingest.findings import Findings
from catalog.ingest.rows import Row
from catalog.ingest.store_state import Store
from catalog.ingest.turns import SLICE_SECONDS
from catalog.ingest.unread import UnreadBlob
from catalog.layout.blobs import BlobDirectories, BlobProblem
from catalog.layout.blobs_identity import blobs_identity
from catalog.layout.config import Config
from catalog.layout.files import IndexChanged, IndexProblem
from catalog.layout.index import read_index
from catalog.layout.list_limits import ListLimits
from catalog.layout.manifest import AmbiguousManifest, Manifest, parse_both, parse_manifest
from catalog.layout.mentions import mentions_digest
from catalog.names.paths import encode_path

BATCH = 500
BATCH_BYTES = 16 << 20
BATCH_DESCRIPTORS = 5_000
"""One transaction writes a batch of about this many blobs, bytes of blobs, or descriptors in them."""


class BlobRead(NamedTuple):
    """A blob that was read and matches its digest. `kind` is a kind of content (catalog.db.schema)."""

    content_id: int
    digest: str
    size: int
    kind: int
    manifest: Manifest | None
    config: Config | None

    @property
    def descriptors(self) -> int:
        """The number of layers and child manifests that the blob lists."""
        return 0 if self.manifest is None else len(self.manifest.layers) + len(self.manifest.manifests)


class ContentReading:
    """A store whose content is being read.

    - `problems` maps the digest of each bad blob to its problem.
    - `skipped` maps the digest of each unread blob that no descriptor calls a manifest to the reason. That is not a problem.
    - `mislabelled` does the same for manifests that descriptors call something else. Unlike the others, they are read once a
      descriptor calls them manifests.
    - `identity` becomes the store's `blobs_identity` when everything is read.
    - `is_large` is True if the blobs of the store do not fit in one page.
    - `findings` are the findings that were collected before the last transaction and are still to be written, or None. `standing` is the
      state of the store when they were collected (reach.py).
    - `pause` is called while an archive is read.
    """

    def __init__(self, store: Store, blobs: BlobDirectories, pause: Callable[[], None] = lambda: None) -> None:
        self._pause = pause
        self.store = store
        self.blobs = blobs
        self.identity: str | None = blobs_identity(store.opened, store.shared_blobs)
        self.problems: dict[str, BlobProblem] = {}
        self.skipped: dict[str, str] = {}
        self.mislabelled: dict[str, str] = {}
        self.is_large = False
        self.findings: Findings | None = None
        self.standing: Row | None = None
        self._embedded: dict[str, bytes] | None = None

    def left_out(self, digest: str) -> bool:
        """Return whether this reading has tried to read a blob and failed, so that it does not try again."""
        return digest in self.problems or digest in self.skipped

    def embedded(self, digest: str, limits: ListLimits) -> bytes | None:
        """Return the bytes of a blob that a descriptor in index.json embeds in its field `data`, or None if there are none."""
        if self._embedded is None:
            self._embedded = {}
            pause = self._pause
            with (
                contextlib.suppress(IndexProblem, IndexChanged),
                read_index(self.store.opened, limits, pause=pause) as index,
            ):
                for descriptor in index:
                    if descriptor.data is not None:
                        data = descriptor.embedded(limits.descriptor_bytes)
                        if data is not None:
                            self._embedded[descriptor.digest] = data
        return self._embedded.get(digest)

    def reasons(self) -> dict[str, str]:
        """Return why blobs of the store could not be read, by digest, and other reasons why its unused blobs are unknown, by path."""
        reasons = (
            self.mislabelled
            | self.skipped
            | {digest: problem.reason for digest, problem in self.all_problems().items()}
        )
        if self.blobs.archive is not None:  # An archive stays in doubt, so that its blobs are never reported as unused.
            reasons[encode_path(self.blobs.archive)[0]] = "is an archive, whose blobs are never reported as unused"
        return reasons

    def all_problems(self) -> dict[str, BlobProblem]:
        """Return the problems of the store's blobs, by digest, including problems from listing its directories, by path."""
        return self.problems | self.blobs.problems()


def read_blob(
    reading: ContentReading, blob: UnreadBlob, limits: ListLimits, on_large: Callable[[], object]
) -> BlobRead | None:
    """Read and parse one blob. Returns None if that is not possible, and records the reason in `reading`.

    If the blob is too large for a manifest and does not begin like JSON, it is certainly not a manifest, and `on_large` is called.
    """
    digest = blob.digest
    try:
        data = reading.embedded(digest, limits) if blob.embedded else None
        data = reading.blobs.read(digest, limits.descriptor_bytes) if data is None else data
        if data is None:
            raise BlobProblem("missing-blob", "has disappeared since its directory was listed")
        return parse_blob(blob.content_id, digest, data)
    except (BlobProblem, MemoryError) as error:
        problem = error if isinstance(error, BlobProblem) else BlobProblem("large-manifest", TOO_LARGE)
        if blob.claimed:
            reading.problems[digest] = problem
        elif problem.kind != "large-manifest" or begins_like_json(reading.blobs, digest):
            reading.skipped[digest] = problem.reason
        else:
            on_large()
        return None


def note_mislabelled(reading: ContentReading, digest: str, limits: ListLimits) -> None:
    """Record a blob in `reading.mislabelled` if it is a manifest with parts, although its media type is that of a layer or the like.

    Its contents are not written to the catalog, because BuildKit's caches and other artifacts have arbitrary bytes under such types.
    """
    if not begins_like_json(reading.blobs, digest):
        return
    try:
        data = reading.blobs.read(digest, limits.descriptor_bytes)
        manifest = None if data is None else parse_manifest(data)
    except (BlobProblem, MemoryError, ValueError):
        return  # The blob is not a manifest, or it is gone.
    except AmbiguousManifest:
        reading.mislabelled[digest] = "is a manifest that contradicts itself"
        return
    if manifest is not None and (
        manifest.manifests or manifest.layers or manifest.config is not None or manifest.flaws
    ):
        reading.mislabelled[digest] = (
            "is a manifest, although its media type says otherwise, so the blobs that it needs are unknown"
        )


def parse_blob(content_id: int, digest: str, data: bytes) -> BlobRead:
    """Parse the bytes of a blob, which must match the digest. Returns its kind and contents."""
    try:
        manifest, config = parse_both(data)
    except AmbiguousManifest:
        return BlobRead(content_id, digest, len(data), AMBIGUOUS, None, None)
    except ValueError:
        # This may be a manifest after a byte order mark or before garbage, or in a format other than JSON.
        return BlobRead(content_id, digest, len(data), OPAQUE if mentions_digest(data) else UNUSABLE, None, None)
    if manifest is not None:
        kind = INDEX if manifest.is_index else MANIFEST
    else:
        kind = OPAQUE if config is None and mentions_digest(data) else OTHER
    return BlobRead(content_id, digest, len(data), kind, manifest, config)


def begins_like_json(blobs: BlobDirectories, digest: str) -> bool:
    """Return whether a blob begins like a JSON object; False if it cannot be read."""
    try:
        return blobs.beginning(digest, 64).lstrip(b" \t\r\n")[:1] == b"{"
    except BlobProblem:
        return False


def batches(
    unread: Iterable[tuple[ContentReading, list[UnreadBlob]]],
    read: Callable[[ContentReading, UnreadBlob], BlobRead | None],
) -> Iterator[list[BlobRead]]:
    """Read these blobs and yield them in batches for one transaction each. Blobs that cannot be read are left out.

    A blob that is in several stores is read from the first one that has a good copy. A batch may be empty, because a batch
    is also yielded after each slice of time.
    """
    batch: list[BlobRead] = []
    size = descriptors = 0
    seen: set[int] = set()
    until = time.monotonic() + SLICE_SECONDS
    for reading, blobs in unread:
        for blob in blobs:
            if blob.content_id not in seen and (one := read(reading, blob)) is not None:
                seen.add(blob.content_id)
                batch.append(one)
                size += one.size
                descriptors += one.descriptors
            is_full = len(batch) >= BATCH or size >= BATCH_BYTES or descriptors >= BATCH_DESCRIPTORS
            if is_full or time.monotonic() >= until:
                yield batch
                batch, size, descriptors = [], 0, 0
                until = time.monotonic() + SLICE_SECONDS
    if batch:
        yield batch
