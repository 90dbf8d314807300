"""The statements of `ocicat inspect`, all about one digest. Each is a search of an index.

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
    String,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    union_all,
)

from catalog.db.schema import (
    CONFIG,
    LAYER,
    SUBJECT,
    config,
    content,
    edge,
    entry,
    manifest,
    media_type,
    name,
    platform,
    problem,
    repository,
    store,
    store_blob,
)

_digest: BindParameter[str] = bindparam("digest", type_=String)
_content: BindParameter[int] = bindparam("content_id", type_=BigInteger)
_there = store.c.state != "missing"
_MOST_COUNTED = "1001"


def _about() -> Select[Any]:
    """Select what is known about a digest from its manifest and config: one row, or no row if the digest is unknown."""
    artifact, about, subject, has, its_config = (
        media_type.alias("artifact"), edge.alias("about"), content.alias("subject"), edge.alias("has"),
        content.alias("its_config"),
    )  # fmt: skip
    return (
        select(
            content.c.id,
            content.c.kind,
            content.c.size,
            func.nullif(media_type.c.name, "").label("media_type"),
            artifact.c.name.label("artifact_type"),
            subject.c.digest.label("subject"),
            its_config.c.digest.label("config"),
            platform.c.name.label("platform"),
            config.c.created,
        )
        .select_from(
            content.outerjoin(manifest, manifest.c.content_id == content.c.id)
            .outerjoin(media_type, media_type.c.id == manifest.c.media_type_id)
            .outerjoin(artifact, artifact.c.id == manifest.c.artifact_type_id)
            .outerjoin(about, and_(about.c.parent_id == content.c.id, about.c.role == SUBJECT, about.c.position == 0))
            .outerjoin(subject, subject.c.id == about.c.child_id)
            .outerjoin(has, and_(has.c.parent_id == content.c.id, has.c.role == CONFIG, has.c.position == 0))
            .outerjoin(its_config, its_config.c.id == has.c.child_id)
            .outerjoin(config, config.c.content_id == has.c.child_id)
            .outerjoin(platform, platform.c.id == config.c.platform_id)
        )
        .where(content.c.digest == _digest)
    )


ABOUT = _about()

NAMES_OF: Select[Any] = (
    select(
        store.c.name.label("store"),
        repository.c.name.label("repository"),
        name.c.tag,
        name.c.shadowed,
        entry.c.ref_name,
        entry.c.image_name,
        entry.c.id,
    )
    .select_from(
        entry.join(store, store.c.id == entry.c.store_id)
        .outerjoin(name, name.c.entry_id == entry.c.id)
        .outerjoin(repository, repository.c.id == name.c.repository_id)
    )
    .where(entry.c.content_id == _content, _there)
    .order_by(store.c.priority, store.c.name, entry.c.sort, name.c.source.nulls_first(), name.c.id)
)
"""One row per name of each entry with this digest, and one row per entry without a name."""

HOLDERS_OF: Select[Any] = (
    select(
        store.c.id,
        store.c.name.label("store"),
        store.c.path,
        store_blob.c.size,
        store_blob.c.is_good,
        store_blob.c.verified_at,
        or_(store.c.content_pending, store.c.unlisted).label("unjudged"),
        store.c.sparse,
    )
    .select_from(store_blob.join(store, store.c.id == store_blob.c.store_id))
    .where(store_blob.c.content_id == _content, _there)
    .order_by(store.c.priority, store.c.name)
)
"""The stores that have a blob."""


_held = store_blob.alias("held")
LAYERS_OF: Select[Any] = (
    select(
        edge.c.position,
        content.c.digest,
        func.nullif(media_type.c.name, "").label("media_type"),
        func.coalesce(edge.c.size, content.c.size).label("size"),
        content.c.id,
    )
    .select_from(
        edge.join(content, content.c.id == edge.c.child_id).join(media_type, media_type.c.id == edge.c.media_type_id)
    )
    .where(edge.c.parent_id == _content, edge.c.role == LAYER)
    .order_by(edge.c.position)
)
"""The layers of a manifest."""

_parent = content.alias("parent")


def _a_name(of: ColumnElement[int]) -> ColumnElement[str]:
    """Return an expression for a name of a content, from any entry in any store; null if the content has none."""
    named, its = name.alias("named"), entry.alias("its")
    return (
        select(named.c.name)
        .select_from(its.join(named, named.c.entry_id == its.c.id))
        .where(its.c.content_id == of, named.c.name.is_not(None), ~named.c.shadowed)
        .limit(literal_column("1"))
        .correlate(_parent)
        .scalar_subquery()
    )


def _lies(of: ColumnElement[int]) -> ColumnElement[bool]:
    return select(_held.c.store_id).where(_held.c.content_id == of).correlate(_parent).exists()


SHARING: Select[Any] = (
    select(_parent.c.digest, _a_name(_parent.c.id).label("name"))
    .select_from(edge.join(_parent, _parent.c.id == edge.c.parent_id))
    .where(edge.c.child_id == _content, edge.c.role == LAYER, _lies(_parent.c.id))
    .distinct()
    .limit(literal_column(_MOST_COUNTED))
)
"""The manifests in stores that have this blob as a layer, up to the limit of the count."""

_own, _top = manifest.alias("own"), manifest.alias("top")


def _related(*, is_base: bool) -> Select[Any]:
    """Select the images that a manifest is built on, or those built on it: a derived image has all layers of its base, and more on top."""
    layer = edge.alias("layer")
    if is_base:
        source = (
            _own.join(layer, and_(layer.c.parent_id == _own.c.content_id, layer.c.role == LAYER))
            .join(_top, and_(_top.c.chain == layer.c.chain, layer.c.position < _own.c.layers - 1))
            .join(_parent, _parent.c.id == _top.c.content_id)
        )
    else:
        source = (
            _own.join(layer, and_(layer.c.chain == _own.c.chain, layer.c.role == LAYER))
            .join(_top, and_(_top.c.content_id == layer.c.parent_id, _top.c.layers > _own.c.layers))
            .join(_parent, _parent.c.id == _top.c.content_id)
        )
    return (
        select(_parent.c.digest, _a_name(_parent.c.id).label("name"), _top.c.layers)
        .select_from(source)
        .where(_own.c.content_id == _content, _lies(_parent.c.id))
        .distinct()
        .limit(literal_column(_MOST_COUNTED))
    )


BASES_OF = _related(is_base=True)
DERIVED_FROM = _related(is_base=False)


def _problems_of() -> Select[Any]:
    """Select the recorded problems of the entries with this digest, and of its blob."""

    def arm(source: FromClause, *where: ColumnElement[bool]) -> Select[Any]:
        return (
            select(store.c.name.label("store"), problem.c.kind, problem.c.subject, problem.c.detail)
            .select_from(source)
            .where(*where, _there)
        )

    of_entries = entry.join(problem, problem.c.entry_id == entry.c.id).join(store, store.c.id == entry.c.store_id)
    of_bytes = store_blob.join(store, store.c.id == store_blob.c.store_id).join(
        problem,
        and_(
            problem.c.store_id == store_blob.c.store_id,
            problem.c.stage == 1,
            func.substr(problem.c.subject, 1, 512) == func.substr(_digest, 1, 512),
        ),
    )
    both = union_all(
        arm(of_entries, entry.c.content_id == _content),
        arm(of_bytes, store_blob.c.content_id == _content),
    ).subquery("problems")
    return select(both).distinct().order_by(both.c.store, both.c.kind, both.c.subject)


PROBLEMS_OF = _problems_of()
