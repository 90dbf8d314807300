"""The catalog at an earlier time: which moment a time means, and the rows that were valid then (docs/decisions/0011-the-past.md).

A lookup of the past runs the same statements as a lookup of the present. Each statement is prefixed with common table expressions that
have the names of the live tables and contain their rows as of a moment, including rows that have changed or gone since. So one set of
rules answers for the present and the past.
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
    """The time `at` of a question, in milliseconds since 1970, UTC. `numbers` maps the id of each host to the host's moment at that time.

    `numbers` is None if the time is before the first moment. For such a time only spans of names are known.
    """

    __slots__ = ("at", "numbers", "present")

    def __init__(self, present: Reader, at: int, numbers: dict[int, int] | None) -> None:
        self.present = present
        self.at = at
        self.numbers = numbers

    @property
    def number(self) -> int:
        """The moment, if there is only one host."""
        return max((self.numbers or {}).values(), default=0)

    def began(self) -> int | None:
        """Return the time of the first moment, in milliseconds since 1970, UTC; None if there is none."""
        row = next(self.present.select("SELECT min(label) FROM moment", {}), None)
        return None if row is None else row[0]

    def came_later(self, path: str) -> bool:
        """Return whether the store at `path`, as stored in the catalog, was first known after the moment."""
        statement = (
            "SELECT min(born) FROM (SELECT born, path FROM store UNION ALL SELECT born, path FROM past_store) AS p"
        )
        row = next(self.present.select(f"{statement} WHERE path = :path", {"path": path}), None)
        return row is not None and row[0] is not None and row[0] > self.number


def past_of(reader: Reader, at: int) -> Past:
    """Return the moment of each host at the time `at` (milliseconds since 1970, UTC). Raises CatalogUnavailable and UsageError."""
    now = time.time_ns() // 1_000_000
    hosts = [row[0] for row in list(reader.select("SELECT id FROM host", {}))]
    if at >= now:
        return Past(reader, at, dict.fromkeys(hosts, _PRESENT))
    found = {host: last_moment(reader, host, at, now) for host in hosts}
    numbers = {host: number for host, number in found.items() if number is not None}
    for host, number in numbers.items():
        _check_is_kept(reader, host, number, at)
    return Past(reader, at, numbers or None)


@functools.cache
def of_past(statement: str, asked: frozenset[str] = frozenset()) -> str:
    """Return `statement`, for SQLite, changed to read the rows as of `:moment`; `asked` are the names of its parameters.

    SQLite scans a union of two tables completely. So the added expressions first select the entries that can matter (`wanted`), with
    the same indexes as in the present, and the row that each of their stores had (`was`).
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
    """Return `statement`, for PostgreSQL, changed to read the rows of each host in `%(hosts)s` as of its moment in `%(numbers)s`."""
    # In a WITH RECURSIVE, PostgreSQL would take the live table for the expression of the same name.
    inner = f"SELECT * FROM ({statement}) AS asked" if statement.startswith("WITH ") else statement
    return f"WITH {_SHARED} {inner}"


def _wanted(statement: str, asked: frozenset[str]) -> tuple[str, str]:
    """Return the text of expressions that select the entries that can matter to a statement, and the text of the list of their ids for IN.

    Both texts are empty if every entry can matter. The first is also empty if the list needs no expressions.
    """
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
    """Return a query for the ids of the stores that can matter to a statement."""
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
"""The columns of each table of which the past is kept. The tables of the past call the id of a row `..._id`."""
_NULL = "CAST(NULL AS BIGINT)"
_NEVER = f", {_NULL} AS indexed_at, (1 = 0) AS content_pending"


def _as_of(
    table: str, live: str, number: str, *, how: str = "", join: str = "", more: tuple[str, str] = ("", "")
) -> str:
    """Return the common table expression that replaces `table`; in it, `live` is the name of the live table.

    `more` are additional conditions on the rows of the live table and on the rows of the past.
    """
    columns = [f"p.{column.strip()}" for column in _COLUMNS[table].split(",")]
    was = [f"p.{table}_id" if column == "p.id" else column for column in columns]
    if (
        more[1] and table == "entry"
    ):  # The + makes SQLite search by the entry and not go through all entries that the store ever had.
        was[1] = columns[1] = "+p.store_id AS store_id"
    last = gone = ""
    if table == "store":
        last = f", p.changed_at{_NEVER}, p.file_identity"
        gone = f", {_NULL} AS changed_at{_NEVER}, CAST(NULL AS VARCHAR) AS file_identity"
    if table == "name":
        last = gone = f", {_NULL} AS answers_from"
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
    """Return the corrected time of each moment of a host by its id, if the clock was set since the last one; else None.

    If None, `moment.label` is right: earlier times were corrected when the last moment was written.
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
    """Raise UsageError if retention has dropped rows that were valid at this moment of a host."""
    parameters = {"host": host, "number": number}
    if next(reader.select("SELECT 1 FROM moment WHERE id = :number AND forgotten", parameters), None) is None:
        return
    row = next(reader.select("SELECT min(label) FROM moment WHERE host_id = :host AND id > :number", parameters), None)
    if row is not None and row[0] is not None:
        raise UsageError(
            f"the state at {rfc3339(at)} is no longer kept: ask for {rfc3339(row[0])} or later;"
            " the setting retention.history_days says how long the past is kept"
        )


def last_moment(reader: Reader, host: int, at: int, now: int) -> int | None:
    """Return the number of a host's last moment that was not after `at`, or None if there was none yet."""
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
    count = bisect_right(list(labels.values()), at)
    return list(labels)[count - 1] if count else None
