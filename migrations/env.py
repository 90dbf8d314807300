"""alembic's environment: the caller (catalog/db/migrate.py) hands in its connection and holds the transaction."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, transactional_ddl=False)
context.run_migrations()
