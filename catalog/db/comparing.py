"""The statements for comparing stores and images: the digests that the names of a store mean, and the parts of an image.

catalog/db/statements.py includes them under their names.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, and_, bindparam, func, literal_column, select

from catalog.db.schema import (
    CHILD,
    CONFIG,
    LAYER,
    config,
    content,
    edge,
    entry,
    manifest,
    media_type,
    name,
    platform,
    repository,
    store,
)

_parent, _child = content.alias("parent"), content.alias("child")

STORE_STATES: Select[Any] = select(store.c.id, store.c.name, store.c.path, store.c.state, store.c.state_since).order_by(
    store.c.priority, store.c.name
)
"""Every store with its state, in the order in which stores answer."""

STORE_KEYS: Select[Any] = (
    select(repository.c.name, name.c.tag, name.c.shadowed, content.c.digest)
    .select_from(
        entry.join(store, store.c.id == entry.c.store_id)
        .join(content, content.c.id == entry.c.content_id)
        .outerjoin(name, name.c.entry_id == entry.c.id)
        .outerjoin(repository, repository.c.id == name.c.repository_id)
    )
    .where(entry.c.store_id == bindparam("store_id", type_=BigInteger), store.c.state != "missing")
)
"""One row per name of each entry of a store, and one per entry without a name. No rows for a missing store."""


def _parts() -> Select[Any]:
    """Select the parts of an image, in no particular order: one row per descriptor in it, and one per manifest without descriptors.

    The children of an index are followed to any depth, in whatever store they are, because an image is the same in every store.
    """
    leaf = media_type.alias("leaf")
    tree = select(content.c.id).where(content.c.digest == bindparam("digest")).cte("tree", recursive=True)
    tree = tree.union(
        select(edge.c.child_id)
        .select_from(tree.join(edge, edge.c.parent_id == tree.c.id).join(leaf, leaf.c.id == edge.c.media_type_id))
        .where(edge.c.role == CHILD, ~leaf.c.is_leaf)
    )
    own = platform.alias("own")
    roles: list[ColumnElement[int]] = [literal_column(str(role)) for role in (CHILD, CONFIG, LAYER)]
    return select(
        _parent.c.digest,
        _parent.c.kind,
        _parent.c.size,
        manifest.c.flaws,
        edge.c.role,
        _child.c.digest.label("child_digest"),
        _child.c.kind.label("child_kind"),
        func.coalesce(edge.c.size, _child.c.size).label("child_size"),
        media_type.c.name.label("media_type"),
        media_type.c.is_leaf,
        platform.c.name.label("platform"),
        own.c.name.label("own_platform"),
    ).select_from(
        tree.join(_parent, _parent.c.id == tree.c.id)
        .outerjoin(manifest, manifest.c.content_id == tree.c.id)
        .outerjoin(edge, and_(edge.c.parent_id == tree.c.id, edge.c.role.in_(roles)))
        .outerjoin(_child, _child.c.id == edge.c.child_id)
        .outerjoin(media_type, media_type.c.id == edge.c.media_type_id)
        .outerjoin(platform, platform.c.id == edge.c.platform_id)
        .outerjoin(config, config.c.content_id == edge.c.child_id)
        .outerjoin(own, own.c.id == config.c.platform_id)
    )


PARTS = _parts()
