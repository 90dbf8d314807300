"""Build the wheel and install it into a plain venv, as a user would. tests/test_packaging.py uses this too."""

from __future__ import annotations

import glob
import os
import subprocess
import sys

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def build(directory: str) -> tuple[str, str]:
    """Build the wheel and the sdist of this checkout into `directory` (`python -m build`); return their paths."""
    _run(sys.executable, "-m", "build", "--outdir", directory, SOURCE)
    (wheel,) = glob.glob(f"{directory}/*.whl")
    (sdist,) = glob.glob(f"{directory}/*.tar.gz")
    return wheel, sdist


def build_for_all_machines(directory: str) -> str:
    """Build the wheel without a native launcher into `directory`, as `make wheels` does; return its path."""
    _run(sys.executable, "-m", "build", "--wheel", "--outdir", directory, SOURCE, OCICAT_LAUNCHER_CC="")
    (wheel,) = glob.glob(f"{directory}/*.whl")
    return wheel


def install(wheel: str, directory: str, *others: str, python: str = sys.executable) -> str:
    """Make a venv of `python` at `directory` with the wheel and `others` installed; return the path of its `bin`.

    The pip of this interpreter installs them, because installing pip in the venv would take seconds longer.
    """
    _run(python, "-m", "venv", "--without-pip", directory)
    pip = sys.executable, "-m", "pip", "--python", f"{directory}/bin/python", "--disable-pip-version-check", "--quiet"
    _run(*pip, "install", wheel, *others)
    return f"{directory}/bin"


def plain_environment(home: str) -> dict[str, str]:
    """Return an environment with nothing that changes the behaviour of ocicat or the interpreter. `home` becomes HOME."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": home, "LC_ALL": "C.UTF-8"}


def _run(*command: str, **variables: str) -> None:
    # Run in another directory, so that the checkout is not on sys.path by accident.
    directory, environment = os.path.dirname(command[0]), os.environ | variables
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
