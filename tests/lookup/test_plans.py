"""The cost of lookups on PostgreSQL: they search indexes, whatever the planner estimates, and visit as many rows at any size.

This corresponds to test_steps.py for SQLite. PostgreSQL does not count steps, but EXPLAIN ANALYZE shows how many rows each
node of a plan visited, including those that it discarded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from psycopg.sql import Literal
from sqlalchemy import Connection

from catalog.db.fetching import ALL, WIDE
from catalog.engine.copy import copy
from catalog.engine.open import open_writer
from catalog.engine.postgres import frozen
from catalog.engine.postgres.reader import FIRST, PostgresReader, first_rows
from catalog.lookup import listing
from catalog.lookup.filters import EntryFilters
from catalog.lookup.resolve import Asking
from tests.effort import is_short
from tests.lookup.sizes import Sized
from tests.lookup.test_past_steps import counted_rows
from tests.lookup.test_starts import LINEAR, LOOKED_AT, NARROW, SPARE
from tests.lookup.test_steps import ASKED, COLUMNS, FACTOR, IDS, SMALL, Asked
from tests.lookup.test_steps import FIRST as ONE
from tests.postgres import Server

LARGE = 25_000 if is_short() else 100_000
"""At 10,000 names the planner still prefers to read some whole tables."""
FEW = {"host", "root", "meta", "left_out", "media_type", "platform", "annotation_key"}
"""Tables that a lookup may scan, because they have few rows, however many names there are."""
SMALL_HERE = {"name_span", "moment", "problem"}
"""Tables with no row (spans from before schema 1.2), or a few, in the catalogs of these tests: the planner reads a whole index of one as
soon as a part of it. What is looked at in them counts all the same."""
NAMES_STORES = {"NEXT_STORE"}
"""Statements that read all stores, because the name of a store as seen from another host is in no index."""
PARTIAL = {"ix_entry_long", "ix_store_content_pending", "ix_edge_embedded"}
"""Indexes over a few exceptional rows, which may be scanned."""
PER_ROW = 8
"""The maximum number of tables that are searched per row."""
SORTED = {"STORE_BY_DIGEST", "STORE_BY_REPOSITORY_DIGEST"}
"""Statements for which the server visits all entries with one digest in one store, to sort them."""

SORTED_IF_GENERIC = {"STORE_BY_TAG"}
"""The same, in the plan for any tag, which the server takes where it expects as little of it."""

_COLUMNS_OF = "SELECT column_name FROM information_schema.columns WHERE table_name = %s"


class Readers(NamedTuple):
    """The catalogs of tests/lookup/sizes.py, copied to the server."""

    small: PostgresReader
    large: PostgresReader


def _give_a_past(connection: Connection) -> None:
    """Add to each entry, and to each of its names, a version that was replaced: without it, no index of these tables is of use."""
    for table in ("entry", "name"):
        columns = [row[0] for row in connection.exec_driver_sql(_COLUMNS_OF, (f"past_{table}",))]
        values = [
            "1" if each == "born" else "2" if each == "gone" else "id" if each == f"{table}_id" else each
            for each in columns
        ]
        connection.exec_driver_sql(
            f"INSERT INTO past_{table} ({', '.join(columns)}) SELECT {', '.join(values)} FROM {table}"
        )
        connection.exec_driver_sql(f"ANALYZE past_{table}")


@pytest.fixture(scope="module")
def readers(sized: Callable[[int], Sized], server: Server) -> Iterator[Readers]:
    made = []
    for size in (SMALL, LARGE):
        url = server.new_catalog()
        with open_writer(sized(size).catalogue.path) as old, open_writer(url) as new:
            copy(old, new, lambda _what, _done, _total: None)
            new.write(_give_a_past)
        made.append(PostgresReader(url))
    yield Readers(*made)
    for reader in made:
        reader.close()


def question(reader: PostgresReader, asked: Asked) -> tuple[str, dict[str, Any]]:
    """Return a statement as it is sent, with the ids of the stores and digests in its parameters."""
    text, fetch = frozen.STATEMENTS[asked.statement]
    values: dict[str, Any] = {**asked.parameters}
    for key, table, column in IDS:
        if key in values:
            row = next(reader.select(f"SELECT id FROM {table} WHERE {column} = :value", {"value": values[key]}), None)
            assert row is not None
            values[key] = row[0]
    if isinstance(words := values.get("ids"), tuple):
        table, word = words
        statement = f"SELECT id FROM {table} WHERE {COLUMNS.get(table, 'name')} = :value"
        values["ids"] = f"[{next(reader.select(statement, {'value': word}))[0]}]"
    if values.get("entry_id") == "annotated":
        row = next(reader.select("SELECT min(entry_id) FROM entry_annotation", {}), None)
        assert row is not None
        values["entry_id"] = row[0]
    elif "entry_id" in values:
        values["entry_id"] += 1  # the first id that a sequence gives is left out
    return first_rows(text, fetch), values


def planned(reader: PostgresReader, asked: Asked, *, generic: bool = False) -> dict[str, Any]:
    """Run a statement and return its plan; with `generic`, the plan for any parameters."""
    text, values = question(reader, asked)
    session = reader._session.connection
    session.execute(f"SET plan_cache_mode = {'force_generic_plan' if generic else 'force_custom_plan'}")
    reader.hold_state()
    numbers = {key: number for number, key in enumerate(dict.fromkeys(re.findall(r"%\((\w+)\)s", text)), 1)}
    prepared = re.sub(r"%\((\w+)\)s", lambda found: f"${numbers[found[1]]}", text).replace("%%", "%")
    given = ", ".join(Literal(values[key]).as_string(session) for key in numbers)
    session.execute(f"PREPARE asked AS {prepared}")
    explained = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE asked{f'({given})' if given else ''}"
    ((found,),) = session.execute(explained).fetchall()
    session.execute("DEALLOCATE asked; SET plan_cache_mode = auto")
    reader.release_state()
    plan: dict[str, Any] = found[0]["Plan"]
    assert plan["Actual Rows"] == asked.rows or asked.read == ONE
    return plan


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the nodes of a plan."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def read_whole(plan: dict[str, Any], few: set[str] = FEW) -> list[str]:
    """Return the nodes that scan a table or index, except those with few rows."""
    return [
        f"{node['Node Type']} {node.get('Index Name', '')} of {node['Relation Name']}"
        for node in nodes(plan)
        if node.get("Relation Name", "meta") not in few
        and node["Node Type"] != "Bitmap Heap Scan"
        and "Index Cond" not in node
        and node.get("Index Name") not in PARTIAL
    ]


def looked_at(plan: dict[str, Any], few: set[str] = FEW) -> int:
    """Return how many rows the nodes of a plan visited."""
    dropped = "Rows Removed by Filter", "Rows Removed by Index Recheck", "Rows Removed by Join Filter"
    return sum(
        (node["Actual Rows"] + sum(node.get(each, 0) for each in dropped)) * node["Actual Loops"]
        for node in nodes(plan)
        if node.get("Relation Name", node.get("Index Name", "meta")) not in few  # an index of its own fills a bitmap
    )


@pytest.mark.parametrize("generic", [False, True], ids=["", "generic"])
@pytest.mark.parametrize(
    "asked", ASKED, ids=lambda each: f"{each.statement}-{'-'.join(map(str, each.parameters.values()))}"[:70]
)
def test_a_lookup_costs_the_same_at_any_size(readers: Readers, asked: Asked, generic: bool) -> None:
    if generic and frozen.STATEMENTS[asked.statement][1] in (WIDE, ALL):
        return  # A cursor is planned for its parameters.
    small, large = (planned(reader, asked, generic=generic) for reader in readers)
    if asked.statement in NAMES_STORES:
        assert {node["Relation Name"] for node in nodes(large) if "Relation Name" in node} <= {"store", "host"}
        return
    assert read_whole(large, FEW | SMALL_HERE) == [], json.dumps(large, indent=1)
    assert not any(
        node["Node Type"].startswith("Gather") for node in nodes(large)
    )  # no other process is started for it
    if asked.statement in SORTED | (SORTED_IF_GENERIC if generic else set()) and asked.read == ONE:
        assert large["Actual Rows"] == FIRST  # no more come over
    elif asked.read == ONE:  # of which SQLite reads one row
        assert looked_at(large) <= FIRST * PER_ROW
    else:
        assert looked_at(large) <= looked_at(small) * FACTOR + 2  # a plan may be another one


def rows_read(reader: PostgresReader, filters: dict[str, Any]) -> tuple[int, int]:
    """Return how many rows the server reads for a question with these filters, and how many entries it finds."""
    asking = Asking(reader, print)
    with counted_rows(reader) as counter:
        narrowing = EntryFilters(**filters).narrowing(asking)
        found = sum(1 for _ in listing.narrowed(listing.without_ref(asking, narrowing), narrowing))
    return counter.steps, found


@pytest.mark.parametrize("what", [*NARROW, *LINEAR])
def test_a_filter_reads_what_it_finds(readers: Readers, what: str) -> None:
    """One with an index reads as much at any size, up to the thousand rows by which several are compared; others read every entry once."""
    filters, number = (NARROW | LINEAR)[what]
    (few, _), (many, found) = (rows_read(reader, filters) for reader in readers)
    if what in NARROW:
        assert found == number
        stores = LARGE // 100 + 2  # in which the server looks for one that is still being read
        assert many <= few * FACTOR + stores + (SPARE if len(filters) == 1 else LOOKED_AT)
    else:
        assert many <= few * LARGE / SMALL * FACTOR


def test_a_scan_would_be_detected(readers: Readers) -> None:
    """The rule of the test above does detect a scan."""
    ((found,),) = readers.large._session.connection.execute(
        "EXPLAIN (FORMAT JSON) SELECT count(fingerprint) FROM entry"
    ).fetchall()
    assert read_whole(found[0]["Plan"])


def test_a_listing_leaves_the_planner_as_it_was(readers: Readers) -> None:
    reader = readers.small
    rows = reader.rows("BY_ANY_NAME", {})
    assert next(rows)
    assert next(reader.select("SHOW enable_hashjoin", {})) == ("off",)
    assert len(list(rows)) > SMALL / 2


def test_rows_after_the_first_fetch_are_returned_too(readers: Readers) -> None:
    """Each row comes once and in order, as without the first fetch."""
    asked = next(each for each in ASKED if each.statement == "STORE_BY_TAG" and each.read == ONE)
    reader = readers.large
    _, values = question(reader, asked)
    values = {key: value for key, value in values.items() if key in ("tag", "store_id")}
    rows = list(reader.rows("STORE_BY_TAG", values))
    assert len(rows) > 10 * FIRST
    assert len(set(rows)) == len(rows)
    assert [row[3:1:-1] for row in rows] == sorted(row[3:1:-1] for row in rows)
