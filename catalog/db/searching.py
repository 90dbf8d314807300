"""The statements with which `find` searches for a part of a repository, tag or title (catalog.lookup.search).

catalog/db/statements.py includes them under their names. No index can find a part of a text, so a statement that searches for one
reads all repositories, or all different tags (TAGS_WITH skips from one tag to the next in the index). The other statements search
an index.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Boolean,
    ColumnElement,
    Select,
    String,
    bindparam,
    cast,
    func,
    literal_column,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.ext.compiler import compiles

from catalog.db.filtering import Among
from catalog.db.schema import (
    annotation_key,
    content,
    content_annotation,
    descriptor_annotation,
    entry,
    entry_annotation,
    has_capitals,
    name,
    repository,
    store,
)
from catalog.names.limits import MOST_TAGS

TITLE = "org.opencontainers.image.title"


MOST_COUNTED = 20_000
"""The number of keys at which COUNT_TAGS stops counting."""


class _Like(ColumnElement[bool]):
    """The condition that a text matches the LIKE pattern in the parameter `part`, ignoring the case of ASCII letters."""

    type = Boolean()
    inherit_cache = False

    def __init__(self, column: ColumnElement[Any]) -> None:
        self.column = column
        self.pattern: ColumnElement[str] = bindparam("part", type_=String)


@compiles(_Like)
def _like(element: _Like, compiler: Any, **options: Any) -> str:
    # SQLite's LIKE ignores the case of ASCII letters, and so does PostgreSQL's ILIKE in the collation "C".
    operator = "LIKE" if compiler.dialect.name == "sqlite" else "ILIKE"
    column, pattern = (compiler.process(each, **options) for each in (element.column, element.pattern))
    return f"({column} {operator} {pattern} ESCAPE '\\')"


class _Component(ColumnElement[bool]):
    """The condition that the parameter `part`, escaped for LIKE, is a component of a lower-case name: `/part/`."""

    type = Boolean()
    inherit_cache = False

    def __init__(self, column: ColumnElement[Any]) -> None:
        self.column = column
        self.part: ColumnElement[str] = bindparam("part", type_=String)


@compiles(_Component)
def _component(element: _Component, compiler: Any, **options: Any) -> str:
    column, part = (compiler.process(each, **options) for each in (element.column, element.part))
    escape = "ESCAPE '\\'"
    if compiler.dialect.name == "sqlite":
        return f"('/' || {column} || '/' LIKE '%/' || {part} || '/%' {escape})"
    # The planner has statistics on the column, and so knows whether a plan can end early. It has none on an expression.
    patterns = (f"'%%/' || {part} || '/%%'", f"{part} || '/%%'", f"'%%/' || {part}", part)
    return f"({' OR '.join(f'{column} LIKE {pattern} {escape}' for pattern in patterns)})"


_KEY = (name.c.id, name.c.entry_id, name.c.store_id, repository.c.name.label("repository"), name.c.tag)
_keys = name.outerjoin(repository, repository.c.id == name.c.repository_id)
_repository: BindParameter[str] = bindparam("repository")
_tags = name.alias("tags")
_OF_ENTRY = (name.c.id, entry.c.id.label("entry_id"), entry.c.store_id, *_KEY[3:])
_entries = entry.outerjoin(name, name.c.entry_id == entry.c.id).outerjoin(
    repository, repository.c.id == name.c.repository_id
)
_is_title = annotation_key.c.name == TITLE


def _titles() -> Select[Any]:
    """Select the titles that contain a part, each with its entry, or with the digest of the manifest or config that contains it."""

    def arm(of: Any, *columns: ColumnElement[Any]) -> Select[Any]:
        return select(of.c.value, *columns).where(_is_title, _Like(of.c.value))

    by_digest = [
        arm(of, cast(null(), BigInteger).label("entry_id"), content.c.digest).select_from(
            annotation_key.join(of, of.c.key_id == annotation_key.c.id).join(content, content.c.id == of.c.content_id)
        )
        for of in (content_annotation, descriptor_annotation)
    ]
    by_entry = arm(entry_annotation, entry_annotation.c.entry_id, cast(null(), String).label("digest")).select_from(
        annotation_key.join(entry_annotation, entry_annotation.c.key_id == annotation_key.c.id)
    )
    both = union_all(by_entry, *by_digest).subquery("titles")
    return select(both.c.value, both.c.entry_id, both.c.digest)


def _tags_with() -> Select[Any]:
    """Select those of the first MOST_TAGS different tags that contain a part, each with its number.

    The tag with the number MOST_TAGS is always selected, so that the caller knows where to continue.
    """
    first: Select[Any, Any] = select(func.min(name.c.tag).label("tag"), literal_column("1").label("number")).where(
        name.c.tag.is_not(None)
    )
    walk = first.cte("walk", recursive=True)
    following = select(func.min(name.c.tag)).where(name.c.tag > walk.c.tag).scalar_subquery()
    walk = walk.union_all(
        select(following, walk.c.number + literal_column("1")).where(
            walk.c.tag.is_not(None), walk.c.number < literal_column(str(MOST_TAGS))
        )
    )
    is_last = walk.c.number == literal_column(str(MOST_TAGS))
    return select(walk.c.tag, walk.c.number).where(walk.c.tag.is_not(None), or_(_Like(walk.c.tag), is_last))


_slash: ColumnElement[str] = literal_column("'/'")
_slashed = _slash + repository.c.name + _slash


def _repositories(*where: ColumnElement[bool]) -> Select[Any]:
    """Select the first `count` repositories after `low`, by name, that meet a condition. With the limit, a server's plan can end early."""
    return (
        select(repository.c.id, repository.c.name)
        .where(*where, repository.c.name > bindparam("low"))
        .order_by(repository.c.name)
        .limit(bindparam("count", type_=BigInteger))
    )


def _has(column: ColumnElement[str]) -> ColumnElement[bool]:
    """Return the condition that a text matches the pattern in `part`.

    On PostgreSQL it is case-sensitive, and takes half the time of _Like.
    """
    return column.like(bindparam("part", type_=String), escape="\\")


STATEMENTS: dict[str, Select[Any]] = {
    "SEARCHED_STORES": select(store.c.id, store.c.name, store.c.entries)
    .where(store.c.state != "missing")
    .order_by(store.c.priority, store.c.name),
    # Only the registry of a repository may have capitals, and hardly any has. A separate index finds these repositories.
    "REPOSITORIES_WITH": _repositories(_has(repository.c.name)),
    "REPOSITORIES_WITH_COMPONENT": _repositories(_Component(repository.c.name)),
    "CAPITAL_REPOSITORIES_WITH": _repositories(has_capitals(repository.c.name), _Like(_slashed)),
    "NEXT_TAG_OF": select(name.c.tag)
    .select_from(name.join(entry, entry.c.id == name.c.entry_id).join(store, store.c.id == entry.c.store_id))
    .where(
        name.c.repository_id == select(repository.c.id).where(repository.c.name == _repository).scalar_subquery(),
        name.c.tag > bindparam("low"),
        store.c.state != "missing",
    )
    .order_by(name.c.tag)
    .limit(literal_column("1")),
    "FAMILIARS": select(repository.c.familiar)
    .where(repository.c.familiar >= bindparam("low"), repository.c.familiar < bindparam("high"))
    .order_by(repository.c.familiar),
    "LAST_REPOSITORY": select(func.max(repository.c.id)),
    "KEYS_OF_REPOSITORIES": select(*_KEY).select_from(_keys).where(Among(name.c.repository_id)),
    "KEYS_OF_TAG": select(*_KEY).select_from(_keys).where(name.c.tag == bindparam("tag")),
    "KEYS_OF_STORE": select(*_OF_ENTRY)
    .select_from(_entries)
    .where(entry.c.store_id == bindparam("store_id"))
    .order_by(entry.c.sort),
    "KEYS_OF_ENTRY": select(*_OF_ENTRY).select_from(_entries).where(entry.c.id == bindparam("entry_id")),
    "KEYS_OF_TAGS": select(*_KEY)
    .select_from(_keys)
    .where(name.c.tag >= bindparam("low"), name.c.tag < bindparam("high"))
    .order_by(name.c.tag),
    "COUNT_TAGS": select(func.count()).select_from(
        select(literal_column("1"))
        .select_from(name)
        .where(name.c.tag >= bindparam("low"), name.c.tag < bindparam("high"))
        .limit(MOST_COUNTED)
        .subquery()
    ),
    "TAGS_WITH": _tags_with(),
    # DISTINCT makes SQLite examine each tag once, without reading the rows of the table.
    "KEYS_WITH": select(*_KEY)
    .select_from(_keys)
    .where(
        name.c.tag.in_(select(_tags.c.tag).where(_tags.c.tag > bindparam("low"), _Like(_tags.c.tag)).distinct()),
    )
    .order_by(name.c.tag),
    "TITLES_WITH": _titles(),
}
"""The statements, by name."""
