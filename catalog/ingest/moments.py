"""Keep the past: each transaction that changes an answer is a moment, and rows that change or are deleted are copied to the past.

A moment has an id, which determines the order, and a time, which is only a label (docs/decisions/0011-the-past.md): clocks may be
set, and past answers must not depend on that. `past_store`, `past_entry`, `past_name` and `past_blob` contain rows of the live
tables that were valid from the moment `born` until just before the moment `gone`. Call `keep_...` before rows change or are deleted.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from catalog.db.kinds import INDEX, MANIFEST
from catalog.db.labels import agrees, mended
from catalog.engine.boot import boot_id, ran_ms
from catalog.engine.driver import Cursor, driver_of
from catalog.ingest.clock import now_ms

if TYPE_CHECKING:
    from sqlalchemy import Connection

_WAIT_MS = 5
"""Two moments must not have the same time, so the second one waits for the next millisecond, but at most this long."""
_TIE_MS = 1000
"""A clock that is behind the last moment by at most this is treated as if it stood still, not as set back."""

_STORE = "host_id, name, path, path_bytes, priority, state, state_since, elements, entries, shared_as"
_ENTRY = (
    "store_id, sort, content_id, media_type_id, size, artifact_type_id, platform_id, ref_name, image_name, ref_tail,"
    " long_ref_name, long_image_name"
)
_NAME = "entry_id, store_id, repository_id, tag, name, source, sort, shadowed, since"


def _copied(table: str, key: str, columns: str) -> str:
    """Return the statement that copies rows of a live table into the past. The caller appends a condition."""
    return (
        f"INSERT INTO past_{table} ({key}, {columns}, born, gone) SELECT id, {columns}, born, CAST(? AS BIGINT)"
        f" FROM {table} WHERE born < ? AND "
    )


_KEEP_STORE = _copied("store", "store_id", _STORE)
_KEEP_ENTRY = _copied("entry", "entry_id", _ENTRY)
_KEEP_NAME = _copied("name", "name_id", _NAME)
_KEEP_BLOB = (
    "INSERT INTO past_blob (store_id, content_id, size, embedded, reach, born, gone)"
    " SELECT store_id, content_id, store_blob.size, embedded, reach, born, CAST(? AS BIGINT) FROM store_blob"
    f" JOIN content ON content.id = content_id AND content.kind IN ({MANIFEST}, {INDEX}) WHERE born < ? AND "
)
_END_ANSWERS = (
    "INSERT INTO answer_span (store_id, repository_id, tag, name, content_id, since, until, born, gone)"
    " SELECT name.store_id, name.repository_id, name.tag, name.name, entry.content_id, name.since, CAST(? AS BIGINT),"
    " name.answers_from, CAST(? AS BIGINT) FROM name JOIN entry ON entry.id = name.entry_id"
    " WHERE entry.store_id = ? AND NOT name.shadowed AND name.tag IS NOT NULL"
)
_BEGIN_SPAN = (
    "INSERT INTO store_span (store_id, host_id, name, path, path_bytes, priority, since, born)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_MANY = 500


class Moment:
    """The moment of one transaction. Get it with `of`. Nothing is written until something changes."""

    def __init__(self, connection: Connection) -> None:
        # This object must not refer to the connection, or `_moments`, whose keys are weak, would keep both forever.
        self._driver = driver_of(connection)
        self._cursor = self._driver.cursor(connection)
        self._host: int | None = None
        self._at: int | None = None
        self._id: int | None = None
        self._ran = 0
        self._stepped = False
        self._last: tuple[int, int, str | None, int | None] | None = None

    @staticmethod
    def of(connection: Connection) -> Moment:
        """Return the moment of the current transaction of `connection`. Each call returns the same object."""
        found = _moments.get(connection)
        if found is None:
            found = _moments[connection] = Moment(connection)
        return found

    @property
    def at(self) -> int:
        """The time of the moment, in milliseconds since 1970. It is later than the previous one, unless the clock was set back."""
        if self._at is None:
            self._last = last = self._cursor.execute(
                "SELECT id, at, boot, ran FROM moment WHERE host_id = ? ORDER BY id DESC LIMIT 1", (self._host_id(),)
            ).fetchone()
            now = now_ms()
            if last is not None and now <= last[1]:
                while now <= last[1] < now + _WAIT_MS:
                    time.sleep(0.0005)
                    now = now_ms()
                self._stepped = now + _TIE_MS < last[1]
                now = now if self._stepped else max(now, last[1] + 1)
            self._at, self._ran = now, ran_ms()
        return self._at

    @property
    def id(self) -> int:
        """The id of the moment, greater than the ids of all earlier moments of this host. Reading it writes the moment."""
        if self._id is None:
            at = self.at
            self._id = next(self._driver.new_ids(self._cursor, "moment"))
            self._cursor.execute(
                "INSERT INTO moment (id, host_id, at, boot, ran, stepped, label) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (self._id, self._host_id(), at, boot_id(), self._ran, self._stepped, at),
            )
            if self._is_doubtful(self._id):
                mend_labels(self._cursor, self._host_id(), at, boot_id(), self._ran)
        return self._id

    def keep_stores(self, ids: Iterable[int]) -> None:
        """Copy the rows of these stores to the past, before they change."""
        for one in ids:
            self._cursor.execute(f"{_KEEP_STORE} id = ?", (self.id, self.id, one))
            self._cursor.execute("UPDATE store SET born = ? WHERE id = ?", (self.id, one))

    def keep_whole(self, store_ids: Sequence[int]) -> None:
        """Copy these stores and everything in them to the past, before they are deleted."""
        for one in store_ids:
            self._cursor.execute(_END_ANSWERS, (self.at, self.id, one))
            self._end_span(one)
            for statement in (_KEEP_ENTRY, _KEEP_NAME):
                self._cursor.execute(f"{statement} store_id = ?", (self.id, self.id, one))
        self.keep_emptied(store_ids)

    def keep_emptied(self, store_ids: Sequence[int]) -> None:
        """Copy these stores and their blobs to the past, before their rows are dropped."""
        for one in store_ids:
            self._cursor.execute(f"{_KEEP_BLOB} store_id = ?", (self.id, self.id, one))
        self.keep_stores(store_ids)

    def note_store(self, store_id: int, *, is_back: bool = False) -> None:
        """Update the spans of a store, which record when it existed and under which name. Call this after its row changed.

        With `is_back`, the store exists, even if its state is still "missing" in its row.
        """
        row = self._cursor.execute(
            "SELECT host_id, name, path, path_bytes, priority, state FROM store WHERE id = ?", (store_id,)
        ).fetchone()
        span = self._cursor.execute(
            "SELECT name, priority FROM store_span WHERE store_id = ? AND gone IS NULL", (store_id,)
        ).fetchone()
        is_there = is_back or row[5] != "missing"
        if span is not None and is_there and span[0] == row[1]:
            if span[1] != row[4]:
                self._cursor.execute(
                    "UPDATE store_span SET priority = ? WHERE store_id = ? AND gone IS NULL", (row[4], store_id)
                )
            return
        if span is not None:
            self._end_span(store_id)
        if is_there:
            self.begin_spans([(store_id, *row[:5])])

    def begin_spans(self, stores: Sequence[tuple[object, ...]]) -> None:
        """Begin spans of new stores. Each is given as id, host id, name, path, bytes of the path, and priority."""
        self._cursor.executemany(_BEGIN_SPAN, [(*row, self.at, self.id) for row in stores])

    def _end_span(self, store_id: int) -> None:
        mine = "store_id = ? AND gone IS NULL"
        self._cursor.execute(f"DELETE FROM store_span WHERE {mine} AND born = ?", (store_id, self.id))
        self._cursor.execute(f"UPDATE store_span SET until = ?, gone = ? WHERE {mine}", (self.at, self.id, store_id))

    def _is_doubtful(self, new: int) -> bool:
        """Return whether the labels must be corrected: because the clock was set, or because more is known since it was set back.

        In the second case, they are corrected whenever the number of moments since then has doubled, so the total cost stays small.
        """
        if self._last is None:
            return False
        if self._stepped:
            return True
        stepped = self._cursor.execute(
            "SELECT max(id) FROM moment WHERE host_id = ? AND stepped", (self._host_id(),)
        ).fetchone()[0]
        if stepped is None:
            return False
        before = self._last[0] - stepped
        return (new - stepped).bit_length() > max(before, 0).bit_length() or (
            agrees(self._last, self.at, boot_id(), self._ran) is False
        )

    def keep_entries(self, ids: Sequence[int]) -> None:
        """Copy these entries and their names to the past, before they are deleted."""
        for start in range(0, len(ids), _MANY):
            some = tuple(ids[start : start + _MANY])
            marks = ",".join("?" * len(some))
            self._cursor.execute(f"{_KEEP_ENTRY} id IN ({marks})", (self.id, self.id, *some))
            self._cursor.execute(f"{_KEEP_NAME} entry_id IN ({marks})", (self.id, self.id, *some))

    def keep_entry(self, entry_id: int) -> None:
        """Copy an entry and its names to the past, before it moves to another place in the list or gets other names."""
        self.keep_entries([entry_id])
        self._cursor.execute("UPDATE entry SET born = ? WHERE id = ?", (self.id, entry_id))
        self._cursor.execute("UPDATE name SET born = ? WHERE entry_id = ?", (self.id, entry_id))

    def keep_name(self, name_id: int) -> None:
        """Copy a name to the past, before it becomes shadowed or stops being shadowed."""
        self._cursor.execute(f"{_KEEP_NAME} id = ?", (self.id, self.id, name_id))
        self._cursor.execute("UPDATE name SET born = ? WHERE id = ?", (self.id, name_id))

    def keep_blobs(self, rows: Sequence[tuple[int, int]]) -> None:
        """Copy the blobs among `rows` that are manifests to the past, before they are removed or their reach changes.

        Each row is given as store id and content id. A caller that changes a row has to set `store_blob.born` to `id`.
        """
        if rows:
            each = " store_id = ? AND content_id = ?"
            self._cursor.executemany(_KEEP_BLOB + each, [(self.id, self.id, *row) for row in rows])

    def _host_id(self) -> int:
        if self._host is None:
            self._host = self._driver.host_id(self._cursor)
            if self._host is None:
                raise RuntimeError("a catalog without a host has no moments")
        return self._host


def mend_labels(cursor: Cursor, host_id: int, now: int, boot: str | None, ran: int) -> None:
    """Correct the labels of a host's moments, given that the clock shows `now` (milliseconds since 1970).

    `boot` is the id of the current boot, and `ran` the time since it began, in milliseconds.
    """
    rows = cursor.execute(
        "SELECT id, at, boot, ran, label FROM moment WHERE host_id = ? ORDER BY id", (host_id,)
    ).fetchall()
    times = mended([row[:4] for row in rows], now, boot, ran)
    cursor.executemany(
        "UPDATE moment SET label = ? WHERE id = ?",
        [(at, row[0]) for row, at in zip(rows, times, strict=True) if at != row[4]],
    )


_moments: WeakKeyDictionary[Connection, Moment] = WeakKeyDictionary()
