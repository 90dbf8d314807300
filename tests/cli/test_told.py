"""What commands say to a person at a terminal about what they did; pipes get none of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable

import pytest

from tests import writers
from tests.cli.conftest import Own, Shelf
from tests.cli.program import drained
from tests.cli.test_terminal import Seen, terminal
from tests.forking import CLEAN, OCICAT


def said(cli: Own, *arguments: str) -> str:
    seen = Seen("--config", cli.config, *arguments, db=cli.db, columns=200)
    assert seen.status in (0, 1)
    return seen.err


def test_what_was_done_is_said(cli: Own, layout: Callable[..., str]) -> None:
    layout("images/one", "1", "2")
    torn = layout("images/torn", "1")
    with open(f"{torn}/index.json", "w") as file:
        file.write("{")
    images = f"{cli.directory}/images"
    assert "ocicat: added: 2 stores, 2 entries, 1 store that cannot be read, " in said(cli, "add", images)
    assert "ocicat: 2 stores, 0 of them new, " in said(cli, "index", "--full")
    assert "ocicat: removed: 1 store, 0 entries; the layouts were not touched" in said(cli, "remove", "images/torn")
    assert "ocicat: no problem in 1 store\n" in said(cli, "check")
    assert "ocicat: blobs: " in said(cli, "verify")
    assert "ocicat: removed: 1 store, 2 entries" in said(cli, "remove", "images")
    assert "ocicat: registered: 'ocicat index' reads the layouts" in said(cli, "add", images, "--no-index")


def test_with_quiet_and_in_a_pipe_nothing_is_said(cli: Own, layout: Callable[..., str]) -> None:
    path = layout("one", "1")
    for arguments in (("add", path), ("index",), ("index", "--full"), ("check",), ("verify",), ("remove", "one")):
        assert said(cli, "--quiet", *arguments) == ""
    for arguments in (("add", path), ("index",), ("index", "--full"), ("check",), ("verify",), ("remove", "one")):
        assert cli(*arguments).err == ""


def test_status_is_a_page_on_a_terminal_and_pairs_in_a_pipe(shelf: Shelf) -> None:
    seen = Seen("status", db=shelf.db, columns=100)
    assert [line.split()[0] for line in seen.lines if line[:1] != " "] == ["Catalog", "Stores", "Entries", "Daemon"]
    assert "1 invalid" in seen.out
    assert "none runs: start 'ocicat watch'" in seen.out
    assert shelf.ask("status").out.startswith("catalog\t")
    assert Seen("status", "--format", "tsv", db=shelf.db, columns=100).out == shelf.ask("status").out
    assert Seen("status", "--check", db=shelf.db, columns=100).status == 1


@pytest.mark.slow
def test_ctrl_c_says_what_is_kept(cli: Own, layout: Callable[..., str]) -> None:
    path = layout("images/one", "1")
    held = f"{cli.directory}/images/held"
    shutil.copytree(path, held)
    settings = f"{cli.directory}/patient.toml"
    with open(settings, "w") as file:  # the pass waits a minute for the file to stand still
        file.write("[watch]\nsettle_ms = 60000\npatience_ms = 60000\n")
    err, theirs = terminal(100)
    with subprocess.Popen(
        [OCICAT, "--config", settings, "add", f"{cli.directory}/images"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=theirs, env=CLEAN | {"OCICAT_DB": cli.db},
    ) as process:  # fmt: skip
        os.close(theirs)
        writers.write_index(held, writers.read_index(held))
        assert os.read(err, 1)  # the bar is drawn, so the pass has begun
        process.send_signal(signal.SIGINT)
        text = drained(err)
        assert process.wait(30) == 130
    assert "interrupted: what was read so far is kept, and 'ocicat index' reads the rest" in text
