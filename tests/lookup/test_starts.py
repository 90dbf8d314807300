"""A filter of `query` without a reference costs what it finds, not what the catalog has: steps of SQLite, at two sizes.

tests/lookup/test_plans.py counts the rows that PostgreSQL visits for the same statements.
"""

from __future__ import annotations

from typing import Any

import pytest

from catalog.lookup import listing
from catalog.lookup.filters import EntryFilters
from tests.conftest import file_of
from tests.growth.test_walks import steps
from tests.lookup.sizes import RARE, Sized
from tests.lookup.test_steps import LISTED, MANY, SMALL, Build, digest
from tests.writers import MANIFEST_TYPE

SPARE = 200
"""How many more steps a question may take in the larger catalog: another depth of a B-tree, a page of a dictionary."""
LOOKED_AT = 20_000
"""How many more steps it may take to look at what each of several filters has, which ends at a thousand rows."""
FACTOR = 1.2

NARROW: dict[str, tuple[dict[str, Any], int]] = {
    "a label": ({"labels": ("l=1",)}, 2),
    "a pattern of a label": ({"labels": ("l*=1",)}, 2),
    "an annotation": ({"annotations": ("org.example.number=1",)}, 1),
    "a pattern of a value": ({"annotations": ("org.example.number=0[x]",)}, 0),
    "an annotation that nothing has": ({"annotations": ("no.such",)}, 0),
    "the raw name": ({"annotations": ("org.opencontainers.image.ref.name=1.0",)}, 1),
    "an artifact type": ({"artifact_type": RARE}, 0),
    "a platform": ({"platform": "linux/s390x"}, 2),
    "what is new": ({"since": "2999-01-01T00:00:00Z"}, 0),
    "a tag and a label": ({"tag": "1.?", "labels": ("l=1",)}, 2),
    "a platform and a type": ({"platform": "linux/s390x", "media_type": "*"}, 2),
    "a rare label of many": ({"annotations": ("k=v",), "labels": ("l=1",)}, 2),
    "a label of a common platform": ({"labels": ("l=1",), "platform": "linux/s390x"}, 2),
    "a digest": ({"digest": digest("0-3"), "media_type": MANIFEST_TYPE}, 2),
    "a repository": ({"repository": MANY, "tag": "t0.1"}, 2),
}
LINEAR: dict[str, tuple[dict[str, Any], int]] = {
    "no name": ({"unnamed": True}, 12),
    "a media type": ({"media_type": "no/such"}, 9),
    "how many": ({}, 16),
    "how many of a type": ({"media_type": MANIFEST_TYPE}, 30),
    "how many have no name": ({"unnamed": True}, 20),
    "how many have an annotation": ({"annotations": ("org.opencontainers.image.created",)}, 40),
}
"""Filters for which every entry is looked at, or that select many, and how many steps each entry may take."""


def ask(sized: Sized, filters: dict[str, Any], *, count: bool = False) -> tuple[int, int]:
    """Return how many entries are found, and in how many steps."""
    found = 0

    def do() -> None:
        nonlocal found
        asking = sized.catalogue.asking()
        narrowing = EntryFilters(**filters).narrowing(asking)
        if count:
            told = listing.counted(asking, narrowing)
            assert told is not None
            found = told
        else:
            found = sum(1 for _ in listing.narrowed(listing.without_ref(asking, narrowing), narrowing))

    return steps([file_of(sized.catalogue.reader)], do), found


@pytest.mark.parametrize("what", NARROW)
def test_a_filter_costs_what_it_finds(sized: Build, what: str) -> None:
    filters, number = NARROW[what]
    (small, few), (large, many) = (ask(sized(size), filters) for size in (SMALL, LISTED))
    assert (few, many) == (number, number)
    assert large <= small * FACTOR + (SPARE if len(filters) == 1 and "k=v" not in str(filters) else LOOKED_AT)


@pytest.mark.parametrize("what", LINEAR)
def test_a_filter_looks_at_each_entry_once(sized: Build, what: str) -> None:
    filters, most = LINEAR[what]
    of = sized(LISTED)
    ((entries,),) = of.catalogue.sql("SELECT count(*) FROM entry")
    cost, found = ask(of, filters, count=True)
    assert cost <= entries * most
    narrowing = EntryFilters(**filters).narrowing(asking := of.catalogue.asking())
    assert found == sum(1 for _ in listing.narrowed(listing.without_ref(asking, narrowing), narrowing))
