"""Two machines with the same host name, told apart by OCICAT_MACHINE."""

from __future__ import annotations

from tests.hosts.conftest import NewHost, layout
from tests.watch.harness import DEADLINE, wait_for


def test_the_second_machine_is_refused_until_it_replaces_the_first(new_host: NewHost) -> None:
    first, second = new_host("build"), new_host("build")
    second.directory = f"{second.directory}-2"
    second.env |= {"HOME": second.directory, "OCICAT_MACHINE": "second"}
    second._log = f"{first.directory}/second.log"
    first.env |= {"OCICAT_MACHINE": "first"}
    layout(first.path("images/app"))
    first.done("add", first.path("images"))
    first.start("--rescan", "1")
    assert first.stop() == 0
    first.start("--rescan", "1")  # The same machine may come back.
    refused = second("watch")
    assert refused.status == 4, refused
    assert "another machine follows the stores of the host build" in refused.err
    assert "OCICAT_HOST" in refused.err
    assert "--take-over" in refused.err
    first.alive()
    second.start("--rescan", "1", "--take-over")
    assert first.daemon is not None
    assert first.daemon.wait(DEADLINE) == 4
    assert "another machine follows" in first.log()[-1]
    wait_for(second.has_looked, what=second.log)
    assert second.stop() == 0
    assert first("watch").status == 4
