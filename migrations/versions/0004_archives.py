"""Layouts in tar archives, and indexes for the first key of an entry and for registry names with capitals (schema 1.3)."""

from alembic import op

revision = "0004"
down_revision = "0003"

_FLAG = {"sqlite": "BOOLEAN DEFAULT 0 NOT NULL", "postgresql": "BOOLEAN DEFAULT false NOT NULL"}
_TEXT = {"sqlite": "VARCHAR", "postgresql": 'VARCHAR COLLATE "C"'}


def upgrade() -> None:
    flag = _FLAG[op.get_bind().dialect.name]
    for statement in (
        f"ALTER TABLE root ADD COLUMN archives {flag}",
        f"ALTER TABLE store ADD COLUMN archive {flag}",
        f"ALTER TABLE entry ADD COLUMN saved_names {_TEXT[op.get_bind().dialect.name]}",
        # The number 2 becomes the third source of names; the numbers of entries that are not images move up by one.
        "UPDATE name SET source = source + 1 WHERE source >= 2",
        "UPDATE past_name SET source = source + 1 WHERE source >= 2",
        "DROP INDEX ix_name_entry",
        "CREATE INDEX ix_name_entry ON name (entry_id, source)",
        "CREATE INDEX ix_repository_capitals ON repository (name) WHERE name != lower(name)",
        "UPDATE meta SET value = '1.3' WHERE key = 'schema'",
    ):
        op.get_bind().exec_driver_sql(statement)
