"""The filters of `query` (cli.md). Loaded only where one is given."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from catalog.errors import UsageError
from catalog.lookup import content, frozen
from catalog.lookup.match import ENTRY_ID, Match
from catalog.lookup.reader import Reader
from catalog.names import query as kinds
from catalog.names.escape import shown
from catalog.names.moment import parse_moment
from catalog.names.platform import Platform
from catalog.names.query import Query, clean, parse_digest
from catalog.names.reference import split_repository


class Filters:
    """What was asked of every entry, checked and read. Raises UsageError for what is wrong."""

    def __init__(
        self,
        *,
        tag: str | None = None,
        digest: str | None = None,
        repository: str | None = None,
        media_type: str | None = None,
        unnamed: bool = False,
        platform: str | None = None,
        artifact_type: str | None = None,
        annotations: tuple[str, ...] = (),
        labels: tuple[str, ...] = (),
        contains: str | None = None,
        referrers_of: str | None = None,
        since: str | None = None,
    ) -> None:
        self.tag = None if tag is None else clean(tag)
        self.digest = None if digest is None else parse_digest(digest)
        self.repository = None if repository is None else _repository(repository)
        self.media_type = media_type
        self.unnamed = unnamed
        self.platform = None if platform is None else Platform.parse(platform)
        self.artifact_type = artifact_type
        self.annotations = [_pair(text, "--annotation") for text in annotations]
        self.labels = [_pair(text, "--label") for text in labels]
        self.contains = None if contains is None else _whole_digest(contains, "--contains")
        self.referrers_of = None if referrers_of is None else _whole_digest(referrers_of, "--referrers-of")
        self.since = None if since is None else parse_moment(since, time.time_ns() // 1_000_000)

    @property
    def content_option(self) -> str | None:
        """The first option given that only the content of manifests can answer."""
        given = {
            "--platform": self.platform,
            "--artifact-type": self.artifact_type,
            "--annotation": self.annotations,
            "--label": self.labels,
            "--contains": self.contains,
            "--referrers-of": self.referrers_of,
        }
        return next((name for name, value in given.items() if value), None)

    def past_refuses(self) -> str | None:
        """The first option given that history cannot answer: it knows names and tags alone."""
        given = {
            "--digest": self.digest,
            "--media-type": self.media_type,
            "--unnamed": self.unnamed,
            "--since": self.since,
        }
        return next((name for name, value in given.items() if value), self.content_option)

    def accepting(self, reader: Reader, stores: frozenset[int] | None) -> Callable[[Match], bool]:
        """A function that says whether a match passes; raises NotInTime while what it needs is still being read."""
        option = self.content_option
        if option is not None:
            content.check_pending(reader, stores, option)
        holding = None if self.contains is None else _ids(content.containing(reader, self.contains))
        referring = None if self.referrers_of is None else _ids(content.referring(reader, self.referrers_of))

        def accept(match: Match) -> bool:
            return (
                (holding is None or match.entry_id in holding)
                and (referring is None or match.entry_id in referring)
                and self._says(match)
                and self._is_named(match)
                and self._is(reader, match)
            )

        return accept

    def without_ref(self, reader: Reader) -> Iterable[Match] | Query | None:
        """The entries that the narrowest filter finds by its index, or the query that does; None where none does."""
        if self.digest is not None:
            return self.digest
        if self.contains is not None:
            return _matches(reader, content.containing(reader, self.contains))
        if self.referrers_of is not None:
            return _matches(reader, content.referring(reader, self.referrers_of))
        if self.repository is not None:
            return _matches(reader, reader.rows(frozen.BY_REPOSITORY, {"repository": self.repository}))
        if self.tag is not None:
            return Query(f":{self.tag}", kinds.TAG, tag=self.tag)
        return None

    def _says(self, match: Match) -> bool:
        """What the descriptor in index.json says."""
        if self.media_type is not None and match.value("media_type") != self.media_type:
            return False
        since = match.row[frozen.COLUMNS.index("since")]
        if self.since is not None and (since is None or since < self.since):
            return False
        if self.digest is None:
            return True
        wanted = self.digest.digest or ""
        return match.digest == wanted if self.digest.kind == kinds.DIGEST else match.digest.startswith(wanted)

    def _is_named(self, match: Match) -> bool:
        """Filters of names hold where one key of the entry has all that is asked."""
        if not self.unnamed and self.tag is None and self.repository is None:
            return True
        keys = match.lookup_keys()
        if self.unnamed and keys:
            return False
        if self.tag is None and self.repository is None:
            return True
        return any(self.repository in (None, r) and self.tag in (None, t) for r, t, _ in keys)

    def _is(self, reader: Reader, match: Match) -> bool:
        """What the content is."""
        if self.platform is not None and not content.has_platform(reader, match, self.platform):
            return False
        if self.artifact_type is not None and content.artifact_type(reader, match) != self.artifact_type:
            return False
        return all(content.has_annotation(reader, match, *pair) for pair in self.annotations) and all(
            content.has_label(reader, match, *pair) for pair in self.labels
        )


def _matches(reader: Reader, rows: Iterable[tuple[Any, ...]]) -> Iterator[Match]:
    return (Match(reader, row) for row in rows)


def _ids(rows: Iterable[tuple[Any, ...]]) -> frozenset[int]:
    return frozenset(row[ENTRY_ID] for row in rows)


def _pair(text: str, option: str) -> tuple[str, str | None]:
    key, equals, value = text.partition("=")
    if not key:
        raise UsageError(f"{option} takes KEY or KEY=VALUE, not {shown(text)}")
    return key, value if equals else None


def _whole_digest(text: str, option: str) -> str:
    found = parse_digest(text)
    if found.kind != kinds.DIGEST or found.digest is None:
        raise UsageError(f"{option} takes a whole digest: {shown(text)} is the beginning of one")
    return found.digest


def _repository(text: str) -> str:
    parts = split_repository(text)
    if parts is None:
        raise UsageError(f"no repository: {shown(text)}: write a name without tag or digest, as in alpine")
    return f"{parts[0]}/{parts[1]}" if parts[0] else parts[1]
