"""Choose the directories to watch: every root as a tree, and each store that no search of a root reaches.

Roots and such stores are called anchors. They are identified by their path. A watch stays with its directory when that is renamed, so
the parent of an anchor that is a store is watched too. The parent's watch reports when another directory takes the store's name.
Changes further up, or to a root, may cause no event: a root that is gone has no watch that would report its return, and a file system
may be mounted over another. So anchors and parents are also checked by a stat now and then, and watched anew if another directory is
found there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from catalog.layout.beneath import opened_path, stat_directory
from catalog.watch.hints import is_below_any, is_reached
from catalog.watch.observer import TreeObserver


class _Identity(NamedTuple):
    """The identity of a directory, and whether a symbolic link leads to it."""

    device: int
    inode: int
    is_link: bool


class _Wanted(NamedTuple):
    """A directory to watch, with `deep` also everything below it. With both, `anew` forgets recorded directories that are gone."""

    path: str
    deep: bool = False
    anew: bool = False


class WatchedRoots:
    """The anchors that `trees` watches. If `trees` is None, nothing can be watched and the anchors are only checked."""

    def __init__(self, trees: TreeObserver | None) -> None:
        self._trees = trees
        self._identity: dict[str, _Identity | None] = {}  # by anchor; None if there is no directory
        self._parents: dict[str, _Identity | None] = {}
        self._unwatched_parents: set[str] = set()
        self.followed: set[str] = set()
        """The paths at which a symbolic link is followed."""
        self._roots: set[str] = set()
        self.files: set[str] = set()
        """The stores that are archives."""
        self.links: set[str] = set()
        """Those paths of `followed` that are symbolic links now."""

    def follow(
        self,
        roots: set[str],
        stores: Iterable[str],
        *,
        files: Iterable[str] = (),
        with_archives: Iterable[str] = (),
        followed: Iterable[str] = (),
        again: bool = False,
    ) -> set[str]:
        """Watch only these roots and stores from now on. Return when all watches are set.

        `files` are stores that are archives, which are watched through their parents. More archives may appear below the roots
        `with_archives`.

        A root may be a symbolic link, and so may the stores `followed`: the target is watched, and the directory of the link
        is watched too, so that a replaced link is noticed. With `again`, search every root even if it is watched; use that after
        events were lost. Returns the anchors at which another directory, or none, is found now. The caller has to check
        them, because the event was lost with the old watch.
        """
        stores = set(stores)
        self.files = set(files)
        self.followed = by_name = roots.union(followed)
        self._roots = roots
        # One check finds both the directory and whether it is a link. A second check might find a link that has just appeared.
        found = {path: self._now(path) for path in by_name}
        self.links = {path for path, identity in found.items() if identity is not None and identity.is_link}
        self.links |= {path for path, identity in found.items() if identity is None and os.path.islink(path)}
        alone = self.links | {path for path in stores | self.files if not is_reached(path, roots)}
        anchors = by_name | alone
        before = self._identity
        self._identity = {path: found[path] if path in found else self._now(path) for path in anchors}
        changed = {path for path, identity in before.items() if self._identity.get(path, identity) != identity}
        if self._trees is None:
            return changed
        parents_before = self._parents
        self._parents = {path: self._now(path) for path in map(os.path.dirname, alone)}
        between = {path for path in self._parents if path not in stores and not is_reached(path, roots)}
        self._trees.follow(
            *(map(os.fsencode, paths) for paths in (roots, self.links, anchors, between, self.files, with_archives))
        )
        for path in before:
            if self._identity.get(path) is None:
                self._trees.forget(os.fsencode(path))
        # If a root inside another root was removed, its directories belong to the outer root, and their watches are gone now.
        self._adopt([_Wanted(p, deep=True) for p in before if p not in anchors and is_below_any(p, roots)])
        self._adopt(
            [
                _Wanted(path, deep=path in roots, anew=again or path in before)
                for path, identity in self._identity.items()
                if identity is not None and (again or before.get(path) != identity or not self._knows(path))
            ]
        )
        self._adopt(
            [
                _Wanted(path)
                for path, identity in self._parents.items()
                if again or parents_before.get(path) != identity or not self._knows(path)
            ]
        )
        self._unwatched_parents = {path for path in self._parents if not self._knows(path)}
        # Finally, watch the stores that the search does not reach.
        gone = {path for path, identity in self._identity.items() if identity is None}
        self._adopt([_Wanted(path) for path in stores if not self._knows(path) and not is_below_any(path, gone)])
        return changed

    def search(self, trees: set[str]) -> None:
        """Watch everything that is in these trees now, if they belong to a root."""
        if self._trees is not None:
            for path in trees:
                if is_below_any(path, self._roots) and not is_below_any(os.path.dirname(path), trees):
                    self._trees.adopt(os.fsencode(path), deep=True)

    def have_changed(self, *, every: bool = False) -> bool:
        """Return whether a root, a parent, or a store that was missing is another directory now. Costs one stat for each.

        Stores whose parent cannot be watched are always checked too; with `every`, all anchors are.
        """
        return any(
            self._now(path) != identity
            for path, identity in self._identity.items()
            if every
            or identity is None
            or path in self._roots
            or path in self.links
            or os.path.dirname(path) in self._unwatched_parents
        ) or any(self._now(path) != identity for path, identity in self._parents.items())

    def are_moved(self, trees: set[str]) -> bool:
        """Return whether `follow` is needed after changes to these trees, because a directory was replaced or lost its watch."""
        if not trees.isdisjoint(self.followed):
            return True  # A link may have appeared, or may point elsewhere now.
        return any(
            self._now(path) != identity or (identity is not None and not self._knows(path))
            for paths in (self._identity, self._parents)
            for path, identity in paths.items()
            if is_below_any(path, trees)
        )

    def is_outdated(self, stores: Iterable[str]) -> bool:
        """Return whether `follow` is needed although the same roots and stores are registered.

        `stores` are the paths of stores that are not missing according to the catalog.
        """
        present = (path for path, identity in self._identity.items() if identity is not None)
        return self.have_changed(every=True) or self.miss(present) or self.miss(stores)

    def miss(self, paths: Iterable[str]) -> bool:
        """Return whether one of these existing directories is neither watched nor waiting for `retry`."""
        return self._trees is not None and not self._trees.knows(map(os.fsencode, paths))

    def retry(self) -> None:
        """Try again to watch the directories that could not be watched before."""
        if self._trees is not None:
            watched = map(os.fsdecode, self._trees.retry())
            self._adopt([_Wanted(path, deep=is_below_any(path, self._roots)) for path in watched])

    def _now(self, path: str) -> _Identity | None:
        """Return the identity of the directory at `path` now, or None if there is none. A link is followed if it is registered."""
        root = next((each for each in _ways_up(path) if each in self._roots), None)
        is_link = path in self.followed and os.path.islink(path)
        return _identity(opened_path(path, root, follow=is_link), is_link=is_link)

    def _adopt(self, wanted: list[_Wanted]) -> None:
        """Watch directories. Return when that is done."""
        for number, each in enumerate(wanted, 1):
            if self._trees is not None:
                is_last = number == len(wanted)
                self._trees.adopt(os.fsencode(each.path), deep=each.deep, anew=each.anew and each.deep, wait=is_last)

    def _knows(self, path: str) -> bool:
        return self._trees is not None and self._trees.knows([os.fsencode(path)])


def _ways_up(path: str) -> Iterator[str]:
    """Yield the directory `path` and each directory above it."""
    yield path
    while (above := os.path.dirname(path)) != path:
        yield above
        path = above


def _identity(opened: str, *, is_link: bool) -> _Identity | None:
    """Return the identity of the directory at a path from `opened_path`, or None if there is none."""
    try:
        found = stat_directory(opened)
    except OSError:
        return None
    return _Identity(found.st_dev, found.st_ino, is_link) if stat.S_ISDIR(found.st_mode) else None
