"""The statements about an image as a whole: its size and its age, by the same expressions as the views.

catalog/db/statements.py takes them in under their names.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Select,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    text,
)
from sqlalchemy.ext.compiler import compiles

from catalog.db.kinds import INDEX
from catalog.db.recursive import CREATED, TOTAL_SIZE
from catalog.db.schema import CHILD, CONFIG, LAYER, config, content, edge, manifest, media_type
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


def _only_child() -> Select[Any]:
    """The only child of an index, unless the child or its descriptor has a media type whose blobs lead to no other blob.

    Everything else that the index leads to is what the child leads to.
    """
    index: BindParameter[int] = bindparam("content_id", type_=BigInteger)
    other, type_of_child = edge.alias("other"), media_type.alias("type_of_child")
    return (
        select(edge.c.child_id)
        .select_from(
            edge.join(media_type, media_type.c.id == edge.c.media_type_id)
            .join(manifest, manifest.c.content_id == edge.c.child_id)
            .join(type_of_child, type_of_child.c.id == manifest.c.media_type_id)
            .join(content, content.c.id == edge.c.parent_id)
        )
        .where(
            edge.c.parent_id == index,
            edge.c.role == CHILD,
            content.c.kind == INDEX,
            ~media_type.c.is_leaf,
            ~type_of_child.c.is_leaf,
            ~select(other.c.child_id)
            .where(
                other.c.parent_id == index,
                other.c.role.in_([literal_column(str(role)) for role in (CHILD, CONFIG, LAYER)]),
                or_(other.c.role != edge.c.role, other.c.position != edge.c.position),
            )
            .exists(),
        )
        .limit(1)
    )


STATEMENTS: dict[str, Select[Any]] = {
    "TOTAL_SIZE": _of_image(TOTAL_SIZE),
    "ONLY_CHILD": _only_child(),
    "CREATED": _of_image(CREATED.removeprefix("@")),
    # A manifest has no manifests below it, and a recursive search takes SQLite twenty times as long, even of one row.
    "CREATED_OF_MANIFEST": select(func.max(config.c.created))
    .select_from(edge.join(config, config.c.content_id == edge.c.child_id))
    .where(edge.c.parent_id == bindparam("content_id", type_=BigInteger), edge.c.role == CONFIG),
}
"""The statements, by name."""
