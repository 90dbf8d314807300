"""What people who run ocicat for others rely on: configuration, rights, full disks, missing extras, monitoring."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.watch.figures import Figures
from catalog.watch.metrics import _Collector
from tests.cli.conftest import Own, Shelf
from tests.cli.program import called, common_directory, needs_root, one_error, ran_as_nobody
from tests.conftest import ON_SQLITE
from tests.effort import is_short
from tests.forking import CLEAN, OCICAT, Code

CONTRIB = Path(__file__).parents[2] / "contrib"


@pytest.mark.parametrize(
    "command", ["stores", "query", "resolve", "status", "index", "add", "remove", "sql", "report", "check"]
)
def test_a_config_that_does_not_exist_is_an_error_in_every_command(shelf: Shelf, command: str) -> None:
    rest = {"resolve": ("x",), "add": ("/",), "remove": ("x",), "sql": ("SELECT 1",)}.get(command, ())
    for arguments in (("--config", "/nowhere.toml", command, *rest), (command, *rest, "--config", "/nowhere.toml")):
        one_error(shelf.ask(*arguments), 2, "cannot read /nowhere.toml (it does not exist)")


def test_a_default_configuration_is_read(cli: Own, layout: Callable[..., str]) -> None:
    path = layout("one", "1")
    home = Path(cli.directory) / "config"
    (home / "ocicat").mkdir(parents=True)
    (home / "ocicat" / "ocicat.toml").write_text(f'[watch]\nsettle_ms = 0\n[[stores]]\npath = "{path}"\n')
    env = {"XDG_CONFIG_HOME": str(home)}
    if "://" in cli.db:
        assert called("db", "upgrade", db=cli.db).status == 0
    assert called("index", db=cli.db, env=env).status == 0
    assert called("query", "--format", "{store} {tag}", db=cli.db).out == "one 1\n"
    (home / "ocicat" / "ocicat.toml").write_text("[watch]\nsettle_sm = 0\n")
    one_error(called("index", db=cli.db, env=env), 2, "there is no setting watch.settle_sm (line 2): did you mean")
    (home / "ocicat" / "ocicat.toml").write_text('[[roots]]\npath = "/a"\n\n  names = "x"\n')
    one_error(called("index", db=cli.db, env=env), 2, "[[roots]] has no key names (line 4): did you mean 'name'?")


def test_help_for_a_full_device_is_no_defect() -> None:
    for words in ((), ("--help",), ("query", "-h"), ("help",), ("schema", "query")):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [OCICAT, *words], stdout=full, stderr=subprocess.PIPE, env=CLEAN, timeout=60, check=False
            )
        assert done.returncode == 4
        assert done.stderr.startswith(b"ocicat: error: cannot write the output (No space left on device)")


def test_a_missing_extra_is_named() -> None:
    script = (  # its own modules are loaded anew, as where there is no psycopg
        "import sys; sys.modules['psycopg'] = None\n"
        "for each in [each for each in sys.modules if each.partition('.')[0] == 'catalog']: del sys.modules[each]\n"
        "from catalog.cli import start; sys.exit(start.run(sys.argv[1:]))"
    )
    for words in (("stores",), ("resolve", "x"), ("index",), ("add", "/"), ("sql", "SELECT 1")):
        done = subprocess.run(
            Code(script, "--db", "postgresql://nobody@nowhere/x", *words),
            capture_output=True, text=True, env=CLEAN, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 4
        assert "install it with pip install 'ocicat[postgres]'" in done.stderr
        assert done.stderr.count("\n") == 1


@ON_SQLITE
@needs_root
def test_a_reader_needs_no_right_to_write_beside_the_catalog(shelf: Shelf) -> None:
    with common_directory() as directory:
        copy = f"{directory}/catalog.db"
        shutil.copy(shelf.db, copy)
        os.chmod(copy, 0o644)
        for words in (
            ("resolve", "ctr:3.16"),
            ("query", "--count"),
            ("stores", "--format", "{name}"),
            ("history", ":*", "--format", "{store} {digest}"),
            ("find", "ctr"),
        ):
            seen = ran_as_nobody(*words, db=copy)
            assert (seen.status, seen.out) == (0, shelf.ask(*words).out), seen
        assert os.listdir(directory) == ["catalog.db"]
        with open(f"{copy}-wal", "wb") as file:  # somebody has begun to write
            file.write(b"x")
        one_error(ran_as_nobody("resolve", "ctr:3.16", db=copy), 4, copy)


_SYSTEM = """
mount --make-rprivate / && mount -t tmpfs tmpfs /var/lib && mkdir -m "$0" /var/lib/ocicat || exit 99
touch /var/lib/ocicat/catalog.db && chgrp -R "$1" /var/lib/ocicat && chmod 640 /var/lib/ocicat/catalog.db || exit 99
"""
_WITHIN = """
import ctypes, subprocess
assert ctypes.CDLL(None).unshare(0x00020000) == 0  # CLONE_NEWNS: what is mounted is seen by this process alone
subprocess.run(["sh", "-c", *{!r}], check=True)
"""
needs_mounts = pytest.mark.skipif(
    subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0,
    reason="file systems may not be mounted here",
)


@needs_root
@needs_mounts
@pytest.mark.parametrize(
    ("mode", "group", "advice"),
    [
        ("750", "daemon", "become a member of the group daemon ('sudo usermod -aG daemon nobody') and log in again"),
        ("755", "daemon", "become a member of the group daemon ('sudo usermod -aG daemon nobody') and log in again"),
        ("700", "daemon", "ask root, its owner, to let you read it"),
    ],
)
def test_the_catalog_of_the_system_is_never_replaced_by_a_private_one(mode: str, group: str, advice: str) -> None:
    before = _WITHIN.format([_SYSTEM, mode, group])
    with common_directory() as home:
        home.chmod(0o777)
        env = {"HOME": str(home)}
        commands = [("query",), ("add", str(home)), ("watch",)] if mode == "750" else [("resolve", "a:1")]
        for command in commands:
            error = one_error(
                ran_as_nobody(*command, before=before, env=env), 4, "in /var/lib/ocicat, which you may not"
            )
            assert advice in error
        assert os.listdir(home) == []
        if is_short() and mode != "750":
            return
        # What the user names, or has already, comes first, whatever the mode.
        for own in ({"OCICAT_DB": f"{home}/own.db"}, {"XDG_DATA_HOME": f"{home}/data"}, {"HOME": str(home)}):
            if "HOME" in own:
                (home / ".local/share").mkdir(parents=True)
                (home / "data/ocicat").rename(home / ".local/share/ocicat")
            assert ran_as_nobody("add", str(home), before=before, env=env | own).status == 0
            assert ran_as_nobody("stores", before=before, env=env | own).status == 0


def test_a_daemon_with_nothing_to_follow_says_so(cli: Own, layout: Callable[..., str]) -> None:
    cli.done("add", layout("one", "1"))
    cli.done("remove", "one")
    with subprocess.Popen([OCICAT, "watch"], stderr=subprocess.PIPE, env=CLEAN | {"OCICAT_DB": cli.db}) as process:
        assert process.stderr is not None
        lines = [process.stderr.readline().decode(), process.stderr.readline().decode()]
        process.terminate()
        assert process.wait(30) == 0
    assert "there is nothing to follow yet: 'ocicat add PATH'" in "".join(lines)


@pytest.mark.parametrize("file", ["prometheus/alerts.yml", "grafana/ocicat.json"])
def test_monitoring_names_only_metrics_that_exist(shelf: Shelf, file: str) -> None:
    pytest.importorskip("prometheus_client")
    exported = {sample.name for metric in _Collector(shelf.db, Figures()).collect() for sample in metric.samples}
    exported |= {"ocicat_last_rescan_timestamp_seconds"}  # once there was one
    text = (CONTRIB / file).read_text()
    named = set(re.findall(r"\bocicat_[a-z_]+", text))
    assert len(named) > 5
    assert named <= exported
    if file.endswith(".json"):
        board = json.loads(text)
        assert {target["expr"] for panel in board["panels"] for target in panel["targets"]}
