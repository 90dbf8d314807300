"""Answer one question of a launcher in this process, exactly as the program itself would, or decline it.

Like the program, this first tries the fastest way (catalog.cli.lean), which takes a third of the time, and then the whole command.

A question must not affect the next one, so the environment, the streams and the few settings of a process are set for each
question. If anything could make the answer differ from the program's own, the question is declined, and the program itself runs.
"""

from __future__ import annotations

import os
import sys
import time

from catalog.cli import colour, lean, messages, output, start
from catalog.cli.answerer.permission import Peer, may_read
from catalog.cli.answerer.protocol import LARGEST_REPLY, Request
from catalog.engine.location import catalog_path
from catalog.engine.open import Declined, lender
from catalog.errors import OcicatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.engine.interface import Kept, Reader

SERVED = ("resolve", "query", "history", "status", "find", "inspect", "__complete")
_BEFORE = ("-q", "--quiet", "-v", "--verbose")
"""Options without a value that may come before the command. The launcher removes --db."""
_REFUSED = ("-", "--", "-h", "--help", "--version", "--fresh", "--debug", "--color", "--config", "--db")
"""Words that are left to the program itself: with them, it reads stdin or other files, writes the catalog, or prints something else."""
_KNOWN = frozenset(("OCICAT_DB", "OCICAT_HOST", "OCICAT_PAGER", "OCICAT_QUIET", "OCICAT_SOCKET"))
_SHORTEST_TIMEOUT = 1.0
"""In seconds. A shorter `--timeout` may end during an answer, and only the program itself watches for that."""
_TIMES = ("--at", "--since")
"""Options whose value may be a local time."""
_PATHS = ("/", ".")
_SHORT = 2
_NO_LOCALE = ("", "C", "POSIX")
_FAILED = 4
_MOST_DIGITS = 9
"""The largest number of digits in COLUMNS, as in catalog.cli.widths."""


class Answers:
    """Answers questions about the catalog that `kept` keeps open."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._own = dict(os.environ)
        self._mounts = _mounts()
        self._root = _identity("/")
        self._environment: tuple[dict[str, str], int] | None = None

    def check(self, request: Request, peer: Peer) -> None:
        """Raise Declined unless this process may answer this client about this catalog with these environment variables."""
        kept = self._kept
        self._check_variables(request.variables)
        if request.catalog != kept.path and (kept.file or catalog_path(request.catalog) != kept.path):
            raise Declined
        if not may_read(peer, kept.file):
            raise Declined

    def shortly(self, request: Request) -> bytes | None:
        """Return the output on stdout, with exit status 0, if a single statement gives the answer; else None. Raises Declined.

        This needs neither the environment nor the directory of the request, because no such answer depends on them.
        """
        found = lean.question(request.words, request.variables)
        if found is None:
            return None
        command, statement, parameters, database = found
        if database is not None or (command == "query" and "1" in request.terminals):
            return None
        kept = self._kept
        try:
            rows = kept.rows(statement, parameters)
            if rows and kept.identity() != request.file:
                raise Declined  # the launcher sees another file there
        except (OcicatError, UnicodeEncodeError):  # words that are not UTF-8
            return None  # `answer` gets the same error
        finally:
            kept.settle()
        return lean.printed(command, rows)

    def answer(self, request: Request, peer: Peer) -> tuple[int, list[tuple[int, bytes]]]:
        """Return the exit status, and the output on descriptors 1 and 2 in order. Raises Declined."""
        kept = self._kept
        _check_words(request.words)
        self._enter(request, peer)
        printed = _Printed()
        streams = sys.stdin, sys.stdout, sys.stderr
        try:
            lender.reader = lambda where: self._lend(where, request)
            self._set(request)
            sys.stdin = None  # nothing that is answered here reads it
            sys.stdout = _Stream(1, printed, "1" in request.terminals)
            sys.stderr = _Stream(2, printed, "2" in request.terminals)
            status = start.run(list(request.words))
        finally:
            sys.stdin, sys.stdout, sys.stderr = streams
            lender.reader = None
            output.begin_again()
            kept.settle()
            os.chdir("/")  # so that no directory is kept busy
        # A failure may concern only this process (another user, other limits, a session that has ended), so the program itself tries again.
        if status >= _FAILED:
            raise Declined
        return status, printed.pieces

    def _lend(self, where: str, request: Request) -> Reader:
        if where != self._kept.path:
            raise Declined
        reader = self._kept.lend()
        if self._kept.identity() != request.file:
            raise Declined  # the launcher sees another file there
        return reader

    def _check_variables(self, variables: dict[str, str]) -> None:
        """Raise Declined if a variable may change the answer in a way that this process cannot follow."""
        for name, value in variables.items():
            if name.startswith("OCICAT_") and name not in _KNOWN and not name.endswith("_FORMAT"):
                raise Declined
            if name == "OCICAT_HOST" and value != self._own.get(name):
                raise Declined
        begin = self._kept.variables
        if begin:
            ours, theirs = ({k: v for k, v in each.items() if k.startswith(begin)} for each in (self._own, variables))
            if ours != theirs:
                raise Declined  # libpq would find another server, or log in as another user
        locale = next((variables[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if variables.get(name)), "")
        if locale not in _NO_LOCALE and locale.partition(".")[2].lower().replace("-", "") != "utf8":
            raise Declined  # Python would decode the words in another way

    def _enter(self, request: Request, peer: Peer) -> None:
        """Enter the working directory of the launcher if a path in its words may need it. Raises Declined if that is impossible.

        This process looks at a path with its own permissions and in its own mounts, so it does so only for the same user.
        """
        if not peer.is_us and "status" in request.words:
            raise Declined  # status reads the daemon's files, and whether it trusts them depends on the user who asks
        if not any(map(_may_be_path, request.words)):
            return
        if not peer.is_us or request.mounts != self._mounts or request.words[0] == "__complete":
            raise Declined
        try:
            os.chdir(request.cwd)
        except OSError as error:
            raise Declined from error
        if _identity(".") != request.here or _identity("/") != self._root:
            raise Declined

    def _set(self, request: Request) -> None:
        """Give this process the environment of the request, unless the last request had the same, and reset its settings."""
        if self._environment != (request.variables, request.width):
            self._environment = None
            environ = os.environ
            environ.clear()
            environ.update(request.variables)
            environ["OCICAT_DB"] = self._kept.path
            if request.width:
                given = environ.get("COLUMNS", "")
                if not (given.isascii() and given.isdigit() and len(given) <= _MOST_DIGITS and int(given)):
                    environ["COLUMNS"] = str(request.width)
            self._environment = request.variables, request.width
        volume = messages.volume
        volume.quiet = volume.verbose = volume.debug = False
        colour.chosen.how = "auto"
        if "1" in request.terminals or any(word.startswith(_TIMES) for word in request.words):
            _read_zone_again()


class _Printed:
    """The output of a command so far, and the stream of each piece."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, bytes]] = []
        self._size = 0

    def add(self, number: int, data: bytes) -> None:
        self._size += len(data)
        if self._size > LARGEST_REPLY:
            raise Declined
        if self.pieces and self.pieces[-1][0] == number:
            data = self.pieces.pop()[1] + data
        self.pieces.append((number, data))


class _Stream:
    """Replaces sys.stdout or sys.stderr. It has only the methods that commands use."""

    def __init__(self, number: int, printed: _Printed, is_terminal: bool) -> None:
        self._number = number
        self._printed = printed
        self._is_terminal = is_terminal
        self.buffer = self

    def write(self, data: bytes | bytearray) -> int:
        """Take bytes. Raises Declined if an answer becomes too large."""
        self._printed.add(self._number, bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing: the pieces are already in order."""

    def isatty(self) -> bool:
        """Return whether the stream of the launcher is a terminal."""
        return self._is_terminal

    def fileno(self) -> int:
        """Raise OSError, because this is not a file."""
        raise OSError("a stream of the launcher")


def _check_words(words: list[str]) -> None:
    """Raise Declined unless this process may answer this command line."""
    command = next((word for word in words if word not in _BEFORE), "")
    if command not in SERVED:
        raise Declined
    if command == "__complete":
        if words[0] != command or any(word.startswith(("--db", "'--db", '"--db')) for word in words):
            raise Declined
        return
    for number, word in enumerate(words):
        if word.strip().startswith("oci:") and ":@" in word:
            raise Declined  # the number of an entry in the layout's own file, which the program reads
        if word.partition("=")[0] in _REFUSED or (word[:1] == "-" and word[:2] != "--" and len(word) > _SHORT):
            raise Declined  # -sVALUE: the value may be a path, and is not examined here
        if word.startswith("--timeout"):
            value = word.partition("=")[2] if "=" in word else "".join(words[number + 1 : number + 2])
            try:
                if not float(value) >= _SHORTEST_TIMEOUT:
                    raise Declined
            except ValueError as error:
                raise Declined from error


def _may_be_path(word: str) -> bool:
    """Return whether a word may name a file: a path, or a reference or option that contains one."""
    text = word.strip()
    value = text.partition("=")[2].strip()
    if text.startswith(_PATHS) or value.startswith(_PATHS) or text.startswith(("oci:", "ocidir:")):
        return True
    behind = text.partition("://")[2]
    return behind.startswith(_PATHS)


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _mounts() -> str:
    try:
        return os.readlink("/proc/self/ns/mnt")
    except OSError:
        return "unknown here"


def _read_zone_again() -> None:
    """Make the C library read the time zone again. It does so only if TZ changes, but the files of the zone may have changed."""
    given = os.environ.get("TZ")
    os.environ["TZ"] = "UTC0"
    time.tzset()
    if given is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = given
    time.tzset()
