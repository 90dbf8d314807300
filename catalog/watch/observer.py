"""Hints from the kernel: one inotify descriptor that watches any number of directory trees.

watchdog's stock observer uses a thread or an inotify instance for each tree, watches below `blobs`, and reports nothing to its
handlers after a queue overflow. So this module uses only watchdog's reading thread (inotify.py). It watches roots, the
directories between them and the stores, and the directories of the stores, but never `blobs`, hidden directories or directories
behind symbolic links.

The order is always: first set the watch, then list the directory. The listing shows all changes before the watch, and each change
after it causes an event. Two threads use the records of watches, under a lock: watchdog's reader, which calls `on_event`, and the
thread of TreeObserver, which sets the watches on trees that the reader or the daemon requests. These two hold the lock nearly all
the time while a large tree is being watched, so the methods that the daemon calls per store (`is_held`, `counts`) read a single
value without it.

The kernel identifies a directory by its inode and the records identify it by its path, and the two differ whenever an event is
lost. So setting a watch never relies on the records. It asks the kernel each time, which takes two microseconds and causes no
event, and corrects the records. Adopting a tree `anew` forgets directories that are no longer in it.

This module is longer than others because both threads use the same records under the same lock, which nothing else may see.
"""

from __future__ import annotations

import errno
import os
import queue
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

from watchdog.observers.inotify_c import CallbackId, InotifyConstants, InotifyEvent, Mask, WatchDescriptor
from watchdog.utils import BaseThread

from catalog.layout.beneath import ARCHIVE_NAMES, open_directory, opened_path, stat_directory
from catalog.watch.hints import Hint, OverflowHint, StoreHint, TreeHint
from catalog.watch.inotify import MASK, InotifyDescriptor
from catalog.watch.marker import EventMarker
from catalog.watch.path_tree import PathTree

_DESCRIPTORS = b"/proc/self/fd"
"""A watch is set on a directory that is already open, so that a link that replaces the directory meanwhile is not followed."""
_MARKERS = (b"index.json", b"oci-layout", b"blobs")
_ARCHIVES = tuple(os.fsencode(each) for each in ARCHIVE_NAMES)
_MARKER_MASK = Mask(InotifyConstants.IN_ATTRIB)
_WAIT_SECONDS = 0.1  # between two calls of `while_waiting`
_BEHIND_BYTES = 1 << 16  # a few thousand events
_BUSY_EVENTS = 200
"""A directory with more events than this within a second is not watched for a while, and is then listed."""
_PAUSE_SECONDS = 1.0
"""The time for which such a directory is not watched."""
_PAUSE_SHARE = 10  # other work gets at least this many times the time that listing busy directories took


class _Request(NamedTuple):
    """A tree to watch. A `path` of None only wakes the thread."""

    path: bytes | None
    deep: bool = False
    anew: bool = False
    done: threading.Event | None = None


class TreeObserver(BaseThread):
    """Watches any number of trees and passes each hint to `take`, in either of its threads.

    `adopt` and `forget` may be called from any thread. Raises OSError if the machine has no inotify instance left.
    """

    def __init__(self, take: Callable[[Hint], None]) -> None:
        super().__init__()
        self._take = take
        self._inotify = InotifyDescriptor()
        self._id = CallbackId(id(self))
        self._lock = threading.RLock()  # held from asking the kernel until the records agree with it
        # Two paths can lead to one directory, through a bind mount. Both get hints.
        self._paths_of: dict[WatchDescriptor, tuple[bytes, ...]] = {}
        self._watch_of: dict[bytes, WatchDescriptor] = {}
        self._watched = PathTree()  # the keys of `_watch_of`
        self._events: dict[WatchDescriptor, int] = {}  # the number of events since the current second began
        self._second_ends = 0.0
        self._busy: set[bytes] = set()  # directories that had too many events, and are not watched at the moment
        self._next_busy = 0.0
        self._unwatched: dict[bytes, int | None] = {}  # with the errno of the kernel
        # The time when the index.json in a directory was closed or moved there, in nanoseconds since 1970; 0 while it is written.
        self._closed: dict[bytes, int] = {}
        # The directories into which the index.json was moved, with no other event for it since.
        self._renamed: set[bytes] = set()
        self._marker = EventMarker()
        self._marker_watch: WatchDescriptor | None = None
        self._marker_lock = threading.Lock()
        self._roots: frozenset[bytes] = frozenset()
        self._links: frozenset[bytes] = frozenset()
        self._anchors: frozenset[bytes] = frozenset()
        self._parents: frozenset[bytes] = frozenset()
        self._files: frozenset[bytes] = frozenset()
        self._with_archives: frozenset[bytes] = frozenset()
        self._requests: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        self.while_waiting: Callable[[], None] = lambda: None
        """Called about ten times a second while a caller waits for a tree to be watched. A large tree takes many seconds."""
        self.is_waited_for: Callable[[], bool] = lambda: True
        """Called to find out whether to keep waiting."""

    # --- for the daemon -----------------------------------------------------------------------------------------

    def adopt(self, path: bytes, *, deep: bool, anew: bool = False, wait: bool = False) -> None:
        """Watch the directory `path`, and with `deep` every directory below it. With `wait`, return when that is done.

        With `anew`, forget recorded directories below `path` that the search does not find. Use it after events were lost.
        """
        done = threading.Event() if wait else None
        self._requests.put(_Request(path, deep, anew, done))
        while done is not None and not done.wait(_WAIT_SECONDS):
            self.while_waiting()
            if not (self.is_alive() and self.is_waited_for()):
                return

    def follow(
        self,
        roots: Iterable[bytes],
        links: Iterable[bytes],
        anchors: Iterable[bytes],
        parents: Iterable[bytes],
        files: Iterable[bytes] = (),
        with_archives: Iterable[bytes] = (),
    ) -> None:
        """Follow the symbolic links `links`, and give a hint for each of `anchors` whose name is removed or reused.

        In the directories `parents`, only the names of anchors matter. No other link below `roots` is followed. `files` are stores
        that are archives. More archives may appear below the roots `with_archives`.
        """
        with self._lock:
            self._roots = frozenset(roots)
            self._links, self._anchors, before = frozenset(links), frozenset(anchors), self._parents
            self._parents = frozenset(parents)
            self._files, self._with_archives = frozenset(files), frozenset(with_archives)
            unused = before - self._parents
            self._busy -= unused
            self._drop([path for path in unused if path in self._watch_of])

    def forget(self, path: bytes) -> None:
        """Drop the watches at and below `path`."""
        self._forget(path)

    def _forget(self, path: bytes) -> bool:
        """Drop the watches at and below `path`. Return whether there were any."""
        prefix = path.rstrip(b"/") + b"/"
        with self._lock:
            gone = self._watched.at_and_below(path)
            waiting = [p for p in (*self._unwatched, *self._busy) if p == path or p.startswith(prefix)]
            for each in waiting:
                self._unwatched.pop(each, None)
            self._busy.difference_update(waiting)
            self._drop(gone)
        return bool(gone or waiting)

    def is_watched(self, path: bytes) -> bool:
        """Return whether the directory `path` has a watch, or will have one again soon."""
        with self._lock:
            return path in self._watch_of or path in self._busy

    def knows(self, paths: Iterable[bytes]) -> bool:
        """Return whether each of these directories has a watch, or could not get one and waits for `retry`."""
        with self._lock:
            return all(path in self._watch_of or path in self._unwatched or path in self._busy for path in paths)

    def retry(self) -> list[bytes]:
        """Try again to watch the directories that could not be watched. Stop as soon as the kernel has no watches left.

        Returns the directories that are watched now. Adopt them, because nobody has seen their contents and changes.
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
        """Return whether a writer of the `index.json` in the directory `path` still has it open, or None if no event shows it.

        `changed_ns` is the time when the file last changed, in nanoseconds since 1970. If that is later than the last event, another
        event may still come, so the result is None.
        """
        closed = self._closed.get(path)  # without the lock, see above
        if closed is None or 0 < closed < changed_ns:
            return None
        return closed == 0

    def is_renamed(self, path: bytes) -> bool:
        """Return whether the last event for the `index.json` in the directory `path` was a move to that name."""
        return path in self._renamed  # without the lock, see above

    def mark(self) -> int | None:
        """Make an event and return its number for `has_read`, or None if that is not possible now."""
        with self._marker_lock:  # The other lock may be held for a long time.
            if self._marker_watch is None:
                try:
                    self._marker_watch = self._inotify.add_callback(self._marker.path, _MARKER_MASK, self, self._id)
                except OSError:
                    return None  # The kernel has no watches left.
            return self._marker.send()

    def has_read(self, number: int) -> bool:
        """Return whether all events before the event `number` were read, and none was lost."""
        return self._marker.has_passed(number)

    def is_behind(self) -> bool:
        """Return whether so many events are unread that checking the stores finds changes sooner."""
        return self._inotify.unread() > _BEHIND_BYTES

    def counts(self) -> tuple[int, int]:
        """Return the number of directories that are watched, and the number that could not be watched."""
        return len(self._watch_of) + len(self._busy), len(self._unwatched)  # without the lock, see above

    def over_limit(self) -> int:
        """Return the number of directories that are unwatched because the kernel has no watches left, not for other reasons."""
        if not self._unwatched:  # without the lock, see above
            return 0
        with self._lock:
            return sum(reason == errno.ENOSPC for reason in self._unwatched.values())

    # --- the thread that sets watches ---------------------------------------------------------------------------

    def on_thread_start(self) -> None:
        """Start reading events."""
        self._inotify.start()

    def on_thread_stop(self) -> None:
        """Stop reading events. The kernel drops all watches when the descriptor is closed."""
        self._requests.put(_Request(None))
        self._marker.close()
        if self._inotify.is_alive():
            self._inotify.stop()
        else:
            self._inotify.close()

    def run(self) -> None:
        """Set the watches that are requested."""
        while self.should_keep_running():
            try:
                path, deep, anew, done = self._requests.get(timeout=_PAUSE_SECONDS if self._busy else None)
            except queue.Empty:
                path = None
            if path is not None:
                self._adopt(path, deep=deep, anew=anew)
                if done is not None:
                    done.set()
            self._list_busy()
        self._inotify.join()

    def _list_busy(self) -> None:
        """Watch busy directories again, and find the changes that happened there meanwhile."""
        began = time.monotonic()
        if began < self._next_busy:
            return
        with self._lock:
            busy = list(self._busy)
        for path in busy:
            directory = -1
            with self._lock:
                if path in self._busy:  # It may have been forgotten meanwhile.
                    directory = self._set_watch(path)
                    self._busy.discard(path)
                is_gone = directory < 0 and path not in self._unwatched
            if is_gone:
                self._take(TreeHint(os.fsdecode(path)))
            elif directory >= 0:
                self._look_into(path, directory)
            for anchor in [each for each in self._anchors if os.path.dirname(each) == path]:
                self._look_at_anchor(anchor)
        if busy:
            ended = time.monotonic()
            self._next_busy = ended + max(_PAUSE_SECONDS, _PAUSE_SHARE * (ended - began))

    def _look_into(self, path: bytes, directory: int) -> None:
        """List an open directory, give hints, watch directories in it that are not watched yet, and close it."""
        try:
            with _scan(directory) as entries:
                found = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
        except OSError:
            return  # It is gone again or unreadable; the sweep reports that.
        finally:
            os.close(directory)
        if path in self._parents:
            return  # Only its anchors matter.
        if any(name in _MARKERS for name, _ in found):
            self._take(StoreHint(os.fsdecode(path)))
        for name, is_directory in found:
            below = os.path.join(path, name)
            if self._is_archive(below):
                self._take(StoreHint(os.fsdecode(below)))
            if is_directory and _is_searched(name) and not self.is_watched(below):
                self._adopt(below, deep=True, anew=False)

    def _look_at_anchor(self, path: bytes) -> None:
        """Give a hint for an anchor if it is not the directory that was watched, or if it is a file."""
        with self._lock:
            before = self._watch_of.get(path)
        directory = self._set_watch(path)
        if directory >= 0:
            os.close(directory)
        with self._lock:
            has_changed = self._watch_of.get(path) != before
        if has_changed or path in self._files:
            self._take(TreeHint(os.fsdecode(path)))

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
                        elif self._is_archive(os.path.join(path, name)):
                            self._take(StoreHint(os.fsdecode(os.path.join(path, name))))
                        if deep and _is_searched(name) and entry.is_dir(follow_symlinks=False):
                            pending.append(os.path.join(path, name))
            except OSError:
                continue  # It is gone again or unreadable; the sweep reports that.
            finally:
                os.close(directory)
            if marked:
                self._take(StoreHint(os.fsdecode(path)))
        if anew:
            prefix = top.rstrip(b"/") + b"/"
            with self._lock:
                gone = [p for p in self._watched.at_and_below(top) if p not in found]
                self._unwatched = {p: e for p, e in self._unwatched.items() if not p.startswith(prefix) or p in found}
                self._drop(gone)

    def _set_watch(self, path: bytes) -> int:
        """Watch a directory. Return an O_PATH descriptor for listing it, or -1 if there is no such directory.

        Only the sweep checks a directory that cannot be watched.
        """
        with self._lock:
            directory = -1
            opened = self._opened(path)
            try:
                directory = open_directory(opened)
                watch = self._inotify.add_callback(b"%s/%d" % (_DESCRIPTORS, directory), MASK, self, self._id)
            except OSError as error:
                self._drop([path])
                if (directory >= 0 or _is_directory(opened)) and path not in self._parents:
                    self._unwatched[path] = error.errno
                else:
                    self._unwatched.pop(path, None)
                return directory
            if self._watch_of.get(path, watch) != watch:
                self._drop([path])  # Another directory had that path.
            self._watch_of[path] = watch
            self._watched.add(path)
            known = self._paths_of.get(watch, ())
            if path not in known:
                self._paths_of[watch] = (*known, path)
            self._unwatched.pop(path, None)
        return directory

    def _opened(self, path: bytes) -> str:
        """Return the path for opening a directory. Registered links are followed, other links below a root are not."""
        root = path
        while root not in self._roots:
            above = os.path.dirname(root)
            if above == root:
                return opened_path(os.fsdecode(path), follow=path in self._links)
            root = above
        return opened_path(os.fsdecode(path), os.fsdecode(root), follow=path == root or path in self._links)

    def _drop(self, paths: list[bytes]) -> None:
        """Remove `paths` from the records. Remove the watch of a directory that has no other path."""
        unused: list[tuple[WatchDescriptor, CallbackId]] = []
        with self._lock:
            for path in paths:
                self._closed.pop(path, None)
                self._renamed.discard(path)
                watch = self._watch_of.pop(path, None)
                if watch is None:
                    continue
                self._watched.discard(path)
                left = tuple(p for p in self._paths_of.pop(watch, ()) if p != path)
                if left:
                    self._paths_of[watch] = left
                else:
                    unused.append((watch, self._id))
            self._inotify.remove_callbacks(unused)

    # --- watchdog's callbacks, in its reading thread ------------------------------------------------------------

    def on_event(self, event: InotifyEvent) -> None:
        """Turn an event into hints: a directory came or went, or something in a layout changed."""
        if event.wd == self._marker_watch:
            self._marker.came()
            return
        with self._lock:
            bases = self._paths_of.get(event.wd, ())
            if event.name == b"index.json":
                self._note(bases, event.mask)
            elif self._files or self._with_archives:
                paths = (os.path.join(base, event.name) for base in bases)
                self._note(tuple(path for path in paths if self._is_archive(path)), event.mask)
        if event.mask & InotifyConstants.IN_MODIFY:
            return
        self._count(event.wd, bases)
        for base in bases:
            if event.mask & InotifyConstants.IN_DELETE_SELF:
                self._drop([base])
                self._take(TreeHint(os.fsdecode(base)))
            elif event.mask & InotifyConstants.IN_MOVE_SELF:
                # If it was moved inside a tree, its watch was dropped when it left its old place.
                self.forget(base)
                self._take(TreeHint(os.fsdecode(base)))
            elif not event.name:
                self._take(TreeHint(os.fsdecode(base)))  # its own attributes, such as permissions
            elif (anchor := os.path.join(base, event.name)) in self._anchors:
                self._take(TreeHint(os.fsdecode(anchor)))  # another directory, or another target of a link
            elif base in self._parents:
                continue
            elif event.mask & InotifyConstants.IN_ISDIR:
                self._on_directory(base, event.name, event.mask)
            elif event.name in _MARKERS:
                self._take(StoreHint(os.fsdecode(base)))
            elif self._is_archive(os.path.join(base, event.name)):
                self._take(StoreHint(os.path.join(os.fsdecode(base), os.fsdecode(event.name))))

    def _is_archive(self, path: bytes) -> bool:
        """Return whether a file is a store, or may become one because of its name and directory."""
        if path in self._files:
            return True
        if not (self._with_archives and path.endswith(_ARCHIVES)):
            return False
        above = os.path.dirname(path)
        while above not in self._with_archives:
            if above == (above := os.path.dirname(above)):
                return False
        return True

    def _note(self, bases: tuple[bytes, ...], mask: int) -> None:
        """Record whether the files index.json in these directories, or these archives, are being written or were moved into place."""
        for base in bases:
            if mask & InotifyConstants.IN_MOVED_TO:
                self._renamed.add(base)
            else:
                self._renamed.discard(base)
            if mask & InotifyConstants.IN_MODIFY:
                self._closed[base] = 0
            elif mask & (InotifyConstants.IN_CLOSE_WRITE | InotifyConstants.IN_MOVED_TO):
                self._closed[base] = time.time_ns()
            elif not mask & InotifyConstants.IN_ATTRIB:
                self._closed.pop(base, None)  # It is gone or was replaced.

    def _on_directory(self, base: bytes, name: bytes, mask: int) -> None:
        """Handle an event about the directory `name` in `base`."""
        path = os.path.join(base, name)
        if name in _MARKERS:
            self._take(StoreHint(os.fsdecode(base)))
        if not _is_searched(name):
            return
        if mask & (InotifyConstants.IN_CREATE | InotifyConstants.IN_MOVED_TO):
            if base not in self._busy:  # Otherwise it is found when the directory is listed.
                self.adopt(path, deep=True)
        elif mask & (InotifyConstants.IN_MOVED_FROM | InotifyConstants.IN_DELETE):
            # If somebody holds a deleted directory open, the event for the directory itself comes late.
            self._forget(path)
            self._take(TreeHint(os.fsdecode(path)))
        elif mask & InotifyConstants.IN_ATTRIB:
            self._take(TreeHint(os.fsdecode(path)))

    def _count(self, watch: WatchDescriptor, bases: tuple[bytes, ...]) -> None:
        """Count an event, and stop watching its directory for a while if there are too many."""
        now = time.monotonic()
        if now >= self._second_ends:
            self._events.clear()
            self._second_ends = now + 1.0
        count = self._events[watch] = self._events.get(watch, 0) + 1
        if count > _BUSY_EVENTS and bases:
            with self._lock:
                self._drop(list(bases))
                self._busy.update(bases)
            self._requests.put(_Request(None))  # The thread may be waiting without a timeout.

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        """Forget a watch that the kernel dropped because its directory is gone."""
        with self._lock:
            for path in self._paths_of.pop(wd, ()):
                if self._watch_of.get(path) == wd:
                    del self._watch_of[path]
                    self._watched.discard(path)
                    self._closed.pop(path, None)
                    self._renamed.discard(path)

    def on_queue_overflow(self) -> None:
        """Give a hint that events were lost. Watches were not lost. The daemon then checks everything once."""
        with self._lock:
            self._closed.clear()
            self._renamed.clear()
        with self._marker_lock:
            self._marker.lose()
            self._marker_watch = None  # The old file is closed, so its watch is gone, too.
        self._take(OverflowHint())


def _is_searched(name: bytes) -> bool:
    """Return whether the search for layouts enters a directory with this name (docs/resolution.md)."""
    return name != b"blobs" and not name.startswith(b".")


def _scan(directory: int) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
    """List an open directory. Raises OSError."""
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return os.scandir(descriptor)  # It duplicates the descriptor.
    finally:
        os.close(descriptor)


def _is_directory(opened: str) -> bool:
    try:
        return stat.S_ISDIR(stat_directory(opened).st_mode)
    except OSError:
        return False
