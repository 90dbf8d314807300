"""What the digests are: the content stage, after the names of a change are committed (house.md).

Strategy. Blobs are content-addressed, so a manifest is read once for the whole catalog, from whichever store has it, and
its rows never change; a blob whose bytes do not hash to its name is a problem of that store and is never believed. What a
store's directories hold is listed, and `store_blob` follows by difference. Then everything that is an entry of the store,
or a child or config of something known, lies in the store and was never read, is read: first what the names stage brought,
then what that points to, and so on; cycles end since nothing is read twice. Where a child lies in other stores alone, or
good there alone, those are to be read again: so what is known in the end does not depend on the order of stores.

Everything is found from the database again, so it goes on after a kill where it was: a store is `content_pending` from the
commit of its names until a pass over it has come to its end. Children that lie nowhere are normal (sparse layouts).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection, update

from catalog.db.driver import keep_edges
from catalog.db.engine import Writer
from catalog.db.schema import CHILD, CONFIG, INDEX, LAYER, MANIFEST, OTHER, SUBJECT, UNREAD, UNUSABLE, store
from catalog.ingest.known import Store, has_unread_content
from catalog.ingest.listing import list_blobs, list_shared
from catalog.ingest.registry import Registry
from catalog.ingest.rows import Rows
from catalog.ingest.settings import Settings
from catalog.layout.blobs import BlobDirectories, BlobProblem, blobs_identity
from catalog.layout.descriptor import MAX_SIZE, Descriptor
from catalog.layout.manifest import Config, Manifest, parse_config, parse_manifest
from catalog.names.moment import milliseconds
from catalog.names.paths import encode_path
from catalog.names.platform import platform_text

BATCH = 500
BATCH_BYTES = 16 << 20
"""So many blobs, or so many bytes of them, are read for one transaction."""

_CONTAINERD_SUBJECT = "io.containerd.manifest.subject"
_BUILDKIT_SUBJECT = "vnd.docker.reference.digest"

_IS_CHILD = f"EXISTS (SELECT 1 FROM edge WHERE edge.child_id = content.id AND edge.role IN ({CHILD}, {CONFIG}))"
_UNREAD = (
    "SELECT content.digest FROM store_blob JOIN content ON content.id = store_blob.content_id"
    f" WHERE store_blob.store_id = ? AND content.kind = {UNREAD} AND ({_IS_CHILD} OR"
    " EXISTS (SELECT 1 FROM entry WHERE entry.content_id = content.id AND entry.store_id = store_blob.store_id))"
)
_DOUBTED = (
    "SELECT content.digest FROM problem JOIN content ON content.digest = problem.subject"
    " JOIN store_blob ON store_blob.store_id = problem.store_id AND store_blob.content_id = content.id"
    f" WHERE problem.store_id = ? AND problem.stage = 1 AND content.kind <> {UNREAD}"
)
_UNREAD_ELSEWHERE = (
    "SELECT other.store_id FROM edge JOIN content ON content.id = edge.child_id"
    " JOIN store_blob AS other ON other.content_id = content.id"
    f" WHERE edge.parent_id = ? AND edge.role IN ({CHILD}, {CONFIG}) AND content.kind = {UNREAD} AND NOT EXISTS"
    " (SELECT 1 FROM store_blob AS here WHERE here.store_id = ? AND here.content_id = content.id)"
)
_OTHER_COPIES = (
    "SELECT other.store_id FROM content JOIN store_blob AS other ON other.content_id = content.id"
    f" WHERE content.digest = ? AND content.kind = {UNREAD} AND other.store_id <> ? AND {_IS_CHILD} AND NOT EXISTS"
    # One whose copy is known to be no better is left in peace: two of those would wake each other for ever.
    " (SELECT 1 FROM problem WHERE problem.store_id = other.store_id AND stage = 1 AND subject = content.digest)"
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

    `known` is how many blobs of the store at hand are known to be read; what they point to comes on top. Into `woken` go
    the ids of stores that turned out to hold something more to be read, though their own reading may have been at its end.
    """

    def __init__(self, writer: Writer, settings: Settings, woken: set[int] | None = None) -> None:
        self._writer = writer
        self._settings = settings
        self.known = 0
        self.woken = set() if woken is None else woken

    def pending(self, *, look: bool = False, even_read: bool = False) -> list[int]:
        """The ids of the stores whose content is not all read.

        With `look`, those too whose directories changed since; with `even_read`, all that were ever indexed.
        """
        with self._writer.snapshot() as connection:
            stores = Registry(connection).stores()
        return [s.id for s in stores if has_unread_content(s, look=look, even_read=even_read)]

    def run(self, store_id: int) -> Iterator[int]:
        """Read the content of one store; yields, after each transaction, how many blobs were read so far.

        What calls it may stop between two of them: the rest is done another time.
        """
        with self._writer.snapshot() as connection:
            found = Registry(connection).stores([store_id])
        if not found:
            return
        self.known = 0
        self.woken.discard(store_id)
        with BlobDirectories(found[0].path, found[0].shared_blobs) as blobs:
            identity: str | None = blobs_identity(found[0].path, found[0].shared_blobs)
            list_blobs(self._writer, found[0], blobs)
            yield 0
            done = 0
            problems = self._still_doubted(store_id, blobs)
            while True:
                while unread := self._unread(store_id, problems):
                    self.known += len(unread)
                    for batch in self._batches(blobs, unread, problems):
                        self._write(store_id, batch)
                        done += len(batch)
                        yield done
                    list_shared(self._writer, found[0], blobs)  # what they point to
                told = problems | {
                    encode_path(path)[0]: BlobProblem("unreadable-blob", f"the directory cannot be listed: {reason}")
                    for path, reason in blobs.unlisted.items()
                }
                if blobs.unlisted:
                    identity = None  # it may be listed another time, and look no different
                if self._finish(found[0], identity, problems, told):
                    break
        yield done

    def _unread(self, store_id: int, problems: dict[str, BlobProblem]) -> list[str]:
        """Digests that lie in the store, should be read and were not."""
        with self._writer.snapshot() as connection:
            return _unread(connection, store_id, problems)

    def _still_doubted(self, store_id: int, blobs: BlobDirectories) -> dict[str, BlobProblem]:
        """What was wrong with blobs that need no reading any more, since a good copy lies elsewhere, and still is."""
        with self._writer.snapshot() as connection:
            doubted = [digest for (digest,) in Rows(connection).cursor.execute(_DOUBTED, (store_id,))]
        problems: dict[str, BlobProblem] = {}
        for digest in doubted:
            self._read(blobs, digest, problems)
        return problems

    # --- reading ------------------------------------------------------------------------------------------------

    def _batches(
        self, blobs: BlobDirectories, digests: list[str], problems: dict[str, BlobProblem]
    ) -> Iterator[list[_Read]]:
        """What these blobs are, as much as one transaction takes at a time; those that cannot be used go into `problems`."""
        batch: list[_Read] = []
        size = 0
        for digest in digests:
            read = self._read(blobs, digest, problems)
            if read is not None:
                batch.append(read)
                size += read.size
                if len(batch) >= BATCH or size >= BATCH_BYTES:
                    yield batch
                    batch, size = [], 0
        if batch:
            yield batch

    def _read(self, blobs: BlobDirectories, digest: str, problems: dict[str, BlobProblem]) -> _Read | None:
        try:
            data = blobs.read(digest, self._settings.limits.descriptor_bytes)
            if data is None:
                raise BlobProblem("missing-blob", "was there when the directory was listed")
        except BlobProblem as problem:
            problems[digest] = problem
            return None
        try:
            manifest, config = parse_manifest(data), parse_config(data)
        except ValueError:
            return _Read(digest, len(data), UNUSABLE, None, None)
        kind = OTHER if manifest is None else INDEX if manifest.is_index else MANIFEST
        return _Read(digest, len(data), kind, manifest, config)

    # --- writing ------------------------------------------------------------------------------------------------

    def _write(self, store_id: int, batch: list[_Read]) -> None:
        self.woken |= self._writer.write(lambda connection: _write_read(connection, store_id, batch))

    def _finish(
        self, found: Store, identity: str | None, problems: dict[str, BlobProblem], told: dict[str, BlobProblem]
    ) -> bool:
        """Note what is wrong (`told`), and that all is read, unless the store changed; whether nothing is left to read."""
        wanted = sorted((problem.kind, subject, problem.reason) for subject, problem in told.items())

        def finish(connection: Connection) -> tuple[bool, set[int]]:
            keep_edges(connection, still=True)
            if _unread(connection, found.id, problems):
                return False, set()  # another process has found out more
            now = Registry(connection).stores([found.id])
            if not now or now[0].path != found.path:
                return True, set()  # removed meanwhile
            rows = Rows(connection)
            rows.cursor.execute("DELETE FROM problem WHERE store_id = ? AND stage = 1", (found.id,))
            for kind, subject, reason in wanted:
                rows.problem(found.id, None, kind, subject, reason, in_blob=True)
            rows.flush()
            # This one too is written in its turn.
            woken = _wake(connection, _OTHER_COPIES, [(digest, found.id) for digest in problems], beside=found.id)
            connection.execute(
                update(store)
                .where(store.c.id == found.id, store.c.generation == found.generation)
                .values(content_pending=False, blobs_identity=identity)
            )
            return True, woken

        done, woken = self._writer.write(finish)
        self.woken |= woken
        return done


def _write_read(connection: Connection, store_id: int, batch: list[_Read]) -> set[int]:
    """Write what was read of a store; the ids of other stores that have something to be read by now."""
    keep_edges(connection, still=False)
    parents: list[int] = []
    rows = Rows(connection)
    # In the order of ids, which is that of locks: two hosts that read the same digests do not wait for each other.
    for content_id, read in sorted(((rows.content(read.digest), read) for read in batch), key=lambda one: one[0]):
        rows.cursor.execute(
            f"UPDATE content SET kind = ?, size = ? WHERE id = ? AND kind = {UNREAD}",
            (read.kind, read.size, content_id),
        )
        if not rows.cursor.rowcount:
            continue  # read by another process meanwhile
        if read.config is not None:
            _write_config(rows, content_id, read.config)
        if read.manifest is not None:
            _write_manifest(rows, content_id, read.digest, read.manifest)
            parents.append(content_id)
        if rows.full:
            rows.flush()
    rows.flush()
    return _wake(connection, _UNREAD_ELSEWHERE, [(parent, store_id) for parent in parents])


def _wake(
    connection: Connection, question: str, asked: list[tuple[object, ...]], *, beside: int | None = None
) -> set[int]:
    """Note that the stores that `question` finds hold something that is to be read by now; their ids.

    They are written in the order of ids, since another host may be writing them, `beside` among them.
    """
    cursor = Rows(connection).cursor
    ids = {row[0] for each in asked for row in cursor.execute(question, each)}
    if ids:
        written = ids if beside is None else ids | {beside}
        cursor.executemany(
            "UPDATE store SET content_pending = TRUE WHERE id = ?", [(store_id,) for store_id in sorted(written)]
        )
    return ids


def _unread(connection: Connection, store_id: int, problems: dict[str, BlobProblem]) -> list[str]:
    found = Rows(connection).cursor.execute(_UNREAD, (store_id,)).fetchall()
    return [digest for (digest,) in found if digest not in problems]


def _write_manifest(rows: Rows, content_id: int, digest: str, manifest: Manifest) -> None:
    chain: str | None = None
    subjects: dict[tuple[str, str, str], None] = {}
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
                subjects[annotations[key], child.digest, how] = None
    if _CONTAINERD_SUBJECT in manifest.annotations:
        subjects[manifest.annotations[_CONTAINERD_SUBJECT], digest, "containerd"] = None
    for subject in subjects:  # each once, though an index may list a manifest twice
        rows.referrer(*subject, content_id=content_id)
    rows.manifest(
        content_id,
        manifest.media_type,
        manifest.artifact_type,
        len(manifest.layers),
        min(sum(layer.size or 0 for layer in manifest.layers), MAX_SIZE),
        chain,
    )
    rows.content_annotations(content_id, manifest.annotations, is_label=False)


def _write_edge(
    rows: Rows, parent_id: int, role: int, position: int, child: Descriptor, chain: str | None = None
) -> None:
    platform = child.platform_text
    rows.edge(parent_id, role, position, child.digest, platform, child.media_type, child.size, chain)


def _write_config(rows: Rows, content_id: int, config: Config) -> None:
    platform = platform_text(config.os, config.architecture, config.variant)
    rows.config(content_id, platform, None if config.created is None else milliseconds(config.created))
    rows.content_annotations(content_id, config.labels, is_label=True)


def _chain(before: str | None, digest: str) -> str:
    """The hash of a list of layers, from that of the list without its last: equal means the same layers in order."""
    return hashlib.blake2b(f"{before or ''} {digest}".encode(), digest_size=16).hexdigest()
