"""What a question loads that is put to a server: psycopg, and what a question to a file loads."""

from __future__ import annotations

import pytest

from tests.cli.program import ran
from tests.postgres import Server


@pytest.mark.parametrize("command", [("query", "--limit", "1"), ("query",), ("stores",), ("resolve", ":no")])
def test_a_question_loads_no_sqlalchemy(server: Server, command: tuple[str, ...]) -> None:
    done = ran(*command, db=server.new_catalog(), env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert done.status == (1 if "resolve" in command else 0)
    assert "catalog.engine.postgres.reader" in done.err
    for heavy in ("sqlalchemy", "alembic", "watchdog", "msgspec"):
        assert heavy not in done.err
