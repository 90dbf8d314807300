"""What the beginning of a word may become: names, tags, digests, repositories and stores, by index range.

Nothing is scanned: one search finds the next value of a range, and what is offered is a hundred of them at most. Of more,
groups are offered: what begins alike up to the next `/`, else up to the next character. A shell inserts what all that it is
offered begins with, so that a list which was cut off would lead it astray.
"""

from __future__ import annotations

from itertools import islice

from catalog.names.pattern import upper_bound
from catalog.names.reference import repository_name, split_repository

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from catalog.engine.brief import BriefReader
    from catalog.engine.names import Name

MOST = 100
"""So many values are offered at most."""
_FIRST, _LAST = "\x01", "\U0010ffff"
"""The least character that a text of the catalog has behind another one, and the greatest: no NUL is ever stored."""
_HUB, _OFFICIAL = "docker.io/", "docker.io/library/"
_LAYOUT = "oci-layout://"

Offer = tuple[str, bool]
"""A text, and whether it is a whole value and no group."""


class Completer:
    """Completes from what `searches` finds; raises what that raises."""

    def __init__(self, searches: BriefReader) -> None:
        self._searches = searches

    def references(self, prefix: str) -> list[Offer]:
        """What a reference that begins so may be (docs/resolution.md)."""
        if prefix.startswith(_LAYOUT):
            stores = self.stores(prefix[len(_LAYOUT) :])
            return [(_LAYOUT + text, False) for text, _ in stores]  # a tag or an image may stand behind it
        if prefix.startswith(":"):
            return [(f":{text}", whole) for text, whole in self.tags(prefix[1:])]
        if prefix.startswith(("@", "sha256:", "sha384:", "sha512:")):
            at = "@" if prefix.startswith("@") else ""
            return [(at + text, whole) for text, whole in self.digests(prefix.removeprefix("@"))]
        names = list(islice(self._names(prefix), MOST + 1))
        if len(names) <= MOST:
            return [(name, True) for name in names]
        return self._tags_of(prefix) or [
            (f"{text}:" if whole else text, False) for text, whole in self.repositories(prefix)
        ]

    def tags(self, prefix: str) -> list[Offer]:
        """Tags of any repository, or of none."""
        return self._offers("NEXT_TAG", prefix)

    def digests(self, prefix: str) -> list[Offer]:
        """Digests of entries, and of manifests below them; a group may hold others."""
        return [each for each in self.contents(prefix) if not each[1] or self._is_manifest(each[0])]

    def contents(self, prefix: str) -> list[Offer]:
        """Digests of whatever the catalog knows, layers and configs too."""
        return self._offers("NEXT_DIGEST", prefix)

    def repositories(self, prefix: str) -> list[Offer]:
        """Repositories, as Docker shows them; in full where that is how it begins."""
        if prefix.startswith(_HUB):
            return self._offers("NEXT_REPOSITORY", prefix, "/")
        return self._offers("NEXT_FAMILIAR", prefix, "/")

    def stores(self, prefix: str) -> list[Offer]:
        """Names of stores."""
        return self._offers("NEXT_STORE", prefix, "/")

    def places(self, prefix: str) -> list[Offer]:
        """Names of stores and roots."""
        return [*self._offers("NEXT_ROOT", prefix), *self.stores(prefix)]

    def _is_manifest(self, digest: str) -> bool:
        return self._searches.row("IS_MANIFEST", {"digest": digest}) is not None

    def _names(self, prefix: str) -> Iterator[str]:
        """Names with tags, each in the form in which `prefix` begins it: `alpine:3.16`, or in full."""
        if "/" not in prefix:
            for name, _ in self._each("NEXT_NAME", _OFFICIAL + prefix, _itself):
                short = name[len(_OFFICIAL) :]
                if "/" not in short:  # docker.io/library/a/b is library/a/b, and a/b another
                    yield short
        skipped = None if prefix.startswith("library/") else _OFFICIAL
        for name, _ in self._each("NEXT_NAME", _HUB + prefix, _itself, skipped):
            yield name[len(_HUB) :]
        skipped = None if prefix.startswith(_HUB) else _HUB
        for name, _ in self._each("NEXT_NAME", prefix, _itself, skipped):
            yield name

    def _tags_of(self, prefix: str) -> list[Offer]:
        """The tags of one repository, where `prefix` is one with the beginning of a tag."""
        written, colon, tag = prefix.rpartition(":")
        parts = split_repository(written) if colon and "/" not in tag else None
        if parts is None:
            return []
        full = f"{repository_name(*parts)}:"
        offers = self._offers("NEXT_NAME", full + tag)
        return [(f"{written}:{name[len(full) :]}", whole) for name, whole in offers]

    def _offers(self, statement: Name, prefix: str, delimiter: str = "") -> list[Offer]:
        """The values that begin so, or what groups of them begin with."""
        offers = list(islice(self._each(statement, prefix, _itself), MOST + 1))
        if len(offers) <= MOST:
            return offers
        if delimiter:
            cut = _up_to(delimiter, len(prefix))
            offers = list(islice(self._each(statement, prefix, cut), MOST + 1))
            if len(offers) <= MOST:
                return offers
        length = len(prefix)
        while True:
            length += 1
            offers = list(islice(self._each(statement, prefix, _first(length)), MOST + 1))
            if len(offers) > 1:
                return offers if len(offers) <= MOST else []

    def _each(
        self, statement: Name, prefix: str, cut: Callable[[str], str], skipped: str | None = None
    ) -> Iterator[Offer]:
        """Each value that begins so, as `cut` leaves it: from one to the next that is cut otherwise, by a search each."""
        low, high = prefix, upper_bound(prefix) or _LAST
        while True:
            row = self._searches.row(statement, {"low": low, "high": high})
            if row is None:
                return
            value: str = row[0]
            if skipped is not None and value.startswith(skipped):
                low = upper_bound(skipped) or _LAST
                continue
            piece = cut(value)
            yield piece, piece == value
            low = f"{value}{_FIRST}" if piece == value else upper_bound(piece) or _LAST


def _itself(value: str) -> str:
    return value


def _up_to(delimiter: str, begin: int) -> Callable[[str], str]:
    """Cuts behind the next delimiter."""

    def cut(value: str) -> str:
        end = value.find(delimiter, begin)
        return value if end < 0 else value[: end + 1]

    return cut


def _first(length: int) -> Callable[[str], str]:
    return lambda value: value[:length]
