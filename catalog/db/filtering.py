"""The statements with which the filters of `query` start from their indexes (catalog.lookup.starts).

catalog/db/statements.py includes them under their names. A filter first selects the annotation keys, media types or platforms that
it means, then the contents or entries that have these, and then the entries above those contents. Lists of ids are passed as JSON,
in one parameter, so that a statement does not depend on the number of ids.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    FromClause,
    Select,
    String,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    union,
    union_all,
)
from sqlalchemy.ext.compiler import compiles

from catalog.db.schema import (
    CHILD,
    CONFIG,
    INDEX,
    MANIFEST,
    UNREAD,
    annotation_key,
    config,
    content,
    content_annotation,
    descriptor_annotation,
    edge,
    entry,
    entry_annotation,
    manifest,
    media_type,
    name,
    platform,
    store,
)

INDEXED = 128
"""The number of characters of an annotation's value that are in its index."""


class Among(ColumnElement[bool]):
    """The condition that a column is one of the ids in the parameter `ids`, a JSON array of numbers."""

    inherit_cache = False

    def __init__(self, column: ColumnElement[Any]) -> None:
        self.column = column
        self.ids: BindParameter[str] = bindparam("ids", type_=String)


@compiles(Among)
def _among(element: Among, compiler: Any, **options: Any) -> str:
    column, ids = (compiler.process(each, **options) for each in (element.column, element.ids))
    if compiler.dialect.name == "sqlite":
        return f"{column} IN (SELECT value FROM json_each({ids}))"
    # An array is computed before the plan runs, so an index can be searched for its elements; a subquery would be joined instead.
    return f"{column} = ANY (ARRAY(SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST({ids} AS JSON))))"


class _Within(ColumnElement[bool]):
    """The condition that a column is one of the ids that a query returns. PostgreSQL runs that query first and does not join it."""

    inherit_cache = False

    def __init__(self, column: ColumnElement[Any], ids: Select[Any]) -> None:
        self.column = column
        self.ids = ids.scalar_subquery()


@compiles(_Within)
def _within(element: _Within, compiler: Any, **options: Any) -> str:
    column, ids = (compiler.process(each, **options) for each in (element.column, element.ids))
    return f"{column} IN {ids}" if compiler.dialect.name == "sqlite" else f"{column} = ANY (ARRAY{ids})"


def _is(role: int) -> ColumnElement[int]:
    """Return a role as a literal, because PostgreSQL can use a partial index on a role only if it sees the literal."""
    return literal_column(str(role))


_low: BindParameter[str] = bindparam("low")
_high: BindParameter[str] = bindparam("high")
_ENTRY = (entry.c.id, entry.c.store_id)
_ORDER = (entry.c.store_id, entry.c.sort, entry.c.id)


def _values(of: Any, owner: ColumnElement[int], *where: ColumnElement[bool]) -> Select[Any]:
    """Select the owner and value of each annotation with a key in `ids`, if the value's first INDEXED characters are in `low` to `high`."""
    beginning = func.substr(of.c.value, literal_column("1"), literal_column(str(INDEXED)))
    return select(owner, of.c.value).where(Among(of.c.key_id), beginning >= _low, beginning <= _high, *where)


def _up(start: Select[Any], *also: ColumnElement[bool], tables: FromClause = edge) -> Select[Any]:
    """Select the contents of `start`, and every index above them. UNION ends cycles."""
    up = start.cte("up", recursive=True)
    above = tables.join(up, edge.c.child_id == up.c.id)
    up = up.union(select(edge.c.parent_id).select_from(above).where(edge.c.role == _is(CHILD), *also))
    return select(up.c.id).order_by(up.c.id)


_parent = content.alias("parent")
_below = edge.join(content, content.c.id == edge.c.child_id).join(_parent, _parent.c.id == edge.c.parent_id)


def _for_platforms(*, sure: bool) -> Select[Any]:
    """Select the contents that have an image for one of the platforms in `ids` (catalog.lookup.below, `platforms_of`).

    The platforms of an index are those of its children if it is in the store, else those in its descriptor. So with `sure` these
    are the contents that have such an image in every store, and without `sure` the contents that have one in some store.
    """
    by_config = (
        select(edge.c.parent_id.label("id"))
        .select_from(edge.join(_parent, _parent.c.id == edge.c.parent_id))
        .where(
            _Within(edge.c.child_id, select(config.c.content_id).where(Among(config.c.platform_id))),
            edge.c.role == _is(CONFIG),
            _parent.c.kind == _is(MANIFEST),
        )
    )
    by_descriptor = (
        select(edge.c.parent_id)
        .select_from(_below)
        .where(
            Among(edge.c.platform_id),
            edge.c.platform_id.is_not(None),
            edge.c.role == _is(CHILD),
            _parent.c.kind != _is(MANIFEST),
            *([content.c.kind != _is(INDEX)] if sure else []),
        )
    )
    is_entered = content.c.kind == _is(INDEX)
    is_plain = and_(content.c.kind.in_([_is(MANIFEST), _is(INDEX)]), edge.c.platform_id.is_(None))
    return _up(
        union(by_config, by_descriptor).subquery("start").select(),
        is_plain if sure else or_(is_plain, is_entered),
        _parent.c.kind != _is(MANIFEST),
        tables=_below,
    )


_of_type = union_all(
    select(manifest.c.content_id.label("id")).where(Among(manifest.c.artifact_type_id)),
    select(edge.c.parent_id)
    .select_from(edge.join(manifest, manifest.c.content_id == edge.c.parent_id))
    .where(
        Among(edge.c.media_type_id),
        edge.c.media_type_id > literal_column("0"),  # as the index says
        edge.c.role == _is(CONFIG),
        manifest.c.artifact_type_id.is_(None),
    ),
).subquery("of_type")
_of_platform = union_all(
    select(config.c.content_id.label("id")).where(Among(config.c.platform_id)),
    select(edge.c.parent_id).where(Among(edge.c.platform_id), edge.c.platform_id.is_not(None)),
).subquery("of_platform")

STATEMENTS: dict[str, Select[Any]] = {
    # annotation keys, media types and platforms
    "KEYS_OF_ANNOTATIONS": select(annotation_key.c.id, annotation_key.c.name),
    "KEY_OF_ANNOTATIONS": select(annotation_key.c.id, annotation_key.c.name).where(
        annotation_key.c.name == bindparam("key")
    ),
    "MEDIA_TYPES": select(media_type.c.id, media_type.c.name),
    "PLATFORMS": select(platform.c.id, platform.c.name),
    # the contents and entries that have them
    "LABELLED": _values(content_annotation, content_annotation.c.content_id, content_annotation.c.is_label),
    "ANNOTATED": _values(content_annotation, content_annotation.c.content_id, ~content_annotation.c.is_label),
    "ANNOTATED_BELOW": _values(descriptor_annotation, descriptor_annotation.c.content_id),
    "ANNOTATED_ENTRIES": _values(entry_annotation, entry_annotation.c.entry_id),
    "NAMED_BY_REF": select(entry.c.id, entry.c.ref_name).where(
        entry.c.ref_name >= _low, entry.c.ref_name <= _high, ~entry.c.long_ref_name
    ),
    "NAMED_BY_IMAGE": select(entry.c.id, entry.c.image_name).where(
        entry.c.image_name >= _low, entry.c.image_name <= _high, ~entry.c.long_image_name
    ),
    "NAMED_AT_LENGTH": select(entry.c.id, entry.c.ref_name, entry.c.image_name).where(
        or_(entry.c.long_ref_name, entry.c.long_image_name)
    ),
    "ABOVE_CONFIGS": _up(
        select(edge.c.parent_id.label("id")).where(Among(edge.c.child_id), edge.c.role == _is(CONFIG))
    ),
    "ABOVE_CONTENTS": _up(select(content.c.id.label("id")).where(Among(content.c.id))),
    "SURELY_FOR_PLATFORMS": _for_platforms(sure=True),
    "PERHAPS_FOR_PLATFORMS": _for_platforms(sure=False),
    "OF_PLATFORMS": select(_of_platform.c.id),
    "OF_ARTIFACT_TYPES": select(_of_type.c.id),
    # the entries, in the order of their lists
    "ENTRIES_OF": select(*_ENTRY).where(Among(entry.c.content_id)).order_by(*_ORDER),
    "ENTRIES_IN_ORDER": select(*_ENTRY).where(Among(entry.c.id)).order_by(*_ORDER),
    "CLAIMING_PLATFORMS": select(entry.c.id)
    .select_from(entry.join(content, content.c.id == entry.c.content_id))
    .where(Among(entry.c.platform_id), entry.c.platform_id.is_not(None), content.c.kind == _is(UNREAD)),
    "CLAIMING_ARTIFACT_TYPES": select(entry.c.id).where(
        Among(entry.c.artifact_type_id), entry.c.artifact_type_id.is_not(None)
    ),
    "OF_MEDIA_TYPES": select(*_ENTRY).where(Among(entry.c.media_type_id)).order_by(*_ORDER),
    "WITHOUT_KEYS": select(*_ENTRY)
    .where(~select(name.c.id).where(name.c.entry_id == entry.c.id).correlate(entry).exists())
    .order_by(*_ORDER),
    "ANSWERING_FROM": select(name.c.entry_id).where(name.c.answers_from > bindparam("number", type_=BigInteger)),
    "COUNT_OF_STORES": select(entry.c.store_id, func.count())
    .select_from(entry.join(store, store.c.id == entry.c.store_id))
    .where(store.c.state != "missing")
    .group_by(entry.c.store_id),
}
"""The statements, by name."""
