"""Suggest a view or column for one that a statement misnames. Loaded only for a message about an error."""

from __future__ import annotations

import re

from catalog.db.views import VIEWS
from catalog.names.nearest import did_you_mean

_TABLE = re.compile(r'no such table: (?:\w+\.)?(\S+)|relation "([^"]+)" does not exist')
_COLUMN = re.compile(r'no such column: (?:"?\w+"?\.)?(\S+)|column "?(?:\w+\.)?(\w+)"? does not exist')


def suggestion(message: str, statement: str) -> str:
    """Return what to do about a wrong statement: the view or column that is probably meant, and what lists all of them.

    `message` is that of an engine. A column is looked for in the views that occur in the statement, or in all if none does.
    """
    table, column = _TABLE.search(message), _COLUMN.search(message)
    words = set(re.findall(r"\w+", statement.lower()))
    named = [view for view in VIEWS if view.name in words]
    hint = ""
    if table is not None:
        hint = did_you_mean(_wrong(table), [view.name for view in VIEWS])
    elif column is not None:
        hint = did_you_mean(_wrong(column), sorted({each for view in named or VIEWS for each, _, _ in view.columns}))
        if len(named) == 1:
            return f"{hint}'ocicat sql --schema {named[0].name}' lists its columns"
    elif len(words) == 1 and named:
        hint = f"to read a view, write 'SELECT * FROM {named[0].name}'; "  # noqa: S608 - printed
    return f"{hint}'ocicat sql --schema' lists views and columns"


def _wrong(found: re.Match[str]) -> str:
    return str(next(filter(None, found.groups()))).strip(chr(34))
