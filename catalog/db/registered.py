"""What a pass asks of each store: by SQLAlchemy (catalog.ingest.registry), and frozen, where nothing may have changed."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, String, bindparam, or_, select

from catalog.db.schema import root, store

_OWN = (
    "id", "root_id", "name", "path", "naming", "prefix", "state", "error", "state_since", "file_identity", "sha256",
    "keyed_by", "elements", "entries", "generation", "changed_at", "first_at", "layout_version",
)  # fmt: skip
"""The fields of a Store, up to `root_path`, that are columns of the same name."""
_STANDING = ("path", "naming", "prefix", "state", "error", "file_identity", "keyed_by", "layout_version")
"""Those of a Standing."""
BY_NAME = or_(store.c.root_id.is_(None), store.c.own_settings, store.c.path == root.c.path).label("by_name")
"""Whether somebody gave the path of the store: a link there is followed. One that was found below a root is not."""
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
"""Id and name of each store, and behind them what STANDINGS has."""
ROOT_SETTINGS = select(
    *(root.c[column] for column in (
        "path", "path_bytes", "name", "naming", "prefix", "priority", "shared_blobs", "sparse", "shared_as",
    ))
).order_by(root.c.path)  # fmt: skip
"""What each root was given."""
STORE_SETTINGS = select(
    *(store.c[column] for column in ("name", "naming", "prefix", "priority", "shared_blobs", "sparse", "own_settings"))
).where(store.c.path == bindparam("path", type_=String))
"""What the store at a path was given."""
STORES = _of_host(_OWN, (*_BOTH[:5], store.c.sparse, *_BOTH[5:]))
"""The fields of catalog.ingest.store_state.Store in their order, and behind them the bytes of its paths; all stores of a host."""
STANDINGS = _of_host(_STANDING)
"""The same for catalog.ingest.store_state.Standing."""
