"""Daemons of several hosts write at once, in a shorter run of what `python -m tests.hosts` does; the same code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hosts.fleet import SHORT, Fleet
from tests.programs import needs


@pytest.mark.parametrize("pooled", [False, pytest.param(True, marks=[needs("pgbouncer"), pytest.mark.deep])])
def test_hosts_write_at_once_while_the_server_ends_another_takes_over_and_a_backup_is_restored(
    tmp_path: Path, *, pooled: bool
) -> None:
    Fleet(tmp_path, SHORT, print, pooled=pooled).run()
