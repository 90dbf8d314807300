"""The content stage reads the blobs behind the digests. It runs after the names of a change are committed (docs/architecture.md).

Blobs are content-addressed, so a manifest is read once for the whole catalog, from any store that has a good copy, and its
rows never change. For each store the stage

1. lists the directories and brings `store_blob` up to date (listing.py, embedded.py),
2. reads every unread blob that is an entry, or a child or config of a manifest that was read (unread.py, blob_reading.py), then
   the blobs that those point to, and so on. A cycle ends because no blob is read twice. A blob with the media type of a layer is
   not read.
3. checks small blobs that nothing points to. A blob that begins like JSON is read too, and if it is a manifest, so are its children.
4. records problems, and which blobs are in use (content_rows.py, reach.py).

A child may exist only in other stores, or have its only good copy there. Those stores are marked to be read again, so the
result does not depend on the order of stores. Small stores go through these steps together, because the number of commits
determines how long the stage takes.

Each step queries the database for the remaining work, so after a kill the stage continues where it was: a store is
`content_pending` from the commit of its names until a pass over it is complete. Children that are in no store are normal (sparse
layouts).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from sqlalchemy import Connection

from catalog.collector import CollectorPaused
from catalog.engine.interface import Writer
from catalog.exhausted import TOO_LARGE, give_back, reserve
from catalog.ingest import findings
from catalog.ingest.blob_reading import BlobRead, ContentReading, batches, begins_like_json, note_mislabelled, read_blob
from catalog.ingest.content_rows import write_batch, write_end
from catalog.ingest.embedded import embedding, list_embedded
from catalog.ingest.grouping import grouped
from catalog.ingest.listing import list_blobs, list_shared
from catalog.ingest.reach import standing
from catalog.ingest.registry import Registry
from catalog.ingest.rows import Rows
from catalog.ingest.settings import Settings
from catalog.ingest.store_state import Store, has_unread_content
from catalog.ingest.turns import LARGE_ENTRIES, SLICE_SECONDS, TurnEnded
from catalog.ingest.unread import (
    PAGE,
    BlobPage,
    UnreadBlob,
    blobs_in_doubt,
    first_pages,
    page_after,
    pointed_to,
    set_looked,
    small_blobs,
    suspects,
    unread_below,
    unread_in,
)
from catalog.layout.blobs import BlobDirectories
from catalog.layout.blobs_identity import blobs_identity
from catalog.names.paths import encode_path

GROUP = 32
GROUP_ENTRIES = 2_000
"""The most stores, or entries of stores, that are read together. That takes five commits for all of them instead of five for each."""

_Unread = list[tuple[ContentReading, list[UnreadBlob]]]
_T = TypeVar("_T")


class ContentStage:
    """Reads the content of stores through `writer`.

    `known` is the number of blobs found so far that had to be read; more may be found while reading.
    `woken` collects the ids of stores that turned out to have more to read, even if they were already read to the end.
    `pause` is called now and then during a transaction. If it raises TurnEnded, the transaction is rolled back, and repeated
    when the caller continues to iterate over `run`. Any other exception is passed on. So is TurnEnded while an archive is read:
    then `run` has ended, and must be called again later. `pause_in_archive`, if given, is called instead while an archive is read.
    """

    def __init__(
        self,
        writer: Writer,
        settings: Settings,
        woken: set[int] | None = None,
        pause: Callable[[], None] = lambda: None,
        pause_in_archive: Callable[[], None] | None = None,
    ) -> None:
        self._writer = writer
        self._pause = pause
        self._pause_in_archive = pause if pause_in_archive is None else pause_in_archive
        self._limits = settings.limits
        self._max_bytes = settings.limits.descriptor_bytes
        self.known = 0
        self.woken = set() if woken is None else woken

    def pending(self, *, look: bool = False, even_read: bool = False) -> list[int]:
        """Return the ids of the stores whose content is not completely read.

        With `look`, include stores whose directories have changed since they were listed. With `even_read`, include all stores that were
        ever indexed.
        """
        with self._writer.snapshot() as connection:
            stores = Registry(connection).stores()
        return [s.id for s in stores if has_unread_content(s, look=look, even_read=even_read)]

    def run(self, store_ids: Sequence[int]) -> Iterator[int]:
        """Read the content of these stores. Yields the number of blobs read so far after each piece of work.

        No piece takes long, and nothing is locked between two pieces. The caller may stop after any piece and call this again
        later for the rest.
        """
        steps = self._steps(store_ids)
        with contextlib.closing(steps):
            while True:
                # The garbage collector would traverse all rows of a group again and again, and find nothing.
                with CollectorPaused():
                    done = next(steps, None)
                if done is None:
                    return
                yield done

    def _steps(self, store_ids: Sequence[int]) -> Generator[int, None, None]:
        with self._writer.snapshot() as connection:
            found = Registry(connection).stores(store_ids)
        self.known = 0
        self._done = 0
        for group in grouped(found, GROUP, lambda store: store.entries, GROUP_ENTRIES):
            yield from self._run_group(group)

    def _run_group(self, group: list[Store]) -> Iterator[int]:
        """Read stores together, or one by one if that takes more memory than there is."""
        self.woken.difference_update(store.id for store in group)
        reserve()
        try:
            with contextlib.ExitStack() as opened:
                yield from self._run([self._reading(s, opened) for s in group])
            return
        except MemoryError:
            give_back()
            if len(group) == 1:
                self._give_up(group[0])
                return
        for store in group:
            yield from self._run_group([store])

    def _reading(self, store: Store, opened: contextlib.ExitStack) -> ContentReading:
        pause = self._pause_in_archive
        blobs = BlobDirectories(store.opened, store.shared_blobs, limits=self._limits, pause=pause)
        return ContentReading(store, opened.enter_context(blobs), pause)

    def _give_up(self, store: Store) -> None:
        """Record that reading a store takes more memory than there is. It is not read again until something in it changes.

        Its entries may be newer than the recorded use of its blobs, so no blob may be reported as unused or missing.
        """
        identity = blobs_identity(store.opened, store.shared_blobs)

        def write(connection: Connection) -> None:
            rows = Rows(connection)
            rows.cursor.execute("DELETE FROM problem WHERE store_id = ? AND stage = 1", (store.id,))
            subject = encode_path(f"{store.path}/blobs")[0]
            rows.problem(store.id, None, "unreadable-blob", subject, f"all of them {TOO_LARGE}", stage=1)
            rows.flush()
            rows.cursor.execute(
                "UPDATE store SET content_pending = FALSE, blobs_identity = ?, doubt = ?, doubt_reason = ?, unlisted = TRUE"
                " WHERE id = ? AND generation = ?",
                (identity, subject, TOO_LARGE, store.id, store.generation),
            )

        self._writer.write(write)

    def _run(self, readings: list[ContentReading]) -> Iterator[int]:
        for _ in list_blobs(self._writer, ((each.store, each.blobs) for each in readings)):
            yield self._done
        self._list_embedded(readings)
        yield self._done
        yield from self._read_in_doubt(readings)
        left = readings
        while left:
            while unread := (yield from self._all_unread(left)) or (yield from self._unlisted(left)):
                yield from self._read_all(left, unread)
                self._list_embedded(left)
                for each in left:
                    list_shared(self._writer, each.store, each.blobs)
            for each in left:
                if each.blobs.unlisted and not each.blobs.is_torn:
                    each.identity = None  # A later listing may succeed although the directory looks the same.
            yield from self._look_at_suspects(left)
            left = yield from self._finish(left)
        yield self._done

    def _read_all(self, readings: list[ContentReading], unread: _Unread) -> Iterator[int]:
        """Read these blobs of the stores, then the blobs that they point to, level by level."""
        while unread:
            self.known += sum(len(blobs) for _, blobs in unread)
            parents: list[int] = []
            for batch in batches(unread, self._read):
                if batch:
                    parents += yield from self._write([each.store.id for each in readings], batch)
                self._done += len(batch)
                yield self._done
            self._list_embedded(readings, parents)
            for each in readings:
                list_shared(self._writer, each.store, each.blobs, parents)
            unread = self._unread_below(readings, parents)

    def _in_turns(self, work: Callable[[Connection], _T]) -> Generator[int, None, _T]:
        """Run `work` in a transaction and return its result. If the turn is ended, repeat the transaction in the next turn."""
        while True:
            try:
                return self._writer.write(work)
            except TurnEnded:
                yield self._done

    # --- finding blobs to read ----------------------------------------------------------------------------------

    def _all_unread(self, readings: list[ContentReading]) -> Generator[int, None, _Unread]:
        """Return the unread blobs of each store that has any."""
        found: dict[int, list[UnreadBlob]] = {}
        for page in (yield from self._pages(readings)):
            with self._writer.snapshot() as connection:
                for store_id, blobs in unread_in(connection, page, self._max_bytes).items():
                    found.setdefault(store_id, []).extend(blobs)
            if page.is_one_of_many:
                yield self._done
        return _to_read(readings, found)

    def _unread_below(self, readings: list[ContentReading], parents: Sequence[int]) -> _Unread:
        """Return, for each store, the unread blobs that these manifests point to."""
        with self._writer.snapshot() as connection:
            found = unread_below(connection, [each.store.id for each in readings], parents, self._max_bytes)
        return _to_read(readings, found)

    def _pages(self, readings: Iterable[ContentReading]) -> Generator[int, None, list[BlobPage]]:
        """Return the blobs of the stores in pages."""
        by_id = {each.store.id: each for each in readings}
        with self._writer.snapshot() as connection:
            first = first_pages(connection, by_id)
        pages: list[BlobPage] = []
        for each in first:
            page = each
            pages.append(page)
            if page.is_one_of_many:
                by_id[page.store_ids[0]].is_large = True
            while not page.is_last:
                yield self._done
                with self._writer.snapshot() as connection:
                    page = page_after(connection, page)
                pages.append(page)
        return pages

    def _unlisted(self, readings: list[ContentReading]) -> Generator[int, None, _Unread]:
        """Return, for each store, the small blobs that nothing points to and that begin like JSON.

        Record that the small blobs that begin in another way were checked.
        """
        by_id = {each.store.id: each for each in readings}
        found: dict[int, list[UnreadBlob]] = {}
        looked: list[tuple[int, int]] = []
        until = time.monotonic() + SLICE_SECONDS
        used: dict[int, set[int]] = {}
        pages = yield from self._pages(readings)
        for page in pages:
            with self._writer.snapshot() as connection:
                small = small_blobs(connection, page, self._max_bytes)
            if small and page.store_ids[0] not in used:
                used = yield from self._pointed_to([each for each in pages if each.store_ids == page.store_ids])
            for store_id, content_id, digest in small:
                each = by_id[store_id]
                if content_id in used[store_id] or digest in each.skipped:
                    continue
                if begins_like_json(each.blobs, digest):
                    found.setdefault(store_id, []).append(UnreadBlob(content_id, digest, claimed=False))
                else:
                    looked.append((store_id, content_id))
                if time.monotonic() >= until:
                    yield self._done
                    until = time.monotonic() + SLICE_SECONDS
            if len(looked) >= PAGE:
                yield from self._note_looked(looked)
                looked = []
        if looked:
            yield from self._note_looked(looked)
        return [(each, found[each.store.id]) for each in readings if each.store.id in found]

    def _look_at_suspects(self, readings: Sequence[ContentReading]) -> Iterator[int]:
        """Record manifests with the media type of a layer or the like. The blobs that they need are in use, but unknown."""
        by_id = {each.store.id: each for each in readings}
        until = time.monotonic() + SLICE_SECONDS
        for page in (yield from self._pages(readings)):
            with self._writer.snapshot() as connection:
                found = suspects(connection, page, self._max_bytes)
            for store_id, digest in found:
                reading = by_id[store_id]
                if not reading.left_out(digest) and digest not in reading.mislabelled:
                    note_mislabelled(reading, digest, self._limits)
                if time.monotonic() >= until:
                    yield self._done
                    until = time.monotonic() + SLICE_SECONDS

    def _pointed_to(self, pages: Sequence[BlobPage]) -> Generator[int, None, dict[int, set[int]]]:
        """Return the ids of all content that the manifests on these pages of the same stores point to, by store."""
        used: dict[int, set[int]] = {store_id: set() for store_id in pages[0].store_ids}
        for page in pages:
            with self._writer.snapshot() as connection:
                for store_id, content_id in pointed_to(connection, page):
                    used[store_id].add(content_id)
            if page.is_one_of_many:
                yield self._done
        return used

    def _note_looked(self, looked: list[tuple[int, int]]) -> Generator[int, None, None]:
        yield from self._in_turns(lambda connection: set_looked(connection, looked))

    def _list_embedded(self, readings: Iterable[ContentReading], parents: Sequence[int] | None = None) -> None:
        if parents is not None:
            with self._writer.snapshot() as connection:
                parents = embedding(connection, parents)
            if not parents:
                return
        list_embedded(self._writer, [each.store.id for each in readings], parents)

    # --- reading and writing ------------------------------------------------------------------------------------

    def _read_in_doubt(self, readings: Iterable[ContentReading]) -> Iterator[int]:
        """Check bad blobs again whose contents need not be read any more, because another store has a good copy."""
        by_id = {each.store.id: each for each in readings}
        with self._writer.snapshot() as connection:
            found = blobs_in_doubt(connection, tuple(by_id))
        until = time.monotonic() + SLICE_SECONDS
        for store_id, digest in found:
            self._read(by_id[store_id], UnreadBlob(0, digest))
            if time.monotonic() >= until:
                yield self._done
                until = time.monotonic() + SLICE_SECONDS

    def _read(self, reading: ContentReading, blob: UnreadBlob) -> BlobRead | None:
        def note_looked() -> None:
            self._writer.write(lambda connection: set_looked(connection, [(reading.store.id, blob.content_id)]))

        return read_blob(reading, blob, self._limits, note_looked)

    def _write(self, store_ids: list[int], batch: list[BlobRead]) -> Generator[int, None, list[int]]:
        """Write a batch. Return the ids of the manifests and indexes in it."""
        woken, parents = yield from self._in_turns(
            lambda connection: write_batch(connection, store_ids, batch, self._max_bytes, self._pause)
        )
        self.woken |= woken
        return parents

    def _finish(self, readings: list[ContentReading]) -> Generator[int, None, list[ContentReading]]:
        """Record that these stores are read. Return those that have more to read."""
        in_pieces = [each for each in readings if each.is_large or each.store.entries > LARGE_ENTRIES]
        while True:
            for each in in_pieces:
                yield from self._find(each)
            try:
                left, woken = self._writer.write(
                    lambda connection: write_end(connection, readings, self._max_bytes, self._pause)
                )
                break
            except TurnEnded:
                in_pieces = readings
                yield self._done
        self.woken |= woken
        return left

    def _find(self, reading: ContentReading) -> Generator[int, None, None]:
        """Collect the findings about a store. Write those that are too many for one transaction, and keep the rest in `reading`."""
        pages = yield from self._pages([reading])
        ranges = [(page.low, page.high) for page in pages]
        ask = findings.asking_anew(self._writer)
        reading.standing = standing(ask, reading.store.id)
        steps = findings.find(ask, reading.store, reading.reasons(), reading.blobs.unknown(), ranges)
        until = time.monotonic() + SLICE_SECONDS
        while True:
            try:
                next(steps)
            except StopIteration as end:
                found = end.value
                break
            if time.monotonic() >= until:
                yield self._done
                until = time.monotonic() + SLICE_SECONDS
        writing = findings.write_most(self._writer, reading.store, found)
        while True:
            try:
                next(writing)
            except StopIteration as end:
                reading.findings = end.value
                return
            yield self._done


def _to_read(readings: Iterable[ContentReading], found: Mapping[int, Iterable[UnreadBlob]]) -> _Unread:
    """Return the unread blobs that were not tried yet, for each store that has any."""
    unread = [
        (each, [one for one in found.get(each.store.id, ()) if not each.left_out(one.digest)]) for each in readings
    ]
    return [(each, blobs) for each, blobs in unread if blobs]
