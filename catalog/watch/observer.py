"""Hints from the kernel: watchdog by an observer of our own (facts.md section 2).

watchdog's stock observer takes a thread or an inotify instance for each directory scheduled, watches below `blobs`, and
after a queue overflow says nothing to its handlers. Here one emitter with one inotify descriptor watches roots, the
directories between and the stores' directories: never `blobs`, hidden directories or what is behind symbolic links.

The order is always: watch first, then look. Whatever happens before the watch is seen by the look, whatever happens after
it makes an event. Two threads touch the books: watchdog's reader, which calls `on_event`, and the emitter's own, which
sets watches on the trees that the reader or the daemon hands it; a lock guards them.

This stands on internals of watchdog 7.1 (`InotifyFD`, its callbacks): pyproject pins that series, and
tests/watch/test_observer.py tests what is used of it.
"""

from __future__ import annotations

import logging
import os
import queue
import stat
import threading
from collections.abc import Callable

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers.api import BaseObserver, EventEmitter, EventQueue, ObservedWatch
from watchdog.observers.inotify_c import CallbackId, InotifyConstants, InotifyEvent, InotifyFD, Mask, WatchDescriptor

_MASK = Mask(
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_ONLYDIR
    | InotifyConstants.IN_DONT_FOLLOW
    | InotifyConstants.IN_EXCL_UNLINK
)
"""One mask for every watch: a second one on the same directory would replace the first."""

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
        self._inotify = InotifyFD()
        self._id = CallbackId(id(self))
        self._lock = threading.Lock()
        self._path_of: dict[WatchDescriptor, bytes] = {}
        self._watch_of: dict[bytes, WatchDescriptor] = {}
        self._unwatched: set[bytes] = set()
        self._to_adopt: queue.SimpleQueue[tuple[bytes, bool, threading.Event | None]] = queue.SimpleQueue()

    # --- for the daemon -----------------------------------------------------------------------------------------

    def adopt(self, path: bytes, *, deep: bool, wait: bool = False) -> None:
        """Watch the directory `path`, and with `deep` every directory below it; `wait` until that is done."""
        done = threading.Event() if wait else None
        self._to_adopt.put((path, deep, done))
        while done is not None and not done.wait(self.timeout):
            if not self.is_alive():
                return

    def forget(self, path: bytes) -> None:
        """Drop the watches at and below `path`."""
        prefix = path + b"/"
        with self._lock:
            gone = [p for p in self._watch_of if p == path or p.startswith(prefix)]
            watches = [self._watch_of.pop(p) for p in gone]
            for watch in watches:
                self._path_of.pop(watch, None)
            self._unwatched = {p for p in self._unwatched if p != path and not p.startswith(prefix)}
        self._inotify.remove_callbacks([(watch, self._id) for watch in watches])

    def is_watched(self, path: bytes) -> bool:
        """Whether the directory `path` has a watch."""
        with self._lock:
            return path in self._watch_of

    def counts(self) -> tuple[int, int]:
        """How many directories are watched, and how many could not be."""
        with self._lock:
            return len(self._watch_of), len(self._unwatched)

    # --- threads ------------------------------------------------------------------------------------------------

    def on_thread_start(self) -> None:
        """Start reading events."""
        self._inotify.start()

    def on_thread_stop(self) -> None:
        """Stop reading events; the kernel drops the watches with the descriptor."""
        self._inotify.stop()

    def run(self) -> None:
        """Set the watches that are asked for."""
        while self.should_keep_running():
            try:
                path, deep, done = self._to_adopt.get(timeout=self.timeout)
            except queue.Empty:
                continue
            self._adopt(path, deep=deep)
            if done is not None:
                done.set()
        self._inotify.join()

    def _adopt(self, top: bytes, *, deep: bool) -> None:
        pending = [top]
        while pending and self.should_keep_running():
            path = pending.pop()
            if not self._set_watch(path):
                continue
            marked = False
            try:
                with os.scandir(path) as entries:  # watch first, then look
                    for entry in entries:
                        if entry.name in _MARKERS:
                            marked = True
                        if deep and _is_searched(entry.name) and entry.is_dir(follow_symlinks=False):
                            pending.append(entry.path)
            except OSError:
                continue  # gone again, or not to be read: the sweep says so
            if marked:
                self.queue_event(StoreHint(os.fsdecode(path)))

    def _set_watch(self, path: bytes) -> bool:
        """Set the watch on a directory; returns whether to look into it. What cannot be watched is left to the sweep."""
        try:
            watch = self._inotify.add_callback(path, _MASK, self, self._id) if not self.is_watched(path) else None
        except OSError:
            try:
                is_directory = stat.S_ISDIR(os.lstat(path).st_mode)
            except OSError:
                return False  # gone
            if is_directory:
                with self._lock:
                    self._unwatched.add(path)
            return is_directory
        if watch is not None:
            with self._lock:
                # The kernel knows a directory by its inode: one that was moved keeps its watch under the new path.
                before = self._path_of.get(watch)
                if before is not None and self._watch_of.get(before) == watch:
                    del self._watch_of[before]
                self._path_of[watch] = path
                self._watch_of[path] = watch
                self._unwatched.discard(path)
        return True

    # --- watchdog's callbacks, in its reading thread ------------------------------------------------------------

    def on_event(self, event: InotifyEvent) -> None:
        """An event of a watch: a directory came or went, or something about a layout changed."""
        with self._lock:
            base = self._path_of.get(event.wd)
        if base is None:
            return
        if event.mask & (InotifyConstants.IN_DELETE_SELF | InotifyConstants.IN_MOVE_SELF):
            # Of a directory that was moved inside a tree this is old news: its watch was dropped when it left.
            self.forget(base)
            self.queue_event(TreeHint(os.fsdecode(base)))
            return
        name = event.name
        if event.mask & InotifyConstants.IN_ISDIR:
            path = os.path.join(base, name)
            if name in _MARKERS:
                self.queue_event(StoreHint(os.fsdecode(base)))
            if not _is_searched(name):
                return
            if event.mask & (InotifyConstants.IN_CREATE | InotifyConstants.IN_MOVED_TO):
                self.adopt(path, deep=True)
            elif event.mask & InotifyConstants.IN_MOVED_FROM:
                self.forget(path)
                self.queue_event(TreeHint(os.fsdecode(path)))
            elif event.mask & InotifyConstants.IN_DELETE:
                self.queue_event(TreeHint(os.fsdecode(path)))
        elif name in _MARKERS:
            self.queue_event(StoreHint(os.fsdecode(base)))

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        """The kernel dropped a watch: its directory is gone."""
        with self._lock:
            path = self._path_of.pop(wd, None)
            if path is not None and self._watch_of.get(path) == wd:
                del self._watch_of[path]

    def on_queue_overflow(self) -> None:
        """Events were lost. No watch was: the daemon looks at everything once."""
        self.queue_event(OverflowHint(""))


class TreeObserver(BaseObserver):
    """The observer with its one emitter; hints go to `take`, in watchdog's dispatching thread."""

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
    """Whether the search for layouts goes into a directory of that name (resolution.md section 10)."""
    return name != b"blobs" and not name.startswith(b".")


def kernel_limit(name: str) -> int | None:
    """A limit of inotify's, `max_user_watches` or another, or None where the kernel does not say."""
    try:
        with open(f"/proc/sys/fs/inotify/{name}", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None
