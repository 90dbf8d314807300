"""What is watched: every root as a tree, and by itself each store that no search of a root reaches.

A watch stays with its directory when that is renamed, so a store that is watched by itself is watched through its parent too:
that one tells when another directory is given the store's name. Of what happens further up, or to a root, no event may tell: a
root that is gone has no watch to say that it is back, and one file system can be mounted over another. So the tops, and the
parents, are looked at by a stat now and then, and watched anew where another directory stands there than before.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator

from catalog.layout.beneath import opened_path, stat_directory
from catalog.watch.hints import is_below_any, is_reached
from catalog.watch.observer import TreeEmitter

_Identity = tuple[int, int, bool] | None
"""The device and the inode of a directory, and whether a symbolic link leads to it; None where there is no directory."""


class WatchedRoots:
    """The watched tops of `trees`; with None, where nothing can be watched, they are only looked at."""

    def __init__(self, trees: TreeEmitter | None) -> None:
        self._trees = trees
        self._identity: dict[str, _Identity] = {}
        self._parents: dict[str, _Identity] = {}
        self._blind: set[str] = set()  # parents that have no watch
        self.followed: set[str] = set()
        """The paths at which a symbolic link is followed."""
        self._roots: set[str] = set()
        self.links: set[str] = set()
        """The tops that may be symbolic links, and are."""

    def follow(
        self, roots: set[str], stores: Iterable[str], *, followed: Iterable[str] = (), again: bool = False
    ) -> set[str]:
        """Watch these, and drop what is none of them any more; returns when all watches are set.

        A root may be a symbolic link, and so may `followed`, some of `stores`: what it leads to is watched. The directories in
        which the links are, and the stores that no search reaches, are watched too, so that it is noticed when these are moved.
        `again` searches every root although it is watched: after events were lost. Returns the tops where another
        directory stands than before, or none: whoever asks has to look there, since with the old watch goes its event.
        """
        stores = set(stores)
        self.followed = by_name = roots.union(followed)
        self._roots = roots
        # One look says both what stands there and whether it is a link: a later one might meet a link that has only just come.
        there = {path: self._now(path) for path in by_name}
        self.links = {path for path, identity in there.items() if identity is not None and identity[2]}
        self.links |= {path for path, identity in there.items() if identity is None and os.path.islink(path)}
        alone = self.links | {path for path in stores if not is_reached(path, roots)}
        tops = by_name | alone
        before = self._identity
        self._identity = {path: there[path] if path in there else self._now(path) for path in tops}
        changed = {path for path, identity in before.items() if self._identity.get(path, identity) != identity}
        if self._trees is None:
            return changed
        parents_before = self._parents
        self._parents = {path: self._now(path) for path in map(os.path.dirname, alone)}
        between = {path for path in self._parents if path not in stores and not is_reached(path, roots)}
        self._trees.follow(*(map(os.fsencode, paths) for paths in (roots, self.links, tops, between)))
        for path in before:
            if self._identity.get(path) is None:
                self._trees.forget(os.fsencode(path))
        # A root in a root that is one no more: what is in it belongs to the other, and its watches have just gone.
        self._adopt([(path, True, False) for path in before if path not in tops and is_below_any(path, roots)])
        self._adopt(
            [
                (path, path in roots, again or path in before)
                for path, identity in self._identity.items()
                if identity is not None and (again or before.get(path) != identity or not self._knows(path))
            ]
        )
        self._adopt(
            [
                (path, False, False)
                for path, identity in self._parents.items()
                if again or parents_before.get(path) != identity or not self._knows(path)
            ]
        )
        self._blind = {path for path in self._parents if not self._knows(path)}
        # Then the stores that the search does not reach.
        gone = {path for path, identity in self._identity.items() if identity is None}
        self._adopt([(path, False, False) for path in stores if not self._knows(path) and not is_below_any(path, gone)])
        return changed

    def search(self, trees: set[str]) -> None:
        """Watch what is in these trees now, as far as they belong to a root."""
        if self._trees is not None:
            for path in trees:
                if is_below_any(path, self._roots) and not is_below_any(os.path.dirname(path), trees):
                    self._trees.adopt(os.fsencode(path), deep=True)

    def have_changed(self, *, every: bool = False) -> bool:
        """Whether a root, a parent, or a lone store that was gone, is another directory than it was, at a stat each.

        With `every` all lone stores are looked at; those whose parent cannot be watched always are.
        """
        return any(
            self._now(path) != identity
            for path, identity in self._identity.items()
            if every
            or identity is None
            or path in self._roots
            or path in self.links
            or os.path.dirname(path) in self._blind
        ) or any(self._now(path) != identity for path, identity in self._parents.items())

    def are_moved(self, trees: set[str]) -> bool:
        """Whether `follow` has something to do since something happened to these: another directory, or a watch that went."""
        if not trees.isdisjoint(self.followed):
            return True  # a link may lead elsewhere by now, or be one
        return any(
            self._now(path) != identity or (identity is not None and not self._knows(path))
            for paths in (self._identity, self._parents)
            for path, identity in paths.items()
            if is_below_any(path, trees)
        )

    def is_outdated(self, stores: Iterable[str]) -> bool:
        """Whether `follow` has something to do although tops and stores are those of the last time.

        `stores` are those that are there, as far as anybody knows.
        """
        there = (path for path, identity in self._identity.items() if identity is not None)
        return self.have_changed(every=True) or self.miss(there) or self.miss(stores)

    def miss(self, paths: Iterable[str]) -> bool:
        """Whether one of these, which were there a moment ago, is not watched, nor waits for `retry`."""
        return self._trees is not None and not self._trees.knows(map(os.fsencode, paths))

    def retry(self) -> None:
        """Watch what could not be watched before, as far as it can be now."""
        if self._trees is not None:
            watched = map(os.fsdecode, self._trees.retry())
            self._adopt([(path, is_below_any(path, self._roots), False) for path in watched])

    def _now(self, path: str) -> _Identity:
        """What stands at `path` now; a link is followed where it is registered."""
        root = next((top for top in _ways_up(path) if top in self._roots), None)
        is_link = path in self.followed and os.path.islink(path)
        return _identity(opened_path(path, root, follow=is_link), is_link=is_link)

    def _adopt(self, wanted: list[tuple[str, bool, bool]]) -> None:
        """Watch directories, each a path, whether deep, and whether anew; returns when that is done."""
        for number, (path, deep, anew) in enumerate(wanted, 1):
            if self._trees is not None:
                self._trees.adopt(os.fsencode(path), deep=deep, anew=anew and deep, wait=number == len(wanted))

    def _knows(self, path: str) -> bool:
        return self._trees is not None and self._trees.knows([os.fsencode(path)])


def _ways_up(path: str) -> Iterator[str]:
    """The directory `path` and each one above it."""
    yield path
    while (above := os.path.dirname(path)) != path:
        yield above
        path = above


def _identity(opened: str, *, is_link: bool) -> _Identity:
    """What tells one directory from another, None where there is none."""
    try:
        found = stat_directory(opened)
    except OSError:
        return None
    return (found.st_dev, found.st_ino, is_link) if stat.S_ISDIR(found.st_mode) else None
