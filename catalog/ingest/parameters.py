"""Build statements about many values: split the values to respect the limit on parameters, and write the conditions for them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TypeVar

_T = TypeVar("_T")

_CLOSE = 4
"""Ids are close together if they are more than a fourth of their range."""


def chunks(items: Sequence[_T], size: int = 500) -> Iterable[Sequence[_T]]:
    """Return `items` in pieces that are small enough for the parameters of one statement, in order."""
    return (items[start : start + size] for start in range(0, len(items), size))


def marks(values: Collection[object]) -> str:
    """Return one `?` per value, with commas between them, for the IN of a statement."""
    return ",".join("?" * len(values))


def of_stores(column: str, store_ids: Sequence[int]) -> tuple[str, tuple[int, ...]]:
    """Return a condition that `column` is one of these ids, and the values of its parameters. There must be at least one id.

    Stores that are read together were mostly registered together, so their ids are searched as one range. In an index that begins
    with the id of a blob, that takes one search instead of one for each of 32 stores.
    """
    ids = tuple(store_ids)
    if len(ids) == 1:
        return f"{column} = ?", ids
    low, high = min(ids), max(ids)
    if high - low >= _CLOSE * len(ids):
        return f"{column} IN ({marks(ids)})", ids
    # The plus sign keeps SQLite from searching for each id.
    return f"{column} BETWEEN ? AND ? AND +{column} IN ({marks(ids)})", (low, high, *ids)
