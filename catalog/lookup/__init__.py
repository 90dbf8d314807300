"""From a query to rows: the way to an answer, on the standard library's sqlite3 alone (docs/architecture.md).

Nothing here may import SQLAlchemy, alembic, watchdog, click, or a heavy module of the standard library: process start is
99 % of an answer. tests/cli/test_bare.py lists what is loaded.
"""
