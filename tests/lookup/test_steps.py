"""No lookup is linear: the cost of answers is counted in steps of SQLite's virtual machine, at two sizes.

A query plan that says SEARCH can still be linear, and a measured time proves nothing. The number of steps does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pytest

from catalog.engine.sqlite.frozen import STATEMENTS
from catalog.names.pattern import upper_bound
from tests import effort, writers
from tests.conftest import file_of
from tests.lookup.sizes import CROWD, LONG, RARE, SHARED, Sized, child

SMALL, LISTED = 100, 10_000
LARGE = LISTED if effort.profile() == "short" else 100_000
"""The larger size is a hundred times the smaller one, and in `make stress` a thousand times."""
FACTOR = 1.2

Build = Callable[[int], Sized]
Parameters = Mapping[str, object]

ALL, FIRST = "every row", "the first row"


class Asked(NamedTuple):
    """A statement with its parameters. `rows` is how many it returns; `read` says whether all of them are read."""

    statement: str
    parameters: Parameters
    rows: int
    read: str = ALL


# Listings: each row costs the same, however many there are.
LISTINGS: dict[str, Parameters] = {
    "BY_ANY_NAME": {},
    "BY_ANY_TAG": {},
    "STORES": {},
    "STORE_NAMES": {},
    "STORES_OF_HOST": {"host_id": 1},
    "STORE_ENTRIES": {"store_id": "large"},
    "STORE_LINES": {"store_id": "large"},
    "STORE_OBJECTS": {"store_id": "large"},
    "STORE_FILES": {},
    "NAMINGS": {"host": 1},
    "PLAIN_STANDINGS": {"host": 1},
    "STANDINGS": {"host": 1},
    "SPANS": {},
    "STORE_STATES": {},
    "STORE_KEYS": {"store_id": "large"},
    "REPOSITORIES_WITH": {"part": "%", "low": "", "count": 1 << 62},
    "REPOSITORIES_WITH_COMPONENT": {"part": "%", "low": "", "count": 1 << 62},
    "SEARCHED_STORES": {},
    "KEYS_WITH": {"part": "%", "low": ""},
    "TAGS_WITH": {"part": "%"},
    "KEYS_OF_STORE": {"store_id": "large"},
    "KEYS_OF_ANNOTATIONS": {},
    "MEDIA_TYPES": {},
    "PLATFORMS": {},
    "OF_MEDIA_TYPES": {"ids": ("media_type", writers.MANIFEST_TYPE)},
    "WITHOUT_KEYS": {},
    "STORES_AFTER": {"low": "", "count": 1_000_000},
}

OF_ALL_STORES = ("NAMINGS", "STANDINGS")


def digest(seed: str) -> str:
    return str(writers.fake_descriptor(seed)["digest"])


def between(prefix: str) -> Parameters:
    return {"low": prefix, "high": upper_bound(prefix)}


# The name of a store is replaced by its id. Entry 1 of `large` is named `app-0-01:1.1`, entry 0 by the bare tag 1.0.
APP = "docker.io/library/app-0-01"
MANY = "docker.io/many/app-1"
ASKED = [
    Asked("SCHEMA_VERSION", {}, 1),
    Asked("HAS_BLOBS", {"store_id": "large"}, 1),
    Asked("BY_NAME", {"name": f"{APP}:1.1"}, 1),
    Asked("BY_NAME", {"name": f"{MANY}:t0.1"}, 2),
    Asked("BY_NAME", {"name": "docker.io/library/nosuch:1"}, 0),
    Asked("ANSWERS_BY_NAME", {"name": f"{APP}:1.1"}, 1),
    Asked("ANSWERS_BY_NAME", {"name": f"{MANY}:t0.1"}, 2),
    Asked("ANSWERS_BY_NAME", {"name": f"{CROWD}:crowd"}, 1),
    Asked("BY_TAG", {"tag": "1.1"}, 1),
    Asked("BY_TAG", {"tag": "t0.0"}, 2),
    Asked("BY_TAG", {"tag": "many/app-1:t0.1"}, 2),
    Asked("BY_TAG", {"tag": "docker.io/many/app-3:t0.3"}, 2),
    Asked("BY_TAG", {"tag": "nosuch"}, 0),
    Asked("BY_LONG_RAW", {"tag": LONG}, 2),
    Asked("BY_DIGEST", {"digest": digest("0-3")}, 2),
    Asked("BY_DIGEST", {"digest": digest("many-0-0")}, 2),
    Asked("BY_DIGEST_RANGE", between(digest("0-3")[:20]), 2),
    Asked("BY_REPOSITORY_DIGEST", {"repository": APP, "digest": digest("0-0"), "tag": "1.1"}, 1),
    Asked("BY_REPOSITORY_DIGEST", {"repository": MANY, "digest": digest("many-0-1"), "tag": None}, 2),
    Asked("BY_REPOSITORY_DIGEST", {"repository": SHARED, "digest": digest("0-0"), "tag": None}, 0),
    Asked("BY_REPOSITORY", {"repository": "quay.io/crowd/0"}, 1),
    Asked("BY_NAME_RANGE", between(f"{MANY}:t0.1"), 2),
    Asked("BY_TAG_RANGE", between("t0.0"), 2),
    Asked("STORE_BY_NAME", {"store_id": "large", "name": f"{APP}:1.1"}, 1),
    Asked("STORE_BY_NAME", {"store_id": "many/s0", "name": f"{SHARED}:1"}, 1),
    Asked("STORE_ANSWER_BY_NAME", {"store_id": "large", "name": f"{APP}:1.1"}, 1),
    Asked("STORE_ANSWER_BY_NAME", {"store_id": "many/s0", "name": f"{SHARED}:1"}, 1),
    Asked("STORE_ANSWER_BY_NAME", {"store_id": "crowd", "name": f"{CROWD}:crowd"}, 1),
    Asked("STORE_BY_IMAGE_NAME", {"store_id": "large", "tag": "docker.io/library/app-0-03:1.3"}, 1),
    Asked("STORE_BY_IMAGE_NAME", {"store_id": "crowd", "tag": f"{CROWD}:crowd"}, 1, FIRST),
    Asked("STORE_BY_REF_NAME", {"store_id": "large", "tag": "1.0"}, 1),
    Asked("STORE_BY_REF_NAME", {"store_id": "many/s1", "tag": f"{SHARED}:1"}, 1),
    Asked("STORE_BY_REF_NAME", {"store_id": "crowd", "tag": "crowd"}, 1, FIRST),
    Asked("STORE_BY_LONG_REF_NAME", {"store_id": "crowd", "tag": LONG}, 2),
    Asked("STORE_BY_TAG", {"store_id": "large", "tag": "1.1"}, 1),
    Asked("STORE_BY_TAG", {"store_id": "many/s0", "tag": "1"}, 1),
    Asked("STORE_BY_TAG", {"store_id": "crowd", "tag": "crowd"}, 1, FIRST),
    Asked("STORE_BY_REF_TAIL", {"store_id": "large", "tag": "1.1"}, 1),
    Asked("STORE_BY_REF_TAIL", {"store_id": "many/s0", "tag": "1"}, 1),
    Asked("STORE_BY_REF_TAIL", {"store_id": "crowd", "tag": "crowd"}, 1, FIRST),
    Asked("STORE_BY_DIGEST", {"store_id": "large", "digest": digest("0-3")}, 2),
    Asked("STORE_BY_DIGEST", {"store_id": "many/s0", "digest": digest("everywhere")}, 1),
    Asked("STORE_BY_DIGEST", {"store_id": "crowd", "digest": digest("crowd")}, 1, FIRST),
    Asked(
        "STORE_BY_REPOSITORY_DIGEST",
        {"store_id": "large", "repository": APP, "digest": digest("0-0"), "tag": None},
        1,
    ),
    Asked(
        "STORE_BY_REPOSITORY_DIGEST",
        {"store_id": "many/s0", "repository": SHARED, "digest": digest("everywhere"), "tag": "1"},
        1,
    ),
    Asked(
        "STORE_BY_REPOSITORY_DIGEST",
        {"store_id": "crowd", "repository": CROWD, "digest": digest("crowd"), "tag": None},
        1,
        FIRST,
    ),
    Asked("ENTRY_KEYS", {"entry_id": 2}, 1),
    Asked("ENTRY_ANNOTATIONS", {"entry_id": "annotated"}, 1),
    Asked("STORE_BY_NAME_OR_PATH", {"store_name": "many/s1", "path": None}, 1),
    Asked("STORE_BY_NAME_OR_PATH", {"store_name": None, "path": "/nowhere"}, 0),
    Asked("STORE_SETTINGS", {"path": "/nowhere"}, 0),
    Asked("LYING", {"digest": child(1)}, 0),
    Asked("STORE_LYING", {"digest": child(1), "store_id": "large"}, 0),
    Asked("STORE_INDEX", {"store_id": "large"}, 1),
    Asked("REACHING", {"digest": child(1)}, 2),
    Asked("STORE_REACHING", {"digest": child(1), "store_id": "large"}, 2),
    Asked("STORE_REACHING", {"digest": child(1), "store_id": "crowd"}, 0),
    Asked("CONTAINING", {"digest": digest("layer-1")}, 2),
    Asked("PARENTS", {"content_id": child(1)}, 1),
    Asked("BY_CONTENT", {"content_id": digest("0-3")}, 2),
    Asked("CONTENTS_IN_RANGE", between(child(1)[:20]), 1),
    Asked("EDGE_TO", {"digest": child(1)}, 1),
    Asked("CHILDREN", {"content_id": digest("0-1"), "store_id": "large"}, 1),
    Asked("IS_HERE", {"content_id": child(1), "store_id": "large"}, 1),
    Asked("NEEDED", {"digest": child(1), "store_id": "large"}, 4),
    Asked("CONFIG_OF", {"content_id": child(1), "store_id": "large"}, 1),
    Asked("ARTIFACT_TYPE_OF", {"content_id": child(1)}, 1),
    Asked("CONTENT_ANNOTATIONS", {"content_id": digest("0-1")}, 1),
    Asked("DESCRIPTOR_ANNOTATIONS", {"content_id": child(1)}, 0),
    Asked("LABELS_OF", {"content_id": child(1)}, 1),
    Asked("REFERRERS_OF", {"digest": child(1)}, 1),
    Asked("PENDING", {}, 0),
    Asked("HOSTS", {}, 1),
    Asked("HOST_BY_NAME", {"host_name": "nowhere"}, 0),
    Asked("PRUNED", {}, 0),
    Asked("DROPPED_INDEXES", {}, 0),
    Asked("ROOTS", {}, 1),
    Asked("LEFT_OUT", {}, 0),
    Asked("SPANS_BY_NAME", {"name": f"{APP}:1.1"}, 2),
    Asked("SPANS_BY_NAME", {"name": f"{CROWD}:crowd"}, 2),
    Asked("SPANS_BY_TAG", {"tag": "t0.0"}, 4),
    Asked("SPANS_BY_DIGEST", {"digest": digest("many-0-0")}, 4),
    Asked("SPANS_BY_NAME_RANGE", between(f"{MANY}:t0.1"), 4),
    Asked("SPANS_BY_TAG_RANGE", between("t0.0"), 4),
    Asked("COUNT_TAG", {"tag": "1.1"}, 1),
    Asked("BY_KEYS", {"ids": ("name", f"{APP}:1.1")}, 1),
    Asked("LAST_REPOSITORY", {}, 1),
    Asked("NEXT_TAG_OF", {"repository": MANY, "low": ""}, 1),
    Asked("NEXT_TAG_OF", {"repository": MANY, "low": "u"}, 0),
    Asked("FAMILIARS", between("many/app-1"), 1),
    Asked("KEYS_OF_REPOSITORIES", {"ids": ("repository", "quay.io/crowd/0")}, 1),
    Asked("COUNT_TAGS", {"low": "t0.0", "high": "t0.1"}, 1),
    Asked("KEYS_OF_TAG", {"tag": "t0.0"}, 2),
    Asked("KEYS_OF_TAGS", {"low": "t0.0", "high": "t0.1"}, 2),
    Asked("KEYS_OF_ENTRY", {"entry_id": 2}, 1),
    Asked("TOTAL_SIZE", {"store_id": "large", "content_id": digest("0-1")}, 1),
    Asked("ONLY_CHILD", {"content_id": digest("0-1")}, 1),
    Asked("CREATED", {"store_id": "large", "content_id": digest("0-1")}, 1),
    Asked("CREATED_OF_MANIFEST", {"content_id": digest("0-1")}, 1),
    Asked("PARTS", {"digest": digest("0-1")}, 4),
    Asked("MOMENTS_AFTER", {"host_id": 1, "moment": 1 << 60}, 0),
    Asked("MOMENT", {"host_id": 1, "moment": 1 << 60}, 0),
    Asked("FIRST_MOMENTS", {"host_id": 1}, 2),
    Asked("LAST_MOMENT", {"host_id": 1}, 1),
    Asked("CHANGES_AT", {"moment": 1 << 60}, 0),
    Asked("UNNAMED_AT", {"moment": 1 << 60}, 0),
    Asked("UNNAMED_SPANS", {"store_id": "large", "content_id": digest("0-3"), "moment": 1}, 0),
    Asked("ABOUT", {"digest": child(1)}, 1),
    Asked("NAMES_OF", {"content_id": digest("0-3")}, 2),
    Asked("HOLDERS_OF", {"content_id": child(1)}, 1),
    Asked("LAYERS_OF", {"content_id": child(1)}, 2),
    Asked("SHARING", {"content_id": digest("layer-1")}, 1),
    Asked("BASES_OF", {"content_id": child(1)}, 0),
    Asked("DERIVED_FROM", {"content_id": child(1)}, 0),
    Asked("PROBLEMS_OF", {"content_id": digest("0-1"), "digest": digest("0-1")}, 0),
    Asked("PLACE_OF_STORE", {"store_id": "large"}, 1),
    Asked("HOLDING", {"digest": child(1)}, 1),
    Asked("HOLDING", {"digest": digest("nosuch")}, 0),
    Asked("CARRIED_BY", {"store_id": "large", "digest": digest("layer-1"), "count": 2}, 0),
    Asked("CARRIED_IN_LIST", {"store_id": "large", "digest": child(1)}, 0),
    Asked("TAGS_AFTER", {"repository": MANY, "low": "", "low_store": 0, "count": 2}, 2),
    Asked("TAGS_AFTER", {"repository": MANY, "low": "u", "low_store": 0, "count": 2}, 0),
    Asked("REPOSITORIES_OF_STORES", {"low": "docker.io/", "count": 2, "ids": ("store", "large")}, 2),
    Asked("REPOSITORIES_AFTER", {"low": "docker.io/", "count": 2}, 2),
    Asked("NEXT_NAME", between("docker.io/"), 1),
    Asked("NEXT_NAME", between(f"{SHARED}:"), 1),
    Asked("NEXT_NAME", between("nosuch"), 0),
    Asked("NEXT_TAG", between("1"), 1),
    Asked("NEXT_DIGEST", between(digest("0-3")[:20]), 1),
    Asked("NEXT_DIGEST", between(child(1)[:20]), 1),
    Asked("IS_MANIFEST", {"digest": digest("0-3")}, 1),
    Asked("IS_MANIFEST", {"digest": child(1)}, 1),
    Asked("IS_MANIFEST", {"digest": digest("layer-1")}, 0),
    Asked("NEXT_REPOSITORY", between("docker.io/"), 1),
    Asked("NEXT_FAMILIAR", between("app"), 1),
    Asked("NEXT_STORE", between("many/"), 1),
    Asked("NEXT_ROOT", between("m"), 1),
    Asked("KEY_OF_ANNOTATIONS", {"key": "l"}, 1),
    Asked("LABELLED", {"ids": ("annotation_key", "l"), "low": "1", "high": "1"}, 1),
    Asked("ANNOTATED", {"ids": ("annotation_key", "k"), "low": "w", "high": "w"}, 0),
    Asked("ANNOTATED_BELOW", {"ids": ("annotation_key", "k"), "low": "", "high": "w"}, 0),
    Asked("ANNOTATED_ENTRIES", {"ids": ("annotation_key", "org.example.number"), "low": "1", "high": "1"}, 1),
    Asked("NAMED_BY_REF", {"low": "1.0", "high": "1.0"}, 1),
    Asked("NAMED_BY_IMAGE", {"low": f"{MANY}:t0.1", "high": f"{MANY}:t0.3"}, 0),
    Asked("NAMED_AT_LENGTH", {}, 2),
    Asked("ABOVE_CONFIGS", {"ids": ("content", f"sha256:{1:064x}")}, 2),
    Asked("ABOVE_CONTENTS", {"ids": ("content", child(1))}, 2),
    Asked("SURELY_FOR_PLATFORMS", {"ids": ("platform", "linux/s390x")}, 2),
    Asked("PERHAPS_FOR_PLATFORMS", {"ids": ("platform", "linux/s390x")}, 2),
    Asked("OF_PLATFORMS", {"ids": ("platform", "linux/s390x")}, 1),
    Asked("COUNT_REPOSITORY", {"repository": "quay.io/crowd/0"}, 1),
    Asked("OF_ARTIFACT_TYPES", {"ids": ("media_type", RARE)}, 1),
    Asked("ENTRIES_OF", {"ids": ("content", digest("0-3"))}, 2),
    Asked("ENTRIES_IN_ORDER", {"ids": ("entry", 2)}, 1),
    Asked("BY_ENTRIES", {"ids": ("entry", 2)}, 1),
    Asked("CAPITAL_REPOSITORIES_WITH", {"part": "%", "low": "", "count": 9}, 0),
    Asked("TOPS_AMONG", {"ids": ("content", child(1)), "store_id": "large"}, 1),
    Asked("PARTS_AMONG", {"ids": ("content", child(1)), "store_id": "large"}, 1),
    Asked("LAYERS_AMONG", {"ids": ("content", child(1)), "store_id": "large"}, 2),
    Asked("LABELS_AMONG", {"ids": ("content", f"sha256:{1:064x}")}, 1),
    Asked("NAMES_OF_ENTRIES", {"ids": ("entry", 2)}, 1, FIRST),
    Asked("ANNOTATIONS_OF_ENTRIES", {"ids": ("entry", 4)}, 1, FIRST),
    Asked("CLAIMING_PLATFORMS", {"ids": ("platform", "linux/s390x")}, 0),
    Asked("CLAIMING_ARTIFACT_TYPES", {"ids": ("media_type", RARE)}, 0),
    Asked("ANSWERING_FROM", {"number": 1 << 60}, 0),
]


IDS = (
    ("store_id", "store", "name"),
    ("content_id", "content", "digest"),
    ("repository_id", "repository", "name"),
)
"""The parameters that are ids; in ASKED they are what the given column of the given table has."""
COLUMNS = {"content": "digest", "entry": "id"}
"""The columns in which the words of `ids` are, if not `name`."""


def bound(sized: Sized, parameters: Parameters) -> dict[str, object]:
    """Return the parameters with the ids of the stores and digests that they name."""
    found = dict(parameters)
    for key, table, column in IDS:
        if key in found:
            found[key] = sized.catalogue.sql(f"SELECT id FROM {table} WHERE {column} = ?", found[key])[0][0]
    if isinstance(words := found.get("ids"), tuple):
        table, word = words
        column = COLUMNS.get(table, "name")
        found["ids"] = f"[{sized.catalogue.sql(f'SELECT id FROM {table} WHERE {column} = ?', word)[0][0]}]"
    if found.get("entry_id") == "annotated":  # which ids entries have is a matter of the order in which stores are read
        found["entry_id"] = sized.catalogue.sql("SELECT min(entry_id) FROM entry_annotation")[0][0]
    return found


def steps(
    connection: sqlite3.Connection,
    text: str,
    parameters: Parameters | Sequence[object],
    *,
    first: bool = False,
    of: int = 1,
) -> tuple[int, int]:
    """Return how many rows a statement returns and how many steps that takes, in units of `of`."""
    count = 0

    def step() -> None:
        nonlocal count
        count += of

    connection.set_progress_handler(step, of)
    try:
        cursor = connection.execute(text, parameters)
        rows = len(cursor.fetchmany(1) if first else cursor.fetchall())
        cursor.close()
    finally:
        connection.set_progress_handler(None, 0)
    return rows, count


def test_every_statement_is_counted() -> None:
    """A new statement must be in ASKED or be a listing."""
    # PINNED is only for a hint: it scans an index that has only entries with such a name, and stops at a limit.
    # TITLES_WITH scans all titles, of which few catalogs have many. COUNT_OF_STORES is counted in test_starts.py.
    others = {"PINNED", "TITLES_WITH", "COUNT_OF_STORES"}
    assert set(STATEMENTS) == {each.statement for each in ASKED} | set(LISTINGS) | others


@pytest.mark.parametrize(
    "asked", ASKED, ids=lambda each: f"{each.statement}-{'-'.join(map(str, each.parameters.values()))}"[:70]
)
def test_a_lookup_costs_the_same_at_any_size(sized: Build, asked: Asked) -> None:
    costs = []
    for size in (SMALL, LARGE):
        found = sized(size)
        rows, count = steps(
            file_of(found.catalogue.reader),
            STATEMENTS[asked.statement],
            bound(found, asked.parameters),
            first=asked.read == FIRST,
        )
        assert rows == asked.rows
        costs.append(count)
    assert costs[1] <= costs[0] * FACTOR


@pytest.mark.parametrize("statement", LISTINGS)
def test_a_listing_costs_the_same_per_row(sized: Build, statement: str) -> None:
    """A sort may multiply the steps by the logarithm of the number of rows. Some statements look at all stores and return few."""
    costs = []
    for size in (SMALL, LISTED):
        found = sized(size)
        rows, count = steps(
            file_of(found.catalogue.reader),
            STATEMENTS[statement],
            bound(found, LISTINGS[statement]),
            of=10 if size == SMALL else 100,
        )
        looked_at = found.catalogue.sql("SELECT count(*) FROM store")[0][0] if statement in OF_ALL_STORES else rows
        costs.append(count / looked_at)
    assert costs[1] <= costs[0] * FACTOR + 10


# Whole questions, as `resolve` asks them: none of them may look at more than it needs.
RESOLVED = {
    f"{APP}:1.1": 0,
    "crowd:crowd": 0,
    "nosuch:1": 1,
    ":t0.0": 0,
    digest("many-0-0"): 0,
    digest("0-3")[:30]: 0,
    f"app-0-01:1.1@{digest('0-0')}": 0,
    child(1): 0,
    f"{SHARED}:1@{digest('0-0')}": 1,
    "quay.io/crowd/0:*": 0,
    "oci-layout://large:1.0": 0,
    "oci-layout://large/app-0-01:1.1": 0,
    f"oci-layout://large@{digest('0-3')}": 0,
    f"oci-layout://large/app-0-01:1.1@{digest('0-0')}": 0,
    f"oci-layout://large@{child(1)}": 0,
    "oci-layout://crowd:crowd": 0,
    "oci-layout://crowd:nosuch": 1,
    "oci-layout://crowd/crowd:crowd": 0,
    f"oci-layout://crowd:crowd@{digest('crowd')}": 0,
    f"oci-layout://crowd/crowd:crowd@{digest('crowd')}": 0,
    "oci-layout://many/s1/everywhere:1": 0,
    "oci:crowd:crowd": 0,
    "oci:crowd:nosuch": 1,
    f"oci:crowd:{LONG}": 0,
    "ocidir://crowd:crowd": 0,
    "ocidir://crowd:long": 0,
    f"ocidir://crowd:crowd@{digest('crowd')}": 0,
}


@pytest.mark.parametrize("ref", RESOLVED, ids=lambda each: each[:60])
def test_an_answer_costs_the_same_at_any_size(sized: Build, ref: str) -> None:
    costs = []
    for size in (SMALL, LARGE):
        found = sized(size)
        count = 0

        def step() -> None:
            nonlocal count
            count += 1

        text = ref.replace(":crowd", f":{found.large}/../crowd", 1) if ref.startswith("oci:") else ref
        text = text.replace("//crowd", f"//{found.large}/../crowd", 1) if ref.startswith("ocidir:") else text
        file_of(found.catalogue.reader).set_progress_handler(step, 1)
        try:
            assert found.catalogue.resolve(text).status == RESOLVED[ref]
        finally:
            file_of(found.catalogue.reader).set_progress_handler(None, 0)
        costs.append(count)
    assert costs[1] <= costs[0] * FACTOR


VIEWS: dict[str, tuple[tuple[object, ...], int]] = {
    "SELECT digest FROM images WHERE name = ?": ((f"{APP}:1.1",), 1),
    "SELECT digest FROM images WHERE name = ? AND NOT shadowed": ((f"{MANY}:t0.1",), 2),
    "SELECT name FROM images WHERE tag = ?": (("t0.0",), 2),
    "SELECT name FROM images WHERE digest = ?": ((digest("0-3"),), 2),
    "SELECT digest FROM images WHERE repository = ?": (("quay.io/crowd/0",), 1),
    "SELECT digest FROM images WHERE repository = ? AND tag = ?": ((APP, "1.1"), 1),
    "SELECT digest FROM images WHERE familiar = ?": (("quay.io/crowd/0",), 1),
    "SELECT digest FROM images WHERE familiar = ? AND tag = ?": (("app-0-01", "1.1"), 1),
    "SELECT tag FROM images WHERE store = ?": (("many/s0",), 10),
    "SELECT * FROM images WHERE name = ?": ((f"{APP}:1.1",), 1),
    "SELECT store FROM unnamed WHERE digest = ?": ((digest("0-2"),), 1),
    "SELECT digest FROM unnamed WHERE store = ?": (("many/s0",), 0),
    "SELECT path FROM stores WHERE name = ?": (("many/s1",), 1),
    "SELECT until FROM history WHERE name = ?": ((f"{APP}:1.1",), 2),
    "SELECT until FROM history WHERE name = ? AND store = ?": ((f"{MANY}:t0.1", "many/s1"), 2),
    "SELECT name FROM history WHERE digest = ?": ((digest("many-0-0"),), 4),
    "SELECT name FROM history WHERE tag = ?": (("t0.0",), 4),
    "SELECT digest FROM history WHERE repository = ?": (("quay.io/crowd/0",), 2),
    "SELECT at FROM snapshots WHERE store = ?": (("many/s0",), 1),
    "SELECT detail FROM problems WHERE store = ? AND kind = 'long-name'": (("crowd",), 2),
    "SELECT store FROM annotations WHERE digest = ? AND key = ?": ((digest("0-1"), "org.example.nosuch"), 0),
}


@pytest.mark.parametrize("statement", VIEWS)
def test_a_view_is_searched_by_its_keys(sized: Build, statement: str) -> None:
    parameters, wanted = VIEWS[statement]
    costs = []
    for size in (SMALL, LARGE):
        rows, count = steps(file_of(sized(size).catalogue.reader), statement, parameters)
        assert rows == wanted
        costs.append(count)
    assert costs[1] <= costs[0] * FACTOR
