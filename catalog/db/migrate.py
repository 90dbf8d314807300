"""Making and upgrading the catalog by alembic's migrations, which ship inside the wheel."""

from __future__ import annotations

import os

from sqlalchemy import Connection


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
