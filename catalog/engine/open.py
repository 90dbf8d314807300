"""Opens catalogs: a path means a file and SQLite, a URL means a server and PostgreSQL.

No other module distinguishes the two (tests/test_imports.py). Every answer loads this module, so an engine is imported only
when it is opened.
"""

from __future__ import annotations

import os

from catalog.errors import CatalogUnavailable, UsageError
from catalog.names.escape import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from catalog.engine.brief import BriefReader
    from catalog.engine.interface import Gate, Kept, Reader, Writer
    from catalog.engine.sqlite.commits import Commits


class _Lender:
    reader: Callable[[str], Reader] | None = None


lender = _Lender()
"""A process that answers questions for others sets `reader` to a function that returns the reader of the one catalog it keeps open."""


class Declined(BaseException):
    """A process that answers questions for others declines this one, so the asking process runs the program itself. Not an error."""


def is_url(where: str) -> bool:
    """Return whether the catalog is on a server."""
    return "://" in where


def open_reader(where: str) -> Reader:
    """Open the catalog at a path or URL for reading; raise CatalogUnavailable or a subclass."""
    if lender.reader is not None:
        return lender.reader(where)
    if is_url(where):
        _check_installed()
        from catalog.engine.postgres.reader import PostgresReader

        return PostgresReader(where)
    from catalog.engine.sqlite.reader import SqliteReader

    return SqliteReader(where)


def _check_installed() -> None:
    """Raise CatalogUnavailable if the driver for a catalog on a server is not installed."""
    from catalog.collector import CollectorPaused  # not for a file: so little is loaded that it makes no difference

    try:
        with CollectorPaused():
            import psycopg  # noqa: F401 - only whether it can be imported
    except ImportError as error:
        raise CatalogUnavailable(
            f"a catalog on a server needs psycopg ({error}): install it with pip install 'ocicat[postgres]'"
        ) from error


def open_briefly(where: str) -> BriefReader:
    """Open the catalog at a path or URL for a few searches with a short time limit. Raises CatalogUnavailable."""
    if is_url(where) or lender.reader is not None:
        from catalog.engine.brief import PatientReader

        return PatientReader(open_reader(where))
    from catalog.engine.sqlite.brief import SqliteBriefReader

    return SqliteBriefReader(where)


def open_commits(where: str) -> Commits | None:
    """Return an object that detects commits to the catalog at a path.

    Return None for a URL, because checking a server for commits takes as long as running a query.
    """
    if is_url(where):
        return None
    from catalog.engine.sqlite.commits import Commits

    return Commits(where)


def open_writer(where: str, *, timeout: float | None = None, create: bool = True, upgrade: bool = False) -> Writer:
    """Open the catalog at a path or URL for writing; wait for another writer for `timeout` seconds, or 30 if it is None.

    With `create`, a missing file is created. An older file is upgraded. A catalog on a server is only created or upgraded with
    `upgrade`, because other hosts use it too. Raises CatalogUnavailable or a subclass.
    """
    if lender.reader is not None:
        raise Declined
    if is_url(where):
        _check_installed()
        from catalog.engine.postgres.writer import PostgresWriter

        return PostgresWriter(where, timeout=timeout, upgrade=upgrade)
    from catalog.engine.sqlite.writer import SqliteWriter

    return SqliteWriter(where, timeout=timeout, create=create)


def keep_open(where: str) -> Kept:
    """Return the catalog at a path or URL, to be kept open between questions. The first question opens it.

    Raises CatalogUnavailable if the driver for a URL is not installed.
    """
    if is_url(where):
        _check_installed()
        from catalog.engine.postgres.kept import KeptPostgres

        return KeptPostgres(where)
    from catalog.engine.sqlite.kept import KeptSqlite

    return KeptSqlite(where)


def open_gate(where: str) -> Gate:
    """Return the gate that runs statements of users on the catalog at a path or URL."""
    if is_url(where):
        from catalog.engine.postgres import gate as shared

        return shared.run
    from catalog.engine.sqlite import gate

    return gate.run


def check_is_file(where: str, what: str) -> None:
    """Raise UsageError unless the catalog is a file, which `what` needs."""
    if is_url(where):
        raise UsageError(f"{what} needs a catalog in a file: give --db its path, not a URL")


def check_copied(source: str, target: str) -> None:
    """Raise UsageError unless `source` is a file and `target` a URL: catalogs can only be copied in that direction."""
    if is_url(source):
        raise UsageError(f"{shown(displayed(source))} is on a server: give the file to copy with --db")
    if not is_url(target):
        raise UsageError("--to takes the URL of a catalog on a server: postgresql+psycopg://USER@SERVER/DATABASE")


def displayed(where: str) -> str:
    """Return the path or URL of the catalog as it may be shown, without passwords."""
    if not is_url(where):
        return where
    from catalog.engine.postgres.connect import without_passwords

    return without_passwords(where)


def identity(where: str) -> tuple[int, int]:
    """Return the device and inode of the catalog's file, which differ if it was replaced; zeros for a URL. Raises OSError."""
    if is_url(where):
        return 0, 0
    found = os.stat(where)
    return found.st_dev, found.st_ino


def check_identity(where: str, before: tuple[int, int] | None) -> None:
    """Raise CatalogUnavailable unless the catalog's file is still `before`, which `identity` returned when it was opened.

    Anything written to a file that was deleted or replaced would be lost. If this cannot be determined now, nothing is raised, unless it
    could not be determined when the catalog was opened either (`before` is None).
    """
    found = None
    try:
        found = identity(where)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError:
        found = before
    if found is None or found != before:
        from catalog.engine.sqlite.failures import gone

        raise gone(where)


def beside(where: str) -> str:
    """Return the path beside which the catalog's daemon keeps its files: the catalog's own path, or one derived from its URL."""
    if not is_url(where):
        return where
    import hashlib

    from catalog.engine.postgres.connect import place

    state = os.environ.get("STATE_DIRECTORY", "").partition(":")[0] or os.environ.get("XDG_STATE_HOME", "")
    if not state.startswith("/"):
        state = os.path.join(os.path.expanduser("~"), ".local", "state")
    # Only the server and the database count: the catalog is the same for every login, and a hash would leak a password.
    return os.path.join(state, "ocicat", f"postgresql-{hashlib.sha256(place(where).encode()).hexdigest()[:16]}")
