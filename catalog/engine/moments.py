"""The catalog as it was: which moment a time means, and the rows that stood then (docs/decisions/0011-the-past.md).

A lookup of the past runs the same statements as one of today. In front of each stand common table expressions that bear the
names of the live tables and hold their rows as of a moment, those that have changed or gone since included. So whatever
today's rules answer is answered of the past, and by no second set of rules.
"""

from __future__ import annotations

import functools
import time
from bisect import bisect_right

from catalog.db.labels import agrees, mended
from catalog.engine.boot import boot_id, ran_ms
from catalog.errors import UsageError
from catalog.names.moment import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.engine.interface import Reader

_PRESENT = 1 << 62


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
        row = next(self.present.select(f"{asked} WHERE path = :path", {"path": path}), None)
        return row is not None and row[0] is not None and row[0] > self.number


def past_of(reader: Reader, at: int) -> Past:
    """What the time `at` (milliseconds since 1970, UTC) means in the catalog; raises CatalogUnavailable, UsageError."""
    now = time.time_ns() // 1_000_000
    hosts = [row[0] for row in list(reader.select("SELECT id FROM host", {}))]
    if at >= now:
        return Past(reader, at, dict.fromkeys(hosts, _PRESENT))
    found = {host: _number(reader, host, at, now) for host in hosts}
    numbers = {host: number for host, number in found.items() if number is not None}
    for host, number in numbers.items():
        _check_is_kept(reader, host, number, at)
    return Past(reader, at, numbers or None)


@functools.cache
def of_past(statement: str, asked: frozenset[str] = frozenset()) -> str:
    """`statement`, of SQLite, over the rows as of `:moment`; `asked` are the names of its parameters.

    SQLite goes through all of a table that is put together of two, so what is asked for says first which entries can matter
    (`wanted`), by the same indexes as today, and which row of the past each of their stores had (`was`).
    """
    known, condition = _wanted(statement, asked)
    entries = f" AND p.id IN {condition}", f" AND p.entry_id IN {condition}"
    blobs = " AND p.content_id IN (SELECT id FROM above)" if "above(" in known else ""
    stores = _stores(statement, asked, condition, "above(" in known)
    tables = (
        _was(stores),
        _STORE_AS_OF,
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
    inner = f"SELECT * FROM ({statement}) AS asked" if statement.startswith("WITH ") else statement
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


def _stores(statement: str, asked: frozenset[str], condition: str, by_content: bool) -> str:
    """A query for the ids of the stores that can matter to a statement."""
    if "store_id" in asked:
        return "SELECT :store_id AS store_id"
    if "store_name" in asked:
        of = "SELECT store_id FROM store_span WHERE "
        return f"{of}name = :store_name UNION {of}path = :path"
    if "store.name >= :low" in statement:
        return "SELECT store_id FROM store_span WHERE name >= :low AND name < :high"
    if not condition:
        return "SELECT DISTINCT store_id FROM store_span"
    found = (
        f"SELECT store_id FROM main.entry WHERE id IN {condition}"
        f" UNION SELECT store_id FROM past_entry WHERE entry_id IN {condition}"
    )
    held = "SELECT store_id FROM {} WHERE content_id IN ({})"
    contents = "SELECT id FROM above" if by_content else ""
    if {"low", "high"} <= asked:
        contents = "SELECT id FROM content WHERE digest >= :low AND digest < :high"
    for table in ("main.store_blob", "past_blob") if contents else ():
        found += " UNION " + held.format(table, contents)
    return found


def _was(stores: str) -> str:
    last = "SELECT max(born) FROM past_store AS q WHERE q.store_id = s.store_id AND q.born <= :moment"
    return f"was(store_id, born) AS MATERIALIZED (SELECT store_id, ({last}) FROM ({stores}) AS s)"


_LIST = "(SELECT id FROM wanted)"
_WANTED = "wanted(id) AS ({}), "
_ABOVE = (
    "above(id) AS (SELECT id FROM content WHERE digest = :digest"
    " UNION SELECT edge.parent_id FROM above JOIN edge ON edge.child_id = above.id AND edge.role = 0), "
)


def _names(condition: str) -> str:
    return f"SELECT entry_id FROM main.name WHERE {condition} UNION SELECT entry_id FROM past_name WHERE {condition}"


def _entries(condition: str) -> str:
    return f"SELECT id FROM main.entry WHERE {condition} UNION SELECT entry_id FROM past_entry WHERE {condition}"


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
    if more[1] and table == "entry":  # by the entry, and not by all that the store ever had
        was[1] = columns[1] = "+p.store_id AS store_id"
    last, gone = (f", p.changed_at{_NEVER}", f", {_NULL} AS changed_at{_NEVER}") if table == "store" else ("", "")
    past = "past_blob" if table == "store_blob" else f"past_{table}"
    return (
        f"{table} AS {how}(SELECT {', '.join(columns)}{last} FROM {live} AS p{join} WHERE p.born <= {number}{more[0]}"
        f" UNION ALL SELECT {', '.join(was)}{gone} FROM {past} AS p{join}"
        f" WHERE p.born <= {number} AND p.gone > {number}{more[1]})"
    )


_STORE_AS_OF = (
    _as_of("store", "main.store", ":moment")
    .replace("SELECT p.store_id,", "SELECT was.store_id,")
    .replace(
        " FROM past_store AS p",
        " FROM was CROSS JOIN past_store AS p ON p.store_id = was.store_id AND p.born = was.born",
    )
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


def mended_labels(reader: Reader, host: int, now: int) -> dict[int, int] | None:
    """When each moment of a host was, by its id, if its last one was noted by another clock than today's; else None.

    Then `moment.label` says it. What was wrong before the last moment, the writer of that one put right.
    """
    last = next(
        reader.select(
            "SELECT id, at, boot, ran, label FROM moment WHERE host_id = :host ORDER BY label DESC, id DESC LIMIT 1",
            {"host": host},
        ),
        None,
    )
    if last is None:
        return None
    boot, ran = boot_id(), ran_ms()
    if last[4] <= now:
        stepped = "SELECT 1 FROM moment WHERE host_id = :host AND stepped LIMIT 1"
        if agrees(last[:4], now, boot, ran) is not False or next(reader.select(stepped, {"host": host}), None) is None:
            return None
    labels = list(
        reader.select("SELECT id, at, boot, ran FROM moment WHERE host_id = :host ORDER BY id", {"host": host})
    )
    return {label[0]: at for label, at in zip(labels, mended(labels, now, boot, ran), strict=True)}


def _check_is_kept(reader: Reader, host: int, number: int, at: int) -> None:
    """Raise UsageError if retention has dropped what was so at this moment of a host."""
    asked = {"host": host, "number": number}
    if next(reader.select("SELECT 1 FROM moment WHERE id = :number AND forgotten", asked), None) is None:
        return
    row = next(reader.select("SELECT min(label) FROM moment WHERE host_id = :host AND id > :number", asked), None)
    if row is not None and row[0] is not None:
        raise UsageError(
            f"what was at {rfc3339(at)} is not kept any more: ask for {rfc3339(row[0])} or later,"
            " and see retention.history_days for how long the past is kept"
        )


def _number(reader: Reader, host: int, at: int, now: int) -> int | None:
    """The last moment of a host that was not after `at`; None where there was none yet."""
    labels = mended_labels(reader, host, now)
    if labels is None:
        row = next(
            reader.select(
                "SELECT id FROM moment WHERE host_id = :host AND label <= :at ORDER BY label DESC, id DESC LIMIT 1",
                {"host": host, "at": at},
            ),
            None,
        )
        return None if row is None else int(row[0])
    place = bisect_right(list(labels.values()), at)
    return list(labels)[place - 1] if place else None
