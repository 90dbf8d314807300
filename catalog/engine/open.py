"""Opens a catalog on the engine that its place asks for: a path is a file of SQLite's, a URL a database of PostgreSQL's.

This is the only module that asks which of the two it is (tests/test_imports.py). It is on the way of every answer, so each
engine is imported where it is opened.
"""

from __future__ import annotations

import os

from catalog.errors import UsageError
from catalog.names.escape import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.engine.brief import BriefReader
    from catalog.engine.interface import Gate, Reader, Writer


def is_url(where: str) -> bool:
    """Whether the catalog is on a server."""
    return "://" in where


def open_reader(where: str) -> Reader:
    """The catalog at a path or a URL, opened for reading; raises CatalogUnavailable and its kinds."""
    if is_url(where):
        from catalog.engine.postgres.reader import PostgresReader

        return PostgresReader(where)
    from catalog.engine.sqlite.reader import SqliteReader

    return SqliteReader(where)


def open_briefly(where: str) -> BriefReader:
    """The catalog at a path or a URL, opened for searches that must not take long; raises CatalogUnavailable."""
    if is_url(where):
        from catalog.engine.brief import PatientReader

        return PatientReader(open_reader(where))
    from catalog.engine.sqlite.brief import SqliteBriefReader

    return SqliteBriefReader(where)


def open_writer(where: str, *, timeout: float | None = None, create: bool = True, upgrade: bool = False) -> Writer:
    """The catalog at a path or a URL, opened for writing; `timeout` is how many seconds another writer is waited for, 30 if it is None.

    A file is made if there is none and `create` says so, and upgraded. A catalog on a server is made and brought to this
    version's schema with `upgrade` alone: other hosts use it too. Raises CatalogUnavailable and its kinds.
    """
    if is_url(where):
        from catalog.engine.postgres.writer import PostgresWriter

        return PostgresWriter(where, timeout=timeout, upgrade=upgrade)
    from catalog.engine.sqlite.writer import SqliteWriter

    return SqliteWriter(where, timeout=timeout, create=create)


def open_gate(where: str) -> Gate:
    """What runs statements of users on the catalog at a path or a URL."""
    if is_url(where):
        from catalog.engine.postgres import gate as shared

        return shared.run
    from catalog.engine.sqlite import gate

    return gate.run


def check_is_file(where: str, what: str) -> None:
    """Raise UsageError, which says that `what` needs one, unless the catalog is a file."""
    if is_url(where):
        raise UsageError(f"{what} needs a catalog in SQLite: give --db the path of its file, not a URL")


def check_copied(source: str, target: str) -> None:
    """Raise UsageError unless `source` is a file and `target` a URL: that is the way in which a catalog can be copied."""
    if is_url(source):
        raise UsageError(f"{shown(displayed(source))} is on a server: give the file that is to be copied with --db")
    if not is_url(target):
        raise UsageError("--to takes the URL of a catalog on a server: postgresql+psycopg://USER@SERVER/DATABASE")


def displayed(where: str) -> str:
    """The catalog's place as it may be shown: a path as it is, a URL without its passwords."""
    if not is_url(where):
        return where
    from catalog.engine.postgres.connect import without_passwords

    return without_passwords(where)


def identity(where: str) -> tuple[int, int]:
    """What tells the catalog's file from another at the same path; the same for each URL. Raises OSError."""
    if is_url(where):
        return 0, 0
    found = os.stat(where)
    return found.st_dev, found.st_ino


def check_identity(where: str, before: tuple[int, int] | None) -> None:
    """Raise CatalogUnavailable unless the catalog's file is still `before`, which `identity` returned when it was opened.

    What is written to a file that was deleted or replaced would be lost. If nobody can tell, nothing is raised.
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
    """The path beside which this machine keeps what it knows of a catalog's daemon: its own, or one that stands for the URL."""
    if not is_url(where):
        return where
    import hashlib

    from catalog.engine.postgres.connect import place

    state = os.environ.get("STATE_DIRECTORY", "").partition(":")[0] or os.environ.get("XDG_STATE_HOME", "")
    if not state.startswith("/"):
        state = os.path.join(os.path.expanduser("~"), ".local", "state")
    # The server and the database alone: a login that changes is no other catalog, and a hash of a password is a trace of it.
    return os.path.join(state, "ocicat", f"postgresql-{hashlib.sha256(place(where).encode()).hexdigest()[:16]}")
