"""ocicat: every name, tag and digest of many OCI image layouts, in one indexed catalog.

The public Python API is loaded on first use (PEP 562), because the command line imports this module but does not need it:

    from catalog import Catalog, Reference

    with Catalog.open("/var/lib/ocicat/catalog.db") as catalog:
        digest = catalog.resolve("alpine:3.16").digest

Everything else in this package may change in any version.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog._version import __version__
    from catalog.api import Catalog, Questions, Result
    from catalog.errors import (
        Ambiguous,
        CatalogUnavailable,
        InvalidReference,
        NotFound,
        NotInTime,
        OcicatError,
        RefusedSQL,
        UnknownStore,
        UsageError,
    )
    from catalog.lookup.changes import Change
    from catalog.lookup.inspect import Page
    from catalog.lookup.match import Match
    from catalog.lookup.past import Span
    from catalog.lookup.store_list import ListedStore
    from catalog.names.reference import Reference

__all__ = [
    "Ambiguous",
    "Catalog",
    "CatalogUnavailable",
    "Change",
    "InvalidReference",
    "ListedStore",
    "Match",
    "NotFound",
    "NotInTime",
    "OcicatError",
    "Page",
    "Questions",
    "Reference",
    "RefusedSQL",
    "Result",
    "Span",
    "UnknownStore",
    "UsageError",
    "__version__",
]

_HOMES = {
    "Catalog": "catalog.api",
    "Change": "catalog.lookup.changes",
    "ListedStore": "catalog.lookup.store_list",
    "Match": "catalog.lookup.match",
    "Page": "catalog.lookup.inspect",
    "Questions": "catalog.api",
    "Reference": "catalog.names.reference",
    "Result": "catalog.api",
    "Span": "catalog.lookup.past",
    "__version__": "catalog._version",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'catalog' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES.get(name, "catalog.errors")), name)


def __dir__() -> list[str]:
    return __all__
