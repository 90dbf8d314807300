"""Where the catalog is (docs/scripts.md). On the way of every answer: imports nothing but `os`."""

from __future__ import annotations

import os

from catalog.errors import CatalogUnavailable

_SYSTEM = "/var/lib/ocicat/catalog.db"


def catalog_path(given: str | None) -> str:
    """The absolute path of the catalog: `given` (`--db`), else OCICAT_DB, else the first place that applies.

    A symbolic link is followed, so that the locks beside the catalog are the same ones by whatever name it is asked for.
    The places are `$STATE_DIRECTORY` (systemd sets it), `$XDG_DATA_HOME/ocicat`, `~/.local/share/ocicat` where a catalog is
    there, `/var/lib/ocicat` where one is there and readable, and else `~/.local/share/ocicat`, for a new one.
    A URL (`postgresql+psycopg://…`) is returned as it is. Raises CatalogUnavailable for one of a database that is not served.
    """
    path = _place(given)
    return os.path.realpath(path) if os.path.islink(path) else path


def is_url(where: str) -> bool:
    """Whether the catalog is on a server."""
    return "://" in where


def beside(where: str) -> str:
    """The path beside which this machine keeps what it knows of a catalog's daemon: its own, or one that stands for the URL."""
    if not is_url(where):
        return where
    import hashlib

    from catalog.db.postgres import place

    state = os.environ.get("STATE_DIRECTORY", "").partition(":")[0] or os.environ.get("XDG_STATE_HOME", "")
    if not state.startswith("/"):
        state = os.path.join(os.path.expanduser("~"), ".local", "state")
    # The server and the database alone: a login that changes is no other catalog, and a hash of a password is a trace of it.
    return os.path.join(state, "ocicat", f"postgresql-{hashlib.sha256(place(where).encode()).hexdigest()[:16]}")


def _place(given: str | None) -> str:
    environ = os.environ
    given = given or environ.get("OCICAT_DB")
    if given:
        if "://" in given:
            scheme, _, rest = given.partition("://")
            if scheme in ("postgresql+psycopg", "postgresql", "postgres"):
                return f"postgresql+psycopg://{rest}"
            raise CatalogUnavailable(
                f"no catalog on {scheme}: give --db a path, or a URL that begins with postgresql+psycopg://"
            )
        return os.path.abspath(given)
    state = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if state:
        return os.path.abspath(os.path.join(state, "catalog.db"))
    data = environ.get("XDG_DATA_HOME", "")
    if data.startswith("/"):
        return os.path.join(data, "ocicat", "catalog.db")
    home = os.path.join(os.path.expanduser("~"), ".local", "share", "ocicat", "catalog.db")
    if not os.path.exists(home) and os.access(_SYSTEM, os.R_OK):
        return _SYSTEM
    return home


def sqlite_uri(path: str, mode: str) -> str:
    """`path` as a URI for sqlite3 with `mode` (`ro`, `rw`, `rwc`). Quoted by hand: urllib costs a third of an answer."""
    return f"file://{path.replace('%', '%25').replace('?', '%3f').replace('#', '%23')}?mode={mode}"
