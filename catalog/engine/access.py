"""Error messages for users who may not read or write a catalog, with what they can do about it. Loaded only for such a message."""

from __future__ import annotations

import grp
import os
import pwd
import stat

from catalog.errors import CatalogUnavailable
from catalog.names.escape import shown


def system_refused(path: str) -> CatalogUnavailable:
    """Return the error for a user who may not read the system's catalog at `path`. Otherwise the user would create another one."""
    return CatalogUnavailable(
        f"the catalog of this system is in {os.path.dirname(path)}, which you may not read: {how_to_read(path)}; "
        "or name a catalog of your own with --db or OCICAT_DB"
    )


def not_written(path: str) -> CatalogUnavailable:
    """Return the error for the catalog at `path`, a file that this user may not write."""
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return CatalogUnavailable(
            f"cannot write {shown(path)}: it is on a read-only file system, so it can only be read"
        )
    owner = _user(os.stat(path).st_uid)
    may = "may read, but not write" if os.access(path, os.R_OK) else "may not write"
    return CatalogUnavailable(
        f"cannot write {shown(path)}, which you {may}: run this as {owner}, its owner, or name another catalog with --db"
    )


def how_to_read(path: str) -> str:
    """Return what this user can do to read the file at `path`: join a group, log in again, ask the owner, or check permissions."""
    blocking = _blocking(path)
    if blocking is None:
        return "check the permissions of the file and its directories"
    found, needed = blocking
    user = _user(os.geteuid())
    if (found.st_mode >> 3) & needed != needed or found.st_gid == 0 or found.st_gid in (os.getegid(), *os.getgroups()):
        return f"ask {_user(found.st_uid)}, its owner, to let you read it"
    try:
        group = grp.getgrgid(found.st_gid)
    except KeyError:
        return f"become a member of the group {found.st_gid}"
    if user in group.gr_mem:
        return f"you were added to the group {group.gr_name} after you logged in, so log in again"
    return f"become a member of the group {group.gr_name} ('sudo usermod -aG {group.gr_name} {user}') and log in again"


def _blocking(path: str) -> tuple[os.stat_result, int] | None:
    """Return the stat of the first directory above `path` that cannot be searched, or else of the file if it cannot be read.

    The second value is the permission bit that is needed. Return None if nothing blocks this user.
    """
    directory = "/"
    for part in [part for part in path.split("/") if part]:
        if not os.access(directory, os.X_OK):
            return os.stat(directory), stat.S_IXOTH
        directory = os.path.join(directory, part)
    return (os.stat(path), stat.S_IROTH) if os.path.exists(path) and not os.access(path, os.R_OK) else None


def _user(number: int) -> str:
    try:
        return shown(pwd.getpwuid(number).pw_name)
    except KeyError:
        return str(number)
