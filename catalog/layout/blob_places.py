"""Identify blob directories, including those behind links. Two stores use the same directory if they have an identifier in common.

A directory has two identifiers: its path without links, which stays the same after a reboot, and its file system and inode, which
are the same below every bind mount. A link in a store is untrusted, so its target is read and compared, and opened only if it is on
the same mount, because another mount might hang.
"""

from __future__ import annotations

import os

from catalog.exhausted import refuse_exhausted
from catalog.layout.beneath import open_on_mount
from catalog.names.paths import encode_path

_SEARCH = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def directory_places(descriptor: int) -> set[str]:
    """Return the identifiers of an open directory. Raises OSError."""
    found = os.fstat(descriptor)
    # The number of a device can change at each boot, but some file systems have no id of their own.
    file_system = os.fstatvfs(descriptor).f_fsid or f"device {found.st_dev}"
    places = {f"{file_system} {found.st_ino}"}
    path = path_of(descriptor)
    return places if path is None else places | {path}


def path_of(descriptor: int) -> str | None:
    """Return the path of an open directory, without links, or None if it is unknown."""
    try:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return None
    return path if path.startswith("/") and not path.endswith(" (deleted)") else None


def link_places(near: str, target: str) -> set[str]:
    """Return the identifiers of the directory at `target`, a normalized absolute path to which a link in the directory `near` leads.

    If the directory cannot be opened without entering another mount, `target` is the only one. Raises Exhausted.
    """
    common = os.path.commonpath((near, target))
    places = {target}
    try:
        directory = os.open(common, _SEARCH)
    except OSError as error:
        refuse_exhausted(error)
        return places
    try:
        found = open_on_mount(directory, os.path.relpath(target, common))
        if found >= 0:
            try:
                places |= directory_places(found)
            finally:
                os.close(found)
    except OSError as error:
        refuse_exhausted(error)
        return places
    finally:
        os.close(directory)
    return places


def link_advice(path: str, target: str) -> str:
    """Return advice for a blob directory that is a link to `target`, which is "" if unknown."""
    above, name = os.path.split(path)
    if name != "blobs":
        above, target = os.path.split(above)[0], os.path.dirname(target) if os.path.basename(target) == name else ""
    link = "is a symbolic link, which is not followed"
    if not target:
        return f"{link}: put a directory in its place, by a bind mount or a copy"
    return (
        f"{link}: give its directory to 'ocicat add {encode_path(above)[0]} --shared-blob-dir {encode_path(target)[0]}'"
    )
