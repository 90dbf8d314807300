"""What the digests are: the content stage, after the names of a change are committed (house.md).

Strategy. Blobs are content-addressed, so a manifest is read once for the whole catalog, from whichever store has it, and
its rows never change; a blob whose bytes do not hash to its name is a problem of that store and is never believed. What a
store's directories hold is listed, and `store_blob` follows by difference. Then everything that is an entry of the store,
or a child or config of something known, lies in the store and was never read, is read: first what the names stage brought,
then what that points to, and so on; cycles end since nothing is read twice.

Everything is found from the database again, so it goes on after a kill where it was: a store is `content_pending` from the
commit of its names until a pass over it has come to its end. Children that lie nowhere are normal (sparse layouts).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import update

from catalog.db.engine import Writer
from catalog.db.schema import CHILD, CONFIG, INDEX, LAYER, MANIFEST, OTHER, SUBJECT, UNUSABLE, store
from catalog.ingest.listing import list_blobs, list_shared
from catalog.ingest.registry import Registry, Store
from catalog.ingest.rows import Rows
from catalog.ingest.settings import Settings
from catalog.layout.blobs import BlobDirectories, BlobProblem, blobs_identity
from catalog.layout.descriptor import Descriptor
from catalog.layout.manifest import Config, Manifest, parse_config, parse_manifest
from catalog.names.paths import encode_path
from catalog.names.platform import normalize

BATCH = 500
"""So many blobs are read for one transaction."""

_CONTAINERD_SUBJECT = "io.containerd.manifest.subject"
_BUILDKIT_SUBJECT = "vnd.docker.reference.digest"

_UNREAD = (
    f"SELECT content.digest, EXISTS (SELECT 1 FROM edge WHERE edge.child_id = content.id AND edge.role = {CONFIG})"
    " FROM store_blob JOIN content ON content.id = store_blob.content_id"
    " WHERE store_blob.store_id = ? AND content.kind = 0 AND content.id > ? AND ("
    " EXISTS (SELECT 1 FROM entry WHERE entry.content_id = content.id AND entry.store_id = store_blob.store_id)"
    f" OR EXISTS (SELECT 1 FROM edge WHERE edge.child_id = content.id AND edge.role IN ({CHILD}, {CONFIG})))"
)


class _Read(NamedTuple):
    """A blob that was read and proved: what it is, one of the kinds of content."""

    digest: str
    size: int
    kind: int
    manifest: Manifest | None
    config: Config | None


class ContentStage:
    """Reads the content of stores through `writer`.

    `known` is how many blobs of the store at hand are known to be read; what they point to comes on top.
    """

    def __init__(self, writer: Writer, settings: Settings) -> None:
        self._writer = writer
        self._settings = settings
        self.known = 0

    def pending(self, *, look: bool = False) -> list[int]:
        """The ids of the stores whose content is not all read; with `look`, those too whose directories changed since."""
        with self._writer.snapshot() as connection:
            stores = [s for s in Registry(connection).stores() if s.state != "missing"]
        return [s.id for s in stores if s.content_pending or (look and _blobs_changed(s))]

    def run(self, store_id: int) -> Iterator[int]:
        """Read the content of one store; yields, after each transaction, how many blobs were read so far.

        What calls it may stop between two of them: the rest is done another time.
        """
        with self._writer.snapshot() as connection:
            found = Registry(connection).stores([store_id])
        if not found:
            return
        self.known = 0
        with BlobDirectories(found[0].path, found[0].shared_blobs) as blobs:
            identity: str | None = blobs_identity(found[0].path, found[0].shared_blobs)
            list_blobs(self._writer, found[0], blobs)
            yield 0
            done = 0
            problems: dict[str, BlobProblem] = {}
            while unread := self._unread(store_id, problems):
                self.known += len(unread)
                for start in range(0, len(unread), BATCH):
                    batch = unread[start : start + BATCH]
                    self._write([read for item in batch if (read := self._read(blobs, item, problems))])
                    done += len(batch)
                    yield done
                list_shared(self._writer, found[0], blobs)  # what they point to
            problems |= {
                encode_path(path)[0]: BlobProblem("unreadable-blob", f"the directory cannot be listed: {reason}")
                for path, reason in blobs.unlisted.items()
            }
            if blobs.unlisted:
                identity = None  # it may be listed another time, and look no different
        self._finish(found[0], identity, problems)
        yield done

    def _unread(self, store_id: int, problems: dict[str, BlobProblem]) -> list[tuple[str, bool]]:
        """Digests that lie in the store, should be read and were not, and whether each is a config."""
        with self._writer.snapshot() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            found = driver.execute(_UNREAD, (store_id, 0)).fetchall()
        return [(digest, bool(is_config)) for digest, is_config in found if digest not in problems]

    # --- reading ------------------------------------------------------------------------------------------------

    def _read(self, blobs: BlobDirectories, item: tuple[str, bool], problems: dict[str, BlobProblem]) -> _Read | None:
        digest, is_config = item
        try:
            data = blobs.read(digest, self._settings.limits.descriptor_bytes)
            if data is None:
                raise BlobProblem("missing-blob", "was there when the directory was listed")
        except BlobProblem as problem:
            problems[digest] = problem
            return None
        try:
            config = parse_config(data) if is_config else None
            manifest = None if config is not None else parse_manifest(data)
        except ValueError:
            return _Read(digest, len(data), UNUSABLE, None, None)
        kind = OTHER if manifest is None else INDEX if manifest.is_index else MANIFEST
        return _Read(digest, len(data), kind, manifest, config)

    # --- writing ------------------------------------------------------------------------------------------------

    def _write(self, batch: list[_Read]) -> None:
        if not batch:
            return
        with self._writer.transaction() as connection:
            rows = Rows(connection)
            for read in batch:
                content_id = rows.content(read.digest)
                kind = rows.cursor.execute("SELECT kind FROM content WHERE id = ?", (content_id,)).fetchone()[0]
                if kind:
                    continue  # read by another process meanwhile
                rows.cursor.execute(
                    "UPDATE content SET kind = ?, size = ? WHERE id = ?", (read.kind, read.size, content_id)
                )
                if read.config is not None:
                    _write_config(rows, content_id, read.config)
                elif read.manifest is not None:
                    _write_manifest(rows, content_id, read.digest, read.manifest)
            rows.flush()

    def _finish(self, found: Store, identity: str | None, problems: dict[str, BlobProblem]) -> None:
        """Note the problems, and that all is read, unless the store changed meanwhile."""
        wanted = sorted((problem.kind, digest, problem.reason) for digest, problem in problems.items())
        with self._writer.transaction() as connection:
            rows = Rows(connection)
            rows.cursor.execute("DELETE FROM problem WHERE store_id = ? AND stage = 1", (found.id,))
            for kind, digest, reason in wanted:
                rows.problem(found.id, None, kind, digest, reason, in_blob=True)
            rows.flush()
            connection.execute(
                update(store)
                .where(store.c.id == found.id, store.c.generation == found.generation)
                .values(content_pending=False, blobs_identity=identity)
            )


def _blobs_changed(found: Store) -> bool:
    """Whether blobs came or went since they were listed, though perhaps the index.json did not change."""
    return found.indexed_before and blobs_identity(found.path, found.shared_blobs) != (found.blobs_identity or "")


def _write_manifest(rows: Rows, content_id: int, digest: str, manifest: Manifest) -> None:
    chain: str | None = None
    for position, layer in enumerate(manifest.layers):
        chain = _chain(chain, layer.digest)
        _write_edge(rows, content_id, LAYER, position, layer, chain)
    if manifest.config is not None:
        _write_edge(rows, content_id, CONFIG, 0, manifest.config)
    if manifest.subject is not None:
        _write_edge(rows, content_id, SUBJECT, 0, manifest.subject)
    for position, child in enumerate(manifest.manifests):
        _write_edge(rows, content_id, CHILD, position, child)
        annotations = child.annotations or {}
        for key, how in ((_BUILDKIT_SUBJECT, "buildkit"), (_CONTAINERD_SUBJECT, "containerd")):
            if key in annotations:
                rows.referrer(annotations[key], child.digest, how, content_id=content_id)
    if _CONTAINERD_SUBJECT in manifest.annotations:
        rows.referrer(manifest.annotations[_CONTAINERD_SUBJECT], digest, "containerd", content_id=content_id)
    rows.manifest(
        content_id,
        manifest.media_type,
        manifest.artifact_type,
        len(manifest.layers),
        sum(layer.size or 0 for layer in manifest.layers),
        chain,
    )
    rows.content_annotations(content_id, manifest.annotations, is_label=False)


def _write_edge(
    rows: Rows, parent_id: int, role: int, position: int, child: Descriptor, chain: str | None = None
) -> None:
    platform = child.platform
    name = None
    if platform is not None and platform.os and platform.architecture:
        name = str(normalize(platform.os, platform.architecture, platform.variant or ""))
    rows.edge(parent_id, role, position, child.digest, name, child.media_type, child.size, chain)


def _write_config(rows: Rows, content_id: int, config: Config) -> None:
    platform = str(normalize(config.os, config.architecture, config.variant))
    rows.config(content_id, platform, None if config.created is None else _milliseconds(config.created))
    rows.content_annotations(content_id, config.labels, is_label=True)


def _chain(before: str | None, digest: str) -> str:
    """The hash of a list of layers, from that of the list without its last: equal means the same layers in order."""
    return hashlib.blake2b(f"{before or ''} {digest}".encode(), digest_size=16).hexdigest()


def _milliseconds(text: str) -> int | None:
    """An RFC 3339 time as milliseconds since 1970, None for what is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    try:
        return int(found.timestamp() * 1000)
    except (OverflowError, ValueError):
        return None
