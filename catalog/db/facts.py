"""The statements about an image as a whole: its size and its age, by the same expressions as the views.

catalog/db/statements.py takes them in under their names.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, select, text
from sqlalchemy.ext.compiler import compiles

from catalog.db.recursive import CREATED, TOTAL_SIZE
from catalog.db.view import rendered

_ENTRY = (
    "(SELECT CAST(:store_id AS BIGINT) AS store_id, CAST(:content_id AS BIGINT) AS content_id,"
    " (SELECT manifest.media_type_id FROM manifest WHERE manifest.content_id = CAST(:content_id AS BIGINT))"
    " AS media_type_id) AS entry JOIN content ON content.id = entry.content_id"
)
"""The content of an entry, in place of the tables that the expressions of the views are over."""


class _OfView(ColumnElement[int]):
    """An expression of a view, written for the engine."""

    type = BigInteger()
    inherit_cache = False

    def __init__(self, expression: str) -> None:
        self.written = expression


@compiles(_OfView)
def _of_view(element: _OfView, compiler: Any, **_: Any) -> str:
    return rendered(element.written, compiler.dialect.name)


def _of_image(expression: str) -> Select[Any]:
    return select(_OfView(expression).label("found")).select_from(text(_ENTRY))


STATEMENTS: dict[str, Select[Any]] = {
    "TOTAL_SIZE": _of_image(TOTAL_SIZE),
    "CREATED": _of_image(CREATED.removeprefix("@")),
}
"""The statements, by name."""
