"""The built packages are complete, contain nothing of this machine, and work in an empty environment.

Both need the package index, for the build backend and for the dependencies.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.installed import SOURCE, build, build_for_all_machines, install, plain_environment
from catalog.cli.guides import GUIDES
from catalog.dockerfile.images import Build, read
from catalog.names.platform import normalize
from tests import writers
from tests.cli.program import ran
from tests.programs import needs


@pytest.fixture(autouse=True, scope="module")
def no_work_for_size_or_speed() -> Iterator[None]:
    """Nothing is compiled before it is used, or packed tightly: both take longer than the rest of these tests. And pip looks neither for a
    newer pip, nor whether what it installs fits all that the environment of the tests has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        for name in ("PIP_NO_COMPILE", "PIP_NO_WARN_CONFLICTS"):
            patch.setenv(
                name, "0"
            )  # a variable of an option that is given by a `no` is what the option sets, so 1 would say yes
        patch.setenv("DPKG_DEB_COMPRESSOR_TYPE", "none")
        yield


COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


class Built(NamedTuple):
    wheel: str
    sdist: str


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built(*build(str(tmp_path_factory.mktemp("dist"))))


@pytest.fixture(scope="module")
def venv(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A venv with the wheel alone, in a path with a space."""
    found = tmp_path_factory.mktemp("installed") / "the venv"
    install(built.wheel, str(found))
    return found


def wheel_files(path: str) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as wheel:
        return {name: wheel.read(name) for name in wheel.namelist()}


def metadata(files: dict[str, bytes], name: str) -> str:
    """The path of a file of the wheel's metadata."""
    (found,) = (path for path in files if path.endswith(f".dist-info/{name}"))
    return found


def sdist_files(path: str) -> Iterator[tuple[str, bytes]]:
    """The contents of each file of the sdist, by its path below the top directory."""
    with tarfile.open(path) as sdist:
        for member in sdist:
            file = sdist.extractfile(member)
            if file is not None:
                yield member.name.partition("/")[2], file.read()


def test_the_lock_has_versions_alone() -> None:
    """No address of an index, or of a file on somebody's machine; and all that the tools need is in it."""
    lines = Path(SOURCE, "constraints.txt").read_text(encoding="utf-8").splitlines()
    locked = [re.fullmatch(r"([A-Za-z0-9._-]+)==[0-9][A-Za-z0-9.+!]*", line) for line in lines]
    assert all(locked), [line for line, found in zip(lines, locked, strict=True) if not found]
    names = {_name(found[1]) for found in locked if found}
    project = tomllib.loads(Path(SOURCE, "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [*project["dependencies"], *itertools.chain.from_iterable(project["optional-dependencies"].values())]
    assert {_name(re.split(r"[\[<>=;, ]", each, maxsplit=1)[0]) for each in needed} - {"ocicat"} <= names


def _name(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()


SHARED = {
    "bash-completion/completions/ocicat": "contrib/completion/ocicat",
    "zsh/site-functions/_ocicat": "contrib/completion/_ocicat",
    "fish/vendor_completions.d/ocicat.fish": "contrib/completion/ocicat.fish",
    **{f"man/man1/{page}": f"contrib/man/{page}" for page in os.listdir(f"{SOURCE}/contrib/man")},
    "ocicat/systemd/ocicat.service": "contrib/systemd/ocicat.service",
    "ocicat/systemd/ocicat-user.service": "contrib/systemd/ocicat-user.service",
    "ocicat/systemd/ocicat.sysusers": "contrib/systemd/ocicat.sysusers",
    "ocicat/systemd/ocicat-serve.service": "contrib/systemd/ocicat-serve.service",
    "ocicat/systemd/ocicat-serve.socket": "contrib/systemd/ocicat-serve.socket",
    "ocicat/systemd/ocicat-answer.service": "contrib/systemd/ocicat-answer.service",
    "ocicat/systemd/ocicat-answer.socket": "contrib/systemd/ocicat-answer.socket",
}
"""The files below `share` in an installed wheel, and where they are in the project."""


def test_the_wheel_has_the_package_its_migrations_and_the_launcher(built: Built) -> None:
    files = wheel_files(built.wheel)
    of_the_package = {str(path.relative_to(SOURCE)) for path in Path(SOURCE, "catalog").rglob("*.py")}
    migrations = {
        f"catalog/_migrations/{path.relative_to(Path(SOURCE, 'migrations'))}"
        for path in Path(SOURCE, "migrations").rglob("*")
        if path.suffix in (".py", ".mako")
    }
    assert len(migrations) >= 3
    guides = {f"catalog/_guides/{topic}.md" for topic in GUIDES}
    programs = sorted(name for name in files if ".data/scripts/" in name)
    shared = {name.partition(".data/data/share/")[2]: name for name in files if ".data/data/share/" in name}
    assert set(shared) == set(SHARED)
    assert all(files[shared[name]] == Path(SOURCE, source).read_bytes() for name, source in SHARED.items())
    others = {name for name in files if ".dist-info/" not in name} - set(programs) - set(shared.values())
    face = {f"ocicat/{name}" for name in ("__init__.py", "__main__.py", "py.typed")}
    pages = {str(path.relative_to(SOURCE)) for path in Path(SOURCE, "catalog/browse/pages").iterdir()}
    assert others == of_the_package | migrations | guides | face | pages | {"catalog/py.typed"}
    assert all(files[name] == Path(SOURCE, "docs", os.path.basename(name)).read_bytes() for name in guides)
    names = ["ocicat", "ocicat-plain"] if COMPILER else ["ocicat"]
    assert [os.path.basename(name) for name in programs] == names
    assert files[programs[-1]].startswith(b"#!python\n")  # the installer puts the interpreter of the venv there
    assert files[programs[0]].startswith(b"\x7fELF" if COMPILER else b"#!python\n")
    (tag,) = (line for line in files[metadata(files, "WHEEL")].decode().splitlines() if line.startswith("Tag: "))
    assert (tag == "Tag: py3-none-any") == (COMPILER is None)
    assert any(name.endswith("/licenses/LICENSE") for name in files)


@pytest.mark.skipif(COMPILER is None, reason="there is no C compiler, so every wheel is for all machines")
def test_the_wheel_for_all_machines_has_the_program_in_place_of_the_launcher(built: Built, tmp_path: Path) -> None:
    files = wheel_files(build_for_all_machines(str(tmp_path)))
    (program,) = (name for name in files if ".data/scripts/" in name)
    assert os.path.basename(program) == "ocicat"
    other = wheel_files(built.wheel)
    assert files[program] == next(data for name, data in other.items() if name.endswith("/ocicat-plain"))
    assert b"Tag: py3-none-any\n" in files[metadata(files, "WHEEL")]
    assert {name for name in other if ".data/scripts/" not in name} == set(files) - {program}


def test_the_sdist_can_be_built_and_tested_from(built: Built) -> None:
    names = {name for name, _ in sdist_files(built.sdist)}
    assert {
        "LICENSE", "README.md", "CHANGELOG.md", "Makefile", "constraints.txt", "pyproject.toml", "catalog/py.typed",
        "contrib/demo.py", "contrib/launcher/ocicat", "migrations/env.py", "tests/writers.py", "docs/scripts.md",
        "benchmarks/__main__.py", "contrib/completion/_ocicat", "contrib/systemd/ocicat.service", "SECURITY.md",
        "CONTRIBUTING.md", ".ci/run", "Containerfile", ".dockerignore",
    } <= names  # fmt: skip


def test_the_containerfile_is_one_and_the_program_takes_its_command() -> None:
    """This needs no container engine: only our own parser, BuildKit's parser, and the program itself."""
    text = Path(SOURCE, "Containerfile").read_text(encoding="utf-8")
    images = read(text, Build(normalize("linux", "x86_64")))
    assert {image.text for image in images} == {"python:3.13-slim"}
    parser = pytest.importorskip("dockerfile", reason="BuildKit's parser comes as a wheel for few machines")
    commands = {each.cmd: list(each.value) for each in parser.parse_string(text)}
    assert commands["HEALTHCHECK"] == ["CMD", "ocicat", "status", "--check"]
    assert commands["USER"] == ["ocicat"]
    state = dict(zip(commands["ENV"][::2], commands["ENV"][1::2], strict=True))["STATE_DIRECTORY"]
    assert commands["VOLUME"] == [state]
    assert ran("db", "path", env={"STATE_DIRECTORY": state}).out == f"{state}/catalog.db\n"
    assert commands["ENTRYPOINT"] == ["ocicat"]
    assert ran(*commands["CMD"], "--help").status == 0


def test_a_container_build_gets_what_the_wheel_is_made_of() -> None:
    lines = Path(SOURCE, ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    settings = tomllib.loads(Path(SOURCE, "pyproject.toml").read_text(encoding="utf-8"))
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    sources = {*wheel["packages"], *wheel["force-include"], *wheel["shared-data"], *wheel["shared-scripts"]}
    project = settings["project"]
    assert {source.partition("/")[0] for source in sources} | {
        project["readme"],
        *project["license-files"],
        "pyproject.toml",
    } == kept


def test_nothing_of_this_machine_is_in_them(built: Built) -> None:
    here = [os.fsencode(path) + b"/" for path in (SOURCE, sys.prefix, sys.base_prefix) if path.count("/") > 1]
    for name, data in (*wheel_files(built.wheel).items(), *sdist_files(built.sdist)):
        assert not any(path in data for path in here), name


def test_the_wheel_works_in_an_empty_venv_an_empty_directory_and_an_empty_home(venv: Path, tmp_path: Path) -> None:
    bin_ = venv / "bin"
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

    for shell, name in (("bash", "bash-completion/completions/ocicat"), ("zsh", "zsh/site-functions/_ocicat"),
                        ("fish", "fish/vendor_completions.d/ocicat.fish")):  # fmt: skip
        assert run(f"{bin_}/ocicat", "completion", shell) == (venv / "share" / name).read_text(encoding="utf-8")
    assert run(f"{bin_}/python", "-c", "import catalog; print(catalog.__file__)").startswith(str(venv))
    catalog = run(f"{bin_}/ocicat", "db", "path").strip()
    assert catalog == f"{home}/.local/share/ocicat/catalog.db"
    assert not os.path.exists(catalog)
    run(f"{bin_}/ocicat", "add", str(tmp_path / "layouts"))
    assert run(f"{bin_}/ocicat", "resolve", "app:1.0") == f"{image['digest']}\n"
    assert run(f"{bin_}/ocicat", "stores", "--format", "{name} {state}") == "layouts/app ok\n"
    assert run(f"{bin_}/ocicat", "help", "scripts").startswith("FOR SCRIPTS\n")
    asked = "import ocicat; print(ocicat.Catalog.open().resolve('app:1.0').digest)"
    assert run(f"{bin_}/python", "-c", asked) == f"{image['digest']}\n"
    assert run(f"{bin_}/python", "-m", "ocicat", "resolve", "app:1.0") == f"{image['digest']}\n"
    assert list(directory.iterdir()) == []


@pytest.mark.skipif(COMPILER is None, reason="there is no C compiler, so the wheel has no launcher")
def test_the_launcher_finds_its_program_in_a_path_with_spaces_behind_a_link_and_after_a_move(
    venv: Path, tmp_path: Path
) -> None:
    """pip installs both; an answer of the answerer and one of the program are the same."""
    before, after = venv, tmp_path / "the venv, moved"
    layout = writers.make_layout(str(tmp_path / "app"))
    image = writers.make_image(layout, "app")
    writers.write_index(layout, writers.empty_index(writers.name_entry(image, "tag", "", "1.0")))
    env = plain_environment(str(tmp_path)) | {"OCICAT_DB": str(tmp_path / "catalog.db")}

    def run(program: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([program, *words], env=env, capture_output=True, check=False)

    assert run(before / "bin/ocicat", "add", layout).returncode == 0
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/ocicat").symlink_to(before / "bin/ocicat")
    answer = f"{image['digest']}\n".encode()
    for program in (before / "bin/ocicat", tmp_path / "bin/ocicat"):
        assert run(program, "resolve", ":1.0").stdout == answer
    words = (before / "bin/ocicat", "watch", "--answer")
    with subprocess.Popen(words, env=env, stderr=subprocess.PIPE) as daemon:
        assert daemon.stderr is not None
        while b"answering for" not in daemon.stderr.readline():
            assert daemon.poll() is None
        (before / "bin/ocicat-plain").rename(tmp_path / "plain")  # so that only the answerer can answer
        deadline = time.monotonic() + 60
        while (found := run(tmp_path / "bin/ocicat", "resolve", ":1.0")).returncode:
            assert time.monotonic() < deadline, found
        assert found.stdout == answer
        (tmp_path / "plain").rename(before / "bin/ocicat-plain")
        daemon.terminate()
        daemon.stderr.read()
    assert daemon.returncode == 0
    assert not (tmp_path / "catalog.db.answer").exists()
    before.rename(after)
    try:
        assert run(after / "bin/ocicat", "resolve", ":1.0").stdout == answer
    finally:
        after.rename(before)
    shutil.copy(before / "bin/ocicat", tmp_path / "lost")
    lost = run(tmp_path / "lost", "resolve", ":1.0")
    assert (lost.returncode, lost.stdout) == (4, b"")
    assert b"install ocicat again" in lost.stderr


@needs("dpkg-deb", "/usr/bin/python3")
def test_the_debian_package_runs_with_the_python_of_the_system(built: Built, tmp_path: Path) -> None:
    """It is unpacked, not installed: its launcher names the place where it would be."""

    def run(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    script = os.path.join(SOURCE, "contrib/debian_package.py")
    package = run(sys.executable, script, "--into", str(tmp_path / "dist"), "--wheel", built.wheel).strip()
    root = tmp_path / "root"
    run("dpkg-deb", "--extract", package, str(root))
    run("dpkg-deb", "--control", package, str(tmp_path / "control"))
    sums = (tmp_path / "control/md5sums").read_text(encoding="utf-8")
    assert {line.partition("  ")[2] for line in sums.splitlines()} == {
        str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and not path.is_symlink()
    }
    launcher = root / "usr/bin/ocicat"
    program = root / "usr/lib/ocicat/bin/ocicat-plain" if COMPILER else launcher
    text = program.read_text(encoding="utf-8")
    assert text.startswith("#!/usr/bin/python3 ")
    program.write_text(text.replace("/usr/lib", f"{root}/usr/lib"), encoding="utf-8")
    layout = writers.make_layout(str(tmp_path / "app"))
    image = writers.make_image(layout, "app")
    writers.write_index(layout, writers.empty_index(writers.name_entry(image, "tag", "", "1.0")))
    db = str(tmp_path / "catalog.db")
    for command, printed in (
        (("add", layout), ""),
        (("resolve", ":1.0"), f"{image['digest']}\n"),
        (("sql", "SELECT name FROM stores"), "app\n"),
    ):
        assert run(str(launcher), "--db", db, *command) == printed
    compiled = {path.parent.parent / f"{path.name.partition('.')[0]}.py" for path in root.rglob("catalog/**/*.pyc")}
    assert {path for path in root.rglob("catalog/**/*.py") if path.name != "env.py"} <= compiled
    assert {path.name for path in (root / "usr/share/man/man1").iterdir()} == {
        f"{path.name}.gz" for path in Path(SOURCE, "contrib/man").iterdir()
    }
    units = root / "usr/lib/systemd/system"
    assert {each.name for each in units.iterdir()} == {
        path.name
        for path in Path(SOURCE, "contrib/systemd").iterdir()
        if path.name not in ("ocicat-user.service", "ocicat.sysusers")
    }
    assert not [each for each in units.iterdir() if "/usr/local" in each.read_text(encoding="utf-8")]
    assert (root / "usr/lib/ocicat/uvicorn/__init__.py").exists()


THIS = f"{sys.version_info.major}.{sys.version_info.minor}"


OTHERS = [
    version for version in ("3.11", "3.12", "3.13", "3.14") if version != THIS and shutil.which(f"python{version}")
]


@pytest.mark.parametrize("version", [pytest.param(each, marks=pytest.mark.deep) for each in OTHERS])
def test_it_indexes_and_answers_on_each_python_that_is_here(
    built: Built, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All supported versions, except the one that runs the tests."""
    monkeypatch.setenv("PYENV_VERSION", version)  # where `python3.12` is pyenv's
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "-m", "venv", "--help"], capture_output=True, check=False).returncode:
        pytest.skip(f"there is no Python {version} here")
    bin_ = install(built.wheel, str(tmp_path / "venv"), python=python)
    layout = writers.make_layout(str(tmp_path / "layouts/app"))
    image = writers.make_image(layout, "app", labels={"vendor": "ACME"})
    entry = writers.name_entry(image, "containerd", "docker.io/library/app", "1.0")
    writers.write_index(layout, writers.empty_index(entry))

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [f"{bin_}/ocicat", "--db", str(tmp_path / "catalog.db"), *arguments],
            env=plain_environment(str(tmp_path)) | {"PYTHONWARNINGS": "error"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    run("add", str(tmp_path / "layouts"))
    assert run("resolve", "app:1.0", "--platform", "linux/amd64") == f"{image['digest']}\n"
    assert run("query", "--label", "vendor=ACME", "--fresh", "--count") == "1\n"
    assert run("verify") == ""
    assert run("sql", "SELECT count(*) FROM blobs WHERE is_good") == "3\n"
    assert run("history", "app:1.0", "--format", "{digest}") == f"{image['digest']}\n"


def test_make_builds_no_program_from_a_file_beside_it() -> None:
    """`make` has a rule of its own by which contrib/launcher/ocicat.c would replace the script `ocicat`."""
    command = ["make", "--dry-run", "--assume-new=contrib/launcher/ocicat.c", ".venv/.ready"]
    done = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, check=True)
    assert " -o " not in done.stdout
    assert "pip install" in done.stdout
