"""Find the entries above many manifests at once.

An index may list any number of manifests, and any number of entries may point to it, so finding the entries for each
manifest separately would cost the product of the two numbers. Here each index is visited once on the way up and once on the
way down.
"""

from __future__ import annotations

from catalog.lookup.match import COLUMNS, CONTENT_ID, ENTRY_ID, STORE_ID, Match

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from catalog.engine.interface import Reader

    Row = tuple[Any, ...]
    Node = tuple[int, int]
    """The id of a store, and the id of a content."""

_PRIORITY = COLUMNS.index("priority")
_STORE = COLUMNS.index("store")
_SORT = COLUMNS.index("sort")


def _order(row: Row) -> tuple[int, str, int]:
    found: tuple[int, str, int] = (row[_PRIORITY], row[_STORE], row[_SORT])
    return found


class Above:
    """Finds, in every store, the indexes above the manifests `targets` (ids of contents), and the entries that point to these indexes."""

    def __init__(self, reader: Reader, targets: Iterable[int]) -> None:
        self._reader = reader
        self._targets = frozenset(targets)
        self._below: dict[Node, list[int]] = {}
        self._parents: dict[int, dict[int, list[int]]] = {}
        self._go_up()
        self.entries: dict[int, Row] = {}
        """The rows of the entries above any target, by the id of the entry."""
        for content_id in sorted({content_id for _, content_id in self._below}):
            for row in self._reader.rows("BY_CONTENT", {"content_id": content_id}):
                if (row[STORE_ID], content_id) in self._below:
                    self.entries[row[ENTRY_ID]] = row

    def first(self, passes: Callable[[Match], bool]) -> dict[int, list[Row]]:
        """Return, for each target, the first entry of each store that is above it and passes, in the order in which stores answer."""
        found: dict[int, list[Row]] = {}
        done: tuple[set[Node], set[Node]] = set(), set()
        for row in sorted(self.entries.values(), key=_order):
            if passes(Match(self._reader, row)):
                for target in self.newly_below(row, done):
                    found.setdefault(target, []).append(row)
        return found

    def in_turn(self, targets: Iterable[int]) -> dict[int, list[Row]]:
        """Return, for each target, the entries above it that are not above an earlier target, in the order in which they answer."""
        at: dict[Node, list[Row]] = {}
        for row in self.entries.values():
            at.setdefault((row[STORE_ID], row[CONTENT_ID]), []).append(row)
        found: dict[int, list[Row]] = {}
        seen: set[Node] = set()
        for target in targets:
            todo = [(store_id, each) for store_id, parents in self._above(target).items() for each in parents]
            rows: list[Row] = []
            while todo:
                node = todo.pop()
                if node not in seen:
                    seen.add(node)
                    rows += at.get(node, ())
                    todo += [(node[0], each) for each in self._above(node[1]).get(node[0], ())]
            found[target] = sorted(rows, key=_order)
        return found

    def newly_below(self, row: Row, done: tuple[set[Node], set[Node]]) -> Iterator[int]:
        """Yield the targets below an entry that were not yielded before.

        `done` holds two sets, the nodes already yielded and the nodes already entered, and is updated.
        """
        yielded, entered = done
        store_id = row[STORE_ID]
        todo = [row[CONTENT_ID]]
        while todo:
            node = store_id, todo.pop()
            if node in entered:
                continue
            entered.add(node)
            for child in self._below.get(node, ()):
                if child in self._targets and (store_id, child) not in yielded:
                    yielded.add((store_id, child))
                    yield child
                if (store_id, child) in self._below:
                    todo.append(child)

    def _go_up(self) -> None:
        seen: set[Node] = set()
        todo: list[Node] = []
        for target in self._targets:
            for store_id, parents in self._above(target).items():
                for parent in parents:
                    self._below.setdefault((store_id, parent), []).append(target)
                    todo.append((store_id, parent))
        while todo:
            node = todo.pop()
            if node in seen:
                continue
            seen.add(node)
            store_id, content_id = node
            if content_id in self._targets:
                continue  # the parents of a target were added at the start
            for parent in self._above(content_id).get(store_id, ()):
                self._below.setdefault((store_id, parent), []).append(content_id)
                todo.append((store_id, parent))

    def _above(self, content_id: int) -> dict[int, list[int]]:
        """Return the ids of the indexes that list a content, by the id of the store that has them."""
        if content_id not in self._parents:
            found: dict[int, list[int]] = {}
            for store_id, parent in self._reader.rows("PARENTS", {"content_id": content_id}):
                found.setdefault(store_id, []).append(parent)
            self._parents[content_id] = found
        return self._parents[content_id]
