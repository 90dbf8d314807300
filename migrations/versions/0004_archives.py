"""Layouts in tar archives (schema 1.3)."""

from alembic import op

revision = "0004"
down_revision = "0003"

_FLAG = {"sqlite": "BOOLEAN DEFAULT 0 NOT NULL", "postgresql": "BOOLEAN DEFAULT false NOT NULL"}


def upgrade() -> None:
    flag = _FLAG[op.get_bind().dialect.name]
    for statement in (
        f"ALTER TABLE root ADD COLUMN archives {flag}",
        f"ALTER TABLE store ADD COLUMN archive {flag}",
        "UPDATE meta SET value = '1.3' WHERE key = 'schema'",
    ):
        op.get_bind().exec_driver_sql(statement)
