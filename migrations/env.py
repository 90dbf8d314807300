"""Alembic's environment. The caller (catalog/db/migrate.py) provides the connection and the transaction."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, transactional_ddl=False)
context.run_migrations()
