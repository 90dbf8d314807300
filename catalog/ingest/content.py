"""What the digests are: the content stage, after the names of a change are committed (docs/architecture.md).

Strategy. Blobs are content-addressed, so a manifest is read once for the whole catalog, from whichever store has it, and
its rows never change; a blob whose bytes do not hash to its name is a problem of that store and is never believed. What a
store's directories hold is listed, and `store_blob` follows by difference. Then everything that is an entry of the store,
or a child or config of something known, lies in the store and was never read, is read: first what the names stage brought,
then what that points to, and so on; cycles end since nothing is read twice. What its media type calls a layer or the like is
no manifest and is not read. When all that is done, small blobs that nothing points to are looked at: one that begins like JSON
is read, and if it is a manifest it is known as one, with all that it points to. At the end, reach.py notes which blobs of
the store are in use. Where a child lies in other stores alone, or
good there alone, those are to be read again: so what is known in the end does not depend on the order of stores. Small
stores go these steps together, a transaction a step and not one for each: the number of commits rules the time.

Everything is found from the database again, so it goes on after a kill where it was: a store is `content_pending` from the
commit of its names until a pass over it has come to its end. Children that lie nowhere are normal (sparse layouts).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection

from catalog.db.schema import (
    AMBIGUOUS,
    CHILD,
    CONFIG,
    INDEX,
    LAYER,
    MANIFEST,
    OPAQUE,
    OTHER,
    SUBJECT,
    UNREAD,
    UNUSABLE,
)
from catalog.engine.driver import keep_edges
from catalog.engine.interface import Writer
from catalog.exhausted import give_back, reserve
from catalog.ingest.claims import write_claims
from catalog.ingest.listing import list_blobs, list_shared
from catalog.ingest.reach import write_reach
from catalog.ingest.referrals import write_referrals
from catalog.ingest.registry import Registry
from catalog.ingest.rows import Row, Rows, chunks
from catalog.ingest.settings import Settings
from catalog.ingest.store_state import Store, has_unread_content
from catalog.ingest.turns import SLICE_SECONDS, TurnEnded
from catalog.layout.blobs import BlobDirectories, BlobProblem, blobs_identity
from catalog.layout.descriptor import MAX_SIZE, Descriptor, Layer
from catalog.layout.files import IndexChanged, IndexProblem
from catalog.layout.index import ListLimits, read_index
from catalog.layout.manifest import AmbiguousManifest, Config, Manifest, parse_config, parse_manifest
from catalog.layout.text import shorten
from catalog.names.media_types import CONFIGS, MANIFESTS
from catalog.names.moment import milliseconds
from catalog.names.paths import encode_path
from catalog.names.platform import platform_text

GROUP = 32
GROUP_ENTRIES = 2_000
"""So many stores, or stores of so many entries, are read together: five commits for all of them instead of for each."""
BATCH = 500
BATCH_BYTES = 16 << 20
BATCH_DESCRIPTORS = 5_000
"""So many blobs, bytes of them, or descriptors in them, are read for one transaction."""
_PAGE = 5_000  # blobs of a store that one question is about

_NO_MEMORY = "need more memory than there is: give this process more, and run 'ocicat index --full'"

_CONTAINERD_SUBJECT = "io.containerd.manifest.subject"
_BUILDKIT_SUBJECT = "vnd.docker.reference.digest"

_MOST = ":most"
"""Stands in the statements for the limit of a manifest in bytes, a setting."""

_CONFIG_TYPES = ", ".join(f"'{name}'" for name in sorted(CONFIGS))
_MANIFEST_TYPES = ", ".join(f"'{name}'" for name in sorted({*MANIFESTS, ""}))
_CLAIM = (
    "SELECT 1 FROM edge JOIN media_type ON media_type.id = edge.media_type_id"
    " WHERE edge.child_id = content.id AND edge.role = {role} AND {of}"
)
_IS_CHILD = (
    f"(EXISTS ({_CLAIM.format(role=CHILD, of='NOT media_type.is_leaf')})"
    # The config of an artifact may be of any kind and size.
    f" OR EXISTS ({_CLAIM.format(role=CONFIG, of=f'(media_type.name IN ({_CONFIG_TYPES}) OR store_blob.size <= {_MOST})')}))"
)
_ENTRY_CLAIM = (
    "EXISTS (SELECT 1 FROM entry JOIN media_type ON media_type.id = entry.media_type_id"
    " WHERE entry.content_id = content.id AND entry.store_id = store_blob.store_id AND {of})"
)
_UNREAD = (
    "SELECT content.id, content.digest, store_blob.embedded,"
    f" ({_ENTRY_CLAIM.format(of=f'media_type.name IN ({_MANIFEST_TYPES})')}"
    f" OR EXISTS ({_CLAIM.format(role=CHILD, of=f'media_type.name IN ({_MANIFEST_TYPES})')})"
    f" OR EXISTS ({_CLAIM.format(role=CONFIG, of=f'media_type.name IN ({_CONFIG_TYPES})')})) AS claimed"
    " FROM store_blob JOIN content ON content.id = store_blob.content_id"
    f" WHERE store_blob.store_id = ? AND content.kind = {UNREAD} AND NOT store_blob.looked"
    f" AND ({_IS_CHILD} OR {_ENTRY_CLAIM.format(of='NOT media_type.is_leaf')})"
)
_BELOW = " AND content.id IN (SELECT edge.child_id FROM edge WHERE edge.parent_id IN (%s))"
"""Narrows _UNREAD to what some manifests point to: to look through the whole store for each level of a chain of indexes is
quadratic."""
_IN_PAGE = " AND store_blob.content_id > ? AND store_blob.content_id <= ?"
_NO_END = (1 << 63) - 1
_PAGE_END = (
    "SELECT content_id FROM store_blob WHERE store_id = ? AND content_id > ?"
    f" ORDER BY content_id LIMIT 1 OFFSET {_PAGE - 1}"
)
_UNLISTED = (
    "SELECT content.id, content.digest FROM store_blob JOIN content ON content.id = store_blob.content_id"
    f" WHERE store_blob.store_id = ? AND content.kind = {UNREAD} AND NOT store_blob.looked AND NOT store_blob.embedded"
    f" AND store_blob.size BETWEEN 2 AND {_MOST}{_IN_PAGE}"
    " AND NOT EXISTS (SELECT 1 FROM entry"
    " WHERE entry.content_id = content.id AND entry.store_id = store_blob.store_id)"
)
# What other stores use a blob for does not count: what is known must not depend on the order in which stores are read. So this
# is asked of the store, and not of each blob, to which any number of manifests in other stores may point.
_POINTED_TO = (
    "SELECT DISTINCT edge.child_id FROM store_blob JOIN edge ON edge.parent_id = store_blob.content_id"
    f" WHERE store_blob.store_id = ? AND edge.role <> {SUBJECT}{_IN_PAGE}"
)
_LOOKED = "UPDATE store_blob SET looked = TRUE WHERE store_id = ? AND content_id = ?"
_EMBEDDED_CHILDREN = (
    "SELECT DISTINCT content.digest FROM store_blob JOIN edge ON edge.parent_id = store_blob.content_id"
    " JOIN content ON content.id = edge.child_id"
    " WHERE store_blob.store_id = ? AND edge.embedded"
)
_EMBEDDED_BELOW = (
    "SELECT DISTINCT content.digest FROM edge JOIN content ON content.id = edge.child_id"
    " WHERE edge.parent_id IN (%s) AND edge.embedded"
    " AND EXISTS (SELECT 1 FROM store_blob WHERE store_blob.store_id = ? AND store_blob.content_id = edge.parent_id)"
    " AND NOT EXISTS (SELECT 1 FROM store_blob WHERE store_blob.store_id = ? AND store_blob.content_id = edge.child_id)"
)
_EMBEDDED_ENTRIES = (
    "SELECT DISTINCT content.digest FROM entry JOIN content ON content.id = entry.content_id"
    " WHERE entry.store_id = ? AND entry.embedded"
)
_EMBEDDED_ROWS = (
    "SELECT content.digest, content.id, store_blob.embedded FROM store_blob"
    " JOIN content ON content.id = store_blob.content_id WHERE store_blob.store_id = ?"
)
_DOUBTED = (
    "SELECT content.digest FROM problem JOIN content ON content.digest = problem.subject"
    " JOIN store_blob ON store_blob.store_id = problem.store_id AND store_blob.content_id = content.id"
    f" WHERE problem.store_id = ? AND problem.stage = 1 AND content.kind <> {UNREAD}"
)
_UNREAD_ELSEWHERE = (
    "SELECT DISTINCT other.store_id FROM edge JOIN content ON content.id = edge.child_id"
    " JOIN media_type ON media_type.id = edge.media_type_id"
    " JOIN store_blob AS other ON other.content_id = content.id AND NOT other.looked"
    f" WHERE edge.parent_id IN (%s) AND content.kind = {UNREAD}"
    f" AND (edge.role = {CHILD} AND NOT media_type.is_leaf OR edge.role = {CONFIG}) AND NOT EXISTS"
    " (SELECT 1 FROM store_blob AS here WHERE here.store_id IN (%s) AND here.content_id = content.id)"
)
_OTHER_COPIES = (
    "SELECT store_blob.store_id FROM content JOIN store_blob ON store_blob.content_id = content.id"
    f" WHERE content.digest = ? AND content.kind = {UNREAD} AND store_blob.store_id <> ? AND NOT store_blob.looked"
    f" AND {_IS_CHILD} AND NOT EXISTS"
    # One whose copy is known to be no better is left in peace: two of those would wake each other for ever.
    " (SELECT 1 FROM problem WHERE problem.store_id = store_blob.store_id AND stage = 1 AND subject = content.digest)"
)


_DIGEST = re.compile(rb"(?:sha256|blake3):[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")


class _Read(NamedTuple):
    """A blob that was read and proved: what it is, one of the kinds of content. `problem` says why it is ambiguous."""

    content_id: int
    digest: str
    size: int
    kind: int
    manifest: Manifest | None
    config: Config | None


class _Unread(NamedTuple):
    """A blob to be read. `claimed`: some descriptor calls it a manifest or an image's config by its media type."""

    content_id: int
    digest: str
    embedded: bool = False
    claimed: bool = True


class _Page(NamedTuple):
    """The blobs of a store whose ids are greater than `low` and not than `high`."""

    low: int
    high: int
    is_one_of_many: bool


class _ContentReading:
    """A store whose content is being read: `problems` are those of its blobs by their digest.

    `passed` has the reasons why others were not read, which are no problems: nothing calls them manifests.
    """

    def __init__(self, store: Store, blobs: BlobDirectories) -> None:
        self.passed: dict[str, str] = {}
        self._embedded: dict[str, bytes] | None = None
        self.store = store
        self.blobs = blobs
        self.identity: str | None = blobs_identity(store.opened, store.shared_blobs)
        self.problems: dict[str, BlobProblem] = {}

    def in_index(self, digest: str, limits: ListLimits) -> bytes | None:
        """The bytes of a manifest that a descriptor of index.json has in its field `data`; None if it is gone from there."""
        if self._embedded is None:
            self._embedded = {}
            with contextlib.suppress(IndexProblem, IndexChanged), read_index(self.store.opened, limits) as index:
                for descriptor in index:
                    if descriptor.data is not None:
                        data = descriptor.embedded(limits.descriptor_bytes)
                        if data is not None:
                            self._embedded[descriptor.digest] = data
        return self._embedded.get(digest)

    def told(self) -> list[tuple[str, str, str]]:
        """Kind, subject and detail of all that is wrong with its blobs, in order."""
        told = self.problems | self.blobs.problems()
        return sorted((problem.kind, subject, problem.reason) for subject, problem in told.items())


_Found = list[tuple[_ContentReading, list[_Unread]]]
_T = TypeVar("_T")


class ContentStage:
    """Reads the content of stores through `writer`.

    `known` is how many blobs of the stores at hand are known to be read; what they point to comes on top. Into `woken` go
    the ids of stores that turned out to hold something more to be read, though their own reading may have been at its end.
    `pause` is called now and then during a transaction. Where it raises TurnEnded the transaction is undone, and made again
    when what iterates `run` goes on; what else it raises passes through.
    """

    def __init__(
        self,
        writer: Writer,
        settings: Settings,
        woken: set[int] | None = None,
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        self._writer = writer
        self._pause = pause
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

    def run(self, store_ids: Sequence[int]) -> Iterator[int]:
        """Read the content of these stores, small ones together; yields, after each piece of work, how many blobs were read.

        No piece takes long, and nothing is locked between two. What calls it may stop there: the rest is done another time.
        """
        with self._writer.snapshot() as connection:
            found = Registry(connection).stores(store_ids)
        self.known = 0
        self._done = 0
        for group in _groups(found):
            yield from self._run_group(group)

    def _run_group(self, group: list[Store]) -> Iterator[int]:
        """Read the content of stores together; that of each by itself where it takes more memory than there is."""
        self.woken.difference_update(store.id for store in group)
        reserve()
        try:
            with contextlib.ExitStack() as opened:
                yield from self._run([_ContentReading(s, opened.enter_context(_blobs(s))) for s in group])
            return
        except MemoryError:
            give_back()
            if len(group) == 1:
                self._give_up(group[0])
                return
        for store in group:
            yield from self._run_group([store])

    def _give_up(self, store: Store) -> None:
        """Note that the content of a store takes more memory than there is, and is not read until something in it changes."""
        identity = blobs_identity(store.path, store.shared_blobs)

        def write(connection: Connection) -> None:
            rows = Rows(connection)
            rows.cursor.execute("DELETE FROM problem WHERE store_id = ? AND stage = 1", (store.id,))
            subject = encode_path(f"{store.path}/blobs")[0]
            rows.problem(store.id, None, "unreadable-blob", subject, f"all of them {_NO_MEMORY}", stage=1)
            rows.flush()
            rows.cursor.execute(
                "UPDATE store SET content_pending = FALSE, blobs_identity = ? WHERE id = ? AND generation = ?",
                (identity, store.id, store.generation),
            )

        self._writer.write(write)

    def _run(self, readings: list[_ContentReading]) -> Iterator[int]:
        for _ in list_blobs(self._writer, ((each.store, each.blobs) for each in readings)):
            yield self._done
        self._embed(readings)
        yield self._done
        for each in readings:
            yield from self._doubt(each)
        left = readings
        while left:
            while unread := (yield from self._all_unread(left)) or (yield from self._unlisted(left)):
                while unread:
                    self.known += sum(len(contents) for _, contents in unread)
                    parents: list[int] = []
                    for batch in self._batches(unread):
                        if batch:
                            parents += yield from self._write([each.store.id for each in left], batch)
                        self._done += len(batch)
                        yield self._done
                    self._embed(left, parents)
                    for each in left:
                        list_shared(self._writer, each.store, each.blobs, parents)  # what they point to
                    unread = self._unread(left, parents)
                self._embed(left)
                for each in left:
                    list_shared(self._writer, each.store, each.blobs)
            for each in left:
                if each.blobs.unlisted:
                    each.identity = None  # it may be listed another time, and look no different
            left = yield from self._finish(left)
        yield self._done

    def _in_turns(self, work: Callable[[Connection], _T]) -> Generator[int, None, _T]:
        """What `work` returns, which is given a transaction; where its turn is ended it is made again in the next one."""
        while True:
            try:
                return self._writer.write(work)
            except TurnEnded:
                yield self._done

    @property
    def _most(self) -> int:
        return self._settings.limits.descriptor_bytes

    def _all_unread(self, readings: list[_ContentReading]) -> Generator[int, None, _Found]:
        """What lies in each store, should be read and was not, where there is any."""
        found: _Found = []
        for each in readings:
            contents: list[_Unread] = []
            for page in (yield from self._pages(each)):
                with self._writer.snapshot() as connection:
                    contents += _unread(connection, each, self._most, page=page)
                if page.is_one_of_many:
                    yield self._done
            if contents:
                found.append((each, contents))
        return found

    def _unread(self, readings: list[_ContentReading], parents: Sequence[int]) -> _Found:
        """The same of what these manifests point to."""
        with self._writer.snapshot() as connection:
            found = [(each, _unread(connection, each, self._most, parents)) for each in readings]
        return [(each, contents) for each, contents in found if contents]

    def _pages(self, reading: _ContentReading) -> Generator[int, None, list[_Page]]:
        """The ids of a store's blobs in order, in pieces of _PAGE."""
        pages: list[_Page] = []
        low = 0
        while True:
            with self._writer.snapshot() as connection:
                row = Rows(connection).cursor.execute(_PAGE_END, (reading.store.id, low)).fetchone()
            if row is None:
                return [*pages, _Page(low, _NO_END, is_one_of_many=bool(pages))]
            pages.append(_Page(low, row[0], is_one_of_many=True))
            low = row[0]
            yield self._done

    def _unlisted(self, readings: list[_ContentReading]) -> Generator[int, None, _Found]:
        """What lies in each store, nothing points to, and begins like JSON; all else like it is noted as looked at."""
        found: _Found = []
        looked: list[tuple[int, int]] = []
        question = _UNLISTED.replace(_MOST, str(self._most))
        until = time.monotonic() + SLICE_SECONDS
        for each in readings:
            to_read: list[_Unread] = []
            pointed_to: set[int] | None = None
            pages = yield from self._pages(each)
            for page in pages:
                small = self._ask(question, each, page)
                if small and pointed_to is None:
                    pointed_to = set()
                    for other in pages:
                        pointed_to.update(row[0] for row in self._ask(_POINTED_TO, each, other))
                        if other.is_one_of_many:
                            yield self._done
                for content_id, digest in small:
                    if content_id in (pointed_to or ()) or digest in each.passed:
                        continue
                    if _is_like_json(each.blobs, digest):
                        to_read.append(_Unread(content_id, digest, claimed=False))
                    else:
                        looked.append((each.store.id, content_id))
                    if time.monotonic() >= until:
                        yield self._done
                        until = time.monotonic() + SLICE_SECONDS
                if len(looked) >= _PAGE:
                    yield from self._note_looked(looked)
                    looked = []
            if to_read:
                found.append((each, to_read))
        if looked:
            yield from self._note_looked(looked)
        return found

    def _ask(self, question: str, reading: _ContentReading, page: _Page) -> list[Row]:
        with self._writer.snapshot() as connection:
            asked = reading.store.id, page.low, page.high
            return list(Rows(connection).cursor.execute(question, asked).fetchall())

    def _note_looked(self, looked: list[tuple[int, int]]) -> Generator[int, None, None]:
        yield from self._in_turns(lambda connection: Rows(connection).cursor.executemany(_LOOKED, looked))

    def _embed(self, readings: Iterable[_ContentReading], parents: Sequence[int] | None = None) -> None:
        """Let `store_blob` have the blobs that descriptors of these stores embed, as far as no file has them.

        With `parents`, those alone that descriptors in these manifests embed, and what is embedded in that.
        """
        for each in readings:
            more = True
            while more:
                with self._writer.snapshot() as connection:
                    new, gone = _embedded(Rows(connection), each.store.id, parents)
                if new or gone:
                    write = functools.partial(_write_embedded, store_id=each.store.id, parents=parents)
                    self._writer.write(write)
                more = bool(new) and parents is not None

    def _doubt(self, reading: _ContentReading) -> Iterator[int]:
        """Look again at what was wrong with blobs that need no reading any more, since a good copy lies elsewhere."""
        with self._writer.snapshot() as connection:
            doubted = Rows(connection).cursor.execute(_DOUBTED, (reading.store.id,)).fetchall()
        until = time.monotonic() + SLICE_SECONDS
        for (digest,) in doubted:
            self._read(reading, _Unread(0, digest))
            if time.monotonic() >= until:
                yield self._done
                until = time.monotonic() + SLICE_SECONDS

    # --- reading ------------------------------------------------------------------------------------------------

    def _batches(self, unread: list[tuple[_ContentReading, list[_Unread]]]) -> Iterator[list[_Read]]:
        """What these blobs are, as much as one transaction takes at a time; those that cannot be used become problems.

        What lies in several stores is read from the first where it is good. A batch may be empty: reading takes time.
        """
        batch: list[_Read] = []
        size = descriptors = 0
        seen: set[int] = set()
        until = time.monotonic() + SLICE_SECONDS
        for reading, contents in unread:
            for one in contents:
                if one.content_id not in seen and (read := self._read(reading, one)) is not None:
                    seen.add(one.content_id)
                    batch.append(read)
                    size += read.size
                    descriptors += (
                        0 if read.manifest is None else len(read.manifest.layers) + len(read.manifest.manifests)
                    )
                is_full = len(batch) >= BATCH or size >= BATCH_BYTES or descriptors >= BATCH_DESCRIPTORS
                if is_full or time.monotonic() >= until:
                    yield batch
                    batch, size, descriptors = [], 0, 0
                    until = time.monotonic() + SLICE_SECONDS
        if batch:
            yield batch

    def _read(self, reading: _ContentReading, one: _Unread) -> _Read | None:
        digest = one.digest
        try:
            data = reading.in_index(digest, self._settings.limits) if one.embedded else None
            data = reading.blobs.read(digest, self._most) if data is None else data
            if data is None:
                raise BlobProblem("missing-blob", "was there when the directory was listed")
            return _understood(one.content_id, digest, data)
        except (BlobProblem, MemoryError) as error:
            problem = error if isinstance(error, BlobProblem) else BlobProblem("large-manifest", _NO_MEMORY)
            if one.claimed:
                reading.problems[digest] = problem
            elif problem.kind != "large-manifest" or _is_like_json(reading.blobs, digest):
                reading.passed[digest] = problem.reason
            else:  # large, and no JSON: whatever it is, it is no manifest
                self._writer.write(
                    lambda connection: Rows(connection).cursor.execute(_LOOKED, (reading.store.id, one.content_id))
                )
            return None

    # --- writing ------------------------------------------------------------------------------------------------

    def _write(self, store_ids: list[int], batch: list[_Read]) -> Generator[int, None, list[int]]:
        """Write what was read; the ids of the manifests and indexes in it, and of those that they embed."""
        woken, parents = yield from self._in_turns(
            lambda connection: _write_read(connection, store_ids, batch, self._most, self._pause)
        )
        self.woken |= woken
        return parents

    def _finish(self, readings: list[_ContentReading]) -> Generator[int, None, list[_ContentReading]]:
        """Note what is wrong with each, and that all is read, unless the store changed; those of which there is more to read."""
        left, woken = yield from self._in_turns(
            lambda connection: _write_end(connection, readings, self._most, self._pause)
        )
        self.woken |= woken
        return left


def _understood(content_id: int, digest: str, data: bytes) -> _Read:
    """What a blob is, by its bytes, which are what its digest says."""
    try:
        manifest, config = parse_manifest(data), parse_config(data)
    except AmbiguousManifest:
        return _Read(content_id, digest, len(data), AMBIGUOUS, None, None)
    except ValueError:
        return _Read(content_id, digest, len(data), UNUSABLE, None, None)
    if manifest is not None:
        kind = INDEX if manifest.is_index else MANIFEST
    else:
        kind = OPAQUE if config is None and _DIGEST.search(data) else OTHER
    return _Read(content_id, digest, len(data), kind, manifest, config)


def _is_like_json(blobs: BlobDirectories, digest: str) -> bool:
    """Whether a blob begins as a JSON object does; False if it cannot be read."""
    try:
        return blobs.beginning(digest, 64).lstrip(b" \t\r\n")[:1] == b"{"
    except BlobProblem:
        return False


def _embedded(rows: Rows, store_id: int, parents: Sequence[int] | None) -> tuple[set[str], set[int]]:
    """The digests that descriptors of a store embed and nothing of it holds yet, and the rows of those that are gone.

    With `parents`, of descriptors in these manifests alone, and none that are gone.
    """
    if parents is not None:
        new: set[str] = set()
        for some in chunks(parents):
            asked = (*some, store_id, store_id)
            new.update(row[0] for row in rows.cursor.execute(_EMBEDDED_BELOW % _marks(some), asked).fetchall())
        return new, set()
    wanted = {
        row[0]
        for question in (_EMBEDDED_ENTRIES, _EMBEDDED_CHILDREN)
        for row in rows.cursor.execute(question, (store_id,)).fetchall()
    }
    held = set()
    gone = set()
    for digest, content_id, embedded in rows.cursor.execute(_EMBEDDED_ROWS, (store_id,)).fetchall():
        held.add(digest)
        if embedded and digest not in wanted:
            gone.add(content_id)
    return wanted - held, gone


def _write_embedded(connection: Connection, store_id: int, parents: Sequence[int] | None) -> None:
    rows = Rows(connection)
    new, gone = _embedded(rows, store_id, parents)
    goes = [(store_id, each) for each in sorted(gone)]
    rows.moment.keep_blobs(goes)
    rows.cursor.executemany("DELETE FROM store_blob WHERE store_id = ? AND content_id = ?", goes)
    sizes: dict[str, int] = {}
    for some in chunks(sorted(new)):
        question = f"SELECT digest, coalesce(size, 0) FROM content WHERE digest IN ({_marks(some)})"
        sizes.update(rows.cursor.execute(question, tuple(some)).fetchall())
    for digest, size in sorted(sizes.items()):
        rows.blob(store_id, digest, size, None)
    rows.flush()


def _write_read(
    connection: Connection, store_ids: Collection[int], batch: list[_Read], most: int, pause: Callable[[], None]
) -> tuple[set[int], list[int]]:
    """Write what was read of stores; the ids of others that have something to be read by now, and of the manifests written."""
    keep_edges(connection, still=False)
    parents: list[int] = []
    rows = Rows(connection)
    rows.pause = pause
    nested: list[_Read] = []
    long: list[tuple[int]] = []
    # In the order of ids, which is that of locks: two hosts that read the same digests do not wait for each other.
    for read in sorted(batch, key=lambda read: read.content_id):
        content_id = read.content_id
        rows.cursor.execute(
            f"UPDATE content SET kind = ?, size = ?, odd = ? WHERE id = ? AND digest = ? AND kind = {UNREAD}",
            (read.kind, read.size, _odd(read), content_id, read.digest),
        )
        if not rows.cursor.rowcount:
            continue  # read, or forgotten, by another process meanwhile
        long_words = rows.long_words
        if read.config is not None:
            _write_config(rows, content_id, read.config)
        if read.manifest is not None:
            nested += _write_manifest(rows, content_id, read.digest, read.manifest, most)
            parents.append(content_id)
        if rows.long_words != long_words:
            long.append((content_id,))
        if rows.full:
            rows.flush()
    rows.flush()
    rows.cursor.executemany("UPDATE content SET long_words = TRUE WHERE id = ?", long)
    woken = _unread_elsewhere(rows, list(store_ids), parents)
    _set_pending(rows, woken)
    if nested:  # their ids are known now; each is smaller than what it stands in
        known = [(rows.content(read.digest), read) for read in {read.digest: read for read in nested}.values()]
        again = [read._replace(content_id=one) for one, read in known]
        more_woken, more_parents = _write_read(connection, store_ids, again, most, pause)
        woken |= more_woken
        parents += more_parents
    return woken, parents


def _write_end(
    connection: Connection, readings: list[_ContentReading], most: int, pause: Callable[[], None]
) -> tuple[list[_ContentReading], set[int]]:
    """Write the end of reading stores; those of which there is more to read, and the ids of others that have something by now."""
    keep_edges(connection, still=True)
    left = [each for each in readings if _unread(connection, each, most)]  # another process has found out more
    ids = [each.store.id for each in readings if each not in left]
    paths = {store.id: store.path for store in Registry(connection).stores(ids)}  # others were removed meanwhile
    done = [each for each in readings if each not in left and paths.get(each.store.id) == each.store.path]
    rows = Rows(connection)
    rows.pause = pause
    rows.cursor.executemany("DELETE FROM problem WHERE store_id = ? AND stage = 1", [(each.store.id,) for each in done])
    for each in done:
        for kind, subject, reason in each.told():
            rows.problem(each.store.id, None, kind, subject, reason, stage=1)
    rows.flush()
    for each in done:
        write_referrals(rows, each.store.id)
        problems = each.problems | each.blobs.problems()
        reasons = each.passed | {subject: problem.reason for subject, problem in problems.items()}
        write_claims(rows, each.store.id)
        write_reach(rows, each.store.id, reasons, each.blobs.unknown(), sparse=each.store.sparse)
    asked = [(digest, each.store.id) for each in done for digest in each.problems]
    other_copies = _OTHER_COPIES.replace(_MOST, str(most))
    copies = {row[0] for one in asked for row in rows.cursor.execute(other_copies, one)}
    woken = copies - {each.store.id for each in readings}
    if woken:
        _set_pending(rows, woken | {each.store.id for each in done})  # these too are written in their turn
    rows.cursor.executemany(
        "UPDATE store SET content_pending = FALSE, blobs_identity = ? WHERE id = ? AND generation = ?",
        sorted(((each.identity, each.store.id, each.store.generation) for each in done), key=lambda row: row[1]),
    )
    return left, woken


def _set_pending(rows: Rows, store_ids: set[int]) -> None:
    """Note that these stores hold something that is to be read by now, in the order of ids: other hosts write them too."""
    rows.cursor.executemany(
        "UPDATE store SET content_pending = TRUE WHERE id = ?", [(one,) for one in sorted(store_ids)]
    )


def _groups(stores: Iterable[Store]) -> Iterator[list[Store]]:
    group: list[Store] = []
    entries = 0
    for store in stores:
        if group and (len(group) >= GROUP or entries + store.entries > GROUP_ENTRIES):
            yield group
            group, entries = [], 0
        group.append(store)
        entries += store.entries
    if group:
        yield group


def _blobs(store: Store) -> BlobDirectories:
    return BlobDirectories(store.opened, store.shared_blobs)


def _unread(
    connection: Connection,
    reading: _ContentReading,
    most: int,
    parents: Sequence[int] | None = None,
    page: _Page | None = None,
) -> list[_Unread]:
    """What lies in a store, should be read and was not; with `parents`, of what these point to; with `page`, of those."""
    question = _UNREAD.replace(_MOST, str(most))
    cursor = Rows(connection).cursor
    asked: list[tuple[str, tuple[int, ...]]] = [(question, (reading.store.id,))]
    if page is not None:
        asked = [(question + _IN_PAGE, (reading.store.id, page.low, page.high))]
    if parents is not None:
        asked = [(question + _BELOW % _marks(some), (reading.store.id, *some)) for some in chunks(parents)]
    rows = {row[0]: row for text, values in asked for row in cursor.execute(text, values).fetchall()}
    found = [_Unread(*row) for row in rows.values()]
    return [one for one in found if one.digest not in reading.problems and one.digest not in reading.passed]


def _unread_elsewhere(rows: Rows, store_ids: Sequence[int], parents: Sequence[int]) -> set[int]:
    """The stores that hold a child of `parents` that is to be read and lies in none of `store_ids`."""
    found: set[int] = set()
    for some in chunks(parents):
        question = _UNREAD_ELSEWHERE % (_marks(some), _marks(store_ids))
        found.update(row[0] for row in rows.cursor.execute(question, (*some, *store_ids)).fetchall())
    return found


def _odd(read: _Read) -> str | None:
    """Return in words which fields of a manifest or config only a Go program reads as this catalog does; None for none."""
    lines = read.manifest.odd if read.manifest is not None else read.config.odd if read.config is not None else ()
    return shorten("; ".join(lines)) if lines else None


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


def _write_manifest(rows: Rows, content_id: int, digest: str, manifest: Manifest, most: int) -> list[_Read]:
    """Write what a manifest says; what its descriptors embed of manifests and configs, their ids not known yet."""
    nested: list[_Read] = []
    chain: str | None = None
    subjects: dict[tuple[str, str, str], None] = {}
    for position, layer in enumerate(manifest.layers):
        rows.pause()
        chain = _chain(chain, layer.digest)
        _write_edge(rows, content_id, LAYER, position, layer, most, chain)
    if manifest.config is not None:
        nested += _write_edge(rows, content_id, CONFIG, 0, manifest.config, most)
    if manifest.subject is not None:
        _write_edge(rows, content_id, SUBJECT, 0, manifest.subject, 0)
    for position, child in enumerate(manifest.manifests):
        rows.pause()
        nested += _write_edge(rows, content_id, CHILD, position, child, most)
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
        flaws=shorten("; ".join(manifest.flaws)) if manifest.flaws else None,
    )
    rows.content_annotations(content_id, manifest.annotations, is_label=False)
    return nested


def _write_edge(
    rows: Rows, parent_id: int, role: int, position: int, child: Descriptor, most: int, chain: str | None = None
) -> list[_Read]:
    """Write that a manifest points to a blob; the blob itself if its descriptor embeds it in at most `most` bytes."""
    if child.annotations and role in (CHILD, LAYER):
        rows.descriptor_annotations(parent_id, role, position, child.annotations)
    data = child.embedded(most)
    rows.edge(
        parent_id,
        role,
        position,
        child.digest,
        child.platform_text,
        child.media_type,
        child.size,
        chain,
        is_foreign=isinstance(child, Layer) and child.is_foreign,
        embedded=data is not None,
    )
    return [] if data is None else [_understood(0, child.digest, data)]


def _write_config(rows: Rows, content_id: int, config: Config) -> None:
    platform = platform_text(config.os, config.architecture, config.variant, config.os_version, config.os_features)
    rows.config(content_id, platform, None if config.created is None else milliseconds(config.created))
    rows.content_annotations(content_id, config.labels, is_label=True)


def _chain(before: str | None, digest: str) -> str:
    """The hash of a list of layers, from that of the list without its last: equal means the same layers in order."""
    return hashlib.blake2b(f"{before or ''} {digest}".encode(), digest_size=16).hexdigest()
