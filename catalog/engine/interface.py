"""What each engine offers: a Reader for questions, a Writer for changes, a Gate for statements of users.

Other packages use these types and no engine; `open.py` chooses the engine. Modules that every answer loads import this one only for
the type checker, because Protocols cost a fifth of an answer. The checks that both engines share are in `version.py`.
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

    `dialect` is `sqlite` or `postgresql`; it selects text that is written for each. An unfinished iteration over rows holds a state of
    the catalog: a file's WAL grows meanwhile, and a server reclaims no space. `past` is None for a reader of the present.
    `known` caches what the current question has found out (catalog.lookup.below).
    """

    dialect: str
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
        """Return a reader over the same connection that answers as of a time (milliseconds since 1970, UTC)."""

    def rows(self, name: Name, parameters: Mapping[str, object]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of the statement `name` of catalog/db/statements.py as they arrive."""

    def row(self, name: Name, parameters: Mapping[str, object]) -> tuple[Any, ...] | None:
        """Return the first row of the statement `name`, or None."""

    def select(self, statement: str, parameters: Mapping[str, object]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a statement given as text, with `:name` for parameters."""

    def host_of(self, store_id: int) -> str | None:
        """Return the name of the host that a store belongs to; None if it is this host."""

    def copies(self) -> frozenset[int]:
        """Return the ids of stores that are copies: another host sees the same layout, and is the one to ask about it."""

    def listen(self) -> None:
        """Start noticing commits of other processes."""

    def wait_for_change(self, seconds: float) -> None:
        """Wait, for at most `seconds`, until somebody commits after `listen` or the last call. Raises like `check_current`."""

    def limit(self, seconds: float) -> None:
        """Make a server end each statement of this connection after `seconds`, even if this process hangs or dies."""

    def cancel(self) -> None:
        """End the statement that runs on this connection, if one does. This may be called from another thread; it raises nothing."""

    def size_bytes(self) -> int:
        """Return the size of the catalog on disk, in bytes."""

    def views(self) -> list[str]:
        """Return the statements that create the public views, with their documentation, sorted by name."""

    def damage(self) -> list[str]:
        """Check the whole database and return a line for each problem."""


class Kept(Protocol):
    """A catalog that stays open between questions, and answers each as freshly as if it had been opened for it.

    `path` is its path or URL. `file` is the path of the file whose permissions say who may read it; None if a server knows that.
    `variables` is how the names of environment variables begin that say where it is, or an empty string.
    """

    path: str
    file: str | None
    variables: str

    def lend(self) -> Reader:
        """Return the reader for one question, whose `close` closes nothing. Raises CatalogUnavailable, as opening would."""

    def rows(self, statement: str, parameters: tuple[str, ...]) -> list[tuple[Any, ...]]:
        """Return the rows of a statement that compares the version of the catalog itself (catalog.cli.lean); none for a server.

        It opens the catalog as `lend` does. Raises CatalogUnavailable.
        """

    def identity(self) -> tuple[int, int]:
        """Return the device and inode of the file that is open; zeros if none is, and for a URL."""

    def settle(self) -> None:
        """End everything that the question has begun, so that the next one does not see an old state."""

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

        `alone` keeps out the writers of other hosts too. `unchecked` skips the checks of foreign keys, and what they delete, for work
        that has made sure itself that each row refers to one that is there.
        """

    def write(self, work: Callable[[Connection], Written], *, alone: bool = False, unchecked: bool = False) -> Written:
        """Call `work` with a `transaction` and return its result.

        After a conflict with a writer of another host, `work` is called again, so it must not keep anything of a failed call.
        """

    @property
    def is_bulk(self) -> bool:
        """Whether indexes are missing because of `begin_bulk`. Within a transaction this does not change."""

    def begin_bulk(self) -> None:
        """Do without the indexes that only questions use, if the catalog is nearly empty, until `end_bulk`; do nothing on a server."""

    def end_bulk(self) -> None:
        """Make the indexes that are missing, whoever dropped them."""

    def snapshot(self) -> AbstractContextManager[Connection]:
        """Return a read-only transaction. It needs no lock, and sees one state of the catalog whoever writes meanwhile."""

    def data_version(self) -> int:
        """Return a number that changes with every commit."""

    def checkpoint(self) -> None:
        """Copy the WAL into the catalog's file, as far as readers allow; do nothing on a server."""

    def vacuum(self) -> None:
        """Release the space of deleted rows."""

    def close(self) -> None:
        """Close every connection."""


class Gate(Protocol):
    """Runs one statement of a user. It is called in a process of its own, which can be killed."""

    def __call__(self, asked: Question, sink: Sink) -> None:
        """Send the columns and rows to `sink`. Raises Stopped, RefusedSQL, MemoryError, and CatalogUnavailable or a subclass."""
