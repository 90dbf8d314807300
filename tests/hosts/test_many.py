"""Eight daemons as eight hosts write at once, in a shorter run of what `python -m tests.hosts` does; the same code."""

from __future__ import annotations

from pathlib import Path

from tests.hosts.fleet import SHORT, Fleet


def test_eight_hosts_write_at_once_and_the_server_ends_in_the_middle_of_it(tmp_path: Path) -> None:
    Fleet(tmp_path, SHORT, print).run()
