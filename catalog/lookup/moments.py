"""The catalog as it was: which moment a time means, and the rows that stood then (docs/decisions/0011-the-past.md).

A lookup of the past runs the same statements as one of today. In front of each stand common table expressions that bear the
names of the live tables and hold their rows as of a moment, those that have changed or gone since included. So whatever
today's rules answer is answered of the past, and by no second set of rules.
"""

from __future__ import annotations

import functools
import time
from bisect import bisect_right

from catalog.db.boot import boot_id, ran_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalog.lookup.reader import Reader

    Label = tuple[int, int, str | None, int | None]
    """Of a moment: its id, what the clock said, which run of the machine, and how long it had run; in milliseconds."""

_PRESENT = 1 << 62
_BESIDE_MS = 2000
"""Two clocks that are farther apart than this are not the same one: one was set."""
_CONSISTENT = 1000
"""A time that agrees with the clock of today counts for as many that do not."""


class Past:
    """A moment that is asked for: `at` in milliseconds. `numbers` has the moment of each host by the host's id.

    It is None where the time lies before the first moment: all that is known of it are spans of names.
    """

    __slots__ = ("at", "numbers", "present")

    def __init__(self, present: Reader, at: int, numbers: dict[int, int] | None) -> None:
        self.present = present
        self.at = at
        self.numbers = numbers

    @property
    def number(self) -> int:
        """The moment, where there is one host."""
        return max((self.numbers or {}).values(), default=0)

    def came_later(self, path: str) -> bool:
        """Whether a store at `path`, as the catalog keeps it, was first known after the moment."""
        asked = "SELECT min(born) FROM (SELECT born, path FROM store UNION ALL SELECT born, path FROM past_store) AS p"
        row = self.present.row(f"{asked} WHERE path = :path", {"path": path})
        return row is not None and row[0] is not None and row[0] > self.number


def past_of(reader: Reader, at: int) -> Past:
    """What the time `at` (milliseconds since 1970, UTC) means in the catalog; raises CatalogUnavailable."""
    now = time.time_ns() // 1_000_000
    hosts = [row[0] for row in list(reader.rows("SELECT DISTINCT host_id FROM moment", {}))]
    if at >= now:
        return Past(reader, at, dict.fromkeys(hosts, _PRESENT))
    found = {host: _number(reader, host, at, now) for host in hosts}
    numbers = {host: number for host, number in found.items() if number is not None}
    return Past(reader, at, numbers or None)


@functools.cache
def of_past(statement: str, asked: frozenset[str] = frozenset()) -> str:
    """`statement`, of SQLite, over the rows as of `:moment`; `asked` are the names of its parameters.

    SQLite goes through all of a table that is put together of two, so what is asked for says first which entries can matter
    (`wanted`), by the same indexes as today.
    """
    known, condition = _wanted(statement, asked)
    entries = f" AND p.id IN {condition}", f" AND p.entry_id IN {condition}"
    blobs = " AND p.content_id IN (SELECT id FROM above)" if "above(" in known else ""
    tables = (
        _as_of("store", "main.store", ":moment"),
        _as_of("entry", "main.entry", ":moment", more=entries if condition else ("", "")),
        _as_of("name", "main.name", ":moment", more=(entries[1],) * 2 if condition else ("", "")),
        _as_of("store_blob", "main.store_blob", ":moment", more=(blobs, blobs)),
    )
    return f"{_RECURSIVE}{known}{', '.join(tables)}" + (
        f", {statement.removeprefix(_RECURSIVE)}" if statement.startswith(_RECURSIVE) else f" {statement}"
    )


@functools.cache
def of_shared_past(statement: str) -> str:
    """`statement`, of PostgreSQL, over the rows of each of `%(hosts)s` as of the one of `%(numbers)s` that goes with it."""
    # PostgreSQL would take a table of the same name for the expression itself if it were recursive.
    inner = f"SELECT * FROM ({statement}) AS asked" if statement.startswith("WITH ") else statement  # noqa: S608
    return f"WITH {_SHARED} {inner}"


def _wanted(statement: str, asked: frozenset[str]) -> tuple[str, str]:
    """Expressions that say which entries can matter to a statement, and the list that they are; or nothing: all can."""
    if "digest" in asked:
        return _ABOVE + _WANTED.format(_entries("content_id IN (SELECT id FROM above)")), _LIST
    if {"low", "high"} <= asked:
        of_name = next((key for key in ("name", "tag") if f"name.{key} >= :low" in statement), None)
        if of_name is not None:
            return _WANTED.format(_names(f"{of_name} >= :low AND {of_name} < :high")), _LIST
        ids = "content_id IN (SELECT id FROM content WHERE digest >= :low AND digest < :high)"
        return _WANTED.format(_entries(ids)), _LIST
    if "name" in asked:
        return _WANTED.format(_names("name = :name")), _LIST
    if "tag" in asked and "long_ref_name = 1" not in statement:
        raw = ("ref_name = :tag AND long_ref_name = 0", "image_name = :tag AND long_image_name = 0", "ref_tail = :tag")
        return _WANTED.format(" UNION ".join([_names("tag = :tag"), *map(_entries, raw)])), _LIST
    if "entry_id" in asked:
        return "", "(:entry_id)"
    if asked == {"content_id"}:
        parents = "SELECT parent_id FROM edge WHERE child_id = :content_id AND role = 0"
        return f"above(id) AS ({parents}), " + _WANTED.format(_entries("content_id = :content_id")), _LIST
    if "store_id" in asked:
        return _WANTED.format(_entries("store_id = :store_id")), _LIST
    return "", ""


_LIST = "(SELECT id FROM wanted)"
_WANTED = "wanted(id) AS ({}), "
_ABOVE = (
    "above(id) AS (SELECT id FROM content WHERE digest = :digest"
    " UNION SELECT edge.parent_id FROM above JOIN edge ON edge.child_id = above.id AND edge.role = 0), "
)


def _names(condition: str) -> str:
    return f"SELECT entry_id FROM main.name WHERE {condition} UNION SELECT entry_id FROM past_name WHERE {condition}"  # noqa: S608


def _entries(condition: str) -> str:
    return f"SELECT id FROM main.entry WHERE {condition} UNION SELECT entry_id FROM past_entry WHERE {condition}"  # noqa: S608


_RECURSIVE = "WITH RECURSIVE "
_COLUMNS = {
    "store": ("id, host_id, name, path, path_bytes, priority, state, state_since, elements, entries, shared_as"),
    "entry": (
        "id, store_id, sort, content_id, media_type_id, size, artifact_type_id, platform_id, ref_name, image_name,"
        " ref_tail, long_ref_name, long_image_name"
    ),
    "name": "id, entry_id, store_id, repository_id, tag, name, source, sort, shadowed, since",
    "store_blob": "store_id, content_id, size, embedded, reach",
}
"""What is kept of each table; a row of the past has its id as `..._id`."""
_NULL = "CAST(NULL AS BIGINT)"
_NEVER = f", {_NULL} AS indexed_at, (1 = 0) AS content_pending"


def _as_of(
    table: str, live: str, number: str, *, how: str = "", join: str = "", more: tuple[str, str] = ("", "")
) -> str:
    """The common table expression that bears the name of `table`; `live` is what the table itself is called in it.

    `more` are conditions on the rows of the live table and on those of the past.
    """
    columns = [f"p.{column.strip()}" for column in _COLUMNS[table].split(",")]
    was = [f"p.{table}_id" if column == "p.id" else column for column in columns]
    last, gone = (f", p.changed_at{_NEVER}", f", {_NULL} AS changed_at{_NEVER}") if table == "store" else ("", "")
    past = "past_blob" if table == "store_blob" else f"past_{table}"
    return (
        f"{table} AS {how}(SELECT {', '.join(columns)}{last} FROM {live} AS p{join} WHERE p.born <= {number}{more[0]}"  # noqa: S608
        f" UNION ALL SELECT {', '.join(was)}{gone} FROM {past} AS p{join}"
        f" WHERE p.born <= {number} AND p.gone > {number}{more[1]})"
    )


_OF_HOST = " JOIN asof ON asof.host_id = {}.host_id"
_OF_OWNER = f" JOIN store AS owner ON owner.id = p.store_id{_OF_HOST.format('owner')}"
_SHARED = ", ".join(
    [
        "asof AS (SELECT * FROM unnest(CAST(%(hosts)s AS BIGINT[]), CAST(%(numbers)s AS BIGINT[])) AS asof(host_id, number))",
        *(
            _as_of(
                table,
                table,
                "asof.number",
                how="NOT MATERIALIZED ",
                join=_OF_HOST.format("p") if table == "store" else _OF_OWNER,
            )
            for table in _COLUMNS
        ),
    ]
)


def _number(reader: Reader, host: int, at: int, now: int) -> int | None:
    """The last moment of a host that was not after `at`; None where there was none yet."""
    asked = {"host": host, "at": at, "now": now}
    odd = reader.row(
        "SELECT 1 FROM moment WHERE host_id = :host AND stepped"
        " UNION ALL SELECT 1 FROM moment WHERE host_id = :host AND at > :now LIMIT 1",
        asked,
    )
    if odd is None:
        row = reader.row(
            "SELECT id FROM moment WHERE host_id = :host AND at <= :at ORDER BY at DESC, id DESC LIMIT 1", asked
        )
        return None if row is None else int(row[0])
    labels = list(reader.rows("SELECT id, at, boot, ran FROM moment WHERE host_id = :host ORDER BY id", asked))
    place = bisect_right(mended(labels, now, boot_id(), ran_ms()), at)
    return labels[place - 1][0] if place else None


def mended(labels: Sequence[Label], now: int, boot: str | None, ran: int) -> list[int]:
    """A time for each moment, in their order and never falling, though the clock was set while they were noted.

    Of the times that the clock said those are believed that rise and are most; what agrees with the clock of today (`now`,
    `boot`, `ran`), in the same run of the machine, counts more. The others get theirs by how long the machine had run.
    """
    weights = []
    for _, at, its_boot, its_ran in labels:
        if at > now:
            weights.append(0)
        elif boot is not None and its_boot == boot and its_ran is not None:
            weights.append(_CONSISTENT if abs((now - ran) - (at - its_ran)) <= _BESIDE_MS else 1)
        else:
            weights.append(1)
    believed = _rising([label[1] for label in labels], weights)
    ends = [0] * len(labels)
    after: int | None = None
    for place in range(len(labels) - 1, -1, -1):
        after = labels[place][1] if place in believed else after
        ends[place] = now if after is None else after
    times: list[int] = []
    last: Label | None = None
    following = _following(labels, believed)
    for place, label in enumerate(labels):
        if place in believed:
            last = label
            times.append(label[1])
            continue
        guess = _by_running(label, last)
        if guess is None:
            guess = _by_running(label, following[place])
        floor = times[-1] if times else None
        if guess is None:
            guess = floor if floor is not None else ends[place]
        times.append(min(max(guess, guess if floor is None else floor), ends[place]))
    return times


def _by_running(label: Label, other: Label | None) -> int | None:
    """When a moment was, by another one of the same run of the machine; None where that cannot be told."""
    if other is None or label[2] is None or label[2] != other[2] or label[3] is None or other[3] is None:
        return None
    return other[1] + label[3] - other[3]


def _following(labels: Sequence[Label], believed: set[int]) -> list[Label | None]:
    """For each moment the next one whose time is believed."""
    found: list[Label | None] = [None] * len(labels)
    after: Label | None = None
    for place in range(len(labels) - 1, -1, -1):
        found[place] = after
        if place in believed:
            after = labels[place]
    return found


def _rising(times: Sequence[int], weights: Sequence[int]) -> set[int]:
    """The places of those `times` that never fall and weigh most together; what weighs nothing is left out."""
    ranks = {at: rank for rank, at in enumerate(sorted(set(times)), 1)}
    # A Fenwick tree of the heaviest, and its last place, less than nothing so that of two the first is taken.
    best: list[tuple[int, int]] = [(0, 1)] * (len(ranks) + 1)
    before = [-1] * len(times)
    heaviest = 0, 1
    for place, (at, weight) in enumerate(zip(times, weights, strict=True)):
        if not weight:
            continue
        found, rank = (0, 1), ranks[at]
        while rank:
            found = max(found, best[rank])
            rank &= rank - 1
        before[place] = -found[1]
        total = found[0] + weight, -place
        rank = ranks[at]
        while rank < len(best):
            best[rank] = max(best[rank], total)
            rank += rank & -rank
        heaviest = max(heaviest, total)
    chosen: set[int] = set()
    place = -heaviest[1]
    while place >= 0:
        chosen.add(place)
        place = before[place]
    return chosen
