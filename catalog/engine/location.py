"""Where the catalog is (docs/scripts.md). Every answer loads this module, so it imports only `os`."""

from __future__ import annotations

import os

from catalog.errors import CatalogUnavailable

_SYSTEM = "/var/lib/ocicat/catalog.db"
_SYSTEM_CONFIGURATION = "/etc/ocicat/ocicat.toml"
_SCHEMES = ("postgresql+psycopg", "postgresql", "postgres")
_LONGEST_URL = 4_096
"""In characters. Parsing a URL of a hundred thousand characters takes seconds."""
_OPTIONS = frozenset({"host", "hostaddr", "port", "dbname", "user", "password", "passfile", "service", "sslmode"})
"""Keywords of libpq's other syntax for connections: `host=… password=…`."""
_NO_URL = (
    "the location of the catalog looks like a URL, but not like one that is supported (it is not shown here, because it may "
    "contain a password): give a URL that begins with postgresql+psycopg://, or a path; begin an unusual path with ./"
)


def catalog_path(given: str | None) -> str:
    """Return the absolute path of the catalog: `given` (`--db`), else OCICAT_DB, else the first default that applies.

    The defaults are `$STATE_DIRECTORY` (set by systemd), `$XDG_DATA_HOME/ocicat`, `~/.local/share/ocicat` if there is a catalog,
    `/var/lib/ocicat` if there is a catalog, or else `~/.local/share/ocicat` for a new catalog. A symbolic link is followed, so that
    all names of a catalog lead to the same locks beside it. The URL of a catalog on PostgreSQL is returned with the scheme
    `postgresql+psycopg`. Raises CatalogUnavailable for any other URL and for anything that looks like one; the message does not
    repeat it. Also raises it if the default is `/var/lib/ocicat` and this user may not read that.
    """
    path = _place(given)
    if not os.path.islink(path):
        return path
    from catalog.names.paths import real_path

    return real_path(path)


def _place(given: str | None) -> str:
    environ = os.environ
    given = given or environ.get("OCICAT_DB")
    if given:
        scheme, slashes, rest = given.partition("://")
        if slashes and scheme.lower() in _SCHEMES:
            if len(rest) > _LONGEST_URL:
                raise CatalogUnavailable(f"the URL of the catalog has {len(given)} characters: give a shorter one")
            return f"postgresql+psycopg://{rest}"
        if slashes and _is_scheme(scheme):
            raise CatalogUnavailable(
                f"catalogs on {scheme} are not supported: give --db a path, or a URL that begins with postgresql+psycopg://"
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
    return _SYSTEM if not os.path.exists(home) and _has_system_catalog() else home


def _has_system_catalog() -> bool:
    """Return whether there is a catalog of the system. Raises CatalogUnavailable if this user may not read it.

    Creating a private catalog instead would not help the user, because nothing would keep it up to date.
    """
    try:
        os.stat(_SYSTEM)
        is_refused = not os.access(_SYSTEM, os.R_OK)
    except PermissionError:  # only its group may search its directory
        is_refused = True
    except OSError:
        return False
    if is_refused:
        from catalog.engine.access import system_refused

        raise system_refused(_SYSTEM)
    return True


def default_configuration() -> str | None:
    """Return the configuration file to read without `--config`: the user's own, or else the system's; None if neither can be read."""
    own = os.environ.get("XDG_CONFIG_HOME", "")
    own = own if own.startswith("/") else os.path.join(os.path.expanduser("~"), ".config")
    for path in (os.path.join(own, "ocicat", "ocicat.toml"), _SYSTEM_CONFIGURATION):
        if os.access(path, os.R_OK):
            return path
    return None


def _looks_like_url(text: str) -> bool:
    """Return whether a text that is not a URL may be meant as one, or as another description of a server, possibly with a password.

    A path in an existing directory is a path, unless it begins like a URL.
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
    """Return whether a text can be the scheme of a URL."""
    return text[:1].isalpha() and text.replace("+", "").replace("-", "").replace(".", "").isalnum()


def sqlite_uri(path: str, mode: str) -> str:
    """Return a URI for sqlite3 with `mode` (`ro`, `rw`, `rwc`).

    It is quoted by hand, because importing urllib takes a third of the time of an answer.
    """
    return f"file://{path.replace('%', '%25').replace('?', '%3f').replace('#', '%23')}?mode={mode}"


def reading_uri(path: str) -> str:
    """Return a URI with which a user who may only read the catalog's file can read it.

    SQLite needs a `-shm` beside a database in WAL mode, and creates a missing one. It cannot do so in a directory that this
    user may not write: a read-only mount, a copy, the catalog of another user. If there is no writer either (no `-wal`, or an
    empty one), the file itself is complete, and SQLite opens it as a file that does not change (`immutable`).
    """
    uri = sqlite_uri(path, "ro")
    return f"{uri}&immutable=1" if is_still(path) else uri


def is_still(path: str) -> bool:
    """Return whether the catalog at a path has no writer and this user cannot create the `-shm` that a writer would share."""
    try:
        if os.stat(f"{path}-wal").st_size:
            return False
    except OSError:
        pass
    return not os.path.exists(f"{path}-shm") and not os.access(os.path.dirname(path) or ".", os.W_OK)
