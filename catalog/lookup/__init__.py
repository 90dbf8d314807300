"""From a query to rows: the way to an answer, on the standard library's sqlite3 alone (house.md).

Nothing here may import SQLAlchemy, alembic, watchdog, click, or a heavy module of the standard library: process start is
99 % of an answer (facts.md sections 3 and 4). tests/cli/test_bare.py lists what is loaded.
"""
