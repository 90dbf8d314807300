"""What the tables hold at any quiet moment, whatever happened before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests import writers
from tests.conftest import Catalogue
from tests.oracle import IMAGE_NAME, REF_NAME

EMPTY = {
    "a name that nobody answers, or several do": (
        "SELECT store_id, repository_id, tag FROM name WHERE tag IS NOT NULL"
        " GROUP BY store_id, repository_id, tag HAVING count(CASE WHEN NOT shadowed THEN 1 END) <> 1"
    ),
    "a name without a tag that is shadowed": "SELECT id FROM name WHERE tag IS NULL AND shadowed",
    "a name that does not stand where its entry does": (
        "SELECT name.id FROM name JOIN entry ON entry.id = entry_id"
        " WHERE name.sort <> entry.sort OR name.store_id <> entry.store_id"
    ),
    "a name that is not its halves": (
        "SELECT name.id FROM name LEFT JOIN repository ON repository.id = repository_id"
        " WHERE name.name IS DISTINCT FROM repository.name || ':' || name.tag"
    ),
    "one that answers after one that is shadowed": (
        "SELECT one.id FROM name AS one JOIN name AS other ON one.store_id = other.store_id AND one.tag = other.tag"
        " AND one.repository_id IS NOT DISTINCT FROM other.repository_id WHERE NOT one.shadowed AND other.shadowed"
        " AND (one.source, one.sort) > (other.source, other.sort)"
    ),
    "two entries of a store with one sort key": (
        "SELECT store_id, sort FROM entry GROUP BY store_id, sort HAVING count(*) > 1"
    ),
    "a store that counts wrong": (
        "SELECT name FROM store WHERE entries <> (SELECT count(*) FROM entry WHERE store_id = store.id)"
        " OR elements < entries OR (state = 'ok' AND entries = 0) OR (state = 'empty' AND entries > 0)"
    ),
    "a problem of another store's entry": (
        "SELECT problem.id FROM problem JOIN entry ON entry.id = entry_id WHERE problem.store_id <> entry.store_id"
    ),
    "a span that ends before it begins": (
        "SELECT id FROM name_span WHERE since >= until UNION ALL SELECT id FROM answer_span WHERE born >= gone"
        " UNION ALL SELECT store_id FROM store_span WHERE born >= gone"
    ),
    "a store whose span does not say that it is there": (
        "SELECT store.id FROM store LEFT JOIN store_span ON store_id = store.id AND gone IS NULL"
        " WHERE (state <> 'missing') <> (store_id IS NOT NULL) OR store.name <> store_span.name"
    ),
    "a time before the store knew it": (
        "SELECT name.id FROM name JOIN store ON store.id = store_id WHERE since > changed_at"
        " UNION ALL SELECT name_span.id FROM name_span JOIN store ON store.id = store_id WHERE until > changed_at"
    ),
}


def broken(catalogue: Catalogue, said: Mapping[str, Sequence[writers.Descriptor]]) -> list[object]:
    """What does not hold; `said` is what each store said last."""
    found: list[object] = [*catalogue.reader.damage()]
    found += [(sentence, row) for sentence, statement in EMPTY.items() for row in catalogue.sql(statement)]
    for store, elements in said.items():
        found += _out_of_order(catalogue, store, elements)
    return found


def _out_of_order(catalogue: Catalogue, store: str, elements: Sequence[writers.Descriptor]) -> list[object]:
    """Things that entries share (a tag, a raw annotation) and in whose order these are not stored as they are listed."""
    listed = [(each["digest"], *_raw(each)) for each in elements]
    stored = catalogue.sql(
        "SELECT digest, ref_name, image_name FROM entry JOIN content ON content.id = content_id"
        " JOIN store ON store.id = store_id WHERE store.name = ? ORDER BY sort",
        store,
    )
    tags: dict[tuple[str, str | None, str | None], set[str]] = {}
    for digest, ref_name, image_name, tag in catalogue.sql(
        "SELECT digest, ref_name, image_name, tag FROM entry JOIN content ON content.id = content_id"
        " JOIN store ON store.id = entry.store_id JOIN name ON name.entry_id = entry.id"
        " WHERE store.name = ? AND tag IS NOT NULL",
        store,
    ):
        tags.setdefault((digest, ref_name, image_name), set()).add(tag)
    if sorted(listed, key=str) != sorted(stored, key=str):
        return [("other entries than listed", store, listed, stored)]
    found: list[object] = []
    things = {thing for row in listed for thing in [*row[1:], *tags.get(row, ())] if thing is not None}
    for thing in things:
        sharing = [[row for row in rows if thing in row[1:] or thing in tags.get(row, ())] for rows in (listed, stored)]
        if sharing[0] != sharing[1]:
            found.append(("another order than listed", store, thing, *sharing))
    return found


def _raw(element: writers.Descriptor) -> tuple[str | None, str | None]:
    annotations = element.get("annotations") or {}
    return annotations.get(REF_NAME), annotations.get(IMAGE_NAME)
