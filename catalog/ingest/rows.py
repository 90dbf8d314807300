"""Write rows in bulk. Ids are assigned here, and digests and interned strings are replaced by their ids.

Rows are collected until `flush` and then written table by table, parents first, by the driver's executemany. By measurement, that
costs as much as plain sqlite3; the ORM costs two to seven times as much.

Digests and interned strings (media types, platforms, annotation keys, repositories) are shared by all hosts of a shared catalog.
There, new ones are committed before the transaction that needs them (catalog.engine.shared_rows). They are collected in a first
try, which `flush` ends by raising CommitFirst. Otherwise one host would wait for another's transaction to end, and two could wait
for each other. A digest that nothing refers to any more is deleted later (retention.py).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Table, update

from catalog.db.schema import (
    annotation_key,
    answer_span,
    config,
    content,
    content_annotation,
    descriptor_annotation,
    edge,
    entry,
    entry_annotation,
    manifest,
    media_type,
    name,
    name_span,
    platform,
    problem,
    referrer,
    repository,
    snapshot,
    store,
    store_blob,
)
from catalog.engine.driver import driver_of, new_ids
from catalog.ingest.compiled import CompiledStatements
from catalog.ingest.moments import Moment
from catalog.ingest.new_words import NewWords
from catalog.ingest.parameters import chunks, marks
from catalog.ingest.records import AnswerSpanRow, NameSpanRow, SnapshotRow, StoreRow
from catalog.layout.config import Config
from catalog.layout.descriptor import Platform
from catalog.names.digest import is_digest
from catalog.names.limits import clipped, is_long
from catalog.names.media_types import is_leaf
from catalog.names.platform import platform_text
from catalog.names.reference import repository_familiar, split_repository

Row = tuple[Any, ...]
FLUSH_ROWS = 100_000
"""The number of rows, about 40 MiB, that are collected before they are written. Digests are sorted before they are written: the more at
once, the fewer pages of their index are visited."""

_AT_ONCE = 2_000  # rows between two pauses


def _no_pause() -> None:
    pass


_TABLES = (
    entry, name, entry_annotation, problem, name_span, answer_span, snapshot,
    manifest, config, edge, content_annotation, descriptor_annotation, store_blob, referrer,
)  # fmt: skip
"""The tables, in the order in which they are written."""

_DIGESTS = {"entry": (3,), "edge": (3,), "store_blob": (1,), "referrer": (1, 2)}
"""The positions of columns that hold a digest in the collected rows. `flush` replaces it by the id of its content."""


class Rows:
    """The rows to write in one transaction. Create a new object for each transaction, because ids are read when it begins."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._driver = driver_of(connection)
        self._statements = CompiledStatements(self._driver, self._driver.dialect(connection))
        self.cursor = self._driver.cursor(connection)
        self.flags = self._driver.flags
        """The values of False and True in rows."""
        self.moment = Moment.of(connection)
        self._ids: dict[str, Iterator[int]] = {}
        self._interned: dict[str, dict[str, int]] = {"media_type": {}}
        self._platforms: dict[tuple[str | None, ...], int | None] = {}
        self._pending: dict[str, list[Any]] = {table.name: [] for table in _TABLES}
        self._stores: list[Row] = []
        self._digests: set[str] = set()
        self._lacking = NewWords()  # always empty if the catalog is not shared
        self._count = 0
        self.pause: Callable[[], None] = _no_pause
        """Called now and then while there is much to write. If it raises, the transaction must be rolled back."""
        self.is_bulk = False
        """Whether the indexes that only queries use are missing (Writer.begin_bulk)."""
        self.long_words = 0
        """The number of media types and platforms that were truncated and of annotations and labels that were left out for their length."""

    @functools.cached_property
    def born(self) -> int:
        """The id of the transaction's moment, for the column `born` of its new rows."""
        return self.moment.id

    # --- rows of each table -------------------------------------------------------------------------------------

    def entry(self, row: list[Any]) -> None:
        """Add an entry. `row` is [id, store_id, sort, digest, media type id, size, artifact type id, platform id, ref_name,
        image_name, ref_tail, long_ref_name, long_image_name, embedded, fingerprint, born, saved_names]. The digest is replaced by
        its id.
        """
        # This runs for every entry, so it does not call `_digest` and `_add`, which would make it one percent slower.
        self._digests.add(row[3])
        self._pending["entry"].append(row)
        self._count += 1

    def name(self, row: Row) -> None:
        """Add a name. `row` has the columns of the table in their order."""
        self._pending["name"].append(row)
        self._count += 1

    def annotation(self, entry_id: int, key: str, value: str) -> None:
        """Add an annotation of an entry that is not a name, unless its key is too long."""
        if self._fits(key):
            self._add("entry_annotation", (entry_id, self.annotation_key(key), value))

    def problem(
        self, store_id: int, entry_id: int | None, kind: str, subject: str, detail: str, *, stage: int = 0
    ) -> None:
        """Add a problem of a store, or of one of its entries. `stage` is the number of the stage that found it (catalog.db.schema)."""
        self._add("problem", (self.id_of("problem"), store_id, entry_id, stage, kind, subject, detail))

    def span(self, row: NameSpanRow) -> None:
        """Add a span of a name that a layout records."""
        self._add("name_span", (self.id_of("name_span"), *row))

    def answer_span(self, row: AnswerSpanRow) -> None:
        """Add a span in which a name had an answer that it no longer has."""
        self._add("answer_span", (self.id_of("answer_span"), *row))

    def snapshot(self, row: SnapshotRow) -> None:
        """Add one change of a store."""
        self._add("snapshot", (self.id_of("snapshot"), *row))

    def store(self, store_id: int, row: StoreRow) -> None:
        """Set the columns of a store that was read."""
        self._stores.append((*row, store_id))

    # --- rows of content ----------------------------------------------------------------------------------------

    def blob(self, store_id: int, digest: str, size: int, mtime: int | None) -> None:
        """Add a blob of `size` bytes to a store. `mtime` is the mtime of its file in milliseconds, or None if it is embedded."""
        self._digest(digest)
        no, yes = self.flags
        embedded = yes if mtime is None else no
        self._add("store_blob", [store_id, digest, size, None, None, None, mtime, no, embedded, None, self.born])

    def manifest(
        self,
        content_id: int,
        media_type: str,
        artifact_type: str | None,
        layers: int,
        size: int,
        chain: str | None,
        *,
        flaws: str | None = None,
    ) -> None:
        """Add the row of a manifest or index. `size` is the total size of its layers, in bytes.

        `flaws` describes the descriptors in it that cannot be used.
        """
        artifact_type_id = self.media_type(artifact_type) if artifact_type else None
        self._add("manifest", (content_id, self.media_type(media_type), artifact_type_id, layers, size, chain, flaws))

    def config(self, content_id: int, platform_id: int | None, created: int | None) -> None:
        """Add the row of a config. `created` is in milliseconds since 1970, UTC."""
        self._add("config", (content_id, platform_id, created))

    def edge(
        self,
        parent_id: int,
        role: int,
        position: int,
        child: str,
        platform_id: int | None,
        media_type: str,
        size: int | None,
        chain: str | None,
        *,
        is_foreign: bool = False,
        embedded: bool = False,
    ) -> None:
        """Add an edge from a manifest or index to the digest `child`."""
        self._digest(child)
        flags = self.flags[is_foreign], self.flags[embedded]
        media_type_id = self.media_type(media_type)
        self._add("edge", [parent_id, role, position, child, platform_id, media_type_id, size, chain, *flags])

    def content_annotations(self, content_id: int, annotations: dict[str, str], *, is_label: bool) -> None:
        """Add the annotations of a manifest or index, or the labels of a config, except those with too long keys."""
        for key, value in annotations.items():
            if self._fits(key):
                self._add("content_annotation", (content_id, self.flags[is_label], self.annotation_key(key), value))

    def descriptor_annotations(self, content_id: int, role: int, position: int, annotations: dict[str, str]) -> None:
        """Add the annotations of a layer's descriptor in a manifest, or of a child's in an index, except those with too long keys."""
        for key, value in annotations.items():
            if self._fits(key):
                self._add("descriptor_annotation", (content_id, role, position, self.annotation_key(key), value))

    def referrer(
        self, subject: str, digest: str, how: str, *, entry_id: int | None = None, content_id: int | None = None
    ) -> None:
        """Record that the content `digest` refers to `subject`. A subject that is not a digest is ignored.

        Pass the id of the entry that contains the reference, or else that of the manifest or index.
        """
        if is_digest(subject):
            self._digest(subject)
            self._digest(digest)
            self._add("referrer", [self.id_of("referrer"), subject, digest, how, entry_id, content_id])

    def content(self, digest: str) -> int:
        """Return the id of a digest. Inserts the digest if it is new."""
        row = self.cursor.execute("SELECT id FROM content WHERE digest = ?", (digest,)).fetchone()
        if row is None and self._driver.is_shared:
            return self._lacking.digest(digest)
        if row is None:
            self.cursor.executemany(self._statements.insert(content), [(digest,)])
            row = self.cursor.execute("SELECT id FROM content WHERE digest = ?", (digest,)).fetchone()
        return int(row[0])

    def _digest(self, digest: str) -> None:
        self._digests.add(digest)

    def flush_if_full(self) -> None:
        """Write the collected rows if there are many. Call `flush` after the last row."""
        if self._count < FLUSH_ROWS:
            return
        self._put_ids()
        if not self._lacking:
            self._write()
            return
        # The transaction will be repeated, so only the new strings and digests are of use.
        self._pending = {table.name: [] for table in _TABLES}
        self._stores = []
        self._count = 0
        if self._lacking.are_many:
            raise self._lacking.commit_first()

    def flush(self) -> None:
        """Write the collected rows. Raises CommitFirst if they need interned strings or digests that are not committed yet."""
        self._put_ids()
        if self._lacking:
            raise self._lacking.commit_first()
        self._write()

    def _write(self) -> None:
        for table in _TABLES:
            rows = self._pending[table.name]
            if rows:
                for some in chunks(rows, _AT_ONCE):
                    self.pause()
                    self.cursor.executemany(self._statements.insert(table), some)
                self._pending[table.name] = []
        if self._stores:
            # In the order of their ids, because another host may be updating the same stores.
            self.cursor.executemany(self._statements.update_store(), sorted(self._stores, key=lambda row: int(row[-1])))
            self._stores = []
        self._count = 0

    def _put_ids(self) -> None:
        """Insert the collected digests, and replace them in the collected rows by their ids. On a shared catalog, record the missing
        digests instead of inserting them.

        All digests are inserted at once and in the order of the index, so that each of its pages is visited once. A search in each insert
        would visit them at random.
        """
        digests = sorted(self._digests)
        self._digests = set()
        if not self._driver.is_shared:
            for some in chunks(digests, _AT_ONCE):
                self.pause()
                self.cursor.executemany(self._statements.insert(content), [(digest,) for digest in some])
        ids: dict[str, int] = {}
        for some in chunks(digests):
            self.pause()
            found = self.cursor.execute(f"SELECT digest, id FROM content WHERE digest IN ({marks(some)})", some)
            ids.update(found.fetchall())
        if len(ids) < len(digests):
            for digest in digests:
                if digest not in ids:
                    self._lacking.digest(digest)
        if self._lacking:
            return
        for table, places in _DIGESTS.items():
            for row in self._pending[table]:
                for place in places:
                    row[place] = ids[row[place]]

    # --- ids and interned strings ------------------------------------------------------------------------

    def id_of(self, table: str) -> int:
        """Return a new id for a row of `table`."""
        return next(self.ids_of(table))

    def ids_of(self, table: str) -> Iterator[int]:
        """Return an iterator that yields any number of new ids for rows of `table`."""
        ids = self._ids.get(table)
        if ids is None:
            ids = self._ids[table] = new_ids(self._connection, table)
        return ids

    def media_type(self, text: str) -> int:
        """Return the id of a media type. Inserts it if it is new, and truncates it if it is too long."""
        known = self._interned["media_type"].get(text)
        if known is not None:
            return known
        text = self._word(text)
        return self._intern(media_type, text, (self.flags[is_leaf(text)],))

    def platform(self, text: str) -> int:
        """Return the id of a platform. Inserts it if it is new, and truncates it if it is too long."""
        return self._intern(platform, self._word(text), ())

    def platform_of(self, found: Platform | Config | None) -> int | None:
        """Return the id of the platform of a descriptor or config, or None if the operating system or architecture is missing.

        Platforms repeat, so the text of each is made only once.
        """
        if found is None:
            return None
        parts = (found.os, found.architecture, found.variant, found.os_version, *(found.os_features or ()))
        if parts in self._platforms:
            return self._platforms[parts]
        text = platform_text(found.os, found.architecture, found.variant, found.os_version, found.os_features)
        long_words = self.long_words
        known = None if text is None else self.platform(text)
        if self.long_words == long_words:  # A platform that is too long has to be counted each time.
            self._platforms[parts] = known
        return known

    def annotation_key(self, text: str) -> int:
        """Return the id of an annotation key. Inserts it if it is new."""
        return self._intern(annotation_key, text, ())

    def repository(self, canonical: str) -> int:
        """Return the id of a canonical repository. Inserts it if it is new."""
        found = self._interned.get("repository", {}).get(canonical)
        if found is not None:
            return found
        parts = split_repository(canonical)
        domain, path = parts if parts is not None else ("", canonical)
        return self._intern(repository, canonical, (domain, path, repository_familiar(domain, path)))

    def _word(self, text: str) -> str:
        kept = clipped(text)
        self.long_words += kept is not text
        return kept

    def _fits(self, key: str) -> bool:
        is_too_long = is_long(key)
        self.long_words += is_too_long
        return not is_too_long

    def _intern(self, table: Table, text: str, more: tuple[object, ...]) -> int:
        known = self._interned.setdefault(table.name, {})
        found = known.get(text)
        if found is None:
            self.pause()
            self.cursor.execute(self._statements.lookup(table), (text,))
            row = self.cursor.fetchone()
            if row is None and self._driver.is_shared:
                found = self._lacking.word(table, text, more)
            elif row is None:
                found = self.id_of(table.name)
                self.cursor.executemany(self._statements.insert(table), [(found, text, *more)])
            else:
                found = int(row[0])
            known[text] = found
        return found

    def _add(self, table: str, row: Row | list[Any]) -> None:
        self._pending[table].append(row)
        self._count += 1


def mark_completed(connection: Connection, store_ids: Sequence[int]) -> None:
    """Mark the content of these stores as pending, because a blob in them was changed in place."""
    for some in chunks(store_ids):
        connection.execute(update(store).where(store.c.id.in_(some)).values(content_pending=True))
