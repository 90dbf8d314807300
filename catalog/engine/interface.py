"""What each engine offers: a Reader for questions, a Writer for changes, a Gate for statements of users.

Everything above this room knows these types and no engine; `open.py` chooses. What is on the way of every answer imports this
module for the type checker alone, since Protocols cost a fifth of an answer; the checks that both engines share are in
`version.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from catalog.engine.moments import Past
    from catalog.engine.names import Name
    from catalog.engine.question import Question
    from catalog.engine.sink import Sink

Written = TypeVar("Written")


class Reader(Protocol):
    """A catalog opened for reading. Every method raises CatalogUnavailable and its kinds.

    `dialect` is `sqlite` or `postgresql`, for text that is written for either. `holds_state` is whether rows that are not read to
    their end hold a state of the catalog, so that its WAL grows meanwhile. `past` is None for a reader of today. `known`
    is what the question at hand has found out so far (catalog.lookup.below).
    """

    dialect: str
    holds_state: bool
    path: str
    past: Past | None
    known: dict[object, Any]

    def close(self) -> None:
        """Close the connection."""

    def hold_state(self) -> None:
        """Answer all questions from one state of the catalog, whatever is committed meanwhile, until `release_state`."""

    def release_state(self) -> None:
        """End what `hold_state` began."""

    def check_current(self) -> None:
        """Raise CatalogUnavailable if the catalog was deleted, or replaced by another, since it was opened."""

    def at(self, milliseconds: int) -> Self:
        """Return a reader over the same connection that asks what was at a time (milliseconds since 1970, UTC)."""

    def rows(self, name: Name, parameters: Mapping[str, object]) -> Iterator[tuple[Any, ...]]:
        """Return the rows of the statement `name` of catalog/db/statements.py, as they come."""

    def row(self, name: Name, parameters: Mapping[str, object]) -> tuple[Any, ...] | None:
        """Return the first row of the statement `name`, or None."""

    def select(self, statement: str, parameters: Mapping[str, object]) -> Iterator[tuple[Any, ...]]:
        """Return the rows of a statement that is written out, with `:name` for parameters."""

    def host_of(self, store_id: int) -> str | None:
        """Return the host that a store belongs to, None if that is this one."""

    def copies(self) -> frozenset[int]:
        """Return the stores whose layouts another host sees too, if that host is the one to ask about them now."""

    def listen(self) -> None:
        """Begin to notice what others commit."""

    def wait_for_change(self, seconds: float) -> None:
        """Wait, for `seconds` at most, until somebody has committed since `listen` or the last call; raises as `check_current`."""

    def limit(self, seconds: float) -> None:
        """Have a server end each statement of this connection after so many seconds, whatever becomes of this process."""

    def cancel(self) -> None:
        """End what a server does for this connection; another thread calls it, and the process ends then."""

    def size_bytes(self) -> int:
        """Return what the catalog takes on its disk."""

    def views(self) -> list[str]:
        """Return the statements that made the public views, with their documentation, by name."""

    def damage(self) -> list[str]:
        """Read the whole database and return what is wrong with it, a line for each problem."""


class Writer(Protocol):
    """A catalog opened for writing. A context manager; close it in any case. Raises CatalogUnavailable and its kinds."""

    path: str

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def transaction(self, *, alone: bool = False, unchecked: bool = False) -> AbstractContextManager[Connection]:
        """One transaction under the writer's lock: committed at the end of the block, undone if it raises.

        `alone` keeps out the writers of other hosts too. `unchecked` is for deletes that have made sure themselves that no
        row refers to what goes.
        """

    def write(self, work: Callable[[Connection], Written], *, alone: bool = False, unchecked: bool = False) -> Written:
        """Return what `work` returns, which is given a `transaction`.

        If another host's writer was in the way, `work` is run again from its beginning: let it keep nothing of a failed run.
        """

    def snapshot(self) -> AbstractContextManager[Connection]:
        """A read-only transaction that needs no lock: one state of the catalog, whoever writes meanwhile."""

    def data_version(self) -> int:
        """Return a number that changes when somebody else has committed."""

    def checkpoint(self) -> None:
        """Copy what was committed into the catalog's file, as far as readers let it; nothing to do on a server."""

    def vacuum(self) -> None:
        """Give back the room of what was deleted."""

    def close(self) -> None:
        """Close every connection."""


class Gate(Protocol):
    """Runs one statement of a user, in a process of its own that can be killed."""

    def __call__(self, asked: Question, sink: Sink) -> None:
        """Send the columns and rows to `sink`; raises Stopped, RefusedSQL, MemoryError, and CatalogUnavailable with its kinds."""
