"""The entry point. It answers plain forms of `query`, `resolve`, `find` and `inspect` without click, and an `index` that has nothing to read.

Scripts call `query` and `resolve` thousands of times. Measured start times: `import sqlite3` 18 ms, this module 19 ms, a lazy
click group 55 ms, click and SQLAlchemy 289 ms. A plain form has only references and the options of `_FLAGS` and `_VALUES`.
Everything else, including errors and help, goes to click. tests/cli/test_two_ways.py checks that both give the same output.
"""

from __future__ import annotations

import os
import sys

from catalog.cli import messages, output
from catalog.errors import Exhausted, OcicatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from catalog.cli.answer import Options

_VALUES = {"--db": "db", "--format": "format", "--store": "stores", "--timeout": "timeout"}
_SHORT = {"-f": "--format", "-o": "--format", "-s": "--store"}
_FLAGS = {"find": (), "query": (), "resolve": ("--first", "--strict"), "inspect": ("--first",)}


def main() -> NoReturn:
    """Run the command line of this process and end it."""
    # A stream that the caller has closed becomes /dev/null: the exit status still shows the result.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - open to the end
    messages.process.is_ours = True
    status = run(sys.argv[1:])
    # Nothing is left to clean up, and an orderly shutdown of the interpreter would take a tenth of the time of an answer.
    os._exit(status)


def run(arguments: list[str]) -> int:
    """Run a command line and return the exit status. Every error becomes one line on stderr."""
    status = _status_of(lambda: _answer(arguments))
    flush_status = _status_of(_flush)
    return flush_status or status


def _answer(arguments: list[str]) -> int:
    if arguments[:1] == ["__complete"]:  # a shell calls this at each Tab, so it does without click, too
        from catalog.cli import complete

        return complete.run(arguments[1:])
    options = plain(arguments)
    if options is None:
        if _is_unchanged(arguments):
            return 0
        from catalog.cli.main import run_click

        return run_click(arguments)
    if options.command == "inspect":
        from catalog.cli.inspected import run_inspect

        return run_inspect(options)
    if options.command == "find":
        from catalog.cli.found import run_find

        return run_find(options)
    from catalog.cli.answer import run_query, run_resolve

    return run_resolve(options) if options.command == "resolve" else run_query(options)


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
    """Return the options of a plain `query`, `resolve`, `find` or `inspect`, or None if click must read the command line."""
    if not _is_plain_environment():
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
                if word not in _FLAGS:
                    return None
                command = word
            else:
                refs.append(word)
            continue
        if word == "--json" and command is not None:
            single["format"] = "json"
            continue
        option, equals, value = _SHORT.get(word, word).partition("=")
        if option in _VALUES and (command is not None or option == "--db"):
            if not equals:
                value = next(words, "")
                if not value or value.startswith("-"):
                    return None
            if option == "--store":
                stores.append(value)
            else:
                single[_VALUES[option]] = value
        elif command is not None and word in _FLAGS[command]:
            flags.add(word)
        else:
            return None
    if command is None or (command in ("find", "resolve") and not refs) or (command == "inspect" and len(refs) != 1):
        return None
    from catalog.cli.answer import Options
    from catalog.cli.limits import LONGEST_SECONDS

    options = Options(command, tuple(refs))
    if "timeout" in single:
        try:
            options.timeout = float(single["timeout"])
        except ValueError:
            return None
        if not 0 < options.timeout < LONGEST_SECONDS:
            return None
    options.db = single.get("db")
    options.format = single.get("format")
    options.stores = tuple(stores)
    options.first = "--first" in flags
    options.strict = "--strict" in flags
    return options


def plain_index(arguments: list[str]) -> str | None:
    """Return the `--db` value, or an empty string, if this is a bare `index` (only `--quiet` or `--verbose` are allowed).

    Returns None if click must read the command line.
    """
    if "index" not in arguments or not _is_plain_environment():
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


def _is_plain_environment() -> bool:
    """Return whether no environment variable is set that click would read as an option."""
    environ = os.environ
    if any(name.startswith("OCICAT_") and name not in ("OCICAT_DB", "OCICAT_DEBUG") for name in environ):
        return False
    return environ.get("OCICAT_DEBUG", "") in ("", "0", "1")
