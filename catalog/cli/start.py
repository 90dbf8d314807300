"""The entry point. Plain forms of `query` and `resolve` are answered from here, without click.

Measured (facts.md section 3): `import sqlite3` 18 ms, this way 19, a lazy click group 55, click and SQLAlchemy 289. Scripts
call these two thousands of times. The plain form is references and the options of `_FLAGS` and `_VALUES`; everything else,
errors and help too, goes to click, which stays the authority: tests/cli/test_two_ways.py holds both to the same output.
"""

from __future__ import annotations

import os
import sys

from catalog.cli import messages
from catalog.errors import OcicatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from catalog.cli.answer import Options

_VALUES = {"--db": "db", "--format": "format", "--store": "stores"}
_FLAGS = {"query": (), "resolve": ("--first", "--strict")}


def main() -> NoReturn:
    """Run the command line of this process and end it."""
    if sys.stdout is None:  # closed by the caller: answers go nowhere, the exit status still tells
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
    status = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:
        status = messages.BROKEN_PIPE
    # Nothing is left to clean up: taking the interpreter down would cost a tenth of an answer.
    os._exit(status)


def run(arguments: list[str]) -> int:
    """Run a command line; returns the exit status. Every error becomes one line on stderr."""
    try:
        options = plain(arguments)
        if options is None:
            from catalog.cli.main import run_click

            return run_click(arguments)
        from catalog.cli.answer import run_query, run_resolve

        return run_resolve(options) if options.command == "resolve" else run_query(options)
    except OcicatError as error:
        return messages.fail(error)
    except BrokenPipeError:
        _drop_stdout()
        return messages.BROKEN_PIPE
    except KeyboardInterrupt:
        return messages.INTERRUPTED
    except Exception as error:  # (the last line of defence: a user never sees a traceback)
        if messages.volume.debug:
            raise
        messages.say(f"error: this is a defect of ocicat ({type(error).__name__}: {error}): run it again with --debug")
        return messages.INTERNAL


def plain(arguments: list[str]) -> Options | None:
    """The options of a plain `query` or `resolve`, None for anything that click had better read."""
    if any(name.startswith("OCICAT_") and name not in ("OCICAT_DB", "OCICAT_DEBUG") for name in os.environ):
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

    options = Options(command, tuple(refs))
    options.db = single.get("db")
    options.format = single.get("format")
    options.stores = tuple(stores)
    options.first = "--first" in flags
    options.strict = "--strict" in flags
    return options


def _drop_stdout() -> None:
    """Nobody reads stdout any more: let what is buffered go nowhere, so that nothing complains at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
