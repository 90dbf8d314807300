"""What is built is what a user gets: all of it, nothing of this machine, and it works where there is nothing else.

Both need the package index, for the build backend and for the dependencies.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.installed import SOURCE, build, install, plain_environment
from tests import writers


class Built(NamedTuple):
    wheel: str
    sdist: str


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built(*build(str(tmp_path_factory.mktemp("dist"))))


def wheel_files(path: str) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as wheel:
        return {name: wheel.read(name) for name in wheel.namelist()}


def sdist_files(path: str) -> Iterator[tuple[str, bytes]]:
    """Each file's path below the sdist's one directory, and what is in it."""
    with tarfile.open(path) as sdist:
        for member in sdist:
            file = sdist.extractfile(member)
            if file is not None:
                yield member.name.partition("/")[2], file.read()


def test_the_wheel_has_the_package_its_migrations_and_the_launcher(built: Built) -> None:
    files = wheel_files(built.wheel)
    of_the_package = {str(path.relative_to(SOURCE)) for path in Path(SOURCE, "catalog").rglob("*.py")}
    migrations = {
        f"catalog/_migrations/{path.relative_to(Path(SOURCE, 'migrations'))}"
        for path in Path(SOURCE, "migrations").rglob("*")
        if path.suffix in (".py", ".mako")
    }
    assert len(migrations) >= 3
    launchers = [name for name in files if name.endswith(".data/scripts/ocicat")]
    others = {name for name in files if ".dist-info/" not in name} - set(launchers)
    assert others == of_the_package | migrations | {"catalog/py.typed"}
    assert len(launchers) == 1
    assert files[launchers[0]].startswith(b"#!python\n")  # the installer puts the interpreter of the venv there
    assert any(name.endswith("/licenses/LICENSE") for name in files)


def test_the_sdist_can_be_built_and_tested_from(built: Built) -> None:
    names = {name for name, _ in sdist_files(built.sdist)}
    assert {
        "LICENSE", "README.md", "CHANGELOG.md", "Makefile", "pyproject.toml", "catalog/py.typed",
        "contrib/demo.py", "contrib/launcher/ocicat", "migrations/env.py", "tests/writers.py", "docs/scripts.md",
        "benchmarks/__main__.py",
    } <= names  # fmt: skip


def test_nothing_of_this_machine_is_in_them(built: Built) -> None:
    here = [os.fsencode(path) + b"/" for path in (SOURCE, sys.prefix, sys.base_prefix) if path.count("/") > 1]
    for name, data in (*wheel_files(built.wheel).items(), *sdist_files(built.sdist)):
        assert not any(path in data for path in here), name


def test_the_wheel_serves_in_an_empty_venv_an_empty_directory_and_an_empty_home(built: Built, tmp_path: Path) -> None:
    bin_ = install(built.wheel, str(tmp_path / "venv"))
    home, directory = tmp_path / "home", tmp_path / "empty"
    home.mkdir()
    directory.mkdir()
    layout = writers.make_layout(str(tmp_path / "layouts/app"))
    image = writers.make_image(layout, "app")
    writers.write_index(
        layout, writers.empty_index(writers.name_entry(image, "containerd", "docker.io/library/app", "1.0"))
    )

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=directory, env=plain_environment(str(home)), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout

    assert run(f"{bin_}/python", "-c", "import catalog; print(catalog.__file__)").startswith(str(tmp_path / "venv"))
    catalog = run(f"{bin_}/ocicat", "db", "path").strip()
    assert catalog == f"{home}/.local/share/ocicat/catalog.db"
    assert not os.path.exists(catalog)
    run(f"{bin_}/ocicat", "add", str(tmp_path / "layouts"))
    assert run(f"{bin_}/ocicat", "resolve", "app:1.0") == f"{image['digest']}\n"
    assert run(f"{bin_}/ocicat", "stores", "--format", "{name} {state}") == "layouts/app ok\n"
    assert list(directory.iterdir()) == []
