"""Determine which key of a store answers for a name, and record earlier answers: `shadowed`, `since`, and the spans that ended.

docs/resolution.md: among the keys of a store with the same repository and tag, keys of entries with the media type of an image
come first, then keys from `io.containerd.image.name`, then the order of `index.json` decides. All keys but the first are shadowed. A
span of history records the answer of the first key. A span continues if the answer moves to another entry with the same content.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from catalog.ingest.records import AnswerSpanRow
from catalog.ingest.rows import Rows


class NameKey(NamedTuple):
    """A name inside a store: the id of a repository, or None for a bare tag, and a tag. `name` is the full name, or None."""

    repository_id: int | None
    tag: str
    name: str | None


class HeldBy(NamedTuple):
    """The content that a key answered, and since when: as a time in milliseconds, and as the id of a moment."""

    content_id: int
    since: int
    answers_from: int


_ROWS = "SELECT name.id, entry.content_id, name.shadowed, name.since, name.answers_from"
_ORDER = "ORDER BY name.source, name.sort, name.id"
_BY_NAME = "name.name = ? AND name.store_id = ?"
_BY_TAG = "name.tag = ? AND name.store_id = ? AND name.repository_id IS NULL"


class Shadowing:
    """The keys of one store that a change affects. Call `touch` for each key before its rows change, and `settle` once afterwards."""

    def __init__(self, rows: Rows, store_id: int, now: int) -> None:
        self._rows = rows
        self._store_id = store_id
        self._now = now
        self._before: dict[NameKey, HeldBy | None] = {}

    def touch(self, key: NameKey, *, is_new: bool = False) -> None:
        """Remember the current answer of `key`. `is_new` means that no entry of the store had this key before."""
        if key in self._before:
            return
        self._before[key] = None if is_new else self._current(key)

    @property
    def touched(self) -> bool:
        """Whether there is anything to do for `settle`."""
        return bool(self._before)

    def settle(self) -> None:
        """Set `shadowed` and `since` of the touched keys according to their rows, and write the spans that ended."""
        cursor = self._rows.cursor
        for key, standing in self._standing():
            self._rows.pause()
            before = self._before[key]
            if before is not None and (not standing or standing[0][1] != before.content_id):
                self._rows.answer_span(
                    AnswerSpanRow(
                        self._store_id,
                        *key,
                        before.content_id,
                        before.since,
                        until=self._now,
                        born=before.answers_from,
                        gone=self._rows.born,
                    )
                )
            for place, (name_id, content_id, shadowed, *since) in enumerate(standing):
                should_be = since
                if place == 0:
                    same = before is not None and content_id == before.content_id
                    should_be = [*before[1:]] if same and before is not None else [self._now, self._rows.born]
                if bool(shadowed) != (place > 0):
                    self._rows.moment.keep_name(name_id)
                if bool(shadowed) != (place > 0) or since != should_be:
                    cursor.execute(
                        "UPDATE name SET shadowed = ?, since = ?, answers_from = ? WHERE id = ?",
                        (place > 0, *should_be, name_id),
                    )

    def _standing(self) -> Iterator[tuple[NameKey, list[tuple[Any, ...]]]]:
        """Yield the touched keys, each with its rows. The row that answers comes first."""
        cursor = self._rows.cursor
        if not self._rows.is_bulk:
            for key in self._before:
                where, what = self._where(key)
                found = cursor.execute(
                    f"{_ROWS} FROM name JOIN entry ON entry.id = name.entry_id WHERE {where} {_ORDER}",
                    (what, self._store_id),
                )
                yield key, found.fetchall()
            return
        # There is no index by names now, only by stores and entries. So all names of the store are read once.
        rows: dict[NameKey, list[tuple[Any, ...]]] = {key: [] for key in self._before}
        for *row, repository_id, tag, name in cursor.execute(
            f"{_ROWS}, name.repository_id, name.tag, name.name FROM entry CROSS JOIN name ON name.entry_id = entry.id"
            f" WHERE entry.store_id = ? {_ORDER}",
            (self._store_id,),
        ):
            if (same := rows.get(NameKey(repository_id, tag, name))) is not None:
                same.append(tuple(row))
        yield from rows.items()

    def _current(self, key: NameKey) -> HeldBy | None:
        where, what = self._where(key)
        found = self._rows.cursor.execute(
            "SELECT entry.content_id, name.since, name.answers_from FROM name JOIN entry ON entry.id = name.entry_id"
            f" WHERE {where} AND NOT name.shadowed",
            (what, self._store_id),
        ).fetchone()
        return None if found is None else HeldBy(*found)

    @staticmethod
    def _where(key: NameKey) -> tuple[str, str]:
        if key.name is not None:
            # Because both values of `shadowed` are given, SQLite uses all columns of the index.
            return f"{_BY_NAME} AND name.shadowed IN (FALSE, TRUE)", key.name
        return _BY_TAG, key.tag
