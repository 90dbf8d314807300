"""`ocicat __complete WORD...` prints the completions of the last word.

The scripts of `ocicat completion` call it each time Tab is pressed. The first line says how to use the other lines: `words` (a
space may follow), `parts` (no space may follow), `files` or `directories` (the shell completes those itself). Commands and options
come from catalog/cli/words.py, a frozen copy of what click knows, because importing a command to get its options may take a quarter
of a second. Nothing is written to stderr; an error means that nothing is completed.
"""

from __future__ import annotations

import os

from catalog.cli import output, words
from catalog.engine.location import catalog_path
from catalog.engine.open import open_briefly
from catalog.errors import OcicatError
from catalog.lookup.complete import Completer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from catalog.lookup.complete import Offer

_PLAIN = "._-/:@+%=,"
"""Characters besides letters and digits that no shell treats specially inside a word."""


def run(arguments: list[str]) -> int:
    """Print the completions of the last of `arguments`; return the exit status."""
    try:
        mode, offers = _complete(arguments or [""])
    except (OcicatError, OSError, UnicodeError):
        return 0
    lines = [text for text, _ in offers if _is_plain(text)]
    if lines and not all(whole for _, whole in offers):
        mode = "parts"
    if lines or mode in ("files", "directories"):
        output.write("".join(f"{line}\n" for line in (mode, *dict.fromkeys(lines))))
    return 0


def _is_plain(text: str) -> bool:
    """Return whether a shell takes `text` literally.

    Names come from layouts, which are hostile: bash inserts a completion unquoted and would run a command in it.
    """
    return text.isprintable() and all(each.isalnum() or each in _PLAIN for each in text)


def _complete(arguments: list[str]) -> tuple[str, list[Offer]]:
    *before, current = [word[1:] if word[:1] in ("'", '"') else word for word in arguments]
    options: dict[str, words.Kind] = dict(words.OPTIONS)
    places: tuple[words.Kind, ...] = ()
    commands = words.COMMANDS
    is_command_due = True
    is_open = True  # no `--` yet
    database: str | None = None
    waiting: str | None = None
    count = 0
    report: str | None = None
    for word in before:
        if waiting is not None:
            database = word if waiting == "--db" else database
            waiting = None
        elif is_open and word == "--":
            is_open = False
        elif is_open and word.startswith("-") and word != "-":
            name, equals, value = word.partition("=")
            if equals:
                database = value if name == "--db" else database
            elif options.get(name, words.OPTIONS.get(name)) is not None:
                waiting = name
        elif is_command_due:
            command = commands.get(word)
            if command is None:
                return "words", []
            options, places = command.options, command.arguments
            commands, is_command_due = command.commands, bool(command.commands)
        else:
            count += 1
            report = report or word
    if waiting is not None:
        kind = options.get(waiting, words.OPTIONS.get(waiting))
        return _parameter(report, current, database) if kind == "parameters" else _of_kind(kind, current, database)
    if is_open and current.startswith("-"):
        name, equals, value = current.partition("=")
        if not equals:
            return "words", _beginning(options, current)
        mode, offers = _of_kind(options.get(name, words.OPTIONS.get(name)), value, database)
        return mode, [(f"{name}={text}", whole) for text, whole in offers]
    if is_command_due:
        return "words", _beginning(commands, current)
    if not places or (count >= len(places) and places[-1] != words.MORE):
        return "words", []
    kinds = [kind for kind in places if kind != words.MORE]
    return _of_kind(kinds[min(count, len(kinds) - 1)], current, database)


def _parameter(report: str | None, current: str, database: str | None) -> tuple[str, list[Offer]]:
    """Return the mode and the completions of NAME=VALUE, a parameter of a report, or of any report if the line does not name one yet."""
    of = words.REPORTS.values() if report is None else [words.REPORTS.get(report, {})]
    known = {name: kind for parameters in of for name, kind in parameters.items()}
    name, equals, value = current.partition("=")
    if not equals:
        return "words", [(f"{text}=", False) for text in known if text.startswith(current)]
    mode, offers = _of_kind(known.get(name), value, database)
    return mode, [(f"{name}={text}", whole) for text, whole in offers]


def _of_kind(kind: words.Kind, current: str, database: str | None) -> tuple[str, list[Offer]]:
    """Return the mode and the completions of `current` as a value of `kind`."""
    if kind is None or kind == "":
        return "words", []
    if isinstance(kind, tuple):
        return "words", _beginning(kind, current)
    if kind in ("files", "directories") or (kind == "places" and current[:1] in ("/", ".", "~")):
        return ("files" if kind == "files" else "directories"), []
    path = catalog_path(None if database is None else os.path.expanduser(database))
    searches = open_briefly(path)
    try:
        completer = Completer(searches)
        ask = {
            "references": completer.references,
            "stores": completer.stores,
            "places": completer.places,
            "tags": completer.tags,
            "digests": completer.digests,
            "contents": completer.contents,
            "repositories": completer.repositories,
        }[kind]
        return "words", ask(current)
    finally:
        searches.close()


def _beginning(texts: Iterable[str], current: str) -> list[Offer]:
    return [(text, not text.endswith("=")) for text in texts if text.startswith(current)]
