"""The shortest way to the commonest answers: `resolve NAME` and `query NAME` of a catalog in a file, with `--db` or without.

Starting Python is most of the cost of an answer, and importing modules most of the rest. So this module imports none of ours,
uses `_sqlite3` without the package around it, and asks one statement. It answers only what it is certain of. Everything else
(any other option or variable, no answer or several, a note, an error, a slow catalog) it leaves to `catalog.cli.start`, which does
not know that this was tried. Nothing has been printed by then.

A name needs no grammar here, because keys in the catalog are canonical names: `text` means NAME if completing `text`, as
normalize.go does, gives a key that is there. What is not a name but could be completed to one (a digest, the id of an image, a
scheme) is left to `start`. tests/cli/test_lean.py and tests/answerer/test_three_ways.py compare both ways.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from _thread import LockType

SCHEMA = "1.3"
"""The version of the catalogs that are read here, as `frozen` has it (tests/cli/test_lean.py)."""
_IGNORED = ("OCICAT_DB", "OCICAT_PAGER", "OCICAT_HOST", "OCICAT_SOCKET")
"""Variables that do not change what is asked here; `start` reads the others."""
_MOST_ROWS = 64
_MOST_STEPS = 100_000  # of SQLite's machine: a thousand times what an answer takes
_MOST_BYTES = 4096  # a pipe takes so many at once or none (PIPE_BUF)
_SECONDS = {"resolve": 60.0, "query": 600.0}
"""As ASK_SECONDS and LIST_SECONDS in catalog.cli.limits."""

_STATE = "SELECT (SELECT value FROM meta WHERE \"key\"='schema'),store.state,"
_FROM = (
    " FROM name JOIN entry ON entry.id=name.entry_id JOIN store ON store.id=entry.store_id"
    " JOIN content ON content.id=entry.content_id"
)
RESOLVE = (
    f"{_STATE}content.digest{_FROM} WHERE name.name=? AND name.shadowed=0 AND store.state!='missing' LIMIT {_MOST_ROWS}"
)
QUERY = (
    f"{_STATE}entry.id,store.name,name.name,name.tag,entry.ref_name,content.digest,nullif(media_type.name,''),entry.size{_FROM}"
    " JOIN media_type ON media_type.id=entry.media_type_id WHERE name.name=? AND store.state!='missing'"
    f" ORDER BY store.priority,store.name,name.source,name.sort,name.id LIMIT {_MOST_ROWS}"
)


def answer() -> None:
    """Print the answer for the command line of this process and end it with status 0; or return, having printed nothing."""
    try:
        text = None if sys.stdout is None else answered(sys.argv[1:])
        if text is None:
            return
        written = os.write(1, text)
    except Exception:  # noqa: BLE001 - whatever it is, `start` meets it again and reports it
        return
    except KeyboardInterrupt:
        from catalog.cli import messages

        os._exit(messages.INTERRUPTED)
    if written < len(text):  # the disk is full
        from catalog.cli import start

        start.end_with(text[written:])
    os._exit(0)


def answered(words: list[str]) -> bytes | None:
    """Return what to print for a command line; None if `start` has to answer. Raises Exception if the catalog cannot be asked like this."""
    question = _question(words)
    if question is None:
        return None
    command, name, path = question
    if command == "query" and os.isatty(1):
        return None  # as a table
    return _ask(path, command, name)


def _question(words: list[str]) -> tuple[str, str, str] | None:
    """Return the command, the canonical name and the path of the catalog; None if this is not a question for this module."""
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
    for variable in os.environ:
        if variable[:7] == "OCICAT_" and variable not in _IGNORED:
            return None
    name, path = canonical(text), _catalog(given)
    return (command, name, path) if name is not None and path is not None else None


def canonical(text: str) -> str | None:
    """Return the key that a name means (docs/resolution.md). None for what may be anything else than a name.

    For what is no reference the result is no key either, because a key is a reference that completing leaves as it is.
    """
    first, slash, rest = text.partition("/")
    path, colon, tag = (rest if slash else text).partition(":")
    if "@" in text or not path or (colon and not tag):
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


def _catalog(given: str | None) -> str | None:
    """Return the path of the catalog as catalog.engine.location does; None if that takes more than a look."""
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


def _ask(path: str, command: str, name: str) -> bytes | None:
    """Return what to print; None if `start` has to answer. Raises Exception if the catalog cannot be used like this."""
    found = os.lstat(path)
    if found.st_mode & 0o170000 != 0o100000 or not _are_plain(path, found) or "%" in path or "?" in path or "#" in path:
        return None
    import _sqlite3
    import _thread

    over = _thread.allocate_lock()
    over.acquire()
    _thread.start_new_thread(_end_late, (over, _SECONDS[command]))
    try:
        connection: sqlite3.Connection = _sqlite3.connect(f"file://{path}?mode=ro", 0.0, 0, None, uri=True)
        connection.set_progress_handler(lambda: 1, _MOST_STEPS)
        rows = connection.execute(RESOLVE if command == "resolve" else QUERY, (name,)).fetchall()
        connection.close()
    finally:
        over.release()
    if not 0 < len(rows) < _MOST_ROWS or rows[0][0] != SCHEMA:
        return None
    lines: dict[object, str] = {}
    for row in rows:
        if row[1] not in ("ok", "empty"):
            return None  # with a note
        if row[2] not in lines:
            lines[row[2]] = "\t".join(["" if cell is None else str(cell) for cell in row[3:]] if row[3:] else row[2:])
    if command == "resolve" and len(lines) > 1:
        return None
    for line in lines.values():
        if not line.replace("\t", "").isprintable() or "\\" in line:
            return None
    text = "\n".join([*lines.values(), ""]).encode()
    return text if len(text) <= _MOST_BYTES else None


def _are_plain(path: str, catalog: os.stat_result) -> bool:
    """Return whether the files beside the catalog are its own, and SQLite can open it as one that may change.

    That is less than catalog.engine.neighbours and `reading_uri` allow.
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
