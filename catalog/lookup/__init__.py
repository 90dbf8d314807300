"""Answer queries: turn a query into rows, matches and one answer, through a reader (docs/architecture.md).

Nothing here may import SQLAlchemy, alembic, watchdog, click, or a heavy module of the standard library, because starting
the process is 99 % of the cost of an answer. tests/cli/test_bare.py lists the modules that are loaded.
"""
