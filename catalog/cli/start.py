"""The entry point. It answers plain forms of five commands without click, and an `index` that has nothing to read.

Scripts call `query` and `resolve` thousands of times. Measured start times: `import sqlite3` 18 ms, this module 19 ms, a lazy
click group 55 ms, click and SQLAlchemy 289 ms. A plain form has only references and the options in `_FLAGS` and `_VALUES`, and
no OCICAT_* variable is set except those that `_variables` knows. Everything else, including errors and help, goes to click.
tests/cli/test_two_ways.py checks that both give the same output.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` loads enum
import os
import sys

from catalog.cli import messages, output
from catalog.errors import Exhausted, OcicatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from catalog.cli.answer import Options

_VALUES = {
    "find": ("--format", "--limit", "--store", "--timeout"),
    "query": ("--at", "--format", "--limit", "--platform", "--store", "--tag", "--timeout"),
    "resolve": ("--at", "--format", "--platform", "--store", "--timeout"),
    "inspect": ("--format", "--platform", "--store", "--timeout"),
    "status": ("--format", "--timeout"),
}
_FLAGS = {
    "find": (),
    "query": ("--count", "--fresh"),
    "resolve": ("--first", "--fresh", "--strict"),
    "inspect": ("--first",),
    "status": ("--check",),
}
_SHORT = {"-f": "--format", "-o": "--format", "-q": "--quiet", "-s": "--store"}
_NO_OPTIONS = ("OCICAT_PAGER", "OCICAT_DB", "OCICAT_HOST", "OCICAT_SOCKET")
"""Variables that click does not read."""
_MOST_DIGITS = 9
_YES, _NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


def main() -> NoReturn:
    """Run the command line of this process and end it."""
    try:
        _main()
    except KeyboardInterrupt:  # before or after the command
        os._exit(messages.INTERRUPTED)


def _main() -> NoReturn:
    if _signal.getsignal(_signal.SIGINT) is _signal.SIG_DFL:  # contrib/launcher/ocicat
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    # A stream that the caller has closed becomes /dev/null: the exit status still shows the result.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - open to the end
    messages.process.is_ours = True
    sys.unraisablehook = messages.unraisable
    output.page()
    try:
        status = run(sys.argv[1:])
    except MemoryError:  # while reporting an error; the objects that used the memory are gone by now
        status = messages.fail_without_memory()
    if output.end_pager() and status == messages.BROKEN_PIPE:
        status = 0  # the user has left the pager, which is not an error
    # Nothing is left to clean up, and an orderly shutdown of the interpreter would take a tenth of the time of an answer.
    os._exit(status)


def end_with(rest: bytes) -> NoReturn:
    """Print the rest of an answer (catalog.cli.lean) and end the process with status 0, or that of the error."""
    status = _status_of(lambda: _write(rest))
    os._exit(_status_of(_flush) or status)


def run(arguments: list[str]) -> int:
    """Run a command line and return the exit status. Every error becomes one line on stderr."""
    status = _status_of(lambda: _answer(arguments))
    flush_status = _status_of(_flush)
    return flush_status or status


def _answer(arguments: list[str]) -> int:
    if arguments[:1] == ["__complete"]:  # a shell calls this each time Tab is pressed, so it must start fast, too
        from catalog.cli import complete

        return complete.run(arguments[1:])
    options = plain(arguments)
    if options is None:
        if _is_unchanged(arguments):
            return 0
        from catalog.cli.main import run_click

        return run_click(arguments)
    if options.quiet:
        messages.volume.quiet = True
    if options.command == "inspect":
        from catalog.cli.inspected import run_inspect

        return run_inspect(options)
    if options.command == "find":
        from catalog.cli.found import run_find

        return run_find(options)
    if options.command == "status":
        from catalog.cli.stated import run_status

        return run_status(options)
    if options.command == "resolve":
        from catalog.cli.resolved import run_resolve

        return run_resolve(options)
    if options.tag is not None or options.platform is not None:
        from catalog.lookup.filters import EntryFilters

        options.filters = EntryFilters(tag=options.tag, platform=options.platform)
        options.platform = None
    from catalog.cli.queried import run_query

    return run_query(options)


def _is_unchanged(arguments: list[str]) -> bool:
    """Return whether this is a plain `index` that has nothing to do, so that click and SQLAlchemy need not be loaded."""
    db = plain_index(arguments)
    if db is None:
        return False
    from catalog.engine.location import catalog_path
    from catalog.ingest.unchanged import nothing_to_do

    summary = nothing_to_do(catalog_path(db))
    if summary is None:
        return False
    if "--verbose" in arguments or ("--quiet" not in arguments and sys.stderr.isatty()):
        messages.say(str(summary))
    return True


def _write(data: bytes) -> int:
    output.write_bytes(data)
    return 0


def _flush() -> int:
    output.flush()
    return 0


def _status_of(do: Callable[[], int]) -> int:
    """Call `do` and return its exit status, or that of the error that it raises, which is printed on stderr."""
    try:
        return do()
    except OcicatError as error:
        return messages.fail(error)
    except MemoryError:
        return messages.fail(Exhausted("this needs more memory than a command may use: ask for less"))
    except (output.Unread, SystemExit):  # click raises SystemExit if nothing reads its help
        return messages.BROKEN_PIPE
    except KeyboardInterrupt:
        return messages.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last line of defence: a user never sees a traceback
        return messages.defect(error)


def plain(arguments: list[str]) -> Options | None:
    """Return the options of a plain form of one of the commands of `_VALUES`, or None if click must read the command line."""
    variables = _variables()
    if variables is None:
        return None
    command: str | None = None
    refs: list[str] = []
    stores: list[str] = []
    single: dict[str, str] = {}
    flags: set[str] = set()
    words = iter(arguments)
    for word in words:
        if word == "-" or not word.startswith("-"):
            if command is None:
                if word not in _VALUES:
                    return None
                command = word
            else:
                refs.append(word)
            continue
        if word == "--json" and command is not None:
            single["--format"] = "json"
            continue
        option, equals, value = _SHORT.get(word, word).partition("=")
        if option == "--db" or (command is not None and option in _VALUES[command]):
            if not equals:
                value = next(words, "")
                if not value or value.startswith("-"):
                    return None
            if option == "--store":
                stores.append(value)
            else:
                single[option] = value
        elif (option == "--quiet" and not equals) or (command is not None and word in _FLAGS[command]):
            flags.add(option)
        else:
            return None
    if command is None or not _is_counted(command, len(refs)):
        return None
    from catalog.cli.answer import Options

    options = Options(command, tuple(refs))
    options.db = single.get("--db")
    options.format = single.get("--format", variables.get(command))
    options.stores = tuple(stores)
    options.quiet = "--quiet" in flags or "quiet" in variables
    options.first = "--first" in flags
    options.strict = "--strict" in flags
    options.count = "--count" in flags
    options.check = "--check" in flags
    options.fresh = "--fresh" in flags
    options.at = single.get("--at")
    options.tag = single.get("--tag")
    options.platform = single.get("--platform")
    return options if _are_numbers(options, single) else None


def _is_counted(command: str, references: int) -> bool:
    """Return whether a command takes this many references."""
    if command in ("find", "resolve"):
        return references > 0
    return command == "query" or references == (command == "inspect")


def _are_numbers(options: Options, single: dict[str, str]) -> bool:
    """Set the values of --timeout and --limit; return False if click must read one of them, because it is not a number in range."""
    from catalog.cli.limits import LONGEST_SECONDS

    if "--timeout" in single:
        try:
            options.timeout = float(single["--timeout"])
        except ValueError:
            return False
        if not 0 < options.timeout < LONGEST_SECONDS:
            return False
    limit = single.get("--limit")
    if limit is not None:
        if not (limit.isascii() and limit.isdigit() and len(limit) <= _MOST_DIGITS):
            return False
        options.limit = int(limit)
    return True


def plain_index(arguments: list[str]) -> str | None:
    """Return the `--db` value, or an empty string, if this is a bare `index` (only `--quiet` or `--verbose` are allowed).

    Returns None if click must read the command line.
    """
    if "index" not in arguments or _variables() != {}:
        return None
    db = ""
    commands = 0
    words = iter(arguments)
    for word in words:
        option, equals, value = word.partition("=")
        if word == "index":
            commands += 1
        elif option == "--db" and not db:
            db = value if equals else next(words, "")
            if not db or db.startswith("-"):
                return None
        elif word not in ("--quiet", "--verbose"):
            return None
    if commands != 1:
        return None
    from catalog.engine.location import default_configuration

    return db if default_configuration() is None else None  # it may name roots and stores that are not registered yet


def _variables() -> dict[str, str] | None:
    """Return the settings in the OCICAT_* variables, or None if click must read one of them as an option.

    A key is the name of a command, whose value is its format, or `quiet` if OCICAT_QUIET is on. As in click, an empty variable has no
    effect.
    """
    found = {}
    environ = os.environ
    for name in environ:
        if not name.startswith("OCICAT_") or name in _NO_OPTIONS:
            continue
        value = environ[name]
        command = name[7:-7].lower() if name.endswith("_FORMAT") else ""
        if command in _VALUES:
            if value:
                found[command] = value
        elif name == "OCICAT_QUIET":
            if value in _YES:
                found["quiet"] = value
            elif value not in _NO:
                return None
        elif name != "OCICAT_DEBUG" or value not in ("", "0", "1"):
            return None
    return found
