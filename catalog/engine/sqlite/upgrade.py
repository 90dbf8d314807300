"""Upgrades a catalog's file."""

from __future__ import annotations

import sqlite3

from sqlalchemy import Engine

from catalog.db.migrate import run_migrations
from catalog.db.schema import APPLICATION_ID, SCHEMA_MAJOR, SCHEMA_MINOR
from catalog.engine.version import is_older
from catalog.errors import CatalogUnavailable
from catalog.names.escape import shown


def is_outdated(driver: sqlite3.Connection, path: str) -> bool:
    """Return whether the catalog is new, or has an older schema than this version. Changes nothing.

    Raises CatalogVersion if its major version is newer, CatalogUnavailable if the database is not a catalog.
    """
    tables = {row[0] for row in driver.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return True
    row = None
    if {"meta", "store"} <= tables:
        row = driver.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    return is_older(row and row[0], (SCHEMA_MAJOR, SCHEMA_MINOR), shown(path))


def upgrade(engine: Engine, driver: sqlite3.Connection, path: str) -> None:
    """Upgrade an outdated catalog to this version's schema. The caller holds the writer's lock."""
    # Switch this off before BEGIN. Otherwise altering a table by copying it would delete the rows that refer to it.
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        with engine.begin() as connection:
            run_migrations(connection)
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
            if broken:
                raise CatalogUnavailable(
                    f"{shown(path)} cannot be upgraded: rows of {broken[0][0]} refer to missing rows"
                )
            connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
    finally:
        driver.execute("PRAGMA foreign_keys=ON")
