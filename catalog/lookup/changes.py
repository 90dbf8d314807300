"""What changed since a time or a cursor, in order, so that a caller can continue exactly where it left off (`ocicat changes`).

A change means that a name of a store begins or ceases to answer, or answers with another digest; or that an entry without a tag,
which is known by its digest, is added or removed. Changes come moment by moment; the moments of each host are in order, and the
moments of several hosts are merged by their times. A cursor records how far each host was followed: the last moment of which
changes were delivered, and how many of its changes.
"""

from __future__ import annotations

import heapq
import time
from bisect import bisect_left
from itertools import chain, groupby

from catalog.engine.moments import mended_labels, past_of
from catalog.errors import UsageError
from catalog.names.escape import shown
from catalog.names.moment import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from catalog.engine.interface import Reader

FIELDS = ("cursor", "at", "change", "store", "path", "name", "repository", "tag", "old", "new")
"""The keys of an object of `changes`, in order."""

_DIGITS = 18
"""The maximum number of digits of a number in a cursor. No number in the catalog has more."""

_NEVER = 1 << 62
_FEW = 8
"""Up to this many spans are read again each time, instead of being kept in memory."""


class Position:
    """How far the changes of one host have been followed.

    `moment` is the number of a moment, or 0 for the time before the first. `at` is the clock's time at that moment, in milliseconds
    since 1970, UTC. `done` is how many changes of that moment were delivered, or None if all were.
    """

    __slots__ = ("at", "done", "moment")

    def __init__(self, moment: int = 0, at: int = 0, done: int | None = None) -> None:
        self.moment = moment
        self.at = at
        self.done = done

    def __str__(self) -> str:
        return f"{self.moment}.{self.at}" + ("" if self.done is None else f".{self.done}")


class Change:
    """From the time `at` on, a name of a store answers with the digest `new`. Before, it answered with `old`.

    `at` is in milliseconds since 1970, UTC. A digest is None if the name did not answer. If `tag` is None, an entry with the digest
    `new` was added, or an entry with the digest `old` was removed. `store` is the name that the store had then. `cursor` is the
    position to continue from after this change.
    """

    __slots__ = ("at", "cursor", "new", "old", "path", "repository", "store", "store_id", "tag")

    def __init__(self, at: int, cursor: str, rows: list[tuple[Any, ...]]) -> None:
        self.at = at
        self.cursor = cursor
        self.store_id, _, self.store, self.path, self.repository, self.tag, *_ = rows[0]
        self.old: str | None = next((row[6] for row in rows if not row[7]), None)
        self.new: str | None = next((row[6] for row in rows if row[7]), None)

    def __repr__(self) -> str:
        name = self.name or self.tag
        return f"Change({self.change!r}, {self.store!r}, {name!r}, {self.old!r}, {self.new!r}, {rfc3339(self.at)!r})"

    @property
    def change(self) -> str:
        """`added`, `removed` or `moved`."""
        return "added" if self.old is None else "removed" if self.new is None else "moved"

    @property
    def name(self) -> str | None:
        """The full canonical name; None if there is only a tag."""
        return None if self.repository is None else f"{self.repository}:{self.tag}"

    def value(self, field: str) -> object:
        """Return the value of one of FIELDS, as in JSON."""
        found: object = getattr(self, field)
        return rfc3339(self.at) if field == "at" else found

    def as_object(self) -> dict[str, object]:
        """Return all fields, as in JSON."""
        return {field: self.value(field) for field in FIELDS}


class Followed:
    """The changes of a catalog after `positions`, which maps the id of each host to its position.

    A host that has no position is followed from its first moment.
    """

    def __init__(self, positions: dict[int, Position]) -> None:
        self.positions = positions
        self._others: _Others | None = None

    @property
    def cursor(self) -> str:
        """The positions to continue from, as text; `parsed` reads it."""
        return "-".join(f"{host}.{position}" for host, position in sorted(self.positions.items()))

    def changes(self, reader: Reader) -> Iterator[Change]:
        """Yield the changes after the positions. The positions move with each change that is yielded.

        Raises UsageError if retention has dropped some of the changes, or if the positions belong to another catalog.
        """
        hosts = [row[0] for row in list(reader.rows("HOSTS", {}))]
        for host in self.positions.keys() - set(hosts):
            raise _foreign(f"{host}.{self.positions[host]}")
        for label, host, number, at in heapq.merge(*(self._moments(reader, host) for host in hosts)):
            yield from self._of(reader, host, number, at, label)

    def _moments(self, reader: Reader, host: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield each moment of a host that is still to be read: its time, the id of the host, its number, and the time of the clock at it.

        The two times differ if the clock was wrong.
        """
        labels = mended_labels(reader, host, time.time_ns() // 1_000_000) or {}
        position = self.positions.setdefault(host, Position())
        # A moment whose changes were delivered only in part is read again.
        after = position.moment if position.done is None else position.moment - 1
        check_kept(reader, host, position)
        while some := list(reader.rows("MOMENTS_AFTER", {"host_id": host, "moment": after})):
            self._others = None  # the spans that it has read do not end at moments that were added later
            for number, at, label in some:
                yield labels.get(number, label), host, number, at
            after = some[-1][0]

    def _of(self, reader: Reader, host: int, number: int, at: int, label: int) -> Iterator[Change]:
        """Yield the changes of a moment that have not been delivered yet."""
        before = self.positions[host]
        skip = before.done or 0 if before.moment == number else 0
        last: tuple[int, list[tuple[Any, ...]]] | None = None
        changed = chain(_of_names(reader, number), self._of_unnamed(reader, number))
        for count, rows in enumerate(changed, 1):
            if last is not None and last[0] > skip:
                self.positions[host] = Position(number, at, last[0])
                yield Change(label, self.cursor, last[1])
            last = count, rows
        check_kept(reader, host, before)  # once more, because retention may have dropped changes while they were read
        self.positions[host] = Position(number, at)
        if last is not None and last[0] > skip:
            yield Change(label, self.cursor, last[1])

    def _of_unnamed(self, reader: Reader, number: int) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the row of each entry without a tag that was added or removed at a moment.

        While a store has one entry with a digest, further entries with the same digest are not a change.
        """
        if self._others is None:
            self._others = _Others(reader)
        rows = reader.rows("UNNAMED_AT", {"moment": number})
        for _, group in groupby(rows, key=lambda row: (row[0], row[1], row[4], row[5])):
            some = list(group)
            *where, digest, is_new, stays, content_id, repository_id = some[0]
            if some[-1][6] != is_new:  # it existed before and after
                continue
            if not stays or not self._others.had(where[0], content_id, repository_id, number):
                yield [(*where, None, digest, is_new)]


def _of_names(reader: Reader, number: int) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows of each name that changed at a moment: the old digest, the new digest, or both."""
    rows = reader.rows("CHANGES_AT", {"moment": number})
    for _, some in groupby(rows, key=lambda row: (row[0], row[1], row[4], row[5])):
        of_name = list(some)
        if len(of_name) == 1 or of_name[0][6] != of_name[1][6]:
            yield of_name


class _Others:
    """Determines whether a store had an entry without a tag for a content both before and after a moment.

    The moments of a store must be given in order. The spans of a content that a store gained and lost many times are read only once.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._spans: dict[tuple[int, int], dict[int | None, tuple[list[int], list[int]]]] = {}

    def had(self, store_id: int, content_id: int, repository_id: int | None, number: int) -> bool:
        """Return whether one such entry existed from before the moment until after it."""
        spans = self._spans.get((store_id, content_id))
        if spans is None:
            spans = self._read(store_id, content_id, number)
            if sum(len(each[0]) for each in spans.values()) > _FEW:
                self._spans[store_id, content_id] = spans
        born, last = spans.get(repository_id, ([], []))
        before = bisect_left(born, number)
        return before > 0 and last[before - 1] > number

    def _read(self, store_id: int, content_id: int, number: int) -> dict[int | None, tuple[list[int], list[int]]]:
        """Return two lists for each repository: when its entries began, in order, and the latest end of the entries begun by then."""
        spans: dict[int | None, tuple[list[int], list[int]]] = {}
        asked = {"store_id": store_id, "content_id": content_id, "moment": number}
        for repository_id, began, ended in list(self._reader.rows("UNNAMED_SPANS", asked)):
            born, last = spans.setdefault(repository_id, ([], []))
            born.append(began)
            last.append(max(_NEVER if ended is None else ended, last[-1] if last else 0))
        return spans


def check_kept(reader: Reader, host: int, position: Position) -> None:
    """Raise UsageError unless the position belongs to this catalog and all changes of the host after it are still kept."""
    if position.moment:
        row = reader.row("MOMENT", {"host_id": host, "moment": position.moment})
        if row is not None and row[0] != position.at:
            raise _foreign(f"{host}.{position}")
    first = list(reader.rows("FIRST_MOMENTS", {"host_id": host}))
    if not first and position.moment:
        raise _foreign(f"{host}.{position}")
    if not first or not first[0][1]:  # nothing was dropped
        if position.moment and row is None:
            raise _foreign(f"{host}.{position}")
        return
    kept = first[-1]
    # What ended at the first kept moment itself is dropped too.
    if position.moment < kept[0] or (position.moment == kept[0] and position.done is not None):
        raise UsageError(
            f"some changes since then are no longer kept: use --since {rfc3339(kept[2])} or later, compare what you"
            " have with the present catalog ('ocicat query'), and see retention.history_days"
        )


def from_now(reader: Reader) -> Followed:
    """Return the changes that are still to come."""
    positions = {}
    for (host,) in list(reader.rows("HOSTS", {})):
        row = reader.row("LAST_MOMENT", {"host_id": host})
        positions[host] = Position() if row is None else Position(*row)
    return Followed(positions)


def from_beginning(reader: Reader) -> tuple[Followed, int | None]:
    """Return all changes that are kept, and the time from which they are kept (milliseconds since 1970), or None if all are kept."""
    positions: dict[int, Position] = {}
    since: int | None = None
    for (host,) in list(reader.rows("HOSTS", {})):
        first = list(reader.rows("FIRST_MOMENTS", {"host_id": host}))
        if first and first[0][1]:
            number, _, label = first[-1]
            row = reader.row("MOMENT", {"host_id": host, "moment": number})
            positions[host] = Position(number, 0 if row is None else row[0])
            since = label if since is None else max(since, label)
    return Followed(positions), since


def from_time(reader: Reader, at: int) -> Followed:
    """Return the changes since a time (milliseconds since 1970, UTC). Raises UsageError if they are not all kept."""
    last = from_now(reader)
    numbers = past_of(reader, at).numbers or {}
    positions = {}
    for host, position in last.positions.items():
        number = numbers.get(host, 0)
        if number >= position.moment:  # a time in the future means now
            positions[host] = position
        elif number:
            row = reader.row("MOMENT", {"host_id": host, "moment": number})
            positions[host] = Position(number, 0 if row is None else row[0])
    for host in last.positions:
        check_kept(reader, host, positions.get(host, Position()))
    return Followed(positions)


def parsed(cursor: str) -> Followed:
    """Return the changes after a cursor. Raises UsageError if the text is not a cursor."""
    positions: dict[int, Position] = {}
    for part in cursor.split("-"):
        numbers = part.split(".")
        if len(numbers) not in (3, 4) or not all(_is_number(text) for text in numbers):
            raise UsageError(
                f"{shown(cursor)} is not a cursor: take one from a line of 'ocicat changes --format jsonl'"
            )
        host, moment, at, *done = map(int, numbers)
        positions[host] = Position(moment, at, done[0] if done else None)
    return Followed(positions)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _DIGITS


def _foreign(cursor: str) -> UsageError:
    return UsageError(f"{shown(cursor)} is not a cursor of this catalog: use --since TIME instead")
