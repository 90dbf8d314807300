"""The statements about an image as a whole: its size and its age, with the same expressions as in the views.

catalog/db/statements.py includes them under their names.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    FromClause,
    Select,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    text,
)
from sqlalchemy.ext.compiler import compiles

from catalog.db.filtering import Among
from catalog.db.kinds import INDEX
from catalog.db.recursive import CREATED, MOST_PARTS, TOTAL_SIZE
from catalog.db.schema import (
    CHILD,
    CONFIG,
    LAYER,
    annotation_key,
    config,
    content,
    content_annotation,
    edge,
    manifest,
    media_type,
    platform,
    store_blob,
)
from catalog.db.view import rendered

_ENTRY = (
    "(SELECT CAST(:store_id AS BIGINT) AS store_id, CAST(:content_id AS BIGINT) AS content_id,"
    " (SELECT manifest.media_type_id FROM manifest WHERE manifest.content_id = CAST(:content_id AS BIGINT))"
    " AS media_type_id) AS entry JOIN content ON content.id = entry.content_id"
)
"""The content of an entry, as a replacement for the tables that the expressions of the views refer to."""


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
    """Select the only child of an index, unless the child or its descriptor has a media type whose blobs lead to no other blob.

    Such an index reaches exactly the child and what the child reaches.
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


_here = store_blob.alias("here")
_store: BindParameter[int] = bindparam("store_id", type_=BigInteger)


def _is_here(content_id: ColumnElement[int]) -> ColumnElement[bool]:
    return and_(_here.c.store_id == _store, _here.c.content_id == content_id)


def _is_whole(of: FromClause) -> ColumnElement[bool]:
    return or_(_here.c.embedded, of.c.size.is_(None), _here.c.size == of.c.size)


def _tops_among() -> Select[Any]:
    """Select, for each given content, whether its manifest's media type is a leaf type, and the size and state of its blob in the store.

    The columns about the blob are null if the store does not have it.
    """
    return (
        select(content.c.id, media_type.c.is_leaf, _here.c.size, _is_whole(content).label("is_whole"), _here.c.looked)
        .select_from(
            content.outerjoin(manifest, manifest.c.content_id == content.c.id)
            .outerjoin(media_type, media_type.c.id == manifest.c.media_type_id)
            .outerjoin(_here, _is_here(content.c.id))
        )
        .where(Among(content.c.id))
    )


def _parts_among() -> Select[Any]:
    """Select the manifests and configs in the given indexes and manifests, in no particular order: at most MOST_PARTS + 1 rows."""
    child, own, said = content.alias("child"), platform.alias("own"), platform.alias("said")
    is_config = and_(edge.c.role == _role(CONFIG), config.c.content_id == edge.c.child_id)
    return (
        select(
            edge.c.parent_id,
            edge.c.role,
            edge.c.position,
            edge.c.child_id,
            child.c.kind,
            media_type.c.is_leaf,
            said.c.name,
            _here.c.size,
            _here.c.looked,
            config.c.created,
            own.c.name.label("own_name"),
        )
        .select_from(
            edge.join(child, child.c.id == edge.c.child_id)
            .join(media_type, media_type.c.id == edge.c.media_type_id)
            .outerjoin(said, said.c.id == edge.c.platform_id)
            .outerjoin(_here, _is_here(edge.c.child_id))
            .outerjoin(config, is_config)
            .outerjoin(own, own.c.id == config.c.platform_id)
        )
        .where(Among(edge.c.parent_id), edge.c.role.in_([_role(each) for each in (CHILD, CONFIG)]))
        .limit(literal_column(str(MOST_PARTS + 1)))
    )


def _layers_among() -> Select[Any]:
    """Select the layers of the given manifests, in no particular order: at most MOST_PARTS + 1 rows. Most parts of images are layers."""
    return (
        select(edge.c.parent_id, edge.c.child_id, _here.c.size)
        .select_from(edge.outerjoin(_here, _is_here(edge.c.child_id)))
        .where(Among(edge.c.parent_id), edge.c.role == _role(LAYER))
        .limit(literal_column(str(MOST_PARTS + 1)))
    )


def _labels_among() -> Select[Any]:
    """Select the labels of the given configs, in no particular order: at most MOST_PARTS + 1 rows."""
    return (
        select(content_annotation.c.content_id, annotation_key.c.name, content_annotation.c.value)
        .select_from(content_annotation.join(annotation_key, annotation_key.c.id == content_annotation.c.key_id))
        .where(Among(content_annotation.c.content_id), content_annotation.c.is_label)
        .limit(literal_column(str(MOST_PARTS + 1)))
    )


def _role(role: int) -> ColumnElement[int]:
    return literal_column(str(role))


STATEMENTS: dict[str, Select[Any]] = {
    "TOPS_AMONG": _tops_among(),
    "PARTS_AMONG": _parts_among(),
    "LAYERS_AMONG": _layers_among(),
    "LABELS_AMONG": _labels_among(),
    "TOTAL_SIZE": _of_image(TOTAL_SIZE),
    "ONLY_CHILD": _only_child(),
    "CREATED": _of_image(CREATED.removeprefix("@")),
    # A manifest has no manifests below it, and a recursive search takes SQLite twenty times as long, even for one row.
    "CREATED_OF_MANIFEST": select(func.max(config.c.created))
    .select_from(edge.join(config, config.c.content_id == edge.c.child_id))
    .where(edge.c.parent_id == bindparam("content_id", type_=BigInteger), edge.c.role == CONFIG),
}
"""The statements, by name."""
