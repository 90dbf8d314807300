"""Making and upgrading the catalog by alembic's migrations, which ship inside the wheel (schema.md section 5)."""

from __future__ import annotations

import os
import sqlite3

from sqlalchemy import Connection, Engine

from catalog.db.schema import APPLICATION_ID, SCHEMA_MAJOR, SCHEMA_MINOR
from catalog.errors import CatalogUnavailable, CatalogVersion
from catalog.names.escape import shown


def is_outdated(driver: sqlite3.Connection, path: str) -> bool:
    """Whether the catalog is new, or of an older schema than this version's. Changes nothing.

    Raises CatalogVersion for a schema of a newer major, CatalogUnavailable for a database that is no catalog.
    """
    found = _version(driver, path)
    if found is None:
        return True
    if found[0] > SCHEMA_MAJOR:
        raise CatalogVersion(
            f"{shown(path)} has schema {found[0]}.{found[1]} and this ocicat knows {SCHEMA_MAJOR}: upgrade ocicat"
        )
    return found < (SCHEMA_MAJOR, SCHEMA_MINOR)


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


def run_migrations(connection: Connection) -> None:
    """Run every migration that the database behind `connection` has not had, inside its transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", _scripts().replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _scripts() -> str:
    """The directory of the migrations: inside the installed package, or beside it in a checkout."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    shipped = os.path.join(package, "_migrations")
    return shipped if os.path.isdir(shipped) else os.path.join(os.path.dirname(package), "migrations")


def _version(driver: sqlite3.Connection, path: str) -> tuple[int, int] | None:
    """The schema's version in the database, None where it is new."""
    tables = {row[0] for row in driver.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return None
    if {"meta", "store"} <= tables:
        row = driver.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
        major, dot, minor = str(row and row[0]).partition(".")
        if dot and major.isdecimal() and minor.isdecimal():
            return int(major), int(minor)
    raise CatalogUnavailable(f"{shown(path)} is a database but no catalog of ocicat's: give another path with --db")
