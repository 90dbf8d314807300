"""The build hook of the wheel: it compiles the native launcher, if possible; the wheel is then specific to one platform.

On Linux with a C compiler the wheel has the launcher as bin/ocicat, and the Python program beside it as bin/ocicat-plain. Without a
compiler, and in an editable install, bin/ocicat is the Python program, and the wheel is the same for all machines.

OCICAT_LAUNCHER_CC is the command of another compiler, which must succeed; if it is empty, nothing is compiled.
OCICAT_LAUNCHER_PLATFORM is the platform in the wheel's tag, by default that of this machine. `make wheels` sets both.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SCRIPT = "contrib/launcher/ocicat"
FLAGS = ("-std=c11", "-Os", "-s", "-Wall")
STATIC = "-static"
"""A static launcher starts in half the time, but not every machine has a static C library."""
LOST = 4
"""The exit status of a launcher that finds no Python program beside it."""


class LauncherHook(BuildHookInterface):  # type: ignore[type-arg,misc,unused-ignore]
    """Puts the launcher into the wheel if it can be compiled."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the launcher and name it in `build_data`. `version` is "standard" or "editable"."""
        given = os.environ.get("OCICAT_LAUNCHER_CC")
        platform = os.environ.get("OCICAT_LAUNCHER_PLATFORM") or sysconfig.get_platform().replace("-", "_").replace(
            ".", "_"
        )
        target = os.path.join(self.root, "build", "launcher", platform.partition(".")[0], "ocicat")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if given:
            self._compile([*shlex.split(given), STATIC], target)
        elif given is not None or version == "editable" or not self._compiled_here(target):
            return
        build_data["shared_scripts"] = {SCRIPT: "ocicat-plain", target: "ocicat"}
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"

    def _compiled_here(self, target: str) -> bool:
        """Return whether there is a compiler whose launcher runs on this machine."""
        compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
        if compiler is None or not sys.platform.startswith("linux"):
            return False
        for more in ([STATIC], []):
            try:
                self._compile([compiler, *more], target)
                done = subprocess.run([target], capture_output=True, timeout=60, check=False)
            except (OSError, subprocess.SubprocessError):
                continue
            if done.returncode == LOST:
                return True
        return False

    def _compile(self, compiler: list[str], target: str) -> None:
        defined = f'-DVERSION="{self.metadata.version}"'
        source = os.path.join(self.root, f"{SCRIPT}.c")
        subprocess.run([*compiler, *FLAGS, defined, "-o", target, source], check=True, timeout=600)
