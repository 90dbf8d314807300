"""ocicat: every name, tag and digest of many OCI image layouts, in one indexed catalog.

The public Python API is loaded on first use (PEP 562), because the command line imports this module too:

    from catalog import Catalog, Reference

    with Catalog.open("/var/lib/ocicat/catalog.db") as catalog:
        digest = catalog.resolve("alpine:3.16").digest

Everything else in this package may change in any version.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog._version import __version__
    from catalog.api import Catalog
    from catalog.errors import (
        Ambiguous,
        CatalogUnavailable,
        InvalidReference,
        NotFound,
        NotInTime,
        OcicatError,
        UnknownStore,
        UsageError,
    )
    from catalog.lookup.match import Match
    from catalog.names.reference import Reference

__all__ = [
    "Ambiguous",
    "Catalog",
    "CatalogUnavailable",
    "InvalidReference",
    "Match",
    "NotFound",
    "NotInTime",
    "OcicatError",
    "Reference",
    "UnknownStore",
    "UsageError",
    "__version__",
]

_HOMES = {
    "Catalog": "catalog.api",
    "Match": "catalog.lookup.match",
    "Reference": "catalog.names.reference",
    "__version__": "catalog._version",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'catalog' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES.get(name, "catalog.errors")), name)


def __dir__() -> list[str]:
    return __all__
