"""Divide work into groups that are limited in number of items and in weight."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def grouped(items: Iterable[T], most: int, weight: Callable[[T], int], heaviest: int) -> Iterator[list[T]]:
    """Yield the items, in order, in groups of at most `most` items that weigh at most `heaviest`. A heavier item is in a group alone."""
    group: list[T] = []
    total = 0
    for item in items:
        heavy = weight(item)
        if group and (len(group) >= most or total + heavy > heaviest):
            yield group
            group, total = [], 0
        group.append(item)
        total += heavy
    if group:
        yield group
