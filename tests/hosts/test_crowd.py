"""Light hosts behind a pooler, in a shorter run of what `python -m tests.hosts` does with 300; the same code."""

from __future__ import annotations

from pathlib import Path

from tests.hosts.crowd import SHORT, Crowd
from tests.programs import needs


@needs("pgbouncer")
def test_the_server_ends_another_takes_over_and_a_backup_is_restored(tmp_path: Path) -> None:
    Crowd(tmp_path, SHORT, print).run()
