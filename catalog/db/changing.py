"""The statements of `ocicat changes`: the moments of a host, and what changed at each moment.

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
    cast,
    func,
    literal_column,
    or_,
    select,
    union_all,
)

from catalog.db.schema import (
    answer_span,
    content,
    entry,
    moment,
    name,
    past_entry,
    past_name,
    repository,
    store_span,
)

_moment: BindParameter[int] = bindparam("moment", type_=BigInteger)
_host: BindParameter[int] = bindparam("host_id", type_=BigInteger)
_store: BindParameter[int] = bindparam("store_id", type_=BigInteger)
_content: BindParameter[int] = bindparam("content_id", type_=BigInteger)

MOMENTS_AFTER: Select[Any] = (
    select(moment.c.id, moment.c.at, moment.c.label)
    .where(moment.c.host_id == _host, moment.c.id > _moment)
    .order_by(moment.c.id)
    .limit(literal_column("1000"))
)
"""The next moments of a host, in order."""

MOMENT: Select[Any] = select(moment.c.at).where(moment.c.id == _moment, moment.c.host_id == _host)
"""The clock's time at a moment of a host; no row if the host never had such a moment, or no longer has it."""

FIRST_MOMENTS: Select[Any] = (
    select(moment.c.id, moment.c.forgotten, moment.c.label)
    .where(moment.c.host_id == _host)
    .order_by(moment.c.id)
    .limit(literal_column("2"))
)
"""The first two moments of a host. If the first is `forgotten`, retention has deleted the rows that were valid only between them."""

LAST_MOMENT: Select[Any] = (
    select(moment.c.id, moment.c.at)
    .where(moment.c.host_id == _host)
    .order_by(moment.c.id.desc())
    .limit(literal_column("1"))
)


_there = store_span
_was_there = and_(_there.c.born < _moment, or_(_there.c.gone.is_(None), _there.c.gone >= _moment))
_is_there = and_(_there.c.born <= _moment, or_(_there.c.gone.is_(None), _there.c.gone > _moment))
"""The conditions that a store existed just before a moment, and that it exists from the moment on."""
_STORE_COLUMNS = (_there.c.store_id, _there.c.born, _there.c.name.label("store"), _there.c.path)


def _changes_at() -> Select[Any]:
    """Select one row per answer of a name that ended at a moment (`is_new` 0), and one per answer that began at it (`is_new` 1).

    A name answers while its key answers and its store exists under one name (`store_span`). So its span begins when the later of
    the two begins, and ends when the earlier of the two ends.
    """
    there, over = _there, answer_span
    answers = and_(~name.c.shadowed, name.c.tag.is_not(None))
    of_store = there.join(entry, entry.c.store_id == there.c.store_id).join(name, name.c.entry_id == entry.c.id)
    of_name = name.join(entry, entry.c.id == name.c.entry_id).join(there, there.c.store_id == name.c.store_id)
    of_span = over.join(there, there.c.store_id == over.c.store_id)

    def arm(
        of: FromClause, source: FromClause, content_id: Any, *where: ColumnElement[bool], is_new: bool
    ) -> Select[Any]:
        return (
            select(
                *_STORE_COLUMNS,
                repository.c.name.label("repository"),
                of.c.tag,
                content.c.digest,
                literal_column(str(int(is_new))).label("is_new"),
            )
            .select_from(
                source.join(content, content.c.id == content_id).outerjoin(
                    repository, repository.c.id == of.c.repository_id
                )
            )
            .where(*where)
        )

    ended, began = over.c.gone == _moment, over.c.born == _moment
    all_ = union_all(
        arm(over, of_span, over.c.content_id, ended, _was_there, is_new=False),
        arm(over, of_span, over.c.content_id, began, _is_there, is_new=True),
        arm(name, of_name, entry.c.content_id, name.c.answers_from == _moment, answers, _is_there, is_new=True),
        # The store itself no longer exists, or exists again.
        *(
            part
            for edge, is_new in ((there.c.gone, False), (there.c.born, True))
            for part in (
                arm(
                    over, of_span, over.c.content_id, edge == _moment, over.c.born < _moment, over.c.gone > _moment,
                    is_new=is_new,
                ),
                arm(
                    name, of_store, entry.c.content_id, edge == _moment, name.c.answers_from < _moment, answers,
                    is_new=is_new,
                ),
            )
        ),
    ).subquery("changes")  # fmt: skip
    # By ids, and not by the names of stores, which differ from host to host, because a cursor counts these rows.
    return select(all_).order_by(
        all_.c.store_id, all_.c.born, all_.c.repository.nulls_first(), all_.c.tag, all_.c.is_new
    )


CHANGES_AT = _changes_at()

_now_named = entry.outerjoin(name, name.c.entry_id == entry.c.id)
_then_named = past_entry.outerjoin(
    past_name, and_(past_name.c.entry_id == past_entry.c.entry_id, past_name.c.gone == past_entry.c.gone)
)
"""Entries with their names. If the names of an entry change, its old row is kept in the past, with the names that it had last."""


def _unnamed_at() -> Select[Any]:
    """Select one row per entry without a tag that ended at a moment (`is_new` 0), and one per such entry that began at it (`is_new` 1).

    An entry without a tag has either a repository, if its name is `repository@digest`, or no name at all.
    """
    there = _there

    def arm(
        source: FromClause, of: FromClause, key: FromClause, *where: ColumnElement[bool], is_new: bool
    ) -> Select[Any]:
        return (
            select(
                *_STORE_COLUMNS,
                repository.c.name.label("repository"),
                content.c.digest,
                literal_column(str(int(is_new))).label("is_new"),
                and_(there.c.born < _moment, or_(there.c.gone.is_(None), there.c.gone > _moment)).label("stays"),
                of.c.content_id,
                repository.c.id.label("repository_id"),
            )
            .select_from(
                source.join(there, there.c.store_id == of.c.store_id)
                .join(content, content.c.id == of.c.content_id)
                .outerjoin(repository, repository.c.id == key.c.repository_id)
            )
            .where(key.c.tag.is_(None), *where)
        )

    past, now = (_then_named, past_entry, past_name), (_now_named, entry, name)
    all_ = union_all(
        arm(*past, past_entry.c.gone == _moment, _was_there, is_new=False),
        arm(*past, past_entry.c.born == _moment, _is_there, is_new=True),
        arm(*now, entry.c.born == _moment, _is_there, is_new=True),
        # The store itself no longer exists, or exists again.
        *(
            part
            for edge, is_new in ((there.c.gone, False), (there.c.born, True))
            for part in (
                arm(*past, edge == _moment, past_entry.c.born < _moment, past_entry.c.gone > _moment, is_new=is_new),
                arm(*now, edge == _moment, entry.c.born < _moment, is_new=is_new),
            )
        ),
    ).subquery("changes")
    return select(all_).order_by(
        all_.c.store_id, all_.c.born, all_.c.repository.nulls_first(), all_.c.digest, all_.c.is_new
    )


UNNAMED_AT = _unnamed_at()


def _unnamed_spans() -> Select[Any]:
    """Select the spans in which a store had untagged entries for a content: the id of the repository, the first and the last moment.

    There is one row per entry that ended after `moment`. The entries that have not ended share one row per repository, which begins
    with the first of them and has null as its last moment.
    """

    def mine(of: FromClause) -> ColumnElement[bool]:
        return and_(of.c.store_id == _store, of.c.content_id == _content)

    never: ColumnElement[int] = literal_column("NULL", BigInteger)
    both = union_all(
        select(name.c.repository_id, func.min(entry.c.born).label("born"), cast(never, BigInteger).label("gone"))
        .select_from(_now_named)
        .where(mine(entry), name.c.tag.is_(None))
        .group_by(name.c.repository_id),
        select(past_name.c.repository_id, past_entry.c.born, past_entry.c.gone)
        .select_from(_then_named)
        .where(mine(past_entry), past_entry.c.gone > _moment, past_name.c.tag.is_(None)),
    ).subquery("spans")
    return select(both).order_by(both.c.born)


UNNAMED_SPANS = _unnamed_spans()
