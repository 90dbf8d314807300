"""Replaces SQLite's placeholders in statements with those of psycopg.

Text in a literal, a quoted name or a comment is not searched for placeholders, `::` is a cast, and each percent sign is doubled.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

_TOKEN = re.compile(
    r"""'(?:[^']|'')*'?          # a literal
      | "(?:[^"]|"")*"?          # a name
      | --[^\n]*                 # comments
      | /\*(?:[^*]|\*(?!/))*(?:\*/)?
      | \$(?P<quote>[A-Za-z_]?[A-Za-z_0-9]*)\$.*?(?:\$(?P=quote)\$|\Z)
      | ::
      | :(?P<name>[A-Za-z_][A-Za-z_0-9]*)
      | \?
    """,
    re.VERBOSE | re.DOTALL,
)


@functools.cache
def named(statement: str) -> str:
    """Return the statement with each `:name` replaced by `%(name)s`."""

    def replaced(found: re.Match[str]) -> str:
        name = found["name"]
        return found[0].replace("%", "%%") if name is None else f"%({name})s"

    return _replaced(statement, replaced)


@functools.cache
def positional(statement: str) -> str:
    """Return the statement with each `?` replaced by `%s`."""
    return _replaced(statement, lambda found: "%s" if found[0] == "?" else found[0].replace("%", "%%"))


def names(statement: str) -> set[str]:
    """Return the names of the `:name` parameters in a statement."""
    return {found["name"] for found in _TOKEN.finditer(statement) if found["name"] is not None}


def _replaced(statement: str, replace: Callable[[re.Match[str]], str]) -> str:
    pieces: list[str] = []
    at = 0
    for found in _TOKEN.finditer(statement):
        pieces += [statement[at : found.start()].replace("%", "%%"), replace(found)]
        at = found.end()
    return "".join([*pieces, statement[at:].replace("%", "%%")])
