"""Sets of ids that may have a million members, and the text in which they are passed to a statement."""

from __future__ import annotations

from array import array
from bisect import bisect_left

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Ids:
    """The ids of contents or entries, given in increasing order. This takes 8 bytes per id, where a set takes 60."""

    __slots__ = ("_array",)

    def __init__(self, ids: Iterable[int]) -> None:
        self._array = array("q", ids)

    def __contains__(self, id_: object) -> bool:
        if not isinstance(id_, int):
            return False
        at = bisect_left(self._array, id_)
        return at < len(self._array) and self._array[at] == id_

    def text(self) -> str:
        """Return the ids as the parameter `ids` of a statement."""
        return ids_text(self._array)


def ids_text(ids: Iterable[int]) -> str:
    """Return ids as the parameter `ids` of a statement: a JSON array."""
    return f"[{','.join(map(str, ids))}]"
