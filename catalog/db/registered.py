"""Statements for the registered stores, used through SQLAlchemy (catalog.ingest.registry) and as frozen text (unchanged.py)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, String, and_, bindparam, func, not_, or_, select

from catalog.db.schema import root, store
from catalog.names.limits import LAYOUT_VERSION

_OWN = (
    "id", "root_id", "name", "path", "naming", "prefix", "state", "error", "state_since", "file_identity", "sha256",
    "keyed_by", "elements", "entries", "generation", "changed_at", "first_at", "layout_version",
)  # fmt: skip
"""The columns for the fields of a Store before `root_path`, which have the same names."""
_STANDING = ("path", "naming", "prefix", "state", "error", "file_identity", "keyed_by", "layout_version")
"""The columns for the fields of a Standing."""
BY_NAME = or_(store.c.root_id.is_(None), store.c.own_settings, store.c.path == root.c.path).label("by_name")
"""Whether a user gave the path of the store, so that a link there is followed; false if the store was found below a root."""
_BOTH = (
    root.c.path.label("root_path"), BY_NAME, store.c.shared_blobs, store.c.blobs_identity, store.c.content_pending,
    store.c.path_bytes, root.c.path_bytes.label("root_path_bytes"), store.c.shared_blobs_bytes,
)  # fmt: skip


def _of_host(columns: tuple[str, ...], both: tuple[Any, ...] = _BOTH) -> Select[Any]:
    return (
        select(*(store.c[column] for column in columns), *both)
        .select_from(store.outerjoin(root, root.c.id == store.c.root_id))
        .where(store.c.host_id == bindparam("host"))
    )


STORE_FILES = (
    select(store.c.id, store.c.name, *(store.c[column] for column in _STANDING), *_BOTH)
    .select_from(store.outerjoin(root, root.c.id == store.c.root_id))
    .order_by(store.c.id)
)
"""The id and name of each store, followed by the columns of STANDINGS."""
ROOT_SETTINGS = select(
    *(root.c[column] for column in (
        "path", "path_bytes", "name", "naming", "prefix", "priority", "shared_blobs", "sparse", "archives", "shared_as",
    ))
).order_by(root.c.path)  # fmt: skip
"""The settings of each root."""
STORE_SETTINGS = select(
    *(store.c[column] for column in ("name", "naming", "prefix", "priority", "shared_blobs", "sparse", "own_settings"))
).where(store.c.path == bindparam("path", type_=String))
"""The settings of the store at a path."""
STORES = _of_host(_OWN, (*_BOTH[:5], store.c.sparse, store.c.archive, *_BOTH[5:]))
"""The fields of catalog.ingest.store_state.Store in order, followed by the bytes of its paths, for all stores of a host."""
_HAS_OWN_RULES = and_(store.c.naming != "path", store.c.naming != "path:tag")
"""Whether the names of a store do not depend on its path."""
NAMINGS = (
    select(store.c.naming, store.c.prefix, store.c.keyed_by)
    .where(store.c.host_id == bindparam("host"), store.c.keyed_by.is_not(None), _HAS_OWN_RULES)
    .distinct()
)
"""The distinct naming settings of a host's stores that have _HAS_OWN_RULES, each with the rules by which their keys were derived."""
_IS_PLAIN = and_(
    or_(store.c.state == "ok", store.c.state == "empty"),
    func.coalesce(store.c.layout_version, "") == LAYOUT_VERSION,
    store.c.keyed_by.is_not(None),
    _HAS_OWN_RULES,
    store.c.shared_blobs.is_(None),
    store.c.path_bytes.is_(None),
    root.c.path_bytes.is_(None),
    not_(store.c.content_pending),
    not_(store.c.archive),
)
"""The condition that a store is plain, as nearly all are: if the rules for its names have not changed, the stats of its files alone
show whether the store has changed."""
PLAIN_STANDINGS = _of_host(
    ("path",), (root.c.path.label("root_path"), BY_NAME, store.c.file_identity, store.c.blobs_identity)
).where(_IS_PLAIN)
"""The columns of each plain store that are compared with the disk."""
STANDINGS = _of_host(_STANDING).where(not_(_IS_PLAIN))
"""The fields of catalog.ingest.store_state.Standing in order, followed by the bytes of its paths, for all other stores of a host."""
