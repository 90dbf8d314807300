"""The interface of each engine: a Reader for questions, a Writer for changes, a Gate for statements of users.

Other packages use these types and no engine; `open.py` chooses the engine. Modules that every answer loads import this one only for
the type checker, because importing Protocols takes a fifth of the time of an answer. The checks that both engines share are in
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
    """A catalog opened for reading. Every method may raise CatalogUnavailable or a subclass.

    `dialect` is `sqlite` or `postgresql`; it selects between statements that are written for both. Until an iteration over rows ends,
    it needs the state of the catalog in which it began: the WAL of a file grows, and a server cannot reclaim space. `past` is None
    for a reader of the present. `known` caches results of the current question (catalog.lookup.below).
    """

    dialect: str
    path: str
    past: Past | None
    known: dict[object, Any]

    def close(self) -> None:
        """Close the connection."""

    def hold_state(self) -> None:
        """Answer all questions from one state of the catalog until `release_state`, even if others commit meanwhile."""

    def release_state(self) -> None:
        """End what `hold_state` began."""

    def check_current(self) -> None:
        """Raise CatalogUnavailable if the catalog was deleted, or replaced by another, since it was opened."""

    def at(self, milliseconds: int) -> Self:
        """Return a reader over the same connection that answers as of a time (milliseconds since 1970, UTC)."""

    def rows(self, name: Name, parameters: Mapping[str, object]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of the statement `name` of catalog/db/statements.py as they arrive."""

    def row(self, name: Name, parameters: Mapping[str, object]) -> tuple[Any, ...] | None:
        """Return the first row of the statement `name`, or None."""

    def select(self, statement: str, parameters: Mapping[str, object]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a statement given as text, with `:name` for parameters."""

    def host_of(self, store_id: int) -> str | None:
        """Return the name of the host that a store belongs to, or None if it is this host."""

    def copies(self) -> frozenset[int]:
        """Return the ids of stores that are copies: another host sees the same layout, and its store answers for it."""

    def listen(self) -> None:
        """Start watching for commits of other processes."""

    def wait_for_change(self, seconds: float) -> None:
        """Wait, for at most `seconds`, until somebody commits after `listen` or the last call. Raises like `check_current`."""

    def limit(self, seconds: float) -> None:
        """Make the server, if there is one, end each statement of this connection after `seconds`, even if this process hangs or dies."""

    def cancel(self) -> None:
        """End the statement that is running on this connection, if any. Raises nothing. May be called from another thread."""

    def size_bytes(self) -> int:
        """Return the size of the catalog on disk, in bytes."""

    def views(self) -> list[str]:
        """Return the statements that create the public views, with their documentation, sorted by name."""

    def damage(self) -> list[str]:
        """Check the whole database and return one line per problem."""


class Kept(Protocol):
    """A catalog that stays open between questions, and answers each as if it had just been opened.

    `path` is its path or URL. `file` is the path of the file whose permissions determine who may read it; None if a server does that.
    `variables` is the prefix of the environment variables that affect which catalog it is, or an empty string.
    """

    path: str
    file: str | None
    variables: str

    def lend(self) -> Reader:
        """Return the reader for one question, whose `close` closes nothing. Raises CatalogUnavailable, as opening would."""

    def rows(self, statement: str, parameters: tuple[str, ...]) -> list[tuple[Any, ...]]:
        """Return the rows of a statement that itself checks the version of the catalog (catalog.cli.lean); an empty list for a server.

        Opens the catalog as `lend` does. Raises CatalogUnavailable.
        """

    def identity(self) -> tuple[int, int]:
        """Return the device and inode of the open file; zeros if no file is open, and for a URL."""

    def settle(self) -> None:
        """End everything that the question has begun, so that the next question does not see an old state."""

    def look(self) -> None:
        """Close the catalog if its file was deleted or replaced, so that its disk space is freed."""

    def drop(self) -> None:
        """Close the catalog; `lend` opens it again."""


class Writer(Protocol):
    """A catalog opened for writing. A context manager; it must be closed. Raises CatalogUnavailable and its subclasses."""

    path: str

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def transaction(self, *, alone: bool = False, unchecked: bool = False) -> AbstractContextManager[Connection]:
        """Return a transaction under the writer's lock: committed at the end of the block, rolled back if the block raises.

        `alone` also keeps out the writers of other hosts. `unchecked` skips the checks and cascading deletes of foreign keys, for work
        that itself makes sure that each row refers to an existing row.
        """

    def write(self, work: Callable[[Connection], Written], *, alone: bool = False, unchecked: bool = False) -> Written:
        """Call `work` with a `transaction` and return its result.

        After a conflict with a writer of another host, `work` is called again, so it must not keep any state of a failed call.
        """

    @property
    def is_bulk(self) -> bool:
        """Whether `begin_bulk` has dropped indexes that are still missing. This does not change within a transaction."""

    def begin_bulk(self) -> None:
        """Drop the indexes that only questions use until `end_bulk`, if the catalog is nearly empty; do nothing on a server."""

    def end_bulk(self) -> None:
        """Create the indexes that are missing, including those that another process dropped."""

    def snapshot(self) -> AbstractContextManager[Connection]:
        """Return a read-only transaction. It needs no lock, and sees one state of the catalog even if others write meanwhile."""

    def data_version(self) -> int:
        """Return a number that changes with every commit."""

    def checkpoint(self) -> None:
        """Copy the WAL into the catalog's file, as far as readers allow; do nothing on a server."""

    def vacuum(self) -> None:
        """Release the space of deleted rows."""

    def close(self) -> None:
        """Close every connection."""


class Gate(Protocol):
    """Runs one statement of a user. It is called in a separate process, which can be killed."""

    def __call__(self, asked: Question, sink: Sink) -> None:
        """Send the columns and rows to `sink`. Raises Stopped, RefusedSQL, MemoryError, and CatalogUnavailable or a subclass."""
