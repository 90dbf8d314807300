"""Digests and interned strings that a transaction on a shared catalog needs and that are not committed yet (catalog.engine.shared_rows).

Interned strings are media types, platforms, annotation keys and repositories. The names in this module call them words.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Table

from catalog.db.schema import annotation_key, media_type, platform, repository
from catalog.engine.driver import cursor_of, driver_of
from catalog.engine.shared_rows import CommitFirst
from catalog.ingest.compiled import CompiledStatements

NO_ID = 0
"""The id of an interned string or digest until it is committed. No row with it is ever written."""
MOST_DIGESTS = 500_000
"""The number of new digests that are collected before they are committed. They take about 100 MB."""
_AT_ONCE = 2_000
"""The number of digests that one transaction inserts, so that no other host waits long."""
_DICTIONARIES = (media_type, platform, annotation_key, repository)
_NEW_DIGESTS = (
    # Existing digests are left out. Inserting them would wait for transactions that update their rows, only to find the conflict.
    "INSERT INTO content (digest) SELECT asked.digest FROM unnest(CAST(? AS text[])) AS asked(digest)"
    " WHERE NOT EXISTS (SELECT 1 FROM content WHERE content.digest = asked.digest)"
    " ORDER BY asked.digest ON CONFLICT DO NOTHING"  # All hosts insert in the same order, so there is no deadlock.
)


class NewWords:
    """The interned strings and digests that a transaction lacks. True if there are any; then the transaction cannot be committed."""

    def __init__(self) -> None:
        self._digests: set[str] = set()
        self._words: dict[str, dict[str, tuple[Any, ...]]] = {}  # by table and string: the columns after the string

    def __bool__(self) -> bool:
        return bool(self._digests or self._words)

    @property
    def are_many(self) -> bool:
        """Whether there are so many that they have to be committed before more are collected."""
        return len(self._digests) >= MOST_DIGESTS

    def digest(self, digest: str) -> int:
        """Add a digest and return NO_ID."""
        self._digests.add(digest)
        return NO_ID

    def word(self, table: Table, word: str, columns: tuple[object, ...]) -> int:
        """Add an interned string of `table`, with the columns after it, and return NO_ID."""
        self._words.setdefault(table.name, {})[word] = columns
        return NO_ID

    def commit_first(self) -> CommitFirst:
        """Return the exception whose handler commits the strings and digests first, in an order that is the same for all hosts."""
        words = [(table, sorted(self._words.get(table.name, {}).items())) for table in _DICTIONARIES]
        digests = sorted(self._digests)
        starts = range(0, len(digests), _AT_ONCE)
        inserts: list[Callable[[Connection], None]] = [
            *(functools.partial(_insert_words, table, some) for table, some in words if some),
            *(functools.partial(_insert_digests, digests[start : start + _AT_ONCE]) for start in starts),
        ]
        return CommitFirst(inserts)


def _insert_words(table: Table, words: Sequence[tuple[str, tuple[Any, ...]]], connection: Connection) -> None:
    """Insert interned strings into `table`, except those that another host has just inserted."""
    driver = driver_of(connection)
    cursor = driver.cursor(connection)
    ids = driver.new_ids(cursor, table.name)
    rows = [(next(ids), word, *columns) for word, columns in words]
    cursor.executemany(CompiledStatements(driver, driver.dialect(connection)).insert(table), rows)


def _insert_digests(digests: list[str], connection: Connection) -> None:
    cursor_of(connection).execute(_NEW_DIGESTS, (digests,))
