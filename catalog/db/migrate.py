"""Create and upgrade a catalog with alembic's migrations, which are part of the wheel."""

from __future__ import annotations

import os

from sqlalchemy import Connection


def run_migrations(connection: Connection, to: str = "head") -> None:
    """Run all pending migrations up to `to` on the database of `connection`, inside its transaction.

    The public views are not part of any migration. They are dropped first and created from catalog/db/views.py afterwards,
    like the replaceable objects in alembic's cookbook. If `to` is an older schema, there are no views afterwards.
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
            # psycopg looks for placeholders even if there are no parameters.
            connection.exec_driver_sql(statement.replace("%", "%%") if engine == "postgresql" else statement)


def _scripts() -> str:
    """Return the directory of the migrations: inside the installed package, or beside it in a checkout."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    shipped = os.path.join(package, "_migrations")
    return shipped if os.path.isdir(shipped) else os.path.join(os.path.dirname(package), "migrations")
