"""The entry point. Plain forms of `query` and `resolve` are answered from here, without click; so is an `index` of what did
not change.

Measured: `import sqlite3` 18 ms, this way 19, a lazy click group 55, click and SQLAlchemy 289. Scripts
call these two thousands of times. The plain form is references and the options of `_FLAGS` and `_VALUES`; everything else,
errors and help too, goes to click, which stays the authority: tests/cli/test_two_ways.py holds both to the same output.
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
_FLAGS = {"query": (), "resolve": ("--first", "--strict")}


def main() -> NoReturn:
    """Run the command line of this process and end it."""
    # What the caller has closed goes nowhere, and nothing comes from there: the exit status still tells.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - open to the end
    messages.process.is_ours = True
    status = run(sys.argv[1:])
    # Nothing is left to clean up: taking the interpreter down would cost a tenth of an answer.
    os._exit(status)


def run(arguments: list[str]) -> int:
    """Run a command line; returns the exit status. Every error becomes one line on stderr."""
    status = _told(lambda: _answer(arguments))
    unwritten = _told(_flush)
    return unwritten or status


def _answer(arguments: list[str]) -> int:
    if arguments[:1] == ["__complete"]:  # a shell asks, at each Tab: without click too
        from catalog.cli import complete

        return complete.run(arguments[1:])
    options = plain(arguments)
    if options is None:
        if _is_unchanged(arguments):
            return 0
        from catalog.cli.main import run_click

        return run_click(arguments)
    from catalog.cli.answer import run_query, run_resolve

    return run_resolve(options) if options.command == "resolve" else run_query(options)


def _is_unchanged(arguments: list[str]) -> bool:
    """Whether this is a plain `index` and nothing has changed: then it is over, before click and SQLAlchemy are loaded."""
    db = plain_index(arguments)
    if db is None:
        return False
    from catalog.engine.location import catalog_path
    from catalog.ingest.unchanged import nothing_to_do

    summary = nothing_to_do(catalog_path(db))
    if summary is None:
        return False
    if "--verbose" in arguments:
        messages.say(str(summary))
    return True


def _flush() -> int:
    output.flush()
    return 0


def _told(do: Callable[[], int]) -> int:
    """The exit status of `do`; what it raises is told on stderr."""
    try:
        return do()
    except OcicatError as error:
        return messages.fail(error)
    except MemoryError:
        return messages.fail(Exhausted("this needs more memory than it may have: ask for less of it"))
    except (output.Unread, SystemExit):  # the latter is how click ends when nobody reads its help
        return messages.BROKEN_PIPE
    except KeyboardInterrupt:
        return messages.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last line of defence: a user never sees a traceback
        return messages.defect(error)


def plain(arguments: list[str]) -> Options | None:
    """The options of a plain `query` or `resolve`, None for anything that click had better read."""
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
        option, equals, value = word.partition("=")
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
    if command is None or (command == "resolve" and not refs):
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
    """What `--db` gives, or nothing, of an `index` of everything that goes by no other option or variable than those that
    say how much is said; None for anything that click had better read.
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
    return db if commands == 1 else None


def _is_plain_environment() -> bool:
    """Whether no variable is set that click would read as an option."""
    environ = os.environ
    if any(name.startswith("OCICAT_") and name not in ("OCICAT_DB", "OCICAT_DEBUG") for name in environ):
        return False
    return environ.get("OCICAT_DEBUG", "") in ("", "0", "1")
