"""Make the stat of a blob that is a member of an archive."""

from __future__ import annotations

import os


def member_stat(found: os.stat_result, size: int) -> os.stat_result:
    """Return the stat of an archive with the size of a member. If the archive has holes, the stat shows no blocks."""
    blocks = -(-size // 512) if found.st_blocks * 512 >= found.st_size else 0
    times = {"st_mtime_ns": found.st_mtime_ns, "st_ctime_ns": found.st_ctime_ns, "st_blocks": blocks}
    return os.stat_result((*found[:6], size, *found[7:10]), times)
