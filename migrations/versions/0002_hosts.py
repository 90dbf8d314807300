"""Layouts that several hosts see (schema 1.1)."""

from alembic import op

revision = "0002"
down_revision = "0001"

_TEXT = {"sqlite": "VARCHAR", "postgresql": 'VARCHAR COLLATE "C"'}


def upgrade() -> None:
    text = _TEXT[op.get_bind().dialect.name]
    for statement in (
        f"ALTER TABLE root ADD COLUMN shared_as {text}",
        f"ALTER TABLE store ADD COLUMN shared_as {text}",
        "CREATE INDEX ix_store_shared_as ON store (shared_as) WHERE shared_as IS NOT NULL",
        "UPDATE meta SET value = '1.1' WHERE key = 'schema'",
    ):
        op.get_bind().exec_driver_sql(statement)
