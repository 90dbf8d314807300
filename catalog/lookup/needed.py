"""Check whether a store has all blobs of an image that a build needs: the manifests, configs and layers that the build uses.

Layers that may be absent from a layout (nondistributable, or with `urls`) are not needed. A blob whose bytes are known to
be wrong, or whose size differs from its descriptor, counts as absent.
"""

from __future__ import annotations

import os

from catalog.errors import NotFound
from catalog.lookup.below import INDEX, MANIFEST
from catalog.lookup.content import check_pending, for_platform, images_of
from catalog.names.escape import shown
from catalog.names.platform import Platform, normalize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from typing import Any

    from catalog.engine.interface import Reader
    from catalog.lookup.match import Match

    Row = tuple[Any, ...]

_ROLES = ("manifest", "config", "layer")
"""The role of a blob in an image, by the number of `edge.role`. The manifest itself has the number of a child."""


def this_machine() -> Platform:
    """Return the default platform of a build: the platform of the builder, which is assumed to be this machine."""
    return normalize("linux", os.uname().machine)


class Needs:
    """Checks whether the images that a build needs are complete.

    `platforms` are the platforms that the build needs; None stands for the image that the builder uses, which is an index's image for
    the builder's own platform. An index without such an image is complete if any of its images is, because the builder may be
    another machine. `is_there` is called for each blob that the catalog lists in the store, and returns False if a build
    cannot see the blob there. `archives` are the ids of stores that a build cannot read at all, because they are archives.
    """

    def __init__(
        self,
        reader: Reader,
        platforms: tuple[Platform | None, ...] = (None,),
        builder: Platform | None = None,
        is_there: Callable[[Match, str], bool] | None = None,
        archives: Container[int] = (),
    ) -> None:
        self._reader = reader
        self._platforms = platforms
        self._builder = this_machine() if builder is None else builder
        self._is_there = is_there
        self._archives = archives

    def images(self, match: Match) -> tuple[str, ...]:
        """Return the digest that the build uses for each platform: the digest of the image, or of the entry for None.

        Raises NotFound if `match` has no such image or lacks some of its blobs, and NotInTime if this is not known yet.
        """
        try:
            return tuple(self._image(match, platform) for platform in self._platforms)
        except NotFound:
            check_pending(self._reader, frozenset((match.store_id,)), f"what {shown(match.store)} contains")
            raise

    def _image(self, match: Match, platform: Platform | None) -> str:
        if match.store_id in self._archives:
            raise NotFound(
                f"{_described(match)} is in a tar archive, which buildx cannot read",
                "copy the image to a layout in a directory",
            )
        itself = self._row(match, match.digest)
        _, content_id, _, kind, *_ = itself
        match = match.replaced(content_id=content_id, content_kind=kind)
        if kind == MANIFEST:
            self._check_whole(match, match.digest)
        elif kind != INDEX:
            raise self._not_whole(match, f"{match.digest} cannot be read as a manifest")
        if platform is not None:
            return self._of_platform(match, platform)
        if kind == INDEX:
            self._check_index(match)
        return match.digest

    def _of_platform(self, match: Match, platform: Platform) -> str:
        """Return the digest of the complete image for a platform. Raises NotFound."""
        found, why = for_platform(self._reader, match, platform)
        if found is None:
            # If an image fits but lacks a blob, a message about that blob helps more.
            images = images_of(self._reader, match)
            fitting = (i[1] for i in images if i[4] is not None and platform.rank(i[4]) is not None)
            for digest in dict.fromkeys(fitting):  # an index may list one image any number of times
                self._check_whole(match, digest)
            raise NotFound(f"{_described(match)} cannot be used for {platform}: {why}")
        self._check_whole(match, found.digest)
        return found.digest

    def _check_index(self, match: Match) -> None:
        """Raise NotFound if the image of an index that the builder uses is not complete."""
        images = images_of(self._reader, match)
        names = (name for _, _, _, _, name, _, _ in images if name is not None)
        if any(self._builder.rank(name) is not None for name in names):
            self._of_platform(match, self._builder)
            return
        first: NotFound | None = None
        for digest in dict.fromkeys(digest for _, digest, *_ in images):
            try:
                self._check_whole(match, digest)
            except NotFound as error:
                first = first or error
            else:
                return
        if first is not None:
            raise first

    def _row(self, match: Match, digest: str) -> Row:
        """Return the row of a manifest in the store. Raises NotFound if it is absent or damaged."""
        row = self._reader.row("NEEDED", {"digest": digest, "store_id": match.store_id})
        if row is None:
            raise self._not_whole(match, f"the manifest {digest} is missing")
        self._check(match, digest, row)
        return row

    def _check_whole(self, match: Match, manifest: str) -> None:
        """Raise NotFound if a blob of a manifest is absent or damaged."""
        rows = list(self._reader.rows("NEEDED", {"digest": manifest, "store_id": match.store_id}))
        if not rows:
            raise self._not_whole(match, f"the manifest {manifest} is missing")
        for row in rows:
            self._check(match, manifest, row)
        if rows[0][3] != MANIFEST:
            raise self._not_whole(match, f"{manifest} cannot be read as a manifest")

    def _check(self, match: Match, manifest: str, row: Row) -> None:
        role, _, digest, _, expected, size, is_good, is_embedded = row
        what = f"the {_ROLES[role]} {digest}" + ("" if digest == manifest else f" of {manifest}")
        if size is None:
            raise self._not_whole(match, f"{what} is missing")
        if (is_good is not None and not is_good) or (expected is not None and size != expected):
            raise self._not_whole(match, f"{what} is damaged")
        if self._is_there is not None and not is_embedded and not self._is_there(match, digest):
            raise NotFound(
                f"{shown(match.store)} has {digest} in a shared blob directory, where buildx does not look",
                "copy the image to another layout",
            )

    def _not_whole(self, match: Match, why: str) -> NotFound:
        return NotFound(f"{_described(match)} is not complete: {why}", "copy the image again, with all its blobs")


def _described(match: Match) -> str:
    name = match.name or (f":{match.tag}" if match.tag else match.digest)
    return f"{shown(name)} in {shown(match.store)}"
