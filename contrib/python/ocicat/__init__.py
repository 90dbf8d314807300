"""The public Python API of ocicat under the name of the distribution: everything that `catalog` exports (docs/python.md).

    import ocicat

    with ocicat.Catalog.open() as catalog:
        print(catalog.resolve("alpine:3.16").digest)

The import package is `catalog`; both names mean the same objects.
"""

from __future__ import annotations

import catalog
from catalog import __all__ as __all__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog import *  # noqa: F403 - for type checkers; at run time, names are loaded on first use


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'ocicat' has no attribute {name!r}")
    return getattr(catalog, name)


def __dir__() -> list[str]:
    return __all__
