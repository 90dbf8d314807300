"""`watch` as a command: options, exit statuses and output (docs/scripts.md). tests/watch tests what the daemon does."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.cli.conftest import Own
from tests.cli.program import needs_root, one_error, ran_as_nobody
from tests.forking import CLEAN, OCICAT
from tests.watch.harness import followed, wait_for


@pytest.mark.parametrize(
    "arguments",
    [("--poll", "0"), ("--poll", "-1"), ("--poll", "soon"), ("--rescan", "0"), ("--nothing",), ("place",)],
)
def test_wrong_usage_has_status_2(cli: Own, arguments: tuple[str, ...]) -> None:
    assert cli("watch", *arguments).status == 2


def test_a_wrong_configuration_has_status_2(cli: Own) -> None:
    for text, word in (
        ("[watch]\nsettle = 3\n", "settle"),
        ("[watch", "TOML"),
        ('[watch]\nsettle_ms = "x"\n', "number"),
    ):
        Path(cli.config).write_text(text)
        one_error(cli("watch"), 2, word)


def test_watch_creates_a_catalog_and_prints_nothing_on_stdout(tmp_path: Path) -> None:
    db = f"{tmp_path}/not/yet/catalog.db"
    process = subprocess.Popen([OCICAT, "--db", db, "watch"], env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        assert process.stderr.readline().endswith(f"Z info: watching 0 stores and 0 roots of {db}\n".encode())
        process.terminate()
        out, err = process.communicate(timeout=30)
        assert out == b""
        assert err.splitlines()[-1].endswith(b"Z info: ended by a signal")  # perhaps after the advice to add something
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()
    assert os.path.exists(db)


def test_help_says_what_the_options_do(cli: Own) -> None:
    said = cli("watch", "--help")
    assert said.status == 0
    for word in ("--poll", "--rescan", "SIGHUP", "SIGTERM"):
        assert word in said.out


def test_options_come_from_the_environment_too(tmp_path: Path) -> None:
    """The variables have the names that docs/scripts.md promises."""
    with followed(tmp_path) as catalog:
        catalog.start("--rescan", "3600", before=["env", "OCICAT_WATCH_POLL=0.2"])
        wait_for(lambda: catalog.state()["daemon_polling"] is True)
        assert catalog.stop() == 0


@needs_root
def test_a_catalog_that_may_not_be_written_has_status_4() -> None:
    with tempfile.TemporaryDirectory() as directory, followed(Path(directory)) as catalog:
        os.chmod(directory, 0o755)
        catalog.add_root("root")
        one_error(ran_as_nobody("watch", db=catalog.db), 4, "catalog")
