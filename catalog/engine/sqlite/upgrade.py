"""Whether a catalog's file has to be upgraded, and doing that."""

from __future__ import annotations

import sqlite3

from sqlalchemy import Engine

from catalog.db.migrate import run_migrations
from catalog.db.schema import APPLICATION_ID, SCHEMA_MAJOR, SCHEMA_MINOR
from catalog.engine.version import is_older
from catalog.errors import CatalogUnavailable
from catalog.names.escape import shown


def is_outdated(driver: sqlite3.Connection, path: str) -> bool:
    """Whether the catalog is new, or of an older schema than this version's. Changes nothing.

    Raises CatalogVersion for a schema of a newer major, CatalogUnavailable for a database that is no catalog.
    """
    tables = {row[0] for row in driver.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return True
    row = None
    if {"meta", "store"} <= tables:
        row = driver.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    return is_older(row and row[0], (SCHEMA_MAJOR, SCHEMA_MINOR), shown(path))


def upgrade(engine: Engine, driver: sqlite3.Connection, path: str) -> None:
    """Bring an outdated catalog to this version's schema, under the writer's lock of the caller."""
    # Off before BEGIN, else a table that is copied to be altered takes its children's rows with it.
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        with engine.begin() as connection:
            run_migrations(connection)
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
            if broken:
                raise CatalogUnavailable(
                    f"{shown(path)} cannot be upgraded: rows without their parents in {broken[0][0]}"
                )
            connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
    finally:
        driver.execute("PRAGMA foreign_keys=ON")
