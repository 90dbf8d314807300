"""Where the catalog is (docs/scripts.md). On the way of every answer: imports nothing but `os`."""

from __future__ import annotations

import os

from catalog.errors import CatalogUnavailable

_SYSTEM = "/var/lib/ocicat/catalog.db"
_SCHEMES = ("postgresql+psycopg", "postgresql", "postgres")
_OPTIONS = frozenset({"host", "hostaddr", "port", "dbname", "user", "password", "passfile", "service", "sslmode"})
"""Words of libpq's other way to say where a database is: `host=… password=…`."""
_NO_URL = (
    "what names the catalog looks like a URL, and is none that is known (it is not repeated, since it may hold a password): "
    "give a URL that begins with postgresql+psycopg:// for a catalog on a server, or a path; one that looks so begins with ./"
)


def catalog_path(given: str | None) -> str:
    """The absolute path of the catalog: `given` (`--db`), else OCICAT_DB, else the first place that applies.

    A symbolic link is followed, so that the locks beside the catalog are the same ones by whatever name it is asked for.
    The places are `$STATE_DIRECTORY` (systemd sets it), `$XDG_DATA_HOME/ocicat`, `~/.local/share/ocicat` where a catalog is
    there, `/var/lib/ocicat` where one is there and readable, and else `~/.local/share/ocicat`, for a new one.
    A URL (`postgresql+psycopg://…`) is returned as it is. Raises CatalogUnavailable, without repeating it, for another URL, and
    for what looks like one.
    """
    path = _place(given)
    return os.path.realpath(path) if os.path.islink(path) else path


def _place(given: str | None) -> str:
    environ = os.environ
    given = given or environ.get("OCICAT_DB")
    if given:
        scheme, slashes, rest = given.partition("://")
        if slashes and scheme.lower() in _SCHEMES:
            return f"postgresql+psycopg://{rest}"
        if slashes and _is_scheme(scheme):
            raise CatalogUnavailable(
                f"no catalog on {scheme}: give --db a path, or a URL that begins with postgresql+psycopg://"
            )
        if slashes or _looks_like_url(given):
            raise CatalogUnavailable(_NO_URL)
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


def _looks_like_url(text: str) -> bool:
    """Whether a text that is no URL may have been meant as one, or as another description of a server, with its password.

    A path in a directory that exists is a path, unless it begins with what can be a scheme.
    """
    if text.startswith(("./", "../")):
        return False
    scheme, colon, rest = text.strip().partition(":")
    if colon and _is_scheme(scheme) and (rest[:1] in ("/", "\\") or scheme.lower() in _SCHEMES):
        return True
    if any(
        word.partition("=")[1] and word.partition("=")[0].lower() in _OPTIONS
        for word in text.replace(" =", "=").split()
    ):
        return True
    login, at, _ = text.partition("@")
    if at and text.startswith("//"):
        return True
    is_login = bool(at) and (":" in login or "//" in login)
    is_server = text.strip().lower().startswith(_SCHEMES) and "//" in text
    return (is_login or is_server or "password=" in text.lower()) and not os.path.isdir(os.path.dirname(text))


def _is_scheme(text: str) -> bool:
    """Whether a text can be what a URL begins with."""
    return text[:1].isalpha() and text.replace("+", "").replace("-", "").replace(".", "").isalnum()


def sqlite_uri(path: str, mode: str) -> str:
    """`path` as a URI for sqlite3 with `mode` (`ro`, `rw`, `rwc`). Quoted by hand: urllib costs a third of an answer."""
    return f"file://{path.replace('%', '%25').replace('?', '%3f').replace('#', '%23')}?mode={mode}"
