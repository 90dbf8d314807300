"""The statements that answer questions (docs/architecture.md).

`make freeze` renders them into the module `frozen` of each engine, and `query` and `resolve` load only that module. A test
fails if the module is out of date. Each statement is one search of one index: tests/lookup/test_steps.py counts the steps of
SQLite's virtual machine at two sizes. Statements that find entries return the columns of MATCH, in that order. `bindparam` names
the parameters. If a sort key may be null, NULLS FIRST is explicit, because it is the default of SQLite but not of PostgreSQL.

The file is long because the statements are built from the same parts. The statements that only `diff`, `inspect` and `serve` use
are in comparing.py, inspecting.py and serving.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Dialect,
    FromClause,
    Select,
    String,
    and_,
    bindparam,
    case,
    cast,
    false,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    true,
    union,
    union_all,
)

from catalog.db.changing import (
    CHANGES_AT,
    FIRST_MOMENTS,
    LAST_MOMENT,
    MOMENT,
    MOMENTS_AFTER,
    UNNAMED_AT,
    UNNAMED_SPANS,
)
from catalog.db.comparing import PARTS, STORE_KEYS, STORE_STATES
from catalog.db.facts import STATEMENTS as FACTS
from catalog.db.fetching import ALL, FEW, WHOLE, WIDE
from catalog.db.filtering import STATEMENTS as FILTERS
from catalog.db.filtering import Among
from catalog.db.inspecting import (
    ABOUT,
    BASES_OF,
    DERIVED_FROM,
    HOLDERS_OF,
    LAYERS_OF,
    NAMES_OF,
    PROBLEMS_OF,
    SHARING,
)
from catalog.db.recursive import USED_ELSEWHERE, USER
from catalog.db.registered import NAMINGS, PLAIN_STANDINGS, ROOT_SETTINGS, STANDINGS, STORE_FILES, STORE_SETTINGS
from catalog.db.schema import (
    CHILD,
    CONFIG,
    DROPPED_INDEXES,
    INDEX,
    LAYER,
    LISTED,
    MANIFEST,
    SUBJECT,
    annotation_key,
    answer_span,
    config,
    content,
    content_annotation,
    descriptor_annotation,
    edge,
    entry,
    entry_annotation,
    host,
    left_out,
    manifest,
    media_type,
    meta,
    moment,
    name,
    name_span,
    platform,
    problem,
    referrer,
    repository,
    root,
    store,
    store_blob,
    store_span,
)
from catalog.db.searching import STATEMENTS as SEARCHES
from catalog.db.serving import STATEMENTS as SERVED

_artifact = media_type.alias("artifact")
_first = name.alias("first_name")

MATCH: dict[str, ColumnElement[Any]] = {
    "entry_id": entry.c.id,
    "store_id": store.c.id,
    "sort": entry.c.sort,
    "source": name.c.source,
    "state": store.c.state,
    "state_since": store.c.state_since,
    "priority": store.c.priority,
    "store": store.c.name,
    "path": store.c.path,
    "path_bytes": store.c.path_bytes,
    "name": name.c.name,
    "repository": repository.c.name,
    "tag": name.c.tag,
    "shadowed": name.c.shadowed,
    "ref_name": entry.c.ref_name,
    "image_name": entry.c.image_name,
    "digest": content.c.digest,
    "media_type": func.nullif(media_type.c.name, "").label("media_type"),
    "size": entry.c.size,
    "artifact_type": _artifact.c.name,
    "platform": platform.c.name,
    "indexed_at": store.c.indexed_at,
    "content_id": content.c.id,
    "content_kind": content.c.kind,
    "since": name.c.since,
    "answers_from": name.c.answers_from,
}
"""The columns of a match, by name, in the order in which catalog.lookup.match reads them."""

_OF_OBJECT = ("entry_id", "name", "repository", "tag", "shadowed", "ref_name", "image_name", "digest", "media_type", "size",
              "artifact_type", "platform", "content_id", "content_kind")  # fmt: skip

_COLUMNS = [column.label(label) for label, column in MATCH.items()]


def _display(condition: ColumnElement[bool] | None = None) -> ColumnElement[bool]:
    """Return the condition for the one key with which an entry is shown: a key that meets `condition`, else the first by source."""
    order = [] if condition is None else [case((condition, 0), else_=1)]
    first = select(_first.c.id).where(_first.c.entry_id == entry.c.id).order_by(*order, _first.c.source, _first.c.id)
    return name.c.id == first.limit(1).correlate(entry).scalar_subquery()


def _rest(tables: FromClause) -> FromClause:
    """Join the tables that describe an entry: its store, content, types and platform."""
    return (
        tables.join(store, store.c.id == entry.c.store_id)
        .join(content, content.c.id == entry.c.content_id)
        .join(media_type, media_type.c.id == entry.c.media_type_id)
        .outerjoin(_artifact, _artifact.c.id == entry.c.artifact_type_id)
        .outerjoin(platform, platform.c.id == entry.c.platform_id)
    )


def _by_key(*where: ColumnElement[bool]) -> Select[Any]:
    tables = name.join(entry, entry.c.id == name.c.entry_id)
    tables = _rest(tables).outerjoin(repository, repository.c.id == name.c.repository_id)
    return select(*_COLUMNS).select_from(tables).where(*where, store.c.state != "missing")


def _by_entry(*where: ColumnElement[bool], prefer: ColumnElement[bool] | None = None) -> Select[Any]:
    tables = (
        _rest(entry).outerjoin(name, _display(prefer)).outerjoin(repository, repository.c.id == name.c.repository_id)
    )
    return select(*_COLUMNS).select_from(tables).where(*where, store.c.state != "missing")


_KEY_ORDER = (store.c.priority, store.c.name, name.c.source, name.c.sort, name.c.id)
_ENTRY_ORDER = (store.c.priority, store.c.name, entry.c.sort)
_tag: BindParameter[str] = bindparam("tag")
_name: BindParameter[str] = bindparam("name")
_digest: BindParameter[str] = bindparam("digest")
_low: BindParameter[str] = bindparam("low")
_high: BindParameter[str] = bindparam("high")
_store: BindParameter[int] = bindparam("store_id")
_long = or_(entry.c.long_ref_name, entry.c.long_image_name)
_prefers_tag = _first.c.tag == _tag


_has_ref_name = and_(entry.c.ref_name == _tag, ~entry.c.long_ref_name)
_has_image_name = and_(entry.c.image_name == _tag, ~entry.c.long_image_name)


def _has_tag_key() -> ColumnElement[bool]:
    other = name.alias("other")
    return select(other.c.id).where(other.c.entry_id == entry.c.id, other.c.tag == _tag).correlate(entry).exists()


def _tag_anywhere() -> Select[Any]:
    """Select every entry with a tag or one of its two raw annotations equal to the text. Each of the three arms has its own index."""
    raw_only = [_by_entry(has, ~_has_tag_key()) for has in (_has_ref_name, _has_image_name)]
    arms = union_all(_by_key(name.c.tag == _tag), *raw_only).subquery("arms")
    return select(arms).order_by(
        arms.c.priority, arms.c.store, arms.c.source.nulls_first(), arms.c.sort, arms.c.name.nulls_last()
    )


def _under_repository(*where: ColumnElement[bool]) -> Select[Any]:
    asked: BindParameter[str] = bindparam("repository")
    # coalesce hides the index of repositories, which may have any number of names, so that the search is by digest.
    return _by_key(func.coalesce(repository.c.name, "") == asked, *where).order_by(
        store.c.priority, store.c.name, entry.c.sort, case((name.c.tag == _tag, 0), else_=1), name.c.source, name.c.id
    )


_content: BindParameter[int] = bindparam("content_id")
_child = content.alias("child")


def _reaching(roles: tuple[int, ...], *, in_store: bool = False) -> Select[Any]:
    """Select the entries above a digest: from the parents that refer to it in one of these roles, up through the indexes above the parents.

    Only parents in the same store count, because a program that reads the layout sees no others. UNION ends cycles. From a
    parent, only edges from an index to a manifest lead further up.
    """
    role = edge.c.role.in_([literal_column(str(one)) for one in roles])
    here = store_blob.c.content_id == edge.c.parent_id
    start = (
        select(store_blob.c.store_id.label("store_id"), edge.c.parent_id.label("content_id"))
        .select_from(_child.join(edge, edge.c.child_id == _child.c.id).join(store_blob, here))
        .where(_child.c.digest == _digest, role, *([store_blob.c.store_id == _store] if in_store else []))
    )
    up = start.cte("up", recursive=True)
    step = (
        select(up.c.store_id, edge.c.parent_id)
        .select_from(
            up.join(edge, edge.c.child_id == up.c.content_id).join(
                store_blob, and_(store_blob.c.store_id == up.c.store_id, here)
            )
        )
        .where(edge.c.role == CHILD)
    )
    up = up.union(step)
    tables = up.join(entry, and_(entry.c.content_id == up.c.content_id, entry.c.store_id == up.c.store_id))
    tables = _rest(tables).outerjoin(name, _display()).outerjoin(repository, repository.c.id == name.c.repository_id)
    order = (entry.c.sort,) if in_store else _ENTRY_ORDER
    return select(*_COLUMNS).select_from(tables).where(store.c.state != "missing").order_by(*order)


def _referrers_of() -> Select[Any]:
    """Select the referrers of a digest, one row for each way in which they refer to it (catalog.ingest.referrals).

    The children of the list of a full fallback tag count only by their own subjects, so the list needs no arm here.
    """
    subject, by, own_subject = content.alias("subject"), content.alias("by"), edge.alias("own_subject")
    said = (
        select(by.c.digest.label("digest"), referrer.c.how.label("how"), by.c.id.label("content_id"))
        .select_from(
            subject.join(referrer, referrer.c.subject_id == subject.c.id).join(by, by.c.id == referrer.c.referrer_id)
        )
        .where(subject.c.digest == _digest, by.c.id != subject.c.id, referrer.c.how.not_in(_words("fallback", "cut")))
    )
    # Each list once, however many tags point to it.
    lists = (
        select(referrer.c.referrer_id)
        .select_from(subject.join(referrer, referrer.c.subject_id == subject.c.id))
        .where(subject.c.digest == _digest, referrer.c.how.in_(_words("cut")))
        .distinct()
        .subquery("lists")
    )
    cut = (
        select(by.c.digest, literal_column("'cut'"), by.c.id)
        .select_from(
            lists.join(edge, and_(edge.c.parent_id == lists.c.referrer_id, edge.c.role == CHILD))
            .join(manifest, manifest.c.content_id == edge.c.child_id)
            .join(by, by.c.id == edge.c.child_id)
        )
        .where(
            ~select(literal_column("1"))
            .select_from(own_subject)
            .where(own_subject.c.parent_id == by.c.id, own_subject.c.role == SUBJECT)
            .correlate(by)
            .exists(),
        )
    )
    own = (
        select(by.c.digest, literal("subject").label("how"), by.c.id)
        .select_from(subject.join(edge, edge.c.child_id == subject.c.id).join(by, by.c.id == edge.c.parent_id))
        .where(subject.c.digest == _digest, edge.c.role == SUBJECT)
    )
    all_ = union(said, cut, own).subquery("referrers")
    return select(all_.c.digest, all_.c.how, all_.c.content_id).order_by(all_.c.digest, all_.c.how)


def _words(*words: str) -> list[ColumnElement[str]]:
    """Return the strings as literals in the text of a statement, not as parameters."""
    return [literal_column(f"'{word}'") for word in words]


def _lying(*where: ColumnElement[bool]) -> Select[Any]:
    """Select the manifests and indexes in stores that no entry reaches, with the columns of MATCH. They have no name.

    `entry_id` is a negative number, unique per manifest and store.
    """
    # coalesce hides the index of unlisted blobs, so that the search is by digest, which has few rows.
    said_type = media_type.alias("said_type")
    instead: dict[str, ColumnElement[Any]] = {
        "entry_id": -(content.c.id * 2147483648 + store.c.id),
        "sort": literal_column("0"),
        "media_type": func.nullif(said_type.c.name, ""),
        "size": content.c.size,
        "shadowed": false(),
    }
    absent = {"source", "name", "repository", "tag", "ref_name", "image_name", "platform", "since", "answers_from"}
    columns = [
        (cast(null(), column.type) if key in absent else instead.get(key, column)).label(key)
        for key, column in MATCH.items()
    ]
    tables = (
        content.join(manifest, manifest.c.content_id == content.c.id)
        .join(said_type, said_type.c.id == manifest.c.media_type_id)
        .outerjoin(_artifact, _artifact.c.id == manifest.c.artifact_type_id)
        .join(
            store_blob,
            and_(store_blob.c.content_id == content.c.id, func.coalesce(store_blob.c.reach, LISTED) < LISTED),
        )
        .join(store, store.c.id == store_blob.c.store_id)
    )
    return select(*columns).select_from(tables).where(store.c.state != "missing", *where)


SPAN = (
    "store_id",
    "store",
    "path",
    "path_bytes",
    "priority",
    "repository",
    "tag",
    "name",
    "digest",
    "since",
    "until",
    "origin",
    "began",
    "ended",
    "host_id",
)
"""The columns of the statements about spans. `until` is null if the span has not ended; `origin` is null if ocicat saw it.

`began` and `ended` are moments: 0 for before the first moment, null if the span has not ended.
"""


def _needed() -> Select[Any]:
    """Select the blobs that an image needs (the manifest, the config, the layers), and what is known about each in a store.

    `held` is the size of the blob in the store, or null if it is not there. Layers that may be absent from a layout are left out.
    """

    def arm(role: ColumnElement[int], of: FromClause, expected: ColumnElement[int | None]) -> list[ColumnElement[Any]]:
        blob = store_blob.c
        return [
            role.label("role"), of.c.id, of.c.digest, of.c.kind, expected.label("expected"), blob.size.label("held"),
            blob.is_good, blob.embedded,
        ]  # fmt: skip

    def here(of: FromClause) -> ColumnElement[bool]:
        return and_(store_blob.c.store_id == _store, store_blob.c.content_id == of.c.id)

    itself = (
        select(*arm(literal_column(str(CHILD)), content, content.c.size), literal_column("0").label("position"))
        .select_from(content.outerjoin(store_blob, here(content)))
        .where(content.c.digest == _digest)
    )
    below = (
        select(*arm(edge.c.role, _child, func.coalesce(edge.c.size, _child.c.size)), edge.c.position)
        .select_from(
            content.join(edge, edge.c.parent_id == content.c.id)
            .join(_child, _child.c.id == edge.c.child_id)
            .outerjoin(store_blob, here(_child))
        )
        .where(
            content.c.digest == _digest,
            edge.c.role.in_([literal_column(str(role)) for role in (CONFIG, LAYER)]),
            ~edge.c.is_foreign,
        )
    )
    both = union_all(itself, below).subquery("needed")
    columns = [column for column in both.c if column.name != "position"]
    return select(*columns).order_by(both.c.role, both.c.position)


def _spans(recorded: ColumnElement[bool], past: ColumnElement[bool], current: ColumnElement[bool]) -> Select[Any]:
    """Select the spans of names: those that layouts record (or that catalogs before schema 1.2 saw), those that have ended,
    and those that have not.

    A span that ocicat saw lasts as long as the key answered and the store existed under one name. If one of its moments is
    forgotten, the recorded time of the clock is used instead.
    """

    def arm(of: FromClause, there: Any, source: FromClause, content_id: ColumnElement[int], *more: Any) -> Select[Any]:
        columns = (
            there.c.store_id if there is store_span else store.c.id, there.c.name, there.c.path, there.c.path_bytes,
            there.c.priority, repository.c.name, of.c.tag, of.c.name, content.c.digest, *more, there.c.host_id,
        )  # fmt: skip
        tables = source.join(content, content.c.id == content_id).outerjoin(
            repository, repository.c.id == of.c.repository_id
        )
        return select(*(c.label(label) for c, label in zip(columns, SPAN, strict=True))).select_from(tables)

    def seen(of: FromClause, source: FromClause, born: Any, gone: Any, until: Any, content_id: Any) -> Select[Any]:
        began, ended = moment.alias("began"), moment.alias("ended")
        is_later = born >= store_span.c.born
        is_first = (
            store_span.c.gone.is_(None) if gone is None else or_(store_span.c.gone.is_(None), gone <= store_span.c.gone)
        )
        end = store_span.c.gone if gone is None else case((is_first, gone), else_=store_span.c.gone)
        start = case((is_later, born), else_=store_span.c.born)
        since = case((is_later, of.c.since), else_=store_span.c.since)
        last = store_span.c.until if gone is None else case((is_first, until), else_=store_span.c.until)
        tables = (
            source.join(store_span, store_span.c.store_id == of.c.store_id)
            .outerjoin(began, began.c.id == start)
            .outerjoin(ended, ended.c.id == end)
        )
        overlap = [or_(store_span.c.gone.is_(None), store_span.c.gone > born)]
        if gone is not None:
            overlap.append(store_span.c.born < gone)
        return arm(
            of, store_span, tables, content_id, func.coalesce(began.c.label, since), func.coalesce(ended.c.label, last),
            null(), start, end,
        ).where(*overlap)  # fmt: skip

    by_record = arm(
        name_span, store, name_span.join(store, store.c.id == name_span.c.store_id), name_span.c.content_id,
        name_span.c.since, name_span.c.until, name_span.c.origin, literal_column("0"), null(),
    ).where(recorded)  # fmt: skip
    by_ended = seen(
        answer_span, answer_span, answer_span.c.born, answer_span.c.gone, answer_span.c.until, answer_span.c.content_id
    ).where(past)
    by_current = seen(
        name, name.join(entry, entry.c.id == name.c.entry_id), name.c.answers_from, None, None, entry.c.content_id
    ).where(current, ~name.c.shadowed, name.c.tag.is_not(None))
    both = union_all(by_record, by_ended, by_current).subquery("spans")
    return select(both).order_by(both.c.since, both.c.priority, both.c.store, both.c.name.nulls_first(), both.c.tag)


def _spans_where(condition: Callable[[Any], ColumnElement[bool]]) -> Select[Any]:
    """Select the spans that meet a condition on the columns of their table."""
    return _spans(condition(name_span.c), condition(answer_span.c), condition(name.c))


def _next(column: ColumnElement[str], *where: ColumnElement[bool]) -> Select[Any]:
    """Select the least value in a range. Completion uses it to jump from one value to the next."""
    return select(column).where(column >= _low, column < _high, *where).order_by(column).limit(literal_column("1"))


_is_an_entrys = select(entry.c.id).where(entry.c.content_id == content.c.id).correlate(content).exists()
_in_store = name.c.store_id == _store
_entry_in_store = entry.c.store_id == _store


def _is_whole(of: FromClause) -> ColumnElement[bool]:
    """Return the condition that a blob of a store has the right size for its digest; true if that size is unknown."""
    return or_(store_blob.c.embedded, of.c.size.is_(None), store_blob.c.size == of.c.size)


STATEMENTS: dict[str, Select[Any]] = {
    "SCHEMA_VERSION": select(meta.c.value).where(meta.c.key == "schema"),
    # over all stores
    "BY_NAME": _by_key(name.c.name == _name).order_by(*_KEY_ORDER),
    "ANSWERS_BY_NAME": _by_key(name.c.name == _name, ~name.c.shadowed).order_by(*_KEY_ORDER),
    "BY_TAG": _tag_anywhere(),
    # A ref.name or image name that is too long for an index is searched for among the entries that have such long names.
    "BY_LONG_RAW": _by_entry(or_(entry.c.ref_name == _tag, entry.c.image_name == _tag), _long).order_by(*_ENTRY_ORDER),
    "BY_DIGEST": _by_entry(content.c.digest == _digest).order_by(*_ENTRY_ORDER),
    "BY_DIGEST_RANGE": _by_entry(content.c.digest >= _low, content.c.digest < _high).order_by(
        content.c.digest, *_ENTRY_ORDER
    ),
    "BY_REPOSITORY_DIGEST": _under_repository(content.c.digest == _digest),
    "BY_REPOSITORY": _by_key(repository.c.name == bindparam("repository")).order_by(
        name.c.tag.nulls_first(), *_KEY_ORDER
    ),
    "BY_NAME_RANGE": _by_key(name.c.name >= _low, name.c.name < _high).order_by(name.c.name, *_KEY_ORDER),
    "BY_ANY_NAME": _by_key(name.c.name.is_not(None)).order_by(name.c.name, *_KEY_ORDER),
    "BY_TAG_RANGE": _by_key(name.c.tag >= _low, name.c.tag < _high).order_by(name.c.tag, *_KEY_ORDER),
    "BY_ANY_TAG": _by_key(name.c.tag.is_not(None)).order_by(name.c.tag, *_KEY_ORDER),
    # in one store
    "STORE_ENTRIES": _by_entry(_entry_in_store).order_by(entry.c.sort),
    # The cells of a line, all as text, for catalog.cli.lines. The caller knows the store.
    "STORE_LINES": select(
        func.coalesce(name.c.name, ""),
        func.coalesce(name.c.tag, ""),
        func.coalesce(entry.c.ref_name, ""),
        content.c.digest,
        media_type.c.name,
        func.coalesce(cast(entry.c.size, String), ""),
    )
    .select_from(
        entry.join(content, content.c.id == entry.c.content_id)
        .join(media_type, media_type.c.id == entry.c.media_type_id)
        .outerjoin(name, _display())
    )
    .where(_entry_in_store)
    .order_by(entry.c.sort),
    # The columns of an entry's object, except those of its store, for catalog.cli.objects.
    "STORE_OBJECTS": select(*(MATCH[column].label(column) for column in _OF_OBJECT))
    .select_from(
        entry.join(content, content.c.id == entry.c.content_id)
        .join(media_type, media_type.c.id == entry.c.media_type_id)
        .outerjoin(_artifact, _artifact.c.id == entry.c.artifact_type_id)
        .outerjoin(platform, platform.c.id == entry.c.platform_id)
        .outerjoin(name, _display())
        .outerjoin(repository, repository.c.id == name.c.repository_id)
    )
    .where(_entry_in_store)
    .order_by(entry.c.sort),
    # The condition on `shadowed` allows both values, so that the index search includes the store; every store may have the name.
    "STORE_ANSWER_BY_NAME": _by_key(name.c.name == _name, ~name.c.shadowed, _in_store),
    "STORE_BY_NAME": _by_key(name.c.name == _name, name.c.shadowed.in_([false(), true()]), _in_store).order_by(
        name.c.source, name.c.sort, name.c.id
    ),
    "STORE_BY_IMAGE_NAME": _by_entry(_has_image_name, _entry_in_store, prefer=_prefers_tag).order_by(entry.c.sort),
    "STORE_BY_REF_NAME": _by_entry(_has_ref_name, _entry_in_store, prefer=_prefers_tag).order_by(entry.c.sort),
    # `+ 0` hides the index on the store, because a search in it would visit all entries of the store.
    "STORE_BY_LONG_REF_NAME": _by_entry(entry.c.ref_name == _tag, _long, entry.c.store_id + 0 == _store).order_by(
        entry.c.sort
    ),
    "STORE_BY_TAG": _by_key(name.c.tag == _tag, _in_store).order_by(name.c.source, name.c.sort, name.c.id),
    "STORE_BY_REF_TAIL": _by_entry(entry.c.ref_tail == _tag, _entry_in_store).order_by(entry.c.sort),
    "STORE_BY_DIGEST": _by_entry(content.c.digest == _digest, _entry_in_store).order_by(entry.c.sort),
    "STORE_BY_REPOSITORY_DIGEST": _under_repository(content.c.digest == _digest, entry.c.store_id == _store),
    # details of a match that are not in its row
    "ENTRY_KEYS": select(repository.c.name, name.c.tag, name.c.name)
    .select_from(name.outerjoin(repository, repository.c.id == name.c.repository_id))
    .where(name.c.entry_id == bindparam("entry_id"))
    .order_by(name.c.source, name.c.id),
    "ENTRY_ANNOTATIONS": select(annotation_key.c.name, entry_annotation.c.value)
    .select_from(entry_annotation.join(annotation_key, annotation_key.c.id == entry_annotation.c.key_id))
    .where(entry_annotation.c.entry_id == bindparam("entry_id"))
    .order_by(annotation_key.c.name),
    # the same for many entries
    "NAMES_OF_ENTRIES": select(name.c.entry_id, name.c.name)
    .where(Among(name.c.entry_id), name.c.name.is_not(None))
    .order_by(name.c.entry_id, name.c.source, name.c.id),
    "ANNOTATIONS_OF_ENTRIES": select(entry_annotation.c.entry_id, annotation_key.c.name, entry_annotation.c.value)
    .select_from(entry_annotation.join(annotation_key, annotation_key.c.id == entry_annotation.c.key_id))
    .where(Among(entry_annotation.c.entry_id)),
    "HAS_BLOBS": select(store_blob.c.content_id).where(store_blob.c.store_id == _store).limit(literal_column("1")),
    # stores
    "STORE_NAMES": select(store.c.id, store.c.name).order_by(store.c.priority, store.c.name),
    "STORES": select(
        store.c.id,
        store.c.name,
        store.c.path,
        store.c.state,
        store.c.state_since,
        store.c.error,
        store.c.entries,
        store.c.naming,
        store.c.priority,
        store.c.indexed_at,
        store.c.changed_at,
        store.c.shared_blobs,
        host.c.name.label("host"),
        store.c.shared_as,
        store.c.sparse,
        store.c.archive,
        case(
            (
                store.c.state.not_in([literal_column("'ok'"), literal_column("'empty'")]),
                literal_column("'the store is ' || store.state"),
            ),
            (store.c.content_pending, literal_column("'its manifests are not all read yet'")),
            (store.c.doubt.is_not(None), literal_column("store.doubt || ' ' || store.doubt_reason")),
            (store.c.shares, literal_column(f"{USER} || ' ' || {USED_ELSEWHERE}")),
        ).label("unjudged"),
    )
    .select_from(store.join(host, host.c.id == store.c.host_id))
    .order_by(store.c.priority, store.c.name),
    "STORE_BY_NAME_OR_PATH": select(
        store.c.id,
        store.c.name,
        store.c.path,
        store.c.state,
        store.c.state_since,
        store.c.elements,
        store.c.entries,
    ).where(or_(store.c.name == bindparam("store_name"), store.c.path == bindparam("path"))),
    "STORE_INDEX": select(store.c.path, store.c.path_bytes, store.c.sha256).where(store.c.id == _store),
    # below entries (content)
    "REACHING": _reaching((CHILD,)),
    "STORE_REACHING": _reaching((CHILD,), in_store=True),
    "CONTAINING": _reaching((CHILD, CONFIG, LAYER)),
    "PARENTS": select(store_blob.c.store_id, edge.c.parent_id)
    .select_from(edge.join(store_blob, store_blob.c.content_id == edge.c.parent_id))
    .where(edge.c.child_id == _content, edge.c.role == CHILD)
    .distinct(),
    "BY_CONTENT": _by_entry(entry.c.content_id == _content),
    # without an entry above them
    "LYING": _lying(content.c.digest == _digest).order_by(store.c.priority, store.c.name),
    "STORE_LYING": _lying(content.c.digest == _digest, store.c.id == _store),
    "CONTENTS_IN_RANGE": select(content.c.digest, content.c.id)
    .where(content.c.digest >= _low, content.c.digest < _high)
    .order_by(content.c.digest),
    "EDGE_TO": select(content.c.id, content.c.kind, func.nullif(media_type.c.name, "").label("media_type"), edge.c.size)
    .select_from(
        content.join(edge, edge.c.child_id == content.c.id).join(media_type, media_type.c.id == edge.c.media_type_id)
    )
    .where(content.c.digest == _digest, edge.c.role == CHILD)
    .order_by(edge.c.parent_id, edge.c.position)
    .limit(1),
    "CHILDREN": select(
        _child.c.id,
        _child.c.digest,
        _child.c.kind,
        platform.c.name,
        func.nullif(media_type.c.name, "").label("media_type"),
        edge.c.size,
        select(store_blob.c.content_id)
        .where(store_blob.c.store_id == _store, store_blob.c.content_id == _child.c.id, _is_whole(_child))
        .exists()
        .label("is_here"),
    )
    .select_from(
        edge.join(_child, _child.c.id == edge.c.child_id)
        .join(media_type, media_type.c.id == edge.c.media_type_id)
        .outerjoin(platform, platform.c.id == edge.c.platform_id)
    )
    .where(edge.c.parent_id == _content, edge.c.role == CHILD)
    .order_by(edge.c.position),
    "IS_HERE": select(store_blob.c.size)
    .select_from(store_blob.join(content, content.c.id == store_blob.c.content_id))
    .where(store_blob.c.store_id == _store, store_blob.c.content_id == _content, _is_whole(content)),
    "NEEDED": _needed(),
    "CONFIG_OF": select(
        platform.c.name,
        select(store_blob.c.content_id)
        .select_from(store_blob.join(content, content.c.id == store_blob.c.content_id))
        .where(store_blob.c.store_id == _store, store_blob.c.content_id == edge.c.child_id, _is_whole(content))
        .exists()
        .label("is_here"),
    )
    .select_from(
        edge.join(config, config.c.content_id == edge.c.child_id).join(platform, platform.c.id == config.c.platform_id)
    )
    .where(edge.c.parent_id == _content, edge.c.role == CONFIG),
    "ARTIFACT_TYPE_OF": select(func.nullif(func.coalesce(_artifact.c.name, media_type.c.name), ""))
    .select_from(
        manifest.outerjoin(_artifact, _artifact.c.id == manifest.c.artifact_type_id)
        .outerjoin(edge, and_(edge.c.parent_id == manifest.c.content_id, edge.c.role == CONFIG))
        .outerjoin(media_type, media_type.c.id == edge.c.media_type_id)
    )
    .where(manifest.c.content_id == _content),
    "CONTENT_ANNOTATIONS": select(annotation_key.c.name, content_annotation.c.value)
    .select_from(content_annotation.join(annotation_key, annotation_key.c.id == content_annotation.c.key_id))
    .where(content_annotation.c.content_id == _content, ~content_annotation.c.is_label),
    "DESCRIPTOR_ANNOTATIONS": select(annotation_key.c.name, descriptor_annotation.c.value)
    .select_from(descriptor_annotation.join(annotation_key, annotation_key.c.id == descriptor_annotation.c.key_id))
    .where(descriptor_annotation.c.content_id == _content),
    "LABELS_OF": select(annotation_key.c.name, content_annotation.c.value)
    .select_from(
        edge.join(content_annotation, content_annotation.c.content_id == edge.c.child_id).join(
            annotation_key, annotation_key.c.id == content_annotation.c.key_id
        )
    )
    .where(edge.c.parent_id == _content, edge.c.role == CONFIG, content_annotation.c.is_label),
    "REFERRERS_OF": _referrers_of(),
    "PENDING": select(store.c.id).where(store.c.content_pending, store.c.state != "missing"),
    # whether the catalog is up to date (--fresh)
    "STORE_FILES": STORE_FILES,
    "STORE_SETTINGS": STORE_SETTINGS,
    "ROOTS": ROOT_SETTINGS,
    "PINNED": select(store.c.name, entry.c.image_name, entry.c.ref_name, content.c.digest)
    .select_from(
        problem.join(entry, entry.c.id == problem.c.entry_id)
        .join(store, store.c.id == entry.c.store_id)
        .join(content, content.c.id == entry.c.content_id)
    )
    .where(problem.c.kind == "name-digest", store.c.state != "missing")
    .order_by(store.c.priority, store.c.name, entry.c.sort)
    .limit(1000),
    "LEFT_OUT": select(left_out.c.path),
    "HOSTS": select(host.c.id).order_by(host.c.id),
    "HOST_BY_NAME": select(host.c.id).where(host.c.name == bindparam("host_name", type_=String)),
    "STORES_OF_HOST": select(store.c.id).where(store.c.host_id == bindparam("host_id", type_=BigInteger)),
    "STANDINGS": STANDINGS,
    "PLAIN_STANDINGS": PLAIN_STANDINGS,
    "NAMINGS": NAMINGS,
    "PRUNED": select(meta.c.value).where(meta.c.key == "pruned_ms"),
    "DROPPED_INDEXES": select(meta.c.value).where(meta.c.key == DROPPED_INDEXES),
    # completion in a shell
    "NEXT_NAME": _next(name.c.name),
    "NEXT_TAG": _next(name.c.tag),
    "NEXT_DIGEST": _next(content.c.digest),
    "IS_MANIFEST": select(content.c.id).where(
        content.c.digest == _digest,
        or_(content.c.kind.in_([literal_column(str(kind)) for kind in (MANIFEST, INDEX)]), _is_an_entrys),
    ),
    "NEXT_REPOSITORY": _next(repository.c.name),
    "NEXT_FAMILIAR": _next(repository.c.familiar),
    "NEXT_STORE": _next(store.c.name),
    "NEXT_ROOT": _next(root.c.name),
    # the past: spans that have ended, then those that have not
    "SPANS_BY_NAME": _spans_where(lambda of: of.name == _name),
    "SPANS_BY_TAG": _spans_where(lambda of: of.tag == _tag),
    "SPANS_BY_DIGEST": _spans(*[content.c.digest == _digest] * 3),
    "SPANS_BY_NAME_RANGE": _spans_where(lambda of: and_(of.name >= _low, of.name < _high)),
    "SPANS_BY_TAG_RANGE": _spans_where(lambda of: and_(of.tag >= _low, of.tag < _high)),
    "SPANS": _spans(*[true()] * 3),
    # comparing stores, and images
    "STORE_STATES": STORE_STATES,
    "STORE_KEYS": STORE_KEYS,
    "PARTS": PARTS,
    # all about one digest
    "ABOUT": ABOUT,
    "NAMES_OF": NAMES_OF,
    "HOLDERS_OF": HOLDERS_OF,
    "LAYERS_OF": LAYERS_OF,
    "SHARING": SHARING,
    "BASES_OF": BASES_OF,
    "DERIVED_FROM": DERIVED_FROM,
    "PROBLEMS_OF": PROBLEMS_OF,
    # following changes
    "MOMENTS_AFTER": MOMENTS_AFTER,
    "MOMENT": MOMENT,
    "FIRST_MOMENTS": FIRST_MOMENTS,
    "LAST_MOMENT": LAST_MOMENT,
    "CHANGES_AT": CHANGES_AT,
    "UNNAMED_AT": UNNAMED_AT,
    "UNNAMED_SPANS": UNNAMED_SPANS,
    # finding a part of a name
    "BY_KEYS": _by_key(Among(name.c.id)),
    **SEARCHES,
    **FACTS,
    # the filters of `query`
    "BY_ENTRIES": _by_entry(Among(entry.c.id)),
    **FILTERS,
    "COUNT_REPOSITORY": select(func.count()).select_from(
        select(literal_column("1"))
        .select_from(repository.join(name, name.c.repository_id == repository.c.id))
        .where(repository.c.name == bindparam("repository"))
        .limit(1000)
        .subquery()
    ),
    # serving the layouts
    **SERVED,
    "COUNT_TAG": select(func.count()).select_from(
        select(literal_column("1")).select_from(name).where(name.c.tag == _tag).limit(1000).subquery()
    ),
}

FETCH: dict[str, str] = {
    **dict.fromkeys(
        ("BY_NAME", "ANSWERS_BY_NAME", "BY_TAG", "BY_LONG_RAW", "BY_DIGEST", "BY_REPOSITORY_DIGEST", "STORE_BY_NAME",
         "STORE_BY_IMAGE_NAME", "STORE_BY_REF_NAME", "STORE_BY_LONG_REF_NAME", "STORE_BY_TAG", "STORE_BY_REF_TAIL",
         "STORE_BY_DIGEST", "STORE_BY_REPOSITORY_DIGEST", "LYING", "REACHING", "STORE_REACHING", "CONTAINING", "PARENTS", "BY_CONTENT",
         "CONTENTS_IN_RANGE", "REFERRERS_OF", "PARTS", "FAMILIARS", "NAMES_OF", "HOLDERS_OF", "LAYERS_OF", "SPANS_BY_NAME", "SPANS_BY_TAG", "SPANS_BY_DIGEST", "HOLDING"),
        FEW,
    ),
    **dict.fromkeys(
        ("KEYS_OF_REPOSITORIES", "KEYS_OF_TAG", "KEYS_OF_TAGS", "KEYS_OF_STORE",
         "BY_DIGEST_RANGE", "BY_REPOSITORY", "BY_NAME_RANGE", "BY_TAG_RANGE", "SPANS_BY_NAME_RANGE", "SPANS_BY_TAG_RANGE",
         "CHANGES_AT", "LABELLED", "ANNOTATED", "ANNOTATED_BELOW", "ANNOTATED_ENTRIES", "NAMED_BY_REF", "NAMED_BY_IMAGE", "NAMED_AT_LENGTH",
         "ABOVE_CONFIGS", "ABOVE_CONTENTS", "SURELY_FOR_PLATFORMS", "PERHAPS_FOR_PLATFORMS", "OF_PLATFORMS", "OF_ARTIFACT_TYPES", "ENTRIES_OF",
         "ENTRIES_IN_ORDER", "CLAIMING_PLATFORMS", "CLAIMING_ARTIFACT_TYPES", "ANSWERING_FROM",
         "UNNAMED_AT", "TAGS_AFTER"),  # the last two have few rows, but their generic plans read too much; only a cursor is planned anew
        WIDE,
    ),
    **dict.fromkeys(("KEYS_WITH", "BY_ANY_NAME", "BY_ANY_TAG", "STORE_ENTRIES", "STORE_LINES", "STORE_OBJECTS", "STORE_KEYS", "SPANS",
                     "KEYS_OF_ANNOTATIONS", "MEDIA_TYPES", "PLATFORMS", "OF_MEDIA_TYPES", "WITHOUT_KEYS", "COUNT_OF_STORES"), ALL),
    **dict.fromkeys(("SEARCHED_STORES", "REPOSITORIES_WITH", "REPOSITORIES_WITH_COMPONENT", "CAPITAL_REPOSITORIES_WITH", "TITLES_WITH"), WHOLE),
}  # fmt: skip
"""Hints on how to fetch rows from a server (catalog.db.fetching); ONE for all other statements."""


def render(statement: Select[Any], dialect: Dialect) -> str:
    """Return the statement as one line of text for `dialect`, with named parameters."""
    compiled = statement.compile(dialect=dialect)
    text = " ".join(str(compiled).split())
    for key, value in sorted(compiled.params.items(), reverse=True):  # param_10 before param_1, which is its prefix
        if value is not None:  # a constant ('missing', ''), written as a literal so that callers need not bind it
            literal = f"'{value}'" if isinstance(value, str) else str(value)
            text = text.replace(f":{key}", literal)
    return text
