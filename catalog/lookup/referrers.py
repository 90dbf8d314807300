"""Find the referrers of a digest: signatures, attestations and the like, in any store (docs/scripts.md)."""

from __future__ import annotations

from catalog.lookup.above import Above
from catalog.lookup.content import as_below
from catalog.lookup.match import Match

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from catalog.engine.interface import Reader

    Row = tuple[Any, ...]

_WAYS = ("subject", "fallback-tag", "cosign-tag", "attestation", "kind")
_WAY_OF = {
    "subject": 0,
    "fallback": 1,
    "cut": 1,
    "cosign": 2,
    "buildkit": 3,
    "containerd": 3,
    "kind": 4,
}
"""The index in _WAYS for each value of `referrer.how`. If a manifest refers in several ways, the one with the lowest index is reported."""


class Referrers:
    """The referrers of `digest` in every store, as matches with `how`: entries, manifests below entries, and unlisted manifests.

    An entry for which `passes` returns false yields nothing, neither itself nor a manifest below it.
    """

    def __init__(self, reader: Reader, digest: str, passes: Callable[[Match], bool]) -> None:
        self._reader = reader
        self._passes = passes
        ways: dict[str, int] = {}
        ids: dict[str, int] = {}
        for by, how, content_id in list(reader.rows("REFERRERS_OF", {"digest": digest})):
            ways[by] = min(ways.get(by, len(_WAYS)), _WAY_OF.get(how, len(_WAYS) - 1))
            ids[by] = content_id
        self._how = {by: _WAYS[way] for by, way in ways.items()}
        self._ids = ids
        self._digests = {content_id: by for by, content_id in ids.items()}
        self._above = Above(reader, ids.values())

    def everywhere(self) -> Iterator[Match]:
        """Yield all referrers. A store may yield the same referrer several times; only the first is to be shown."""
        first = self._above.first(self._passes)
        for by, content_id in self._ids.items():
            for row in list(self._reader.rows("BY_DIGEST", {"digest": by})):
                if self._passes(Match(self._reader, row)):
                    yield self._itself(row, by)
            for row in first.get(content_id, ()):
                yield self._below(row, by)
            for row in list(self._reader.rows("LYING", {"digest": by})):
                if self._passes(Match(self._reader, row)):
                    yield self._unlisted(row, by)

    def of(self, match: Match) -> Iterator[Match]:
        """Yield the referrers at or below the entry of `match`, except those already yielded for an earlier match."""
        if not match.listed:
            if match.digest in self._how and self._passes(match):
                yield self._unlisted(match.row, match.digest)
            return
        row = self._shown(match)
        if row is None or not self._passes(Match(self._reader, row)):
            return
        if match.below is not None:
            if match.below in self._how:
                yield self._below(row, match.below)
            return
        # Kept until the next question (Asking), so that a referrer below several entries is yielded once.
        done = self._reader.known.setdefault(self, (set(), set()))
        below = {self._digests[content_id] for content_id in self._above.newly_below(row, done)}
        itself = {match.digest} & self._how.keys()
        for by in sorted(below | itself):
            yield self._itself(row, by) if by in itself else self._below(row, by)

    def _shown(self, match: Match) -> Row | None:
        """Return the row with which to show the entry of a match; None if the entry is neither a referrer nor above one."""
        found = self._above.entries.get(match.entry_id)
        if found is None and match.digest in self._how:
            key = "referrer", match.digest
            if key not in self._reader.known:
                rows = self._reader.rows("BY_DIGEST", {"digest": match.digest})
                self._reader.known[key] = {row[0]: row for row in rows}
            found = self._reader.known[key].get(match.entry_id)
        return found

    def _itself(self, row: Row, by: str) -> Match:
        match = Match(self._reader, row)
        match.how = self._how[by]
        return match

    def _below(self, row: Row, by: str) -> Match:
        match = as_below(self._reader, Match(self._reader, row), by)
        match.how, match.below = self._how[by], by
        return match

    def _unlisted(self, row: Row, by: str) -> Match:
        match = self._itself(row, by)
        match.below = by
        return match
