"""Find the directories that are on a file system without events (proc(5), /proc/PID/mountinfo).

inotify reports only changes by programs on this machine. Changes by another host on a network file system, by a server behind FUSE, or
by the host of a virtual machine cause no events here. Such file systems are called silent: they have to be checked more often.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from catalog.layout.discover import discover
from catalog.names.paths import real_path
from catalog.watch.hints import is_below_any, is_reached

_MOUNTINFO = "/proc/self/mountinfo"

SILENT = frozenset({
    "9p", "acfs", "afs", "afpfs", "beegfs", "ceph", "cifs", "coda", "cvfs", "davfs", "davfs2", "fhgfs", "fuse",
    "gfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "prl_fs",
    "pvfs2", "smb2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs",
})  # fmt: skip
"""Types of file systems whose files can change without the knowledge of this kernel.

All types of FUSE count too, except `fuseblk`, which is a local disk.
"""

_OCTAL = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """The mount point of a file system, and its type (`nfs4`, `fuse.sshfs`)."""

    point: str
    kind: str

    @property
    def silent(self) -> bool:
        """Whether the file system can change without an event."""
        return self.kind in SILENT or self.kind.startswith("fuse.")


class Mounts:
    """The mounts of a process, from the text of its mountinfo."""

    def __init__(self, text: str) -> None:
        self._at: dict[str, Mount] = {}
        for line in text.split("\n"):
            fields = line.split(" ")
            # 36 35 98:0 /root /point rw,noatime master:1 - ext3 /dev/sda rw: any number of fields before the dash
            dash = fields.index("-", 6) if "-" in fields[6:] else 0
            if not dash or dash + 1 >= len(fields):
                continue
            point = _OCTAL.sub(lambda found: chr(int(found[1], 8)), fields[4])
            self._at[point] = Mount(point, fields[dash + 1])  # A later mount hides an earlier one at the same point.

    @classmethod
    def of_this_process(cls) -> Mounts:
        """Return the current mounts; none if the kernel does not list them."""
        try:
            with open(_MOUNTINFO, encoding="utf-8", errors="surrogateescape") as file:
                return cls(file.read())
        except OSError:
            return cls("")

    def of(self, path: str) -> Mount | None:
        """Return the mount that contains the absolute `path`, or None if it is unknown. Links are followed."""
        path = real_path(path)
        while path not in self._at:
            parent = os.path.dirname(path)
            if parent == path:
                return None
            path = parent
        return self._at[path]

    def silent(self, roots: Iterable[str], stores: Iterable[str]) -> list[str]:
        """Return the directories that have to be checked more often than others, sorted by path.

        These are `roots` and `stores` on a silent file system, and silent mount points below a root. `stores` must not include stores
        below a root. A directory that is reached by searching another one is left out.
        """
        roots = set(roots)
        candidates = {path for path in roots if self._is_silent(path)}
        candidates |= {point for point, mount in self._at.items() if mount.silent and is_reached(point, roots)}
        found = {path for path in candidates if not is_reached(path, candidates - {path})}
        return sorted(found.union(path for path in stores if self._is_silent(path)))

    def _is_silent(self, path: str) -> bool:
        mount = self.of(path)
        return mount is not None and mount.silent


class SilentPlaces:
    """The directories to check more often: `paths`, as of the last `follow`."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self._roots: set[str] = set()

    def follow(self, roots: set[str], stores: Iterable[str]) -> list[str]:
        """Find these directories among `roots` and `stores` by the current mounts. Return the new ones."""
        before = set(self.paths)
        lone = [path for path in stores if not is_below_any(path, roots)]
        self._roots = roots
        self.paths = Mounts.of_this_process().silent(roots, lone)
        return [path for path in self.paths if path not in before]

    def look(self, known: Iterable[str], on_directory: Callable[[], None]) -> set[str]:
        """Return the stores to check: those in `known` that are in these directories, and layouts that are found there."""
        if not self.paths:
            return set()
        found = {path for path in known if is_below_any(path, set(self.paths))}
        for directory in self.paths:
            if is_below_any(directory, self._roots):
                # The sweep reports directories that cannot be searched.
                found.update(discover(directory, lambda _path, _error: None, on_directory))
        return found
