"""Suggest a view or column for one that a statement misnames. Loaded only for a message about an error."""

from __future__ import annotations

import re

from catalog.db.view import View
from catalog.db.views import VIEWS
from catalog.names.nearest import did_you_mean

_TABLE = re.compile(r'no such table: (?:\w+\.)?(\S+)|relation "([^"]+)" does not exist')
_COLUMN = re.compile(r'no such column: (?:"?\w+"?\.)?(\S+)|column "?(?:\w+\.)?(\w+)"? does not exist')


def meant(message: str, statement: str) -> str:
    """Return `did you mean 'WORD'? ` for the view or column that an engine's message calls unknown, or "" if none is similar.

    A column is searched for in the views that occur in the statement, or in all views if none does.
    """
    table, column = _TABLE.search(message), _COLUMN.search(message)
    if table is not None:
        return did_you_mean(_wrong(table), [view.name for view in VIEWS])
    if column is None:
        return ""
    return did_you_mean(_wrong(column), sorted({each for view in _named(statement) for each, _, _ in view.columns}))


def suggestion(message: str, statement: str) -> str:
    """Return advice on a wrong statement: the view or column that is probably meant, and the command that lists all of them."""
    hint = meant(message, statement)
    named = _named(statement)
    if len(named) == 1 and _COLUMN.search(message) is not None:
        return f"{hint}'ocicat sql --schema {named[0].name}' lists its columns"
    if len(named) == 1 and statement.strip().lower() == named[0].name:
        hint = f"to read a view, write 'SELECT * FROM {named[0].name}'; "  # noqa: S608 - printed
    return f"{hint}'ocicat sql --schema' lists views and columns"


def _named(statement: str) -> tuple[View, ...]:
    """Return the views that occur in a statement, or all if none does."""
    words = set(re.findall(r"\w+", statement.lower()))
    return tuple(view for view in VIEWS if view.name in words) or VIEWS


def _wrong(found: re.Match[str]) -> str:
    return str(next(filter(None, found.groups()))).strip(chr(34))
