"""What tests need of the machine: other programs, and a directory in memory.

If a program is not installed, the tests that need it are skipped, and the end of the run says what to install; with
TESTS_NEED_ALL=1, which `.ci/run` sets, they run and fail.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable

import pytest

PACKAGES = {
    "bash": "bash",
    "buildah": "buildah",
    "chromedriver": "chromium-driver",
    "chromium": "chromium",
    "containerd": "containerd",
    "ctr": "containerd",
    "curl": "curl",
    "dpkg-deb": "dpkg",
    "fish": "fish",
    "initdb": "postgresql",
    "openssl": "openssl",
    "/usr/bin/python3": "python3",
    "pgbouncer": "pgbouncer",
    "podman": "podman",
    "rsync": "rsync",
    "skopeo": "skopeo",
    "bsdtar": "libarchive-tools",
    "tar": "tar",
    "umoci": "umoci",
    "zsh": "zsh",
}
"""The Debian package of each program."""

_REASON = " is not installed"


def all_are_required() -> bool:
    """Whether a test is to fail where a program is missing."""
    return os.environ.get("TESTS_NEED_ALL", "0") not in ("", "0")


def is_installed(program: str) -> bool:
    """Return whether the program is installed where the tests look for it."""
    if program == "initdb":
        from tests.postgres import NoServer, programs

        try:
            return bool(programs())
        except NoServer:
            return False
    return shutil.which(program) is not None  # an absolute path is looked for as it is


def _reason(programs: Iterable[str]) -> str | None:
    """Why a test that needs these programs is skipped; None where it runs."""
    missing = [each for each in programs if not is_installed(each)]
    return f"{', '.join(missing)}{_REASON}" if missing and not all_are_required() else None


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skips a test where one of the programs is missing."""
    reason = _reason(programs)
    return pytest.mark.skipif(reason is not None, reason=reason or "")


def skip_without(*programs: str) -> None:
    """Skip the test that asks for this, for a fixture."""
    reason = _reason(programs)
    if reason is not None:
        pytest.skip(reason)


def in_memory() -> str | None:
    """Return a directory in memory with enough room for the files of all tests; None for the default directory of temporary files."""
    try:
        room = os.statvfs("/dev/shm")
    except OSError:
        return None
    return "/dev/shm" if room.f_bavail * room.f_frsize > 4 << 30 and os.access("/dev/shm", os.W_OK) else None


def summary(reasons: Iterable[str]) -> list[str]:
    """Lines that say how many tests were skipped for want of what, and how to install it; none where none was."""
    missing: Counter[str] = Counter()
    for reason in reasons:
        words = reason.removeprefix("Skipped: ")
        if words.endswith(_REASON):
            missing.update(each for each in words.removesuffix(_REASON).split(", ") if each in PACKAGES)
    if not missing:
        return []
    packages = sorted({PACKAGES[each] for each in missing})
    return [
        *(f"{count} tests need {program}, which is not installed" for program, count in sorted(missing.items())),
        f"to run them: apt-get install {' '.join(packages)}",
    ]
