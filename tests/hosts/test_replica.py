"""A replica of the server that follows it: every command that only reads works there, and one that writes says why it does not."""

from __future__ import annotations

from contextlib import closing

from tests.hosts.conftest import NewHost, layout
from tests.postgres import Server
from tests.watch.harness import wait_for


def test_a_replica_is_asked_and_not_written(mortal: Server, new_host: NewHost) -> None:
    here, reader = new_host("here"), new_host("reader")
    digest = layout(here.path("images/app"))
    here.done("add", here.path("images"))
    with closing(Server(mortal)) as replica:
        reader.url = here.url.replace(mortal.directory, replica.directory)
        for arguments in (
            ("query",), ("resolve", "app:1"), ("wait", "app:1"), ("find", "app"), ("inspect", "app:1"), ("history", "app:1"), ("changes",),
            ("stores",), ("status",), ("check",), ("report", "usage"), ("sql", "SELECT * FROM images"), ("query", "*", "--at", "0s"),
        ):  # fmt: skip
            reader.done(*arguments)
        assert reader.done("resolve", "app:1").out == f"{digest}\n"
        second = layout(here.path("images/app"), seed="second")
        here.done("index")
        wait_for(lambda: reader.done("resolve", "app:1").out == f"{second}\n")
        refused = reader.call("add", here.path("images"))
        assert refused.status == 4, refused
        assert "is a replica" in refused.err, refused
