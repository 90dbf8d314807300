"""What a lookup on PostgreSQL costs: it searches indexes, whatever the planner believes, and looks at as many rows at any size.

As test_steps.py does on SQLite; there is no counter of steps here, but a plan that was run says how many rows each of its
nodes came to, those that it left out among them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from catalog.engine.copy import copy
from catalog.engine.open import open_writer
from catalog.engine.postgres import frozen
from catalog.engine.postgres.reader import FIRST, PostgresReader, first_rows
from tests.lookup.sizes import Sized
from tests.lookup.test_steps import ASKED, FACTOR, LARGE, SMALL, Asked
from tests.lookup.test_steps import FIRST as ONE
from tests.postgres import Server

FEW = {"host", "root", "meta", "left_out", "media_type", "platform", "annotation_key"}
"""Tables that a lookup may read from end to end: of their rows there are few, however many names there are."""
SMALL_HERE = {"name_span", "moment"}
"""Tables with no row (spans from before schema 1.2), or a few, in the catalogs of these tests: the planner reads a whole index of one as
soon as a part of it. What is looked at in them counts all the same."""
NAMES_STORES = {"NEXT_STORE"}
"""Statements that read all stores: what one is called, seen from another host, stands in no index."""
PARTIAL = {"ix_entry_long", "ix_store_content_pending"}
"""Indexes over the few rows that are odd: they may be read from end to end."""
PER_ROW = 8
"""So many tables, at most, are searched for a row."""
SORTED = {"STORE_BY_DIGEST", "STORE_BY_REPOSITORY_DIGEST"}
"""Statements for which the server looks at all entries of one digest in one store, to sort them."""


class Readers(NamedTuple):
    """The catalogs of tests/lookup/sizes.py, copied to the server."""

    small: PostgresReader
    large: PostgresReader


@pytest.fixture(scope="module")
def readers(sized: Callable[[int], Sized], server: Server) -> Iterator[Readers]:
    made = []
    for size in (SMALL, LARGE):
        url = server.new_catalog()
        with open_writer(sized(size).catalogue.path) as old, open_writer(url) as new:
            copy(old, new, lambda _what, _done, _total: None)
        made.append(PostgresReader(url))
    yield Readers(*made)
    for reader in made:
        reader.close()


def question(reader: PostgresReader, asked: Asked) -> tuple[str, dict[str, Any]]:
    """A statement as it is sent, with the ids of the stores and digests that its parameters name."""
    text, constants, fetch = frozen.STATEMENTS[asked.statement]
    values: dict[str, Any] = {**constants, **asked.parameters}
    for key, table, column in (("store_id", "store", "name"), ("content_id", "content", "digest")):
        if key in values:
            row = next(reader.select(f"SELECT id FROM {table} WHERE {column} = :value", {"value": values[key]}), None)
            assert row is not None
            values[key] = row[0]
    if values.get("entry_id") == "annotated":
        row = next(reader.select("SELECT min(entry_id) FROM entry_annotation", {}), None)
        assert row is not None
        values["entry_id"] = row[0]
    elif "entry_id" in values:
        values["entry_id"] += 1  # the first id that a sequence gives is left out
    return first_rows(text, fetch), values


def planned(reader: PostgresReader, asked: Asked, *, generic: bool = False) -> dict[str, Any]:
    """The plan of a statement, after it was run; `generic` is the one that serves for any parameters."""
    text, values = question(reader, asked)
    session = reader._session
    session.execute(f"SET plan_cache_mode = {'force_generic_plan' if generic else 'force_custom_plan'}")
    ((found,),) = session.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {text}", values, prepare=True).fetchall()
    plan: dict[str, Any] = found[0]["Plan"]
    assert plan["Actual Rows"] == asked.rows or asked.read == ONE
    return plan


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The nodes of a plan."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def read_whole(plan: dict[str, Any], few: set[str] = FEW) -> list[str]:
    """The nodes that read a table, or an index of one, from end to end, but those with few rows."""
    return [
        f"{node['Node Type']} {node.get('Index Name', '')} of {node['Relation Name']}"
        for node in nodes(plan)
        if node.get("Relation Name", "meta") not in few
        and node["Node Type"] != "Bitmap Heap Scan"
        and "Index Cond" not in node
        and node.get("Index Name") not in PARTIAL
    ]


def looked_at(plan: dict[str, Any], few: set[str] = FEW) -> int:
    """How many rows the nodes of a plan came to."""
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
    small, large = (planned(reader, asked, generic=generic) for reader in readers)
    if asked.statement in NAMES_STORES:
        assert {node["Relation Name"] for node in nodes(large) if "Relation Name" in node} <= {"store", "host"}
        return
    assert read_whole(large, FEW | SMALL_HERE) == [], json.dumps(large, indent=1)
    assert not any(
        node["Node Type"].startswith("Gather") for node in nodes(large)
    )  # no other process is started for it
    if asked.statement in SORTED and asked.read == ONE:
        assert large["Actual Rows"] == FIRST  # no more come over
    elif asked.read == ONE:  # of which SQLite reads one row
        assert looked_at(large) <= FIRST * PER_ROW
    else:
        assert looked_at(large) <= looked_at(small) * FACTOR + 2  # a plan may be another one


def test_what_reads_all_would_be_told(readers: Readers) -> None:
    """The rule above sees a scan where there is one."""
    ((found,),) = readers.large._session.execute(
        "EXPLAIN (FORMAT JSON) SELECT count(fingerprint) FROM entry"
    ).fetchall()
    assert read_whole(found[0]["Plan"])


def test_a_listing_leaves_the_planner_as_it_was(readers: Readers) -> None:
    reader = readers.small
    rows = reader.rows("BY_ANY_NAME", {})
    assert next(rows)
    assert next(reader.select("SHOW enable_hashjoin", {})) == ("off",)
    assert len(list(rows)) > SMALL / 2


def test_what_is_more_than_the_first_rows_comes_too(readers: Readers) -> None:
    """Each row once, in its order, as without a first look."""
    asked = next(each for each in ASKED if each.statement == "STORE_BY_TAG" and each.read == ONE)
    reader = readers.large
    _, values = question(reader, asked)
    values = {key: value for key, value in values.items() if key in ("tag", "store_id")}
    rows = list(reader.rows("STORE_BY_TAG", values))
    assert len(rows) > 10 * FIRST
    assert len(set(rows)) == len(rows)
    assert [row[3:1:-1] for row in rows] == sorted(row[3:1:-1] for row in rows)
