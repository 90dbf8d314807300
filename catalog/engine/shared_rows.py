"""Rows that any host of a shared catalog may insert, and that must therefore be committed immediately."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection


class CommitFirst(Exception):
    """A transaction needs rows that another host may insert too. If it inserted them itself, that host would wait until it ends.

    `Writer.write` rolls the transaction back, calls each of `inserts` in a separate transaction, and runs the transaction again.
    """

    def __init__(self, inserts: Sequence[Callable[[Connection], None]]) -> None:
        super().__init__()
        self.inserts = inserts
