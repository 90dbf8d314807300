"""Find out which files are open for writing at this moment, as far as /proc shows it to this process.

A lease on the file would show this exactly, but could make another program's non-blocking open fail at that moment, and
ocicat takes no lock of any kind on a layout. /proc shows the processes of the same user and, to root, all processes in its
pid namespace. The daemon learns more from events (catalog.watch.observer). This module never accesses a file system other
than the store's, because another user's file system might never answer.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

from catalog.exhausted import refuse_exhausted
from catalog.layout.beneath import ARCHIVE_NAMES, open_directory, open_file, plain
from catalog.layout.files import ArchiveState, FileState

_NAMES = ("/index.json", *ARCHIVE_NAMES)
_MOST_FILES = 4096  # per process
_MOST_LOOKS = 1000  # the most scans that are remembered: one per file system, and one per archive with an unusual name
_LOOK_SECONDS = 0.25
"""The processor time that a scan of all processes may take. The scan begins with the youngest, because a writer rarely lives long. With
a limit on wall time, a scan on a busy machine would end before it reached the writer, and a half-written file would count as settled."""
_TICK_NS = 20_000_000  # a file whose time is this close before a scan may have changed after the scan
_SHOWS_STILL_NS = 50_000_000  # how long a scan that found the file open stays valid
_WRITABLE = 0o200  # permission of the link in /proc/PID/fd of a file that is open for writing (proc_pid_fd(5))


class OpenFiles:
    """Finds out whether an `index.json` or an archive is open for writing. One scan of all processes serves many files."""

    def __init__(self) -> None:
        self._looks: dict[tuple[str, tuple[str, ...]], tuple[int, frozenset[int]]] = {}
        self._devices: dict[int, str] = {}  # by st_dev; cleared at each scan, because file systems come and go
        self.took = 0.0
        """The duration of the last scan, in seconds."""

    def has(self, store_path: str, file: FileState, changed_ns: int, pause: Callable[[], None] = lambda: None) -> bool:
        """Return whether `file` is open for writing in a process that this one may inspect.

        `file` is the state of the store's `index.json` or archive. `store_path` is a path from `catalog.layout.beneath.opened_path`;
        `changed_ns` is the time when the file last changed, in nanoseconds since 1970. A scan made after that is reused if it did not
        find the file open, because a process that has opened the file since then has not written yet. Returns False if it cannot be
        determined. `pause` is called between two processes, and may raise to end the scan. Raises Exhausted.
        """
        ino, device = file.ino, self._devices.get(file.dev)
        is_archive = isinstance(file, ArchiveState)
        name = os.path.basename(plain(store_path)) if is_archive else ""
        names = (f"/{name}",) if name and not name.endswith(ARCHIVE_NAMES) else _NAMES
        if device is None:
            try:
                device = self._devices[file.dev] = (
                    _device_of(open_file(store_path)) if is_archive else _device_of_index(store_path)
                )
            except ValueError:
                return False
            except OSError as error:
                refuse_exhausted(error)
                return False
        at, found = self._looks.get((device, names), (0, frozenset[int]()))
        now = time.time_ns()
        if not (changed_ns + _TICK_NS < at <= now and (ino not in found or now - at < _SHOWS_STILL_NS)):
            found = frozenset(_inodes(device, names, pause))
            if len(self._looks) >= _MOST_LOOKS:
                self._looks.clear()
            self._looks[device, names] = now, found
            self._devices = {file.dev: device}
            self.took = (time.time_ns() - now) / 1e9
        return ino in found


def _inodes(device: str, names: tuple[str, ...], pause: Callable[[], None]) -> Iterator[int]:
    """Yield the inodes of files on the file system `device` that are open for writing and whose paths end in one of `names`."""
    until = time.thread_time() + _LOOK_SECONDS
    try:
        processes = sorted((int(name) for name in os.listdir("/proc") if name.isdecimal()), reverse=True)
    except OSError as error:
        refuse_exhausted(error)
        return
    for process in processes:
        if time.thread_time() > until:
            return
        pause()
        try:
            yield from _inodes_of(process, device, names, until)
        except OSError as error:  # the process has ended, or belongs to another user
            refuse_exhausted(error)


def _inodes_of(process: int, device: str, names: tuple[str, ...], until: float) -> Iterator[int]:
    with os.scandir(f"/proc/{process}/fd") as entries:
        for number, entry in enumerate(entries):
            if number >= _MOST_FILES or time.thread_time() > until:
                return
            try:
                if os.readlink(entry.path).endswith(names) and entry.stat(follow_symlinks=False).st_mode & _WRITABLE:
                    yield _inode(entry.path, process, device)
            except ValueError:
                continue
            except OSError as error:  # closed meanwhile
                refuse_exhausted(error)


def _inode(path: str, process: int, device: str) -> int:
    """Return the inode of another process's open file. Raises ValueError if it is not on the file system `device`."""
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)  # pins the file without a request to the file system
    try:
        if _device(opened, process) != device:
            raise ValueError(path)
        return os.fstat(opened).st_ino
    finally:
        os.close(opened)


def _device_of_index(store_path: str) -> str:
    directory = open_directory(store_path)
    try:
        opened = os.open("index.json", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    finally:
        os.close(directory)
    return _device_of(opened)


def _device_of(opened: int) -> str:
    """Return the device of an open file, and close the file. Raises OSError, and ValueError if the device is unknown."""
    try:
        return _device(opened, os.getpid())
    finally:
        os.close(opened)


def _device(opened: int, process: int) -> str:
    """Return the device ("8:1") of the mount of this process's descriptor `opened`, according to the mounts of `process`.

    Raises ValueError if `process` does not have that mount.
    """
    with open(f"/proc/self/fdinfo/{opened}", "rb") as file:
        fields = dict(line.split(b":", 1) for line in file)
    mount = fields[b"mnt_id"].strip() if b"mnt_id" in fields else b""
    with open(f"/proc/{process}/mountinfo", "rb") as file:
        for line in file:
            number, _, device, _ = line.split(b" ", 3)  # proc_pid_mountinfo(5)
            if number == mount:
                return device.decode("ascii")
    raise ValueError(mount)
