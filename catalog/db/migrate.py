"""Making and upgrading the catalog by alembic's migrations, which ship inside the wheel."""

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
    tables = {row[0] for row in driver.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return True
    row = None
    if {"meta", "store"} <= tables:
        row = driver.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    return is_older(row and row[0], shown(path))


def is_older(version: object, where: str) -> bool:
    """Whether the catalog `where`, whose schema is `version`, is to be upgraded; raises as `is_outdated`."""
    major, dot, minor = str(version).partition(".")
    if not (dot and major.isdecimal() and minor.isdecimal()):
        raise CatalogUnavailable(f"{where} is a database but no catalog of ocicat's: give another path with --db")
    if int(major) > SCHEMA_MAJOR:
        raise CatalogVersion(f"{where} has schema {version} and this ocicat knows {SCHEMA_MAJOR}: upgrade ocicat")
    return (int(major), int(minor)) < (SCHEMA_MAJOR, SCHEMA_MINOR)


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


def run_migrations(connection: Connection, to: str = "head") -> None:
    """Run every migration that the database behind `connection` has not had, up to `to`, inside its transaction.

    The public views are no part of a migration. They are dropped first and made anew from catalog/db/views.py afterwards,
    as alembic's cookbook does with replaceable objects; at an older schema than this version's there are none.
    """
    from alembic import command
    from alembic.config import Config

    from catalog.db.views import VIEWS

    engine = connection.dialect.name
    for view in reversed(VIEWS):
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS {view.name}")
    config = Config()
    config.set_main_option("script_location", _scripts().replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)
    if to != "head":
        return
    for view in VIEWS:
        for statement in [view.create(engine), *(view.comments() if engine == "postgresql" else ())]:
            # psycopg looks for parameters even where there are none to bind.
            connection.exec_driver_sql(statement.replace("%", "%%") if engine == "postgresql" else statement)


def _scripts() -> str:
    """The directory of the migrations: inside the installed package, or beside it in a checkout."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    shipped = os.path.join(package, "_migrations")
    return shipped if os.path.isdir(shipped) else os.path.join(os.path.dirname(package), "migrations")
