"""DB: register the layouts below the roots of DB, and read none of them."""

from __future__ import annotations

import sys

from catalog.engine.sqlite.writer import SqliteWriter
from catalog.ingest.registry import Registry
from catalog.ingest.sweep import find_new


def main(db: str) -> None:
    with SqliteWriter(db) as writer:
        with writer.snapshot() as connection:
            registry = Registry(connection)
            roots, known = registry.roots(), {store.path for store in registry.stores()}
        find_new(writer, roots, known, lambda line: sys.exit(str(line)))


if __name__ == "__main__":
    main(sys.argv[1])
