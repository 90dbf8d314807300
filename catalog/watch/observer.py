"""Hints from the kernel: watchdog by an observer of our own.

watchdog's stock observer takes a thread or an inotify instance for each directory scheduled, watches below `blobs`, and
after a queue overflow says nothing to its handlers. Here one emitter with one inotify descriptor watches roots, the
directories between and the stores' directories: never `blobs`, hidden directories or what is behind symbolic links.

The order is always: watch first, then look. Whatever happens before the watch is seen by the look, whatever happens after
it makes an event. Two threads touch the books: watchdog's reader, which calls `on_event`, and the emitter's own, which
sets watches on the trees that the reader or the daemon hands it; a lock guards them.

The kernel knows a directory by its inode and the books by its path, and the two part whenever an event is lost. So setting
a watch never trusts the books: it asks the kernel each time, which costs two microseconds and is no event, and corrects
them. Adopting a tree `anew` forgets what is no longer in it.

This stands on internals of watchdog 7.1 (`InotifyFD`, its callbacks): pyproject pins that series, and
tests/watch/test_observer.py tests what is used of it.
"""

from __future__ import annotations

import errno
import logging
import os
import queue
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers.api import BaseObserver, EventEmitter, EventQueue, ObservedWatch
from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchCallback,
    WatchDescriptor,
)

from catalog.layout.beneath import open_directory, opened_path, stat_directory

_MASK = Mask(
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_MODIFY
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_ATTRIB
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_ONLYDIR
    | InotifyConstants.IN_EXCL_UNLINK
)
"""One mask for every watch: a second one on the same directory would replace the first. ATTRIB is there since a right that
is given or taken, and a time that is set, are changes of a store that no writing tells. MODIFY is no hint: a writer who has written and
not closed the file yet is known by it."""

_DESCRIPTORS = b"/proc/self/fd"
"""A watch is set on a directory that is open already, so that it cannot be set on what a link leads to by then."""
_MARKERS = (b"index.json", b"oci-layout", b"blobs")
_QUIET_SECONDS = 1.0  # between two looks at whether to stop

logging.getLogger("watchdog").setLevel(logging.CRITICAL)  # what it has to say of lost events the daemon says itself


class StoreHint(FileSystemEvent):
    """Something may have changed about the layout in the directory `src_path`, or one may have come to be there."""

    event_type = "store"


class TreeHint(FileSystemEvent):
    """Something may have happened anywhere at or below `src_path`."""

    event_type = "tree"


class OverflowHint(FileSystemEvent):
    """Events were lost: anything may have happened anywhere."""

    event_type = "overflow"


class _Request(NamedTuple):
    """A tree to watch; `None` as its path only wakes the thread."""

    path: bytes | None
    deep: bool = False
    anew: bool = False
    done: threading.Event | None = None


class _Descriptor(InotifyFD):
    """watchdog's inotify descriptor, which lets the same directory be watched again, and says EACCES as other errors."""

    def add_callback(self, path: bytes, mask: Mask, callback: WatchCallback, id_: CallbackId) -> WatchDescriptor:
        """Watch the directory `path`; returns the watch it has already where it has one. Raises OSError."""
        with self._lock:
            watch = self._get_or_create_watch(path, mask)
            if watch.wd == -1:
                del self._watch_for_wd[watch.wd]
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            watch.callbacks[id_] = callback
            return watch.wd


class TreeEmitter(EventEmitter):
    """Watches any number of trees with one inotify descriptor. `adopt` and `forget` may be called from any thread."""

    def __init__(
        self,
        event_queue: EventQueue,
        watch: ObservedWatch,
        *,
        timeout: float = _QUIET_SECONDS,
        event_filter: list[type[FileSystemEvent]] | None = None,
    ) -> None:
        super().__init__(event_queue, watch, timeout=timeout, event_filter=event_filter)
        self._inotify = _Descriptor()
        self._id = CallbackId(id(self))
        self._lock = threading.RLock()  # held from asking the kernel until the books say the same
        # One directory can be reached by two paths, through a bind mount; hints go to both.
        self._paths_of: dict[WatchDescriptor, tuple[bytes, ...]] = {}
        self._watch_of: dict[bytes, WatchDescriptor] = {}
        self._unwatched: dict[bytes, int | None] = {}  # and the kernel's reason
        # When the index.json in a directory was closed or put in its place, in nanoseconds since 1970; 0 while it is written.
        self._closed: dict[bytes, int] = {}
        self._roots: frozenset[bytes] = frozenset()
        self._links: frozenset[bytes] = frozenset()
        self._tops: frozenset[bytes] = frozenset()
        self._parents: frozenset[bytes] = frozenset()
        self._requests: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        self.while_waiting: Callable[[], None] = lambda: None
        """Called about once a second by whoever waits for a tree to be watched."""

    # --- for the daemon -----------------------------------------------------------------------------------------

    def adopt(self, path: bytes, *, deep: bool, anew: bool = False, wait: bool = False) -> None:
        """Watch the directory `path`, and with `deep` every directory below it; `wait` until that is done.

        `anew` drops what the books have below `path` and the search does not find: after events were lost.
        """
        done = threading.Event() if wait else None
        self._requests.put(_Request(path, deep, anew, done))
        while done is not None and not done.wait(self.timeout):
            self.while_waiting()
            if not self.is_alive():
                return

    def follow(
        self, roots: Iterable[bytes], links: Iterable[bytes], tops: Iterable[bytes], parents: Iterable[bytes]
    ) -> None:
        """Watch what is behind the symbolic links `links`, and hint at each of `tops` when its name is given away or taken.

        Of the directories `parents` nothing matters but the names that are in `tops`. Below `roots` no other link is followed.
        """
        with self._lock:
            self._roots = frozenset(roots)
            self._links, self._tops, before = frozenset(links), frozenset(tops), self._parents
            self._parents = frozenset(parents)
            self._drop([path for path in before - self._parents if path in self._watch_of])

    def forget(self, path: bytes) -> None:
        """Drop the watches at and below `path`."""
        prefix = path.rstrip(b"/") + b"/"
        with self._lock:
            gone = [p for p in self._watch_of if p == path or p.startswith(prefix)]
            self._unwatched = {p: e for p, e in self._unwatched.items() if p != path and not p.startswith(prefix)}
            self._drop(gone)

    def is_watched(self, path: bytes) -> bool:
        """Whether the directory `path` has a watch."""
        with self._lock:
            return path in self._watch_of

    def knows(self, paths: Iterable[bytes]) -> bool:
        """Whether each of these directories has a watch, or could not be given one and waits for `retry`."""
        with self._lock:
            return all(path in self._watch_of or path in self._unwatched for path in paths)

    def retry(self) -> list[bytes]:
        """Watch what could not be watched before, until there is no room: one call of the kernel while there is none.

        Returns what has a watch now. What is in it, and what happened there, was seen by nobody: adopt it.
        """
        watched: list[bytes] = []
        with self._lock:
            paths = sorted(self._unwatched)
        for path in paths:
            directory = self._set_watch(path)
            if directory >= 0:
                os.close(directory)
            with self._lock:
                if path in self._watch_of:
                    watched.append(path)
                elif self._unwatched.get(path) == errno.ENOSPC:
                    break
        return watched

    def is_held(self, path: bytes, changed_ns: int) -> bool | None:
        """Whether somebody who wrote to the `index.json` in the directory `path` has it open still; None where nothing tells.

        `changed_ns` is when the file changed last, in nanoseconds since 1970: of a later change no event has told yet.
        """
        with self._lock:
            closed = self._closed.get(path)
        if closed is None or 0 < closed < changed_ns:
            return None
        return closed == 0

    def counts(self) -> tuple[int, int]:
        """How many directories are watched, and how many could not be."""
        with self._lock:
            return len(self._watch_of), len(self._unwatched)

    def over_limit(self) -> int:
        """How many directories the kernel allowed no watch for; it refuses others too, which may not be read, say."""
        with self._lock:
            return sum(reason == errno.ENOSPC for reason in self._unwatched.values())

    # --- threads ------------------------------------------------------------------------------------------------

    def on_thread_start(self) -> None:
        """Start reading events."""
        self._inotify.start()

    def on_thread_stop(self) -> None:
        """Stop reading events; the kernel drops the watches with the descriptor."""
        self._requests.put(_Request(None))
        if self._inotify.is_alive():
            self._inotify.stop()
        else:
            self._inotify.close()

    def run(self) -> None:
        """Set the watches that are asked for."""
        while self.should_keep_running():
            path, deep, anew, done = self._requests.get()
            if path is None:
                continue
            self._adopt(path, deep=deep, anew=anew)
            if done is not None:
                done.set()
        self._inotify.join()

    def _adopt(self, top: bytes, *, deep: bool, anew: bool) -> None:
        found: set[bytes] = set()
        pending = [top]
        while pending and self.should_keep_running():
            path = pending.pop()
            found.add(path)
            directory = self._set_watch(path)
            if directory < 0:
                continue
            marked = False
            try:
                with _scan(directory) as entries:  # watch first, then look
                    for entry in entries:
                        name = os.fsencode(entry.name)
                        if name in _MARKERS:
                            marked = True
                        if deep and _is_searched(name) and entry.is_dir(follow_symlinks=False):
                            pending.append(os.path.join(path, name))
            except OSError:
                continue  # gone again, or not to be read: the sweep says so
            finally:
                os.close(directory)
            if marked:
                self.queue_event(StoreHint(os.fsdecode(path)))
        if anew:
            prefix = top.rstrip(b"/") + b"/"
            with self._lock:
                gone = [p for p in self._watch_of if p.startswith(prefix) and p not in found]
                self._unwatched = {p: e for p, e in self._unwatched.items() if not p.startswith(prefix) or p in found}
                self._drop(gone)

    def _set_watch(self, path: bytes) -> int:
        """Set the watch on a directory; return an O_PATH descriptor of it to look into it, -1 if there is none.

        What cannot be watched is left to the sweep.
        """
        with self._lock:
            directory = -1
            opened = self._opened(path)
            try:
                directory = open_directory(opened)
                watch = self._inotify.add_callback(b"%s/%d" % (_DESCRIPTORS, directory), _MASK, self, self._id)
            except OSError as error:
                self._drop([path])
                if (directory >= 0 or _is_directory(opened)) and path not in self._parents:
                    self._unwatched[path] = error.errno
                else:
                    self._unwatched.pop(path, None)
                return directory
            if self._watch_of.get(path, watch) != watch:
                self._drop([path])  # another directory had that path
            self._watch_of[path] = watch
            known = self._paths_of.get(watch, ())
            if path not in known:
                self._paths_of[watch] = (*known, path)
            self._unwatched.pop(path, None)
        return directory

    def _opened(self, path: bytes) -> str:
        """The path by which to open a directory: links are followed where they are registered, and nowhere below a root."""
        root = path
        while root not in self._roots:
            above = os.path.dirname(root)
            if above == root:
                return opened_path(os.fsdecode(path), follow=path in self._links)
            root = above
        return opened_path(os.fsdecode(path), os.fsdecode(root), follow=path == root or path in self._links)

    def _drop(self, paths: list[bytes]) -> None:
        """Take `paths` from the books, and the watch from a directory that has no other path."""
        unused: list[tuple[WatchDescriptor, CallbackId]] = []
        with self._lock:
            for path in paths:
                self._closed.pop(path, None)
                watch = self._watch_of.pop(path, None)
                if watch is None:
                    continue
                left = tuple(p for p in self._paths_of.pop(watch, ()) if p != path)
                if left:
                    self._paths_of[watch] = left
                else:
                    unused.append((watch, self._id))
            self._inotify.remove_callbacks(unused)

    # --- watchdog's callbacks, in its reading thread ------------------------------------------------------------

    def on_event(self, event: InotifyEvent) -> None:
        """An event of a watch: a directory came or went, or something about a layout changed."""
        with self._lock:
            bases = self._paths_of.get(event.wd, ())
            if event.name == b"index.json":
                self._note(bases, event.mask)
        if event.mask & InotifyConstants.IN_MODIFY:
            return
        for base in bases:
            if event.mask & InotifyConstants.IN_DELETE_SELF:
                self._drop([base])
                self.queue_event(TreeHint(os.fsdecode(base)))
            elif event.mask & InotifyConstants.IN_MOVE_SELF:
                # Of a directory that was moved inside a tree this is old news: its watch was dropped when it left.
                self.forget(base)
                self.queue_event(TreeHint(os.fsdecode(base)))
            elif not event.name:
                self.queue_event(TreeHint(os.fsdecode(base)))  # its own attributes: a right was given or taken
            elif (top := os.path.join(base, event.name)) in self._tops:
                self.queue_event(TreeHint(os.fsdecode(top)))  # another directory, or a link that leads elsewhere
            elif base in self._parents:
                continue
            elif event.mask & InotifyConstants.IN_ISDIR:
                self._on_directory(base, event.name, event.mask)
            elif event.name in _MARKERS:
                self.queue_event(StoreHint(os.fsdecode(base)))

    def _note(self, bases: tuple[bytes, ...], mask: int) -> None:
        """Keep whether the index.json in these directories is being written."""
        for base in bases:
            if mask & InotifyConstants.IN_MODIFY:
                self._closed[base] = 0
            elif mask & (InotifyConstants.IN_CLOSE_WRITE | InotifyConstants.IN_MOVED_TO):
                self._closed[base] = time.time_ns()
            elif not mask & InotifyConstants.IN_ATTRIB:
                self._closed.pop(base, None)  # it is gone, or another one

    def _on_directory(self, base: bytes, name: bytes, mask: int) -> None:
        """Something about the directory `name` in `base`."""
        path = os.path.join(base, name)
        if name in _MARKERS:
            self.queue_event(StoreHint(os.fsdecode(base)))
        if not _is_searched(name):
            return
        if mask & (InotifyConstants.IN_CREATE | InotifyConstants.IN_MOVED_TO):
            self.adopt(path, deep=True)
        elif mask & InotifyConstants.IN_MOVED_FROM:
            self.forget(path)
            self.queue_event(TreeHint(os.fsdecode(path)))
        elif mask & InotifyConstants.IN_DELETE:
            # Somebody may hold it open: then it lives on, and its own event comes late. It was empty, so nothing is below.
            self._drop([path])
            self.queue_event(TreeHint(os.fsdecode(path)))
        elif mask & InotifyConstants.IN_ATTRIB:
            self.queue_event(TreeHint(os.fsdecode(path)))

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        """The kernel dropped a watch: its directory is gone."""
        with self._lock:
            for path in self._paths_of.pop(wd, ()):
                if self._watch_of.get(path) == wd:
                    del self._watch_of[path]
                    self._closed.pop(path, None)

    def on_queue_overflow(self) -> None:
        """Events were lost. No watch was: the daemon looks at everything once."""
        with self._lock:
            self._closed.clear()
        self.queue_event(OverflowHint(""))


class TreeObserver(BaseObserver):
    """The observer with its one emitter; hints go to `take`, in watchdog's dispatching thread.

    Raises OSError where the machine has no inotify instance left.
    """

    def __init__(self, take: Callable[[FileSystemEvent], None]) -> None:
        super().__init__(TreeEmitter, timeout=_QUIET_SECONDS)
        # One pretended watch: which directories are watched is the emitter's business.
        watch = self.schedule(_Handler(take), "/", recursive=True)
        emitter = self._emitter_for_watch[watch]
        assert isinstance(emitter, TreeEmitter)
        self.trees: TreeEmitter = emitter


class _Handler(FileSystemEventHandler):
    def __init__(self, take: Callable[[FileSystemEvent], None]) -> None:
        self._take = take

    def dispatch(self, event: FileSystemEvent) -> None:
        self._take(event)


def _is_searched(name: bytes) -> bool:
    """Whether the search for layouts goes into a directory of that name (docs/resolution.md)."""
    return name != b"blobs" and not name.startswith(b".")


def _scan(directory: int) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
    """List a directory that is open for searching. Raises OSError."""
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return os.scandir(descriptor)  # which has a descriptor of its own
    finally:
        os.close(descriptor)


def _is_directory(opened: str) -> bool:
    try:
        return stat.S_ISDIR(stat_directory(opened).st_mode)
    except OSError:
        return False


def kernel_limit(name: str) -> int | None:
    """A limit of inotify's, `max_user_watches` or another, or None where the kernel does not say."""
    try:
        with open(f"/proc/sys/fs/inotify/{name}", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None
