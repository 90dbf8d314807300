"""`query --since`: whether a key got its present answer at or after a time.

The order of moments decides, not the time of the clock at the change. Otherwise a change made while the clock was a year ahead would
count as "since" every time of that year (docs/decisions/0011-the-past.md).
"""

from __future__ import annotations

import time
from typing import NamedTuple

from catalog.engine.moments import last_moment
from catalog.lookup.match import COLUMNS, STORE_ID, Match
from catalog.lookup.starts import Start, in_order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from catalog.engine.interface import Reader
    from catalog.lookup.starts import Entries, Row

_SINCE = COLUMNS.index("since")
_ANSWERS_FROM = COLUMNS.index("answers_from")


class _Host(NamedTuple):
    """The requested time on one host: `number` is the last moment before it.

    The moments after `first` and before `kept` are forgotten; `kept_at` is the time of `kept`. All are 0 if the host has no moments.
    """

    number: int
    first: int
    kept: int
    kept_at: int


class Since(Start):
    """The filter for the time `at`, in milliseconds since 1970, UTC. It can use an index if moments alone decide (`has_index`)."""

    is_exact = False

    def __init__(self, reader: Reader, at: int) -> None:
        super().__init__(reader)
        self._at = at
        now = time.time_ns() // 1_000_000
        hosts = [row[0] for row in list(reader.select("SELECT id FROM host", {}))]
        self._hosts = {host: _host(reader, host, at, now) for host in hosts}
        self._host_of: dict[int, int] = {}
        if len(hosts) > 1:
            self._host_of = dict(reader.select("SELECT id, host_id FROM store", {}))

    @property
    def has_index(self) -> bool:
        """Whether only keys whose answer began at a moment after the time can pass."""
        return all(host.kept and self._at > host.kept_at for host in self._hosts.values())

    def seeds(self) -> Iterator[Row]:
        """Yield the ids of the entries with a key whose answer began after the last moment before the time, on any host."""
        number = min((host.number for host in self._hosts.values()), default=0)
        return self.reader.rows("ANSWERING_FROM", {"number": number})

    def entries(self) -> Entries:
        """See Start."""
        return in_order(self.reader, {row[0] for row in self.seeds()})

    def passes_alone(self, match: Match) -> bool:
        """Return whether the key of a match was added, or got another answer, at the time or later."""
        since, began = match.row[_SINCE], match.row[_ANSWERS_FROM]
        if since is None or began is None:
            return False
        host = self._hosts.get(self._host_of.get(match.row[STORE_ID], next(iter(self._hosts), 0)))
        if host is None:
            return bool(since >= self._at)
        if began <= host.first or began < host.kept:
            # For an answer from the first moment or from a forgotten one, only the time of the clock is kept. The clock may have
            # been wrong, but the answer began before the next moment.
            return bool(self._at <= (min(since, host.kept_at) if host.kept else since))
        return bool(began > host.number)


def _host(reader: Reader, host: int, at: int, now: int) -> _Host:
    first = list(reader.rows("FIRST_MOMENTS", {"host_id": host}))
    number = last_moment(reader, host, at - 1, now) or 0
    if not first:
        return _Host(number, 0, 0, 0)
    if first[0][1]:
        kept = first[-1]
        return _Host(number, first[0][0], kept[0], kept[2])
    return _Host(number, 0, first[0][0], first[0][2])
