"""Find out whether a store waits for the turn of a large store to end (catalog.ingest.turns). Does not read the catalog."""

from __future__ import annotations

from collections.abc import Mapping

from catalog.ingest.store_state import Store, differs
from catalog.layout.index import IndexProblem, stat_index
from catalog.watch.hints import is_below_any


def changed_smaller(
    known: Mapping[str, Store], roots: set[str], hinted: set[str], trees: set[str], path: str, size: int
) -> bool:
    """Return whether a hint leads to something new, or to a changed store with an index.json of less than `size` bytes.

    `known` are stores by path, and `roots` are paths. Hints for the store at `path` itself do not count.
    """
    if any(not is_below_any(tree, {path}) for tree in trees):
        return True
    for each in hinted - {path}:
        store = known.get(each)
        if store is None:
            if is_below_any(each, roots):
                return True
            continue
        try:
            file = stat_index(store.opened)
        except IndexProblem:
            return True
        if file.list_bytes < size and differs(store, file):
            return True
    return False
