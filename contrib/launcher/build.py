"""The build hook of the wheel: with OCICAT_LAUNCHER_CC it compiles the native launcher, and the wheel is for one platform.

OCICAT_LAUNCHER_CC is the command of a C compiler, such as `cc`, and OCICAT_LAUNCHER_PLATFORM the platform in the wheel's tag, by
default that of this machine. Without the former the wheel is the same for all machines, and bin/ocicat is the Python program.
`make wheels` builds all of them.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sysconfig
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SCRIPT = "contrib/launcher/ocicat"
FLAGS = ("-std=c11", "-Os", "-static", "-s", "-Wall")


class LauncherHook(BuildHookInterface):  # type: ignore[type-arg,misc,unused-ignore]
    """Puts the launcher into the wheel as bin/ocicat, and the Python program beside it as bin/ocicat-plain."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - "standard" or "editable"
        compiler = os.environ.get("OCICAT_LAUNCHER_CC", "")
        if not compiler:
            return
        platform = os.environ.get("OCICAT_LAUNCHER_PLATFORM") or sysconfig.get_platform().replace("-", "_").replace(
            ".", "_"
        )
        target = os.path.join(self.root, "build", "launcher", platform.partition(".")[0], "ocicat")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        defined = f'-DVERSION="{self.metadata.version}"'
        command = [*shlex.split(compiler), *FLAGS, defined, "-o", target, os.path.join(self.root, f"{SCRIPT}.c")]
        subprocess.run(command, check=True)
        build_data["shared_scripts"] = {SCRIPT: "ocicat-plain", target: "ocicat"}
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"
