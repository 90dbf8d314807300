"""The systemd units: systemd accepts them, the program accepts their command lines, and the document quotes them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.program import ran
from tests.forking import CLEAN, OCICAT

ROOT = Path(__file__).parent.parent
UNITS = {"ocicat.service": "system", "ocicat-user.service": "user"}
TEXTS = {name: (ROOT / "contrib" / "systemd" / name).read_text(encoding="utf-8") for name in UNITS}
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")


def settings(name: str) -> dict[str, str]:
    """Return the settings of a unit, each of which occurs only once."""
    found: dict[str, str] = {}
    for line in TEXTS[name].splitlines():
        if line and not line.startswith(("#", "[")):
            key, equals, value = line.partition("=")
            assert equals, line
            assert key not in found, key
            found[key] = value
    return found


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_takes_it(name: str, tmp_path: Path) -> None:
    program = shlex.split(settings(name)["ExecStart"])[0]
    (tmp_path / name).write_text(TEXTS[name].replace(program, OCICAT))
    done = subprocess.run(
        ["systemd-analyze", "verify", f"--{UNITS[name]}", "--man=no", str(tmp_path / name)],
        capture_output=True, text=True, env=CLEAN | {"XDG_RUNTIME_DIR": str(tmp_path)}, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
def test_systemd_takes_the_socket_of_serve_and_its_service(tmp_path: Path) -> None:
    units = ("ocicat-serve.socket", "ocicat-serve.service")
    for each in units:
        text = (ROOT / "contrib" / "systemd" / each).read_text(encoding="utf-8")
        (tmp_path / each).write_text(text.replace("/usr/local/bin/ocicat", OCICAT))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--system", "--man=no", *(str(tmp_path / each) for each in units)],
        capture_output=True, text=True, env=CLEAN | {"XDG_RUNTIME_DIR": str(tmp_path)}, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
def test_the_one_of_the_system_is_shut_in(tmp_path: Path) -> None:
    program = shlex.split(settings("ocicat.service")["ExecStart"])[0]
    unit = tmp_path / "ocicat.service"
    unit.write_text(TEXTS["ocicat.service"].replace(program, OCICAT))
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=25", str(unit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "unrecognized option" in done.stderr or "not permitted" in done.stderr:
        pytest.skip("this systemd-analyze cannot do it")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", UNITS)
def test_the_program_takes_its_command_line(name: str, tmp_path: Path) -> None:
    config = tmp_path / "ocicat.toml"
    config.touch()
    arguments = shlex.split(settings(name)["ExecStart"].replace("/etc/ocicat/ocicat.toml", str(config)))[1:]
    assert arguments[-1] == "watch"
    assert ran(*arguments, "--help").status == 0


@pytest.mark.parametrize("name", UNITS)
def test_it_speaks_the_protocol_that_the_daemon_does(name: str) -> None:
    found = settings(name)
    assert found["Type"] == "notify"
    assert found["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert int(found["WatchdogSec"]) >= 60
    assert found["RestartPreventExitStatus"] == "2"
    assert os.path.basename(shlex.split(found["ExecStart"])[0]) == "ocicat"


def test_the_document_quotes_the_units() -> None:
    found = settings("ocicat.service")
    table = OPERATIONS[OPERATIONS.index("| line of the unit |") : OPERATIONS.index("Without systemd:")]
    quoted = re.findall(
        r"`([A-Z][A-Za-z]+)(?:=([^`]*))?`", "\n".join(row.split(" | ")[0] for row in table.splitlines())
    )
    assert len(quoted) >= 10
    for key, value in quoted:
        assert found[key] == value or not value, key
