"""The fastest way to the most common answers: `resolve` and `query` of a name, tag or digest in a catalog in a file.

Most of the cost of an answer is starting Python, and most of the rest is importing modules. So this module imports no other module
of ocicat, uses `_sqlite3` without the package around it and without `functools`, and runs one statement. It answers only if it is
certain of the answer. It leaves everything else (any other option or variable, no answer or several, a note, an error, a slow
catalog) to `catalog.cli.start`, which does not know that this was tried, because nothing has been printed by then. A resident
process (catalog.cli.answerer) runs the same statements on a connection that it keeps open.

A tag or digest is looked up only if its form can mean nothing else, and a digest is answered only if nothing but these entries can
match it. Of a name, only the tag is checked against the grammar, because repositories in the catalog are canonical: if completing
the name as normalize.go does gives a key in the catalog, the name means that key. A text that is not a name but could be completed
to one (a digest, the ID of an image, a scheme) is left to `start`. tests/cli/test_lean.py and tests/answerer/test_three_ways.py
compare both ways.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from _thread import LockType
    from collections.abc import Iterable
    from types import ModuleType
    from typing import Any

SCHEMA = "1.3"
"""The version of the catalogs that are read here, as in `frozen` (tests/cli/test_lean.py)."""
_IGNORED = ("OCICAT_DB", "OCICAT_PAGER", "OCICAT_HOST", "OCICAT_SOCKET")
"""The variables with which this module may answer. If any other OCICAT_ variable is set, `start` answers."""
_MOST_ROWS = 64
_MOST_STEPS = 100_000  # of SQLite's machine: a thousand times what an answer takes
_MOST_BYTES = 4096  # a pipe takes this many at once or none (PIPE_BUF)
_SECONDS = {"resolve": 60.0, "query": 600.0}
"""As ASK_SECONDS and LIST_SECONDS in catalog.cli.limits."""

_STATE = "SELECT (SELECT value FROM meta WHERE \"key\"='schema'),store.state,"
_ENTRY = " JOIN store ON store.id=entry.store_id JOIN content ON content.id=entry.content_id"
_NAME = f" FROM name JOIN entry ON entry.id=name.entry_id{_ENTRY}"
_TYPE = " JOIN media_type ON media_type.id=entry.media_type_id"
_SHOWN = (
    "entry.id,store.name AS store_name,name.name AS name_name,name.tag,entry.ref_name,content.digest,"
    "nullif(media_type.name,'') AS type,entry.size"
)
_KEY = "(SELECT id FROM name AS f WHERE f.entry_id=entry.id ORDER BY f.source,f.id LIMIT 1)"
_FIRST = f"{_TYPE} LEFT JOIN name ON name.id={_KEY}"
"""The key that is shown for an entry that was not found by a key."""
_IS_THERE = " AND store.state!='missing'"
_FEW = f" AND (SELECT count(*) FROM (SELECT 1 FROM %s LIMIT {_MOST_ROWS}))<{_MOST_ROWS}"  # noqa: S608 - constants
"""Leaves long lists to `start`, so that they are not sorted here first. Each part of a UNION has this condition, so that no part answers alone."""
RESOLVE = f"{_STATE}content.digest{_NAME} WHERE name.name=?1 AND name.shadowed=0{_IS_THERE} LIMIT {_MOST_ROWS}"
QUERY = (
    f"{_STATE}{_SHOWN}{_NAME}{_TYPE} WHERE name.name=?1{_IS_THERE}{_FEW % 'name AS c WHERE c.name=?1'}"
    f" ORDER BY store.priority,store.name,name.source,name.sort,name.id LIMIT {_MOST_ROWS}"
)
# A tag is the tag of a key, or the unchanged value of one of the two annotations.
_RAW = ("entry.ref_name=?1 AND entry.long_ref_name=0", "entry.image_name=?1 AND entry.long_image_name=0")
RESOLVE_TAG = (
    f"{_STATE}content.digest{_NAME} WHERE name.tag=?1{_IS_THERE}"
    + "".join(f" UNION ALL {_STATE}content.digest FROM entry{_ENTRY} WHERE {raw}{_IS_THERE}" for raw in _RAW)
    + f" LIMIT {_MOST_ROWS}"
)
_ORDERED = f"{_STATE}{_SHOWN},store.priority AS place,name.source,name.sort"
_NO_KEY = " AND NOT EXISTS (SELECT 1 FROM name AS o WHERE o.entry_id=entry.id AND o.tag=?1)"
_FEW_TAGS = _FEW % "name AS c WHERE c.tag=?1"
_BY_TAG = f"{_ORDERED}{_NAME}{_TYPE} WHERE name.tag=?1{_IS_THERE}{_FEW_TAGS}" + "".join(
    f" UNION ALL {_ORDERED} FROM entry{_ENTRY}{_FIRST} WHERE {raw}{_NO_KEY}{_IS_THERE}{_FEW_TAGS}" for raw in _RAW
)
QUERY_TAG = (
    f"SELECT * FROM ({_BY_TAG})"  # noqa: S608 - constants
    f" ORDER BY place,store_name,source NULLS FIRST,sort,name_name NULLS LAST LIMIT {_MOST_ROWS}"
)
_BY_CONTENT = " FROM content JOIN entry ON entry.content_id=content.id JOIN store ON store.id=entry.store_id"
_ALONE = (
    " WHERE content.digest>=?1 AND content.digest<?2"
    " AND (SELECT count(*) FROM (SELECT 1 FROM content AS c WHERE c.digest>=?1 AND c.digest<?2 LIMIT 2))=1"
    " AND NOT EXISTS (SELECT 1 FROM edge WHERE edge.child_id=content.id AND edge.role=0)"
    " AND NOT EXISTS (SELECT 1 FROM store_blob AS b WHERE b.content_id=content.id AND coalesce(b.reach,3)<3)"
    " AND NOT EXISTS (SELECT 1 FROM store AS s WHERE s.content_pending=1)"
)
"""The entries with a digest, or with one that has this prefix, if nothing else can match: no other content has the prefix, no index
contains it, no store has it unlisted, and no manifest is still unread."""
RESOLVE_DIGEST = f"{_STATE}content.digest{_BY_CONTENT}{_ALONE}{_IS_THERE} LIMIT {_MOST_ROWS}"
QUERY_DIGEST = (
    f"{_STATE}{_SHOWN}{_BY_CONTENT}{_FIRST}{_ALONE}{_IS_THERE}{_FEW % 'entry AS c WHERE c.content_id=content.id'}"
    f" ORDER BY store.priority,store.name,entry.sort LIMIT {_MOST_ROWS}"
)
_COLUMNS = 10
"""How many columns of a row are used; the others only determine the order."""
STATEMENTS = {
    ("resolve", "name"): RESOLVE,
    ("resolve", "tag"): RESOLVE_TAG,
    ("resolve", "digest"): RESOLVE_DIGEST,
    ("query", "name"): QUERY,
    ("query", "tag"): QUERY_TAG,
    ("query", "digest"): QUERY_DIGEST,
}
"""Keyed by command and kind of reference. `asked` returns the parameters."""
_PREFIX_DIGITS, _DIGITS = 6, 64  # of a sha256 digest
_MOST_TAG = 128  # characters
_IN_TAGS = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_.-")


def answer() -> None:
    """Print the answer for the command line of this process and end it with status 0; or return, having printed nothing."""
    try:
        text = None if sys.stdout is None else answered(sys.argv[1:])
        if text is None:
            return
        written = os.write(1, text)
    except Exception:  # noqa: BLE001 - whatever it is, `start` gets it again and reports it
        return
    except KeyboardInterrupt:
        from catalog.cli import messages

        os._exit(messages.INTERRUPTED)
    if written < len(text):  # the disk is full
        from catalog.cli import start

        start.end_with(text[written:])
    os._exit(0)


def answered(words: list[str]) -> bytes | None:
    """Return the output for a command line, or None if `start` has to answer. Raises Exception if the catalog cannot be read in this way."""
    found = question(words, os.environ)
    if found is None:
        return None
    command, statement, parameters, given = found
    path = _catalog(given)
    if path is None or (command == "query" and os.isatty(1)):
        return None  # a URL, or a table
    return _ask(path, command, statement, parameters)


def question(words: list[str], variables: "Iterable[str]") -> tuple[str, str, tuple[str, ...], str | None] | None:
    """Return the command, its statement, the parameters, and the value of --db (None if it is not given).

    Returns None if this is not a question for this module. `variables` are the names of the environment variables.
    """
    command = text = given = None
    rest = iter(words)
    for word in rest:
        if word == "--db":
            given = next(rest, "-")
        elif word[:5] == "--db=":
            given = word[5:]
        elif word[:1] in ("-", ""):
            return None
        elif command is None:
            command = word
        elif text is None:
            text = word
        else:
            return None
    if command not in ("resolve", "query") or text is None:
        return None
    for variable in variables:
        if variable[:7] == "OCICAT_" and variable not in _IGNORED:
            return None
    found = asked(text)
    return None if found is None else (command, STATEMENTS[command, found[0]], found[1], given)


def asked(text: str) -> tuple[str, tuple[str, ...]] | None:
    """Return the kind of a reference and its parameters (a key, a tag, or the bounds of digests), or None for other references."""
    if text[:1] == ":":
        return ("tag", (text[1:],)) if is_tag(text[1:]) else None
    bare = text[1:] if text[:1] == "@" else text
    digits = bare[7:] if bare[:7] == "sha256:" else text if len(text) == _DIGITS else ""
    if _PREFIX_DIGITS <= len(digits) <= _DIGITS and not digits.strip("0123456789abcdef"):
        low = f"sha256:{digits}"
        return "digest", (low, low[:-1] + chr(ord(low[-1]) + 1))
    name = canonical(text)
    return None if name is None else ("name", (name,))


def canonical(text: str) -> str | None:
    """Return the key that a name means (docs/resolution.md), or None if the text may be something other than a name.

    If `text` is not a reference, the result is not the key of any entry, because every key is a complete reference.
    """
    first, slash, rest = text.partition("/")
    path, colon, tag = (rest if slash else text).partition(":")
    if "@" in text or not path or (colon and not is_tag(tag)):
        return None
    if not slash:
        if len(text) == 64 or path in ("oci", "oci-archive", "docker-archive", "sha256", "sha384", "sha512"):
            return None
        path = f"docker.io/library/{path}"
    elif first == "docker.io":
        path = f"docker.io/{path}" if "/" in path else f"docker.io/library/{path}"
    elif first == "index.docker.io" or first[:3] == "oci":  # oci-layout:, ocidir: and oci: are schemes
        return None
    elif "." in first or ":" in first or first == "localhost" or first.lower() != first:
        path = f"{first}/{path}"
    else:
        path = f"docker.io/{first}/{path}"
    return f"{path}:{tag or 'latest'}"


def is_tag(text: str) -> bool:
    """Return whether this is a tag in the grammar of references. A naming policy can also make keys with other tags; `start` finds those."""
    return 0 < len(text) <= _MOST_TAG and text[0] not in ".-" and _IN_TAGS.issuperset(text)


def _catalog(given: str | None) -> str | None:
    """Return the path of the catalog as catalog.engine.location does, or None if these checks are not enough to find it."""
    environ = os.environ
    if given is None:
        given = environ.get("OCICAT_DB")
        if not given:
            data = environ.get("XDG_DATA_HOME", "")
            if environ.get("STATE_DIRECTORY"):
                return None
            if data[:1] == "/":
                return os.path.join(data, "ocicat", "catalog.db")
            home = environ.get("HOME", "")
            return os.path.join(home, ".local", "share", "ocicat", "catalog.db") if home[:1] == "/" else None
    if given[:1] in ("-", "") or ":" in given or "@" in given or "=" in given:
        return None  # an option, or it may be a URL
    return os.path.abspath(given)


def _ask(path: str, command: str, statement: str, parameters: tuple[str, ...]) -> bytes | None:
    """Return the output, or None if `start` has to answer. Raises Exception if the catalog cannot be read in this way."""
    found = os.lstat(path)
    if found.st_mode & 0o170000 != 0o100000 or not _are_plain(path, found) or "%" in path or "?" in path or "#" in path:
        return None
    import _thread

    driver = sqlite()
    over = _thread.allocate_lock()
    over.acquire()
    _thread.start_new_thread(_end_late, (over, _SECONDS[command]))
    try:
        connection: sqlite3.Connection = driver.connect(f"file://{path}?mode=ro", 0.0, 0, None, uri=True)
        connection.set_progress_handler(lambda: 1, _MOST_STEPS)
        rows = connection.execute(statement, parameters).fetchall()
        connection.close()
    finally:
        over.release()
    return printed(command, rows)


def printed(command: str, rows: "list[tuple[Any, ...]]") -> bytes | None:
    """Return the output of a command for the rows of its statement, or None if `start` has to answer."""
    if not 0 < len(rows) < _MOST_ROWS or rows[0][0] != SCHEMA:
        return None
    lines: dict[object, str] = {}
    for row in rows:
        if row[1] not in ("ok", "empty"):
            return None  # the answer needs a note
        if row[2] not in lines:
            cells = row[3:_COLUMNS] or row[2:]
            lines[row[2]] = "\t".join(["" if cell is None else str(cell) for cell in cells])
    if command == "resolve" and len(lines) > 1:
        return None
    for line in lines.values():
        if not line.replace("\t", "").isprintable() or "\\" in line:
            return None
    text = "\n".join([*lines.values(), ""]).encode()
    return text if len(text) <= _MOST_BYTES else None


def sqlite() -> "ModuleType":
    """Return `_sqlite3`, loaded without the module `functools`.

    `_sqlite3` uses only `lru_cache` of that module, for the statements of a connection. Loading `functools` and the modules that
    it imports takes a sixth of the time of an answer. So `_sqlite3` gets a stand-in, whose `lru_cache` makes the same wrapper.
    """
    if "functools" in sys.modules:
        import _sqlite3

        return _sqlite3
    from _functools import _lru_cache_wrapper  # type: ignore[import-not-found]

    stand_in = type(sys)("functools")
    stand_in.lru_cache = lambda most: lambda function: _lru_cache_wrapper(function, most, False, tuple)  # type: ignore[attr-defined]
    sys.modules["functools"] = stand_in
    try:
        import _sqlite3
    finally:
        del sys.modules["functools"]
    return _sqlite3


def _are_plain(path: str, catalog: os.stat_result) -> bool:
    """Return whether SQLite's files beside the catalog are regular files of its owner, and `-shm` exists or can be created.

    This is stricter than catalog.engine.neighbours and `reading_uri`.
    """
    is_shared = False
    for end in ("-journal", "-shm", "-wal"):
        try:
            found = os.lstat(path + end)
        except FileNotFoundError:
            continue
        if found.st_mode & 0o170000 != 0o100000 or found.st_uid != catalog.st_uid or found.st_nlink != 1:
            return False
        is_shared = is_shared or end == "-shm"
    return is_shared or os.access(os.path.dirname(path), os.W_OK)


def _end_late(over: "LockType", seconds: float) -> None:
    """End the process if SQLite, which cannot be interrupted while it waits for a disk, has not answered in time."""
    if not over.acquire(True, seconds):
        from catalog.cli import limits

        limits.end_late(seconds)
