"""Writing rows in bulk: statements compiled once from SQLAlchemy's tables, ids handed out here, digests interned.

Rows are kept until `flush` and then written table by table, parents first, by the driver's executemany: measured, that is
what raw sqlite3 costs, where the ORM costs two to seven times as much.

What all hosts of a shared catalog have in common, digests and the words of the dictionaries, is written beside the
transaction on PostgreSQL, and stands at once: else one host would wait for the end of another's, and two for each other. A
digest that nothing comes to refer to is deleted in time, as any other (ingest/retention.py).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, bindparam, select, update

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
from catalog.engine.driver import cursor_of, driver_of, new_ids
from catalog.ingest.moments import Moment
from catalog.names.digest import is_digest
from catalog.names.limits import clipped, is_long
from catalog.names.media_types import is_leaf
from catalog.names.reference import repository_familiar, split_repository

Row = tuple[Any, ...]
_T = TypeVar("_T")
FLUSH_ROWS = 100_000
"""Some 40 MiB. Digests are sorted before they are written: the more at once, the fewer pages of their index are met."""

_AT_ONCE = 2_000  # rows between two pauses


def _no_pause() -> None:
    pass


_TABLES = (
    entry, name, entry_annotation, problem, name_span, answer_span, snapshot,
    manifest, config, edge, content_annotation, descriptor_annotation, store_blob, referrer,
)  # fmt: skip
"""In the order in which they are written."""

_DICTIONARIES = (media_type, platform, annotation_key, repository)

_DIGESTS = {"entry": (3,), "edge": (3,), "store_blob": (1,), "referrer": (1, 2)}
"""Columns that are given a digest and hold its content's id, by their place."""

_NEW_DIGESTS = (
    # Those that are there are left alone: to say of them that they conflict, one would wait for whoever writes what they are.
    "INSERT INTO content (digest) SELECT asked.digest FROM unnest(CAST(? AS text[])) AS asked(digest)"
    " WHERE NOT EXISTS (SELECT 1 FROM content WHERE content.digest = asked.digest)"
    " ORDER BY asked.digest ON CONFLICT DO NOTHING"  # in one order: each waits for the other's last, and none for ever
)

STORE_COLUMNS = (
    "state", "error", "state_since", "layout_version", "file_identity", "sha256", "keyed_by", "elements", "entries",
    "generation", "indexed_at", "changed_at", "content_pending", "first_at",
)  # fmt: skip
"""What a reading sets of its store."""

_compiled: dict[tuple[str, str], str] = {}  # by dialect and statement: compiling one costs as much as writing 50 rows


class Rows:
    """The rows to be written in one transaction. Not for two transactions: ids are read at its begin."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._driver = driver_of(connection)
        self._dialect = self._driver.dialect(connection)
        self.cursor = self._driver.cursor(connection)
        self.flags = self._driver.flags
        """False and True, as a row is to hold them."""
        self.moment = Moment.of(connection)
        self._ids: dict[str, Iterator[int]] = {}
        self._interned: dict[str, dict[str, int]] = {}
        self._pending: dict[str, list[Any]] = {table.name: [] for table in _TABLES}
        self._stores: list[Row] = []
        self._digests: set[str] = set()
        self._count = 0
        self.pause: Callable[[], None] = _no_pause
        """Called now and then where there is much to write; what it raises leaves the transaction to be undone."""
        self.long_words = 0
        """How many words were too long to be kept whole: of a key of an annotation or label nothing is kept."""

    @functools.cached_property
    def born(self) -> int:
        """The moment of the transaction, since which new rows are as they are."""
        return self.moment.id

    # --- rows of each table -------------------------------------------------------------------------------------

    def entry(self, row: list[Any]) -> None:
        """`row` is [id, store_id, sort, digest, media type id, size, artifact type id, platform id, ref_name,
        image_name, ref_tail, long_ref_name, long_image_name, embedded, fingerprint, born]; the digest becomes its content's id.
        """
        # Not by `_digest` and `_add`: of this there is one for each entry, and a call is a hundredth of what that costs.
        self._digests.add(row[3])
        self._pending["entry"].append(row)
        self._count += 1

    def name(self, row: Row) -> None:
        """`row` has the columns of the table, in its order."""
        self._pending["name"].append(row)
        self._count += 1

    def annotation(self, entry_id: int, key: str, value: str) -> None:
        """One annotation of an entry that is no name."""
        if self._fits(key):
            self._add("entry_annotation", (entry_id, self.annotation_key(key), value))

    def problem(
        self, store_id: int, entry_id: int | None, kind: str, subject: str, detail: str, *, stage: int = 0
    ) -> None:
        """One problem of a store, or of one of its entries; `stage` says by what it was found (catalog.db.schema)."""
        self._add("problem", (self.id_of("problem"), store_id, entry_id, stage, kind, subject, detail))

    def span(self, row: Row, origin: str | None = None) -> None:
        """`row` has the columns of `name_span` from its store to `until`, in their order; `origin` is who told it."""
        self._add("name_span", (self.id_of("name_span"), *row, origin))

    def answer_span(self, row: Row) -> None:
        """`row` has the columns of `answer_span` after its id, in their order."""
        self._add("answer_span", (self.id_of("answer_span"), *row))

    def snapshot(self, row: Row) -> None:
        """`row` has the columns of `snapshot` after its id, in their order."""
        self._add("snapshot", (self.id_of("snapshot"), *row))

    def store(self, store_id: int, row: Row) -> None:
        """Set STORE_COLUMNS of a store."""
        self._stores.append((*row, store_id))

    # --- rows of content ----------------------------------------------------------------------------------------

    def blob(self, store_id: int, digest: str, size: int, mtime: int | None) -> None:
        """A blob of `size` bytes lies in a store. `mtime` is its file's, in milliseconds; None where it is embedded."""
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
        """What a manifest or index says of itself; `size` is that of its layers in bytes.

        `flaws` says which of its descriptors cannot be used.
        """
        artifact_type_id = self.media_type(artifact_type) if artifact_type else None
        self._add("manifest", (content_id, self.media_type(media_type), artifact_type_id, layers, size, chain, flaws))

    def config(self, content_id: int, platform: str, created: int | None) -> None:
        """What a config says; `created` is in milliseconds since 1970, UTC."""
        self._add("config", (content_id, self.platform(platform), created))

    def edge(
        self,
        parent_id: int,
        role: int,
        position: int,
        child: str,
        platform: str | None,
        media_type: str,
        size: int | None,
        chain: str | None,
        *,
        is_foreign: bool = False,
        embedded: bool = False,
    ) -> None:
        """A manifest or index points to the digest `child`."""
        self._digest(child)
        platform_id = self.platform(platform) if platform else None
        flags = self.flags[is_foreign], self.flags[embedded]
        media_type_id = self.media_type(media_type)
        self._add("edge", [parent_id, role, position, child, platform_id, media_type_id, size, chain, *flags])

    def content_annotations(self, content_id: int, annotations: dict[str, str], *, is_label: bool) -> None:
        """The annotations of a manifest or index, or the labels of a config."""
        for key, value in annotations.items():
            if self._fits(key):
                self._add("content_annotation", (content_id, self.flags[is_label], self.annotation_key(key), value))

    def descriptor_annotations(self, content_id: int, role: int, position: int, annotations: dict[str, str]) -> None:
        """The annotations of the descriptor of a manifest's layer, or of an index's child."""
        for key, value in annotations.items():
            if self._fits(key):
                self._add("descriptor_annotation", (content_id, role, position, self.annotation_key(key), value))

    def referrer(
        self, subject: str, digest: str, how: str, *, entry_id: int | None = None, content_id: int | None = None
    ) -> None:
        """The content `digest` is said to be about `subject`, which may be no digest and is then none.

        Either an entry says so, or a manifest or index.
        """
        if is_digest(subject):
            self._digest(subject)
            self._digest(digest)
            self._add("referrer", [self.id_of("referrer"), subject, digest, how, entry_id, content_id])

    def content(self, digest: str) -> int:
        """The id of a digest, which is known from now on."""
        row = self.cursor.execute("SELECT id FROM content WHERE digest = ?", (digest,)).fetchone()
        if row is None:
            self._put(content, [(digest,)])
            row = self.cursor.execute("SELECT id FROM content WHERE digest = ?", (digest,)).fetchone()
        return int(row[0])

    def _digest(self, digest: str) -> None:
        self._digests.add(digest)

    @property
    def full(self) -> bool:
        """Whether enough rows wait that they had better be written."""
        return self._count >= FLUSH_ROWS

    def flush(self) -> None:
        """Write everything that waits."""
        if self._digests:
            self._put_ids()
        for table in _TABLES:
            rows = self._pending[table.name]
            if rows:
                for some in chunks(rows, _AT_ONCE):
                    self.pause()
                    self.cursor.executemany(self._insert(table), some)
                self._pending[table.name] = []
        if self._stores:
            # In the order of ids: another host may be about to say of them that there is something to read.
            self.cursor.executemany(self._update_store(), sorted(self._stores, key=lambda row: int(row[-1])))
            self._stores = []
        self._count = 0

    def _put_ids(self) -> None:
        """Let the digests that wait be known, and put their ids into the rows that were given them.

        All at once and in the order of the index, whose pages are met once each: a search in each insert met them at random.
        """
        digests = sorted(self._digests)
        self._digests = set()
        for some in chunks(digests, _AT_ONCE):
            self.pause()
            self._put(content, [(digest,) for digest in some])
        ids: dict[str, int] = {}
        for some in chunks(digests):
            self.pause()
            found = self.cursor.execute(f"SELECT digest, id FROM content WHERE digest IN ({marks(some)})", some)
            ids.update(found.fetchall())
        for table, places in _DIGESTS.items():
            for row in self._pending[table]:
                for place in places:
                    row[place] = ids[row[place]]

    # --- ids and dictionaries -----------------------------------------------------------------------------------

    def id_of(self, table: str) -> int:
        """A new id for a row of `table`."""
        return next(self.ids_of(table))

    def ids_of(self, table: str) -> Iterator[int]:
        """New ids for rows of `table`, as many as are asked for."""
        ids = self._ids.get(table)
        if ids is None:
            ids = self._ids[table] = new_ids(self._connection, table)
        return ids

    def media_type(self, text: str) -> int:
        """The id of a media type, known from now on; of its beginning where it is too long."""
        text = self._word(text)
        return self._intern(media_type, text, (self.flags[is_leaf(text)],))

    def platform(self, text: str) -> int:
        """The id of a platform, known from now on; of its beginning where it is too long."""
        return self._intern(platform, self._word(text), ())

    def annotation_key(self, text: str) -> int:
        """The id of an annotation's key, known from now on."""
        return self._intern(annotation_key, text, ())

    def repository(self, canonical: str) -> int:
        """The id of a canonical repository, known from now on."""
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
            self.cursor.execute(self._lookup(table), (text,))
            row = self.cursor.fetchone()
            if row is None:
                found = self.id_of(table.name)
                self._put(table, [(found, text, *more)])
                if self._driver.is_shared:  # another host may have been the first
                    found = int(self.cursor.execute(self._lookup(table), (text,)).fetchone()[0])
            else:
                found = int(row[0])
            known[text] = found
        return found

    # --- statements ---------------------------------------------------------------------------------------------

    def _add(self, table: str, row: Row | list[Any]) -> None:
        self._pending[table].append(row)
        self._count += 1

    def _put(self, table: Table, rows: list[Row]) -> None:
        """Insert into a table that the hosts share what is not there yet."""
        if not self._driver.is_shared:
            self.cursor.executemany(self._insert(table), rows)
            return
        with self._connection.engine.begin() as beside:
            if table is content:
                cursor_of(beside).execute(_NEW_DIGESTS, ([row[0] for row in rows],))
            else:
                cursor_of(beside).executemany(self._insert(table), rows)

    def _lookup(self, table: Table) -> str:
        def make() -> tuple[Any, Sequence[str]]:
            return select(table.c.id).where(table.c.name == bindparam("text")), ("text",)

        return self._text(f"lookup {table.name}", make)

    def _insert(self, table: Table) -> str:
        def make() -> tuple[Any, Sequence[str]]:
            insert = self._driver.insert
            if table is content:
                return insert(content).values(digest=bindparam("digest")).on_conflict_do_nothing(), ("digest",)
            values: dict[str, Any] = {column.name: bindparam(f"v_{column.name}") for column in table.columns}
            # Inline: no RETURNING for an id, which Python 3.12 and later refuse in executemany.
            made = insert(table).values(values).inline()
            if self._driver.is_shared and table in _DICTIONARIES:
                made = made.on_conflict_do_nothing()
            return made, [f"v_{column.name}" for column in table.columns]

        return self._text(f"insert {table.name}", make)

    def _update_store(self) -> str:
        def make() -> tuple[Any, Sequence[str]]:
            values: dict[str, Any] = {column: bindparam(f"v_{column}") for column in STORE_COLUMNS}
            # Another host may have said since the row was read that there is something to read.
            values["content_pending"] = store.c.content_pending | values["content_pending"]
            ordered: list[tuple[Any, Any]] = [(store.c[column], value) for column, value in values.items()]
            return (
                update(store).where(store.c.id == bindparam("which")).ordered_values(*ordered),
                [*(f"v_{column}" for column in STORE_COLUMNS), "which"],
            )

        return self._text("update store", make)

    def _text(self, key: str, make: Callable[[], tuple[Any, Sequence[str]]]) -> str:
        """The text of a statement for the driver, made once a process; `make` gives it and its parameters in order."""
        known = (self._dialect.name, key)
        text = _compiled.get(known)
        if text is None:
            statement, order = make()
            compiled = statement.compile(dialect=self._dialect)
            if list(compiled.positiontup or ()) != list(order):
                raise RuntimeError(f"{key}: the parameters stand as {compiled.positiontup}")
            text = _compiled[known] = str(compiled)
        return text


def mark_completed(connection: Connection, store_ids: Sequence[int]) -> None:
    """Let the content of these stores be read again: a blob in them has changed where it lies."""
    for some in chunks(store_ids):
        connection.execute(update(store).where(store.c.id.in_(some)).values(content_pending=True))


def chunks(items: Sequence[_T], size: int = 500) -> Iterable[Sequence[_T]]:
    """`items` in pieces that fit into one statement's list of parameters."""
    return (items[start : start + size] for start in range(0, len(items), size))


def marks(values: Collection[object]) -> str:
    """Return as many `?` as there are values, for the IN of a statement."""
    return ",".join("?" * len(values))
