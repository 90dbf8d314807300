"""Whether all blobs that a build needs of an image lie in its store: manifest, config and layers of the images that are used.

A layer that need not lie in a layout (nondistributable, or with `urls`) is not needed. A blob whose bytes are known to be
wrong, or that is shorter or longer than its descriptor says, counts as absent.
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
    from collections.abc import Callable
    from typing import Any

    from catalog.engine.interface import Reader
    from catalog.lookup.match import Match

    Row = tuple[Any, ...]

_ROLES = ("manifest", "config", "layer")
"""What a blob is to an image, by the number of `edge.role`; the manifest itself comes with the number of a child."""


def this_machine() -> Platform:
    """The platform that a build is for where nothing says: that of the builder, which is taken to be this machine."""
    return normalize("linux", os.uname().machine)


class Needs:
    """What of an image is needed: the images for `platforms`, where None stands for what the builder takes.

    Of an index the builder takes the image for its own platform. An index that has none is whole as soon as one of its
    images is, since the builder may be another machine. `is_there` is asked for each blob that the catalog says lies in the
    store, and may say that a build does not see it there.
    """

    def __init__(
        self,
        reader: Reader,
        platforms: tuple[Platform | None, ...] = (None,),
        builder: Platform | None = None,
        is_there: Callable[[Match, str], bool] | None = None,
    ) -> None:
        self._reader = reader
        self._platforms = platforms
        self._builder = this_machine() if builder is None else builder
        self._is_there = is_there

    def images(self, match: Match) -> tuple[str, ...]:
        """The digest that is used for each platform: of the image for it, or of the entry where there is no platform.

        Raises NotFound where `match` has no such image or not all blobs of it, NotInTime where that cannot be told yet.
        """
        try:
            return tuple(self._image(match, platform) for platform in self._platforms)
        except NotFound:
            check_pending(self._reader, frozenset((match.store_id,)), f"what {shown(match.store)} holds")
            raise

    def _image(self, match: Match, platform: Platform | None) -> str:
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
        """The digest of the image for a platform, which is whole; raises NotFound."""
        found, why = for_platform(self._reader, match, platform)
        if found is None:
            # Which blob it is that is absent helps more than that there is one.
            images = images_of(self._reader, match)
            fitting = (i[1] for i in images if i[4] is not None and platform.rank(i[4]) is not None)
            for digest in dict.fromkeys(fitting):  # an index may list one image any number of times
                self._check_whole(match, digest)
            raise NotFound(f"{_told(match)} is no answer for {platform}: {why}")
        self._check_whole(match, found.digest)
        return found.digest

    def _check_index(self, match: Match) -> None:
        """Raise NotFound where the image that the builder takes of an index is not whole."""
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
        """What is known of a manifest that lies in the store; raises NotFound where it does not."""
        row = self._reader.row("NEEDED", {"digest": digest, "store_id": match.store_id})
        if row is None:
            raise self._not_whole(match, f"the manifest {digest} is not there")
        self._check(match, digest, row)
        return row

    def _check_whole(self, match: Match, manifest: str) -> None:
        """Raise NotFound where a blob of a manifest is not there as it should be."""
        rows = list(self._reader.rows("NEEDED", {"digest": manifest, "store_id": match.store_id}))
        if not rows:
            raise self._not_whole(match, f"the manifest {manifest} is not there")
        for row in rows:
            self._check(match, manifest, row)
        if rows[0][3] != MANIFEST:
            raise self._not_whole(match, f"{manifest} cannot be read as a manifest")

    def _check(self, match: Match, manifest: str, row: Row) -> None:
        role, _, digest, _, expected, size, is_good, is_embedded = row
        what = f"the {_ROLES[role]} {digest}" + ("" if digest == manifest else f" of {manifest}")
        if size is None:
            raise self._not_whole(match, f"{what} is not there")
        if (is_good is not None and not is_good) or (expected is not None and size != expected):
            raise self._not_whole(match, f"{what} is damaged")
        if self._is_there is not None and not is_embedded and not self._is_there(match, digest):
            raise NotFound(
                f"{shown(match.store)} keeps {digest} in a shared directory of blobs, where buildx does not look",
                "copy the image to a layout of its own",
            )

    def _not_whole(self, match: Match, why: str) -> NotFound:
        return NotFound(f"{_told(match)} is not complete: {why}", "copy the image again, with all of its blobs")


def _told(match: Match) -> str:
    name = match.name or (f":{match.tag}" if match.tag else match.digest)
    return f"{shown(name)} in {shown(match.store)}"
