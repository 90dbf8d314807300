"""Statements about many values: pieces of few enough parameters, and the conditions that take them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TypeVar

_T = TypeVar("_T")

_CLOSE = 4
"""Ids are close together if they are at least every fourth one of a range."""


def chunks(items: Sequence[_T], size: int = 500) -> Iterable[Sequence[_T]]:
    """Return `items` in pieces that are small enough for the parameters of one statement."""
    return (items[start : start + size] for start in range(0, len(items), size))


def marks(values: Collection[object]) -> str:
    """Return as many `?` as there are values, for the IN of a statement."""
    return ",".join("?" * len(values))


def of_stores(column: str, store_ids: Sequence[int]) -> tuple[str, tuple[int, ...]]:
    """Return a condition that `column` is one of these ids, of which there is at least one, and the values of its parameters.

    Stores that are read together were mostly registered together. Their ids are searched for as one range: after the id of a
    blob, that takes an index one search instead of one for each of 32 stores.
    """
    ids = tuple(store_ids)
    if len(ids) == 1:
        return f"{column} = ?", ids
    low, high = min(ids), max(ids)
    if high - low >= _CLOSE * len(ids):
        return f"{column} IN ({marks(ids)})", ids
    # The plus sign keeps SQLite from searching for each id.
    return f"{column} BETWEEN ? AND ? AND +{column} IN ({marks(ids)})", (low, high, *ids)
