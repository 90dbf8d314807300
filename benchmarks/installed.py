"""A built wheel in a plain venv: what a user has, and so what is measured. Also used by tests/test_packaging.py."""

from __future__ import annotations

import glob
import os
import subprocess
import sys

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def build(directory: str) -> tuple[str, str]:
    """The paths of the wheel and the sdist of this checkout, built into `directory` (`python -m build`)."""
    _run(sys.executable, "-m", "build", "--outdir", directory, SOURCE)
    (wheel,) = glob.glob(f"{directory}/*.whl")
    (sdist,) = glob.glob(f"{directory}/*.tar.gz")
    return wheel, sdist


def install(wheel: str, directory: str, *others: str, python: str = sys.executable) -> str:
    """A new venv of `python` at `directory` with the wheel, and `others`, installed, and the path of its `bin`."""
    _run(python, "-m", "venv", directory)
    _run(f"{directory}/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel, *others)
    return f"{directory}/bin"


def plain_environment(home: str) -> dict[str, str]:
    """An environment with nothing in it that changes what ocicat or the interpreter does."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": home, "LC_ALL": "C.UTF-8"}


def _run(*command: str) -> None:
    # From elsewhere, so that the checkout is not on sys.path by accident.
    done = subprocess.run(command, cwd=os.path.dirname(command[0]), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
