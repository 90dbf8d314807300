"""The stores of a catalog with their settings and state, in the order in which they answer (`ocicat stores`)."""

from __future__ import annotations

from catalog.names.moment import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from catalog.engine.interface import Reader

STORE_FIELDS = (
    "name",
    "path",
    "state",
    "error",
    "entries",
    "naming",
    "priority",
    "indexed_at",
    "changed_at",
    "shared_blob_dir",
    "host",
    "shared_as",
    "sparse",
    "archive",
    "unjudged",
)
"""The keys of a JSON object of `stores`, in order."""


class ListedStore:
    """A store. Times are RFC 3339 in UTC, or None. `unjudged` is the reason why its unused blobs are not known, or None."""

    __slots__ = STORE_FIELDS

    def __init__(self, row: tuple[Any, ...]) -> None:
        (_, self.name, self.path, self.state, _, self.error, self.entries, self.naming, self.priority,
         indexed_at, changed_at, self.shared_blob_dir, self.host, self.shared_as, sparse, archive, self.unjudged) = row  # fmt: skip
        self.indexed_at = rfc3339(indexed_at)
        self.changed_at = rfc3339(changed_at)
        self.sparse = bool(sparse)
        self.archive = bool(archive)

    def __repr__(self) -> str:
        return f"ListedStore({self.name!r}, {self.path!r}, {self.state!r})"

    def value(self, field: str) -> object:
        """Return the value of one of STORE_FIELDS."""
        found: object = getattr(self, field)
        return found

    def as_object(self) -> dict[str, object]:
        """Return all fields, as in JSON."""
        return {field: self.value(field) for field in STORE_FIELDS}


def stores(reader: Reader) -> Iterator[ListedStore]:
    """Yield all stores. Raises CatalogUnavailable."""
    return map(ListedStore, reader.rows("STORES", {}))
