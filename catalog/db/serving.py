"""The statements of `ocicat serve`: which stores have a blob, what embeds it, and pages of tags and repositories by keyset.

catalog/db/statements.py includes them under their names.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Integer,
    Select,
    String,
    bindparam,
    false,
    func,
    or_,
    select,
)

from catalog.db.filtering import Among
from catalog.db.registered import BY_NAME
from catalog.db.schema import content, edge, entry, name, repository, root, store, store_blob

_digest: BindParameter[str] = bindparam("digest", type_=String)
_low: BindParameter[str] = bindparam("low", type_=String)
_count: BindParameter[int] = bindparam("count", type_=Integer)
_low_store: BindParameter[int] = bindparam("low_store", type_=BigInteger)
THERE: ColumnElement[bool] = store.c.state != "missing"
"""The condition that a store can be read; in a catalog of many hosts, that it is also on this host (catalog.db.hosts)."""

_PLACE = (
    store.c.id, store.c.name.label("store"), store.c.state, store.c.path, store.c.path_bytes,
    root.c.path.label("root_path"), root.c.path_bytes.label("root_path_bytes"), BY_NAME, store.c.shared_blobs,
    store.c.shared_blobs_bytes,
)  # fmt: skip
"""The columns of catalog.lookup.holders.StorePlace."""

_claimed = (
    select(edge.c.size)
    .where(edge.c.child_id == content.c.id, edge.c.size.is_not(None))
    .order_by(edge.c.role, edge.c.position, edge.c.parent_id)
    .limit(1)
    .correlate(content)
    .scalar_subquery()
)

PLACE_OF_STORE: Select[Any] = (
    select(*_PLACE)
    .select_from(store.outerjoin(root, root.c.id == store.c.root_id))
    .where(store.c.id == bindparam("store_id", type_=BigInteger), THERE)
)
"""The place of a store, by id; no row if the store is not there."""

HOLDING: Select[Any] = (
    select(
        *_PLACE,
        store_blob.c.size,
        store_blob.c.is_good,
        store_blob.c.verified_as,
        store_blob.c.embedded,
        content.c.size.label("hashed_size"),
        _claimed.label("claimed_size"),
    )
    .select_from(
        content.join(store_blob, store_blob.c.content_id == content.c.id)
        .join(store, store.c.id == store_blob.c.store_id)
        .outerjoin(root, root.c.id == store.c.root_id)
    )
    .where(content.c.digest == _digest, THERE)
    .order_by(store.c.priority, store.c.name)
)
"""The stores that have a blob, in the order in which they answer."""

_digest_id = select(content.c.id).where(content.c.digest == _digest).scalar_subquery()
_store_id: BindParameter[int] = bindparam("store_id", type_=BigInteger)
_parent = content.alias("parent")

CARRIED_BY: Select[Any] = (
    select(_parent.c.digest, store_blob.c.embedded)
    .select_from(
        edge.join(_parent, _parent.c.id == edge.c.parent_id).join(
            store_blob, (store_blob.c.store_id == _store_id) & (store_blob.c.content_id == edge.c.parent_id)
        )
    )
    .where(edge.c.child_id == _digest_id, func.coalesce(edge.c.embedded, false()))
    .limit(_count)
)
"""The manifests of a store with a descriptor that has a blob in its field `data`, and whether each is itself embedded.

`coalesce` keeps PostgreSQL from reading the whole index of embedded blobs, which looks small to the planner.
"""

CARRIED_IN_LIST: Select[Any] = (
    select(entry.c.id).where(entry.c.content_id == _digest_id, entry.c.store_id == _store_id, entry.c.embedded).limit(1)
)
"""The id of an entry of a store that has a blob in its field `data`; no row if there is none."""

TAGS_AFTER: Select[Any] = (
    select(name.c.tag, name.c.store_id)
    .select_from(name.join(store, store.c.id == name.c.store_id))
    .where(
        name.c.repository_id
        == select(repository.c.id).where(repository.c.name == bindparam("repository", type_=String)).scalar_subquery(),
        name.c.tag >= _low,
        or_(name.c.tag > _low, name.c.store_id > _low_store),
        ~name.c.shadowed,
        THERE,
    )
    .order_by(name.c.tag, name.c.store_id)
    .limit(_count)
)
"""The tags of a repository, each with a store that has it, after a given tag and store."""

_tagged = (
    select(name.c.id)
    .select_from(name.join(store, store.c.id == name.c.store_id))
    .where(name.c.repository_id == repository.c.id, name.c.tag.is_not(None), THERE)
    .correlate(repository)
)
_repositories = select(repository.c.name).where(repository.c.name > _low).order_by(repository.c.name).limit(_count)
REPOSITORIES_AFTER: Select[Any] = _repositories.where(_tagged.exists())
"""The repositories that come after a given name and currently have a tag."""
REPOSITORIES_OF_STORES: Select[Any] = _repositories.where(_tagged.where(Among(name.c.store_id)).exists())
"""The repositories that come after a given name and currently have a tag in one of the given stores."""

STORES_AFTER: Select[Any] = (
    select(store.c.id, store.c.name).where(store.c.name > _low, THERE).order_by(store.c.name).limit(_count)
)
"""The stores that come after a given name."""

STATEMENTS: dict[str, Select[Any]] = {
    "PLACE_OF_STORE": PLACE_OF_STORE,
    "HOLDING": HOLDING,
    "CARRIED_BY": CARRIED_BY,
    "CARRIED_IN_LIST": CARRIED_IN_LIST,
    "TAGS_AFTER": TAGS_AFTER,
    "REPOSITORIES_AFTER": REPOSITORIES_AFTER,
    "REPOSITORIES_OF_STORES": REPOSITORIES_OF_STORES,
    "STORES_AFTER": STORES_AFTER,
}
