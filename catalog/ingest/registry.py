"""The registry of roots and stores: add, discover and remove them (docs/scripts.md), in the caller's transaction.

A store belongs to the deepest root above it and has the settings of that root, until an `add` of its path gives it its own settings.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, CursorResult, RowMapping, Table, bindparam, delete, func, insert, select, update

from catalog.db.registered import STORES
from catalog.db.schema import host, left_out, root, store
from catalog.engine.driver import new_ids, own_host_id
from catalog.engine.host import this_host
from catalog.errors import UnknownStore, UsageError
from catalog.ingest.moments import Moment
from catalog.ingest.settings import StoreSettings
from catalog.ingest.sharing import keep_removed
from catalog.ingest.store_state import Store, decoded, stored
from catalog.names.escape import shown
from catalog.names.nearest import did_you_mean
from catalog.names.paths import checked_name, decode_path, derived_name, encode_path, registered_as

_FEW = 1000

# Built once, because building a statement takes three times as long as looking up one store.
_HOST = select(host.c.id).order_by(host.c.id).limit(1)
_STORES = STORES.order_by(store.c.priority, store.c.name)
_SOME_STORES = _STORES.where(store.c.id.in_(bindparam("ids", expanding=True)))
NOT_INDEXED = "not indexed yet: run 'ocicat index'"


class Root(NamedTuple):
    """A registered root. `path` is the path to open."""

    id: int
    name: str
    path: str
    naming: str
    prefix: str | None
    priority: int
    shared_blobs: str | None
    shared_as: str | None
    sparse: bool
    archives: bool


class Discovered(NamedTuple):
    """A newly registered store. `new_name` is its name if the usual name was taken, else None."""

    id: int
    path: str
    new_name: str | None


class Registry:
    """The roots and stores of this host, read and written through `connection`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._host_id: int | None = None

    @property
    def host_id(self) -> int:
        """The id of this host, or 0, which no host has, before its first write."""
        if self._host_id is None:
            self._host_id = own_host_id(self.connection)
        return self._host_id or 0

    def _known_host(self) -> int:
        if not self.host_id:
            self._host_id = _new_id(self.connection.execute(insert(host).values(name=this_host())))
        return self.host_id

    # --- reading ------------------------------------------------------------------------------------------------

    def roots(self) -> list[Root]:
        """Return all roots, the deepest paths first."""
        rows = self.connection.execute(select(root).where(root.c.host_id == self.host_id)).mappings()
        return sorted((_root(row) for row in rows), key=lambda r: -len(r.path))

    def stores(self, ids: Sequence[int] | None = None) -> list[Store]:
        """Return all stores, or the stores with these ids, in the order in which they answer."""
        statement = _STORES
        parameters: dict[str, object] = {"host": self.host_id}
        wanted = None if ids is None else set(ids)
        if wanted is not None and len(wanted) <= _FEW:  # SQLite limits the number of parameters.
            statement, parameters["ids"] = _SOME_STORES, list(wanted)
        rows = self.connection.execute(statement, parameters).all()
        return [stored(*row) for row in rows if wanted is None or row[0] in wanted]

    def content_pending(self) -> list[int]:
        """Return the ids of the stores that are not missing and whose content is not completely read."""
        mine = store.c.host_id == self.host_id, store.c.content_pending, store.c.state != "missing"
        return list(self.connection.execute(select(store.c.id).where(*mine)).scalars())

    def find(self, text: str) -> tuple[list[Root], list[Store]]:
        """Return the root whose name or path is `text`, or else the store, each in a list. Raises UnknownStore if there is neither."""
        all_roots, all_stores = self.roots(), self.stores()
        for path in registered_as(text):
            roots = [r for r in all_roots if text == r.name or path == r.path]
            if roots:
                return roots, []
            stores = [s for s in all_stores if text == s.name or path == s.path]
            if stores:
                break
        else:
            hint = did_you_mean(text, [*(r.name for r in all_roots), *(s.name for s in all_stores)])
            raise UnknownStore(
                f"no store or root is called {shown(text)}: {hint}'ocicat stores' lists them, 'ocicat add' adds one"
            )
        return [], stores

    def signature(self) -> tuple[object, ...]:
        """Return a value that changes when a store or root is added or removed. It costs three cheap queries.

        Ids are reused after a deletion, so counts and ids alone are not enough.
        """
        of_host = [table.c.host_id == self.host_id for table in (root, store, left_out)]
        statements = (
            select(func.count(), func.max(store.c.id), func.max(store.c.state_since)).where(of_host[1]),
            select(func.count(), func.max(left_out.c.path)).where(of_host[2]),
            select(root.c.id, root.c.path, root.c.archives).where(of_host[0]).order_by(root.c.id),
        )
        return tuple(tuple(row) for statement in statements for row in self.connection.execute(statement))

    def is_root(self, path: str) -> bool:
        """Return whether the directory `path` is a registered root. It stays one even if it has become a layout."""
        return self._row_at(root, encode_path(path)[0]) is not None

    def is_called(self, path: str, name: str) -> bool:
        """Return whether a root or store at `path` has the name `name`."""
        rows = (self._row_at(table, encode_path(path)[0]) for table in (root, store))
        return any(row is not None and row["name"] == name for row in rows)

    def left_out(self) -> set[str]:
        """Return the paths, as stored in the catalog, of stores that were removed individually from below a root."""
        return set(self.connection.execute(select(left_out.c.path).where(left_out.c.host_id == self.host_id)).scalars())

    def left_out_below(self, roots: Iterable[Root]) -> list[str]:
        """Return the paths from `left_out` that are below one of `roots`, sorted."""
        above = [encode_path(each.path)[0] for each in roots]
        return sorted(path for path in self.left_out() if any(_is_below(path, each) for each in above))

    # --- writing ------------------------------------------------------------------------------------------------

    def add_root(self, path: str, settings: StoreSettings, archives: bool | None = None) -> int:
        """Register the directory `path` as a root, or change its settings. Return its id.

        `archives` determines whether layouts in archives below it are stores; None changes nothing.
        """
        text, raw = encode_path(path)
        row = self._row_at(root, text)
        values = _values(settings)
        if archives is not None:
            values["archives"] = archives
        if row is None:
            name = self._new_name(settings.name, derived_name(path))
            values = {"naming": "annotations", "priority": 0} | values
            values |= {"host_id": self._known_host(), "name": name, "path": text, "path_bytes": raw}
            root_id = _new_id(self.connection.execute(insert(root).values(values)))
        else:
            root_id = int(row["id"])
            if settings.name is not None and settings.name != row["name"]:
                values["name"] = self._new_name(settings.name, "")
            if values:
                self.connection.execute(update(root).where(root.c.id == root_id).values(values))
        self._hand_over(root_id)
        return root_id

    def add_store(self, path: str, settings: StoreSettings, now: int) -> int:
        """Register the layout at `path` by itself, or change its settings. Return its id."""
        text, raw = encode_path(path)
        self.connection.execute(delete(left_out).where(left_out.c.host_id == self.host_id, left_out.c.path == text))
        row = self._row_at(store, text)
        values = _values(settings)
        if settings.given or os.path.islink(
            path
        ):  # A link below a root gets its own settings too, which marks it as a link that is followed.
            values["own_settings"] = True
        if row is not None:
            if settings.name is not None and settings.name != row["name"]:
                values["name"] = self._new_name(settings.name, "")
            if any(values.get(column, row[column]) != row[column] for column in ("name", "priority", "shared_as")):
                Moment.of(self.connection).keep_stores([row["id"]])
            if values.get("sparse", row["sparse"]) != row["sparse"]:
                values["content_pending"] = True  # Absent blobs have another meaning now.
            if values:
                self.connection.execute(update(store).where(store.c.id == row["id"]).values(values))
            if {"name", "priority"} & values.keys():
                Moment.of(self.connection).note_store(row["id"])
            return int(row["id"])
        above = _root_above(path, self.roots())
        derived = derived_name(path) if above is None else derived_name(path, above.path, above.name)
        name = self._new_name(settings.name, derived, root_of=above if above and above.path == path else None)
        new_id = _new_id(
            self.connection.execute(insert(store).values(self._store_values(text, raw, name, above, now) | values))
        )
        Moment.of(self.connection).note_store(new_id)
        return new_id

    def discovered(self, paths: Iterable[str], now: int) -> list[Discovered]:
        """Register layouts that were found below a root, except those that are known or were removed. Return the new stores."""
        roots = self.roots()
        left_out = self.left_out()
        known, names = self._taken()
        registered: list[Discovered] = []
        rows: list[dict[str, object]] = []
        ids = new_ids(self.connection, store.name)
        for path in paths:
            text, raw = encode_path(path)
            above = _root_above(path, roots)
            if above is None or text in known or text in left_out:
                continue
            derived = derived_name(path, above.path, above.name)
            name, number = derived, 1
            while name in names and not (number == 1 and name == above.name and path == above.path):
                number += 1
                name = f"{derived}~{number}"
            known.add(text)
            names.add(name)
            new_id = next(ids)
            rows.append({"id": new_id, **self._store_values(text, raw, name, above, now)})
            registered.append(Discovered(new_id, path, name if number > 1 else None))
        if rows:
            self.connection.execute(insert(store), rows)
            columns = ("id", "host_id", "name", "path", "path_bytes", "priority")
            Moment.of(self.connection).begin_spans([tuple(row[column] for column in columns) for row in rows])
        return registered

    def _taken(self) -> tuple[set[str], set[str]]:
        """Return the paths of all stores, and the names of all stores and roots, as stored in the catalog."""
        paths: set[str] = set()
        names: set[str] = set()
        for table in (store, root):
            found = self.connection.execute(select(table.c.path, table.c.name).where(table.c.host_id == self.host_id))
            for path, name in found:
                names.add(name)
                if table is store:
                    paths.add(path)
        return paths, names

    def remove_root(self, found: Root) -> None:
        """Remove a root and all stores that were found below it. Their history is kept."""
        below = self.connection.execute(select(store.c.id).where(store.c.root_id == found.id)).scalars().all()
        Moment.of(self.connection).keep_whole(below)
        keep_removed(self.connection, self.stores(below))
        self.connection.execute(delete(root).where(root.c.id == found.id))
        others = [encode_path(other.path)[0] for other in self.roots()]
        for path in self.left_out():
            if not any(_is_below(path, other) for other in others):
                mine = left_out.c.host_id == self.host_id
                self.connection.execute(delete(left_out).where(mine, left_out.c.path == path))

    def remove_store(self, found: Store) -> None:
        """Remove a store, except its history. If it is below a root, it is left out of searches from now on."""
        Moment.of(self.connection).keep_whole([found.id])
        keep_removed(self.connection, [found])
        self.connection.execute(delete(store).where(store.c.id == found.id))
        if _root_above(found.path, self.roots()) is not None:
            text = encode_path(found.path)[0]
            self.connection.execute(insert(left_out).values(host_id=self.host_id, path=text))

    def _store_values(self, text: str, raw: bytes | None, name: str, above: Root | None, now: int) -> dict[str, object]:
        host_id = self._known_host()
        return {
            "host_id": host_id,
            "born": Moment.of(self.connection).id,
            "root_id": above.id if above else None,
            "name": name,
            "path": text,
            "path_bytes": raw,
            "own_settings": False,
            "naming": above.naming if above else "annotations",
            "prefix": above.prefix if above else None,
            "priority": above.priority if above else 0,
            **_shared_blobs(above.shared_blobs if above else None),
            "shared_as": _shared_as(above, text) if above else None,
            "sparse": above.sparse if above else False,
            "archive": os.path.isfile(decode_path(text, raw)),  # reading the store replaces this value
            "state": "invalid",
            "error": NOT_INDEXED,
            "state_since": now,
            "content_pending": False,
            "elements": 0,
            "entries": 0,
            "generation": 0,
        }

    def _hand_over(self, root_id: int) -> None:
        """Move the stores below a root to it from roots further up. Stores without their own settings get those of the root."""
        roots = self.roots()
        mine = next(r for r in roots if r.id == root_id)
        for found in self.stores():
            if found.root_id is None or not _is_below(found.path, mine.path):
                continue
            if next(r.id for r in roots if _is_below(found.path, r.path)) == root_id:
                self.connection.execute(update(store).where(store.c.id == found.id).values(root_id=root_id))
        followers = store.c.root_id == root_id, ~store.c.own_settings
        others = select(store.c.id).where(*followers, store.c.priority != mine.priority)
        moved = self.connection.execute(others).scalars().all()
        Moment.of(self.connection).keep_stores(moved)
        self.connection.execute(
            update(store)
            .where(*followers)
            .values(naming=mine.naming, prefix=mine.prefix, priority=mine.priority, **_shared_blobs(mine.shared_blobs))
        )
        for store_id in moved:
            Moment.of(self.connection).note_store(store_id)
        self.connection.execute(
            update(store)
            .where(store.c.root_id == root_id, ~store.c.own_settings, store.c.sparse != mine.sparse)
            .values(sparse=mine.sparse, content_pending=True)
        )
        # This is not a setting of the store itself: below a shared root, all stores are shared.
        below = select(store.c.id, store.c.path, store.c.shared_as, store.c.own_settings)
        for store_id, path, shared_as, own in self.connection.execute(below.where(store.c.root_id == root_id)).all():
            now = _shared_as(mine, path)
            if shared_as != now and not (own and now is None):
                Moment.of(self.connection).keep_stores([store_id])
                self.connection.execute(update(store).where(store.c.id == store_id).values(shared_as=now))

    def _row_at(self, table: Table, path: str) -> RowMapping | None:
        question = select(table).where(table.c.host_id == self.host_id, table.c.path == path)
        return self.connection.execute(question).mappings().first()

    def _is_taken(self, name: str, root_of: Root | None = None) -> bool:
        for table in (store, root):
            if table is root and root_of is not None and name == root_of.name:
                continue  # A root that is itself a layout shares its name with that store.
            question = select(table.c.id).where(table.c.host_id == self.host_id, table.c.name == name)
            if self.connection.execute(question).first() is not None:
                return True
        return False

    def _new_name(self, given: str | None, derived: str, root_of: Root | None = None) -> str:
        name = derived if given is None else checked_name(given)
        if self._is_taken(name, root_of):
            raise UsageError(f"the name {shown(name)} is taken: choose another with --name")
        return name


def _new_id(result: CursorResult[Any]) -> int:
    key = result.inserted_primary_key
    if key is None:
        raise RuntimeError("the database did not return the id of the new row")
    return int(key[0])


def _root_above(path: str, roots: Iterable[Root]) -> Root | None:
    """Return the deepest root at or above `path`, or None. `roots` must be sorted with the deepest first."""
    return next((r for r in roots if _is_below(path, r.path)), None)


def _is_below(path: str, root_path: str) -> bool:
    return path == root_path or path.startswith(root_path.rstrip("/") + "/")


def _values(settings: StoreSettings) -> dict[str, object]:
    values: dict[str, object] = {}
    if settings.naming is not None:
        values["naming"] = str(settings.naming)
    if settings.prefix is not None:
        values["prefix"] = settings.prefix or None
    if settings.priority is not None:
        values["priority"] = settings.priority
    if settings.shared_blobs is not None:
        values |= _shared_blobs(settings.shared_blobs)
    if settings.shared_as is not None:
        values["shared_as"] = settings.shared_as or None
    if settings.sparse is not None:
        values["sparse"] = settings.sparse
    return values


def _shared_as(above: Root, path: str) -> str | None:
    """Return the `shared_as` of the store at `path` (as stored in the catalog), or None if its root `above` has none.

    It is that of the root followed by the path below the root, so it does not depend on where the root is mounted.
    """
    if above.shared_as is None:
        return None
    return above.shared_as + path[len(encode_path(above.path)[0].rstrip("/")) :]


def _shared_blobs(path: str | None) -> dict[str, object]:
    """Return the two columns with the path of a shared blob directory. None or an empty `path` means that there is none."""
    text, raw = encode_path(path) if path else (None, None)
    return {"shared_blobs": text, "shared_blobs_bytes": raw}


def _root(row: RowMapping) -> Root:
    return Root(
        row["id"],
        row["name"],
        decode_path(row["path"], row["path_bytes"]),
        row["naming"],
        row["prefix"],
        row["priority"],
        decoded(row["shared_blobs"], row["shared_blobs_bytes"]),
        row["shared_as"],
        row["sparse"],
        row["archives"],
    )
