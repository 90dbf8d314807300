"""Complete names, tags, digests, repositories and stores, given their beginning, by searches in ranges of an index.

Nothing is scanned: each search finds the next value in a range. At most a hundred candidates of a kind are offered. If there are
more, groups of candidates are offered instead: common beginnings up to the next `/`, or else up to the next character. A
shell inserts the common prefix of all candidates, so a truncated list would mislead it.
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
"""The maximum number of candidates of one kind."""
_FIRST, _LAST = "\x01", "\U0010ffff"
"""The least and the greatest character that a text in the catalog can contain. NUL never occurs."""
_HUB, _OFFICIAL = "docker.io/", "docker.io/library/"
_LAYOUT = "oci-layout://"

Offer = tuple[str, bool]
"""A candidate, and whether it is a whole value (true) or a group of values (false)."""


class Completer:
    """Completes words with values that `searches` finds. Raises what `searches` raises."""

    def __init__(self, searches: BriefReader) -> None:
        self._searches = searches

    def references(self, prefix: str) -> list[Offer]:
        """Return candidates for a reference that begins with `prefix` (docs/resolution.md)."""
        if prefix.startswith(_LAYOUT):
            stores = self.stores(prefix[len(_LAYOUT) :])
            return [(_LAYOUT + text, False) for text, _ in stores]  # a tag or an image may follow
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
        """Return candidates for a tag, with or without a repository."""
        return self._offers("NEXT_TAG", prefix)

    def digests(self, prefix: str) -> list[Offer]:
        """Return candidates for the digest of a manifest. A group may contain other digests."""
        return [each for each in self.contents(prefix) if not each[1] or self._is_manifest(each[0])]

    def contents(self, prefix: str) -> list[Offer]:
        """Return candidates for any digest that the catalog knows, including layers and configs."""
        return self._offers("NEXT_DIGEST", prefix)

    def repositories(self, prefix: str) -> list[Offer]:
        """Return candidates for a repository in Docker's short form, or in the full form if `prefix` begins with `docker.io/`."""
        if prefix.startswith(_HUB):
            return self._offers("NEXT_REPOSITORY", prefix, "/")
        return self._offers("NEXT_FAMILIAR", prefix, "/")

    def stores(self, prefix: str) -> list[Offer]:
        """Return candidates for the name of a store."""
        return self._offers("NEXT_STORE", prefix, "/")

    def places(self, prefix: str) -> list[Offer]:
        """Return candidates for the name of a store or root."""
        return [*self._offers("NEXT_ROOT", prefix), *self.stores(prefix)]

    def _is_manifest(self, digest: str) -> bool:
        return self._searches.row("IS_MANIFEST", {"digest": digest}) is not None

    def _names(self, prefix: str) -> Iterator[str]:
        """Yield names with tags, short (`alpine:3.16`) or full, that begin with `prefix`."""
        if "/" not in prefix:
            for name, _ in self._each("NEXT_NAME", _OFFICIAL + prefix, _itself):
                short = name[len(_OFFICIAL) :]
                if "/" not in short:  # the short form of docker.io/library/a/b is library/a/b, not a/b
                    yield short
        skipped = None if prefix.startswith("library/") else _OFFICIAL
        for name, _ in self._each("NEXT_NAME", _HUB + prefix, _itself, skipped):
            yield name[len(_HUB) :]
        skipped = None if prefix.startswith(_HUB) else _HUB
        for name, _ in self._each("NEXT_NAME", prefix, _itself, skipped):
            yield name

    def _tags_of(self, prefix: str) -> list[Offer]:
        """Return candidates for REPOSITORY:TAG if `prefix` has a repository and the beginning of a tag."""
        written, colon, tag = prefix.rpartition(":")
        parts = split_repository(written) if colon and "/" not in tag else None
        if parts is None:
            return []
        full = f"{repository_name(*parts)}:"
        offers = self._offers("NEXT_NAME", full + tag)
        return [(f"{written}:{name[len(full) :]}", whole) for name, whole in offers]

    def _offers(self, statement: Name, prefix: str, delimiter: str = "") -> list[Offer]:
        """Return the values that begin with `prefix`, groups of them if there are too many, or nothing if there are too many groups."""
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
        """Yield the values that begin with `prefix`, but not with `skipped`, each shortened by `cut` and yielded once.

        One search skips all values that `cut` shortens to the same text.
        """
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
    """Return a function that cuts a value after the next delimiter."""

    def cut(value: str) -> str:
        end = value.find(delimiter, begin)
        return value if end < 0 else value[: end + 1]

    return cut


def _first(length: int) -> Callable[[str], str]:
    return lambda value: value[:length]
