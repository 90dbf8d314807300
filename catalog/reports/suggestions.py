"""Suggest a view or column for one that a statement misnames. Loaded only for a message about an error."""

from __future__ import annotations

import re

from catalog.db.views import VIEWS
from catalog.names.nearest import did_you_mean

_TABLE = re.compile(r'no such table: (?:\w+\.)?(\S+)|relation "([^"]+)" does not exist')
_COLUMN = re.compile(r'no such column: (?:"?\w+"?\.)?(\S+)|column "?(?:\w+\.)?(\w+)"? does not exist')


def suggestion(message: str) -> str:
    """Return `did you mean 'WORD'? ` for the view or column that an engine's message calls unknown; empty if there is none."""
    for pattern, known in ((_TABLE, _views), (_COLUMN, _columns)):
        found = pattern.search(message)
        if found is not None:
            return did_you_mean(next(filter(None, found.groups())).strip('"'), known())
    return ""


def _views() -> list[str]:
    return [view.name for view in VIEWS]


def _columns() -> list[str]:
    return sorted({column for view in VIEWS for column, _, _ in view.columns})
