"""Build a Debian package with Debian's own dpkg-deb: dist/ocicat_VERSION_ARCHITECTURE.deb (`make deb`).

The package has its own copy of ocicat's dependencies below /usr/lib/ocicat, because those of Debian 12 are too old. It uses the
system's python3, so it works only on the Debian release on which it is built. It includes the extras postgres, metrics and serve.
`ocicat browse` needs more packages: install it with pip (docs/install.md).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
PYTHON = "/usr/bin/python3"
LIBRARY = "usr/lib/ocicat"
MAINTAINER = "The authors of ocicat <ocicat@localhost>"
PROGRAM = f"""#!{PYTHON} -IS
import _signal
import sys

if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # Ctrl-C while modules are loaded prints no traceback

sys.path.append("/{LIBRARY}")
from catalog.cli.lean import answer

answer()  # returns if this is not one of the few questions that it answers

from catalog.cli.start import main

main()
"""
COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: the authors of ocicat
License: Apache-2.0
 On Debian systems, the license is in /usr/share/common-licenses/Apache-2.0.

Files: usr/lib/ocicat/*
Copyright: the authors of each package
License: various
 The metadata of each package below /usr/lib/ocicat has its license.
"""
CONTROL = """Package: ocicat
Version: {version}
Architecture: {architecture}
Maintainer: {maintainer}
Installed-Size: {size}
Depends: python3 (>= {python}), python3 (<< {next_python}), libc6
Recommends: systemd
Section: utils
Priority: optional
Description: every name, tag and digest of many OCI image layouts
 OCI image layouts are directories in which build tools keep images. ocicat
 keeps an indexed database of the names, tags, digests and content of many of
 them, answers scripts in milliseconds, follows changes with a daemon, and
 reports over all stores in SQL.
"""
POSTINST = """#!/bin/sh
set -e
if [ "$1" = configure ]; then
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers ocicat.conf
    fi
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload
        systemctl try-restart ocicat.service ocicat-answer.service
    fi
fi
"""
PRERM = """#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl disable --now ocicat.service ocicat-answer.socket
    systemctl stop ocicat-answer.service
fi
"""
POSTRM = """#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
if [ "$1" = purge ]; then
    echo "ocicat: the catalog stays in /var/lib/ocicat; delete it if you do not want to keep it" >&2
fi
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=SOURCE / "dist", help="the directory for the package")
    parser.add_argument("--wheel", type=Path, help="a wheel of ocicat; without it, one is built")
    asked = parser.parse_args()
    for program, package in (("dpkg-deb", "dpkg"), (PYTHON, "python3")):
        if shutil.which(program) is None:
            print(f"make deb needs {program}: install the Debian package {package}", file=sys.stderr)
            return 1
    os.umask(0o022)
    with tempfile.TemporaryDirectory() as stage:
        if asked.wheel is None:
            run(sys.executable, "-m", "build", "--wheel", "--outdir", f"{stage}/wheel", str(SOURCE))
            (asked.wheel,) = Path(stage, "wheel").iterdir()
        built = build(asked.wheel, Path(stage), asked.into)
    print(built)
    return 0


def build(wheel: Path, stage: Path, into: Path) -> Path:
    """Build the package of a wheel, with its files below `stage`, and return its path below `into`."""
    version = wheel.name.split("-")[1]
    tree = stage / "tree"
    launcher = install_library(wheel, tree)
    install_program(tree, launcher)
    install_others(tree, version)
    control(tree, version)
    into.mkdir(exist_ok=True)
    target = into / f"ocicat_{version}_{architecture()}.deb"
    run("dpkg-deb", "--root-owner-group", "--build", str(tree), str(target))
    return target


def install_library(wheel: Path, tree: Path) -> bytes | None:
    """Install the wheel and its dependencies, and compile them for the system's Python.

    Return the bytes of the wheel's native launcher, or None if it has none.
    """
    library = tree / LIBRARY
    major, minor = system_python()
    run(
        sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", str(library),
        "--constraint", str(SOURCE / "constraints.txt"), "--only-binary", ":all:",
        "--python-version", f"{major}.{minor}", f"{wheel}[postgres,metrics,serve]",
    )  # fmt: skip
    has_launcher = (library / "bin/ocicat-plain").exists()
    launcher = (library / "bin/ocicat").read_bytes() if has_launcher else None
    for directory in ("bin", "share"):  # these files have other places in Debian
        shutil.rmtree(library / directory, ignore_errors=True)
    # Users cannot write there, so the modules are compiled now, and never compared with their sources. compileall sorts
    # the files, so that the same sources make the same package.
    script = (
        "import compileall, py_compile, sys; sys.exit(not compileall.compile_dir(sys.argv[1], quiet=1,"
        f" stripdir=sys.argv[2], prependdir='/{LIBRARY}',"
        " invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH))"
    )
    run(PYTHON, "-c", script, str(library), str(library))
    return launcher


def install_program(tree: Path, launcher: bytes | None) -> None:
    """Install the Python program and, if there is one, the native launcher, which finds the program in its own directory."""
    if launcher is None:
        put(tree / "usr/bin/ocicat", PROGRAM.encode(), 0o755)
        return
    put(tree / LIBRARY / "bin/ocicat", launcher, 0o755)
    put(tree / LIBRARY / "bin/ocicat-plain", PROGRAM.encode(), 0o755)
    (tree / "usr/bin").mkdir()
    (tree / "usr/bin/ocicat").symlink_to(f"../{LIBRARY.removeprefix('usr/')}/bin/ocicat")


def install_others(tree: Path, version: str) -> None:
    """Install manual pages, completion, units and documents where Debian expects them."""
    for page in sorted((SOURCE / "contrib/man").iterdir()):
        put(tree / f"usr/share/man/man1/{page.name}.gz", packed(page.read_bytes()))
    completion = SOURCE / "contrib/completion"
    put(tree / "usr/share/bash-completion/completions/ocicat", (completion / "ocicat").read_bytes())
    put(tree / "usr/share/zsh/vendor-completions/_ocicat", (completion / "_ocicat").read_bytes())
    put(tree / "usr/share/fish/vendor_completions.d/ocicat.fish", (completion / "ocicat.fish").read_bytes())
    units = SOURCE / "contrib/systemd"
    user = (
        (units / "ocicat-user.service").read_text(encoding="utf-8").replace("%h/.local/bin/ocicat", "/usr/bin/ocicat")
    )
    system = (
        "ocicat.service",
        "ocicat-answer.service",
        "ocicat-answer.socket",
        "ocicat-serve.service",
        "ocicat-serve.socket",
    )
    for unit in system:
        text = (units / unit).read_text(encoding="utf-8").replace("/usr/local/bin/ocicat", "/usr/bin/ocicat")
        put(tree / f"usr/lib/systemd/system/{unit}", text.encode())
    put(tree / "usr/lib/systemd/user/ocicat.service", user.encode())
    put(tree / "usr/lib/sysusers.d/ocicat.conf", (units / "ocicat.sysusers").read_bytes())
    documents = tree / "usr/share/doc/ocicat"
    put(documents / "copyright", COPYRIGHT.encode())
    put(documents / "changelog.gz", packed((SOURCE / "CHANGELOG.md").read_bytes()))
    put(
        documents / "README.Debian",
        f"ocicat {version}: run 'ocicat help' or 'ocicat help install' to get started.\n".encode(),
    )


def control(tree: Path, version: str) -> None:
    """Write the control files of the package, which dpkg reads."""
    files = [path for path in sorted(tree.rglob("*")) if path.is_file() and not path.is_symlink()]
    sums = "".join(f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(tree)}\n" for path in files)
    major, minor = system_python()
    text = CONTROL.format(
        version=version, architecture=architecture(), maintainer=MAINTAINER,
        size=sum(path.stat().st_size for path in files) // 1024,
        python=f"{major}.{minor}", next_python=f"{major}.{minor + 1}",
    )  # fmt: skip
    debian = tree / "DEBIAN"
    put(debian / "control", text.encode())
    put(debian / "md5sums", sums.encode())
    for name, script in (("postinst", POSTINST), ("prerm", PRERM), ("postrm", POSTRM)):
        put(debian / name, script.encode(), 0o755)


def system_python() -> tuple[int, int]:
    done = subprocess.run([PYTHON, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, check=True)
    major, minor = done.stdout.split()
    return int(major), int(minor)


def architecture() -> str:
    done = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def put(path: Path, data: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
