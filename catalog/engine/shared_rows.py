"""Rows that all hosts of a shared catalog insert, and that therefore have to be committed at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection


class CommitFirst(Exception):
    """A transaction needs rows that another host may insert too. If it inserted them, that host would wait for its end.

    `Writer.write` undoes the transaction, calls each of `inserts` in a transaction of its own, and makes the transaction again.
    """

    def __init__(self, inserts: Sequence[Callable[[Connection], None]]) -> None:
        super().__init__()
        self.inserts = inserts
