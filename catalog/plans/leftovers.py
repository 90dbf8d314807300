"""Files that killed writers leave in a layout, and that no reader opens.

skopeo and podman write `oci-put-blob*` beside `index.json`, umoci `.umoci-*/`, containerd's and BuildKit's content store
`ingest/NAME/`, and BuildKit's index has the lock file `index.json.lock`. A directory is as old as its youngest file. It
counts only if it contains nothing but such files, because a layout may have any name, also one of these.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from catalog.exhausted import refuse_exhausted
from catalog.layout.beneath import open_below, open_directory, plain
from catalog.plans.files import real_path

_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_INGEST = frozenset(("data", "ref", "startedat", "updatedat", "total"))
_LAYOUT = frozenset(("index.json", "oci-layout", "blobs"))
_MOST_FILES = 10_000
"""A directory with more files than this is not taken for one that a writer left."""


class Leftover(NamedTuple):
    """A file, its stat, and when it last changed, in milliseconds since 1970. In a directory that was left, its latest change counts."""

    path: str
    found: os.stat_result
    changed_ms: int


def leftovers(opened: str) -> Iterator[Leftover]:
    """Yield the leftovers of a layout, sorted by path. Never raises OSError: leaves out what cannot be read."""
    try:
        top = open_directory(opened, _LIST)
    except OSError as error:
        refuse_exhausted(error)
        return
    try:
        path = real_path(top, plain(opened))
        for name in _sorted(top):
            if name == "index.json.lock" or name.startswith("oci-put-blob"):
                if (found := _regular(top, name)) is not None:
                    yield Leftover(f"{path}/{name}", found, _changed(found))
            elif name.startswith(".umoci-"):
                yield from _flat(top, name, f"{path}/{name}")
            elif name == "ingest":
                yield from _ingest(top, f"{path}/{name}")
    finally:
        os.close(top)


def _ingest(top: int, path: str) -> Iterator[Leftover]:
    with contextlib.suppress(OSError):
        directory = open_below(top, "ingest", _LIST)
        try:
            names = _sorted(directory)
            if _LAYOUT.isdisjoint(names):
                for name in names:
                    yield from _flat(directory, name, f"{path}/{name}", _INGEST)
        finally:
            os.close(directory)


def _flat(above: int, name: str, path: str, only: frozenset[str] | None = None) -> Iterator[Leftover]:
    """Yield the files of a directory if it contains nothing but files that a writer puts there."""
    found: list[tuple[str, os.stat_result]] = []
    with contextlib.suppress(OSError):
        directory = open_below(above, name, _LIST)
        try:
            changed = _changed(os.fstat(directory))
            names = _sorted(directory)
            if (
                len(names) > _MOST_FILES
                or not _LAYOUT.isdisjoint(names)
                or (only is not None and not only.issuperset(names))
            ):
                return
            for each in names:
                file = _regular(directory, each)
                if file is None:
                    return
                found.append((f"{path}/{each}", file))
                changed = max(changed, _changed(file))
        finally:
            os.close(directory)
        for each, file in found:
            yield Leftover(each, file, changed)


def _sorted(directory: int) -> list[str]:
    with contextlib.suppress(OSError):
        return sorted(os.listdir(directory))
    return []


def _regular(directory: int, name: str) -> os.stat_result | None:
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def _changed(found: os.stat_result) -> int:
    return max(found.st_mtime_ns, found.st_ctime_ns) // 1_000_000
