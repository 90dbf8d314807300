"""The filters of `query` (docs/scripts.md). This module is loaded only if one is given."""

from __future__ import annotations

import time

from catalog.errors import Ambiguous, NotFound, UsageError
from catalog.lookup import content
from catalog.lookup.match import ENTRY_ID, Match
from catalog.lookup.resolve import CANDIDATES, Asking
from catalog.names import query as kinds
from catalog.names.escape import shown
from catalog.names.moment import parse_moment
from catalog.names.pattern import Glob, Wanted, has_wildcard, repository_globs
from catalog.names.platform import Platform
from catalog.names.query import Query, clean, parse_digest, parse_query
from catalog.names.reference import repository_name, split_repository

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from catalog.engine.interface import Reader
    from catalog.lookup.referrers import Referrers
    from catalog.lookup.since import Since


class EntryFilters:
    """The values of the filter options, parsed. Raises UsageError for an invalid value."""

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
        self.tag = None if tag is None else Wanted(clean(tag))
        self.digest = None if digest is None else parse_digest(digest)
        self.repository = None if repository is None else _Repository(repository)
        self.media_type = None if media_type is None else Wanted(media_type)
        self.unnamed = unnamed
        self.platform = None if platform is None else Platform.parse(platform)
        self.artifact_type = None if artifact_type is None else Wanted(artifact_type)
        self.annotations = [_pair(text, "--annotation") for text in annotations]
        self.labels = [_pair(text, "--label") for text in labels]
        self.contains = None if contains is None else _one(contains, "--contains")
        self.referrers_of = None if referrers_of is None else _one(referrers_of, "--referrers-of")
        self.since = None if since is None else parse_moment(since, time.time_ns() // 1_000_000)

    @property
    def content_option(self) -> str | None:
        """The first given option that needs the content of manifests, or None."""
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
        """Return the first given option that cannot be used with `--at`, because only names and tags of the past are kept."""
        given = {
            "--digest": self.digest,
            "--media-type": self.media_type,
            "--unnamed": self.unnamed,
            "--since": self.since,
        }
        return next((name for name, value in given.items() if value), self.content_option)

    @property
    def references(self) -> list[Query]:
        """The values of `--contains` and `--referrers-of` that have to be resolved to a digest first."""
        return [asked for asked in (self.contains, self.referrers_of) if asked and asked.kind != kinds.DIGEST]

    def narrowing(self, asking: Asking) -> Narrowing:
        """Apply the filters to a catalog. Raises NotFound, Ambiguous, and NotInTime if manifests are still being read."""
        return Narrowing(self, asking)

    def passes(self, reader: Reader, match: Match) -> bool:
        """Return whether a match passes all filters except `--contains` and `--referrers-of`."""
        return self._says(match) and self.passes_entry(match) and self._is(reader, match)

    def passes_entry(self, match: Match) -> bool:
        """Return whether the entry of a match passes the filters for names, whichever manifest below it is meant."""
        return self._is_named(match)

    def _says(self, match: Match) -> bool:
        """Return whether the descriptor has the requested media type and digest."""
        media_type = match.value("media_type")
        if self.media_type is not None and not (isinstance(media_type, str) and self.media_type(media_type)):
            return False
        if self.digest is None:
            return True
        wanted = self.digest.digest or ""
        return match.digest == wanted if self.digest.kind == kinds.DIGEST else match.digest.startswith(wanted)

    def _is_named(self, match: Match) -> bool:
        """Return whether one key of the entry passes all filters for names."""
        if not self.unnamed and self.tag is None and self.repository is None:
            return True
        keys = match.lookup_keys()
        if self.unnamed and keys:
            return False
        if self.tag is None and self.repository is None:
            return True
        return any(
            (self.repository is None or self.repository(r)) and (self.tag is None or self.tag(t)) for r, t, _ in keys
        )

    def _is(self, reader: Reader, match: Match) -> bool:
        """Return whether the content passes the filters that need it."""
        if self.platform is not None and not content.has_platform(reader, match, self.platform):
            return False
        if self.artifact_type is not None and not self.artifact_type(content.artifact_type(reader, match)):
            return False
        return all(content.has_annotation(reader, match, *pair) for pair in self.annotations) and all(
            content.has_label(reader, match, *pair) for pair in self.labels
        )


class Narrowing:
    """The filters applied to one catalog, with the digests that `--contains` and `--referrers-of` mean there."""

    def __init__(self, filters: EntryFilters, asking: Asking) -> None:
        option = filters.content_option
        if option is not None:
            content.check_pending(asking.reader, asking.stores, option)
        self._filters = filters
        self._reader = asking.reader
        self._contains = None if filters.contains is None else _digest_of(asking, filters.contains)
        self._since: Since | None = None
        if filters.since is not None:
            from catalog.lookup.since import Since

            self._since = Since(self._reader, filters.since)
        self._subject = None if filters.referrers_of is None else _digest_of(asking, filters.referrers_of)
        self._holding: frozenset[int] | None = None
        if self._contains is not None:
            self._holding = frozenset(row[ENTRY_ID] for row in content.containing(self._reader, self._contains))
        self._referrers: Referrers | None = None

    def __call__(self, match: Match) -> Iterator[Match]:
        """Yield the match if it passes; with `--referrers-of`, yield the referrers that it is or has below it."""
        if self._subject is None:
            if self._accepts(match):
                yield match
            return
        for found in [match] if match.how is not None else self._about(self._subject).of(match):
            if self._accepts(found):
                yield found

    def without_ref(self) -> Iterable[Match] | Query | None:
        """Return the entries that the narrowest filter finds with an index, or a query that finds them; None if none can."""
        reader, filters = self._reader, self._filters
        if self._subject is not None:
            return self._about(self._subject).everywhere()
        if filters.digest is not None:
            return filters.digest
        if self._contains is not None:
            return _matches(reader, content.containing(reader, self._contains))
        if filters.repository is not None:
            return _matches(reader, filters.repository.rows(reader))
        if filters.tag is not None:
            kind = kinds.TAG if filters.tag.glob is None else kinds.TAG_PATTERN
            return Query(f":{filters.tag.text}", kind, tag=filters.tag.text)
        return None

    def _accepts(self, match: Match) -> bool:
        return self._is_new(match) and self._holds(match) and self._filters.passes(self._reader, match)

    def _passes_entry(self, match: Match) -> bool:
        return self._is_new(match) and self._filters.passes_entry(match)

    def _is_new(self, match: Match) -> bool:
        return self._since is None or self._since.includes(match)

    def _holds(self, match: Match) -> bool:
        if self._contains is None or self._holding is None:
            return True
        if not _is_below(match):
            return match.entry_id in self._holding
        return content.holds(self._reader, match, self._contains)

    def _about(self, subject: str) -> Referrers:
        if self._referrers is None:
            from catalog.lookup.referrers import Referrers

            self._referrers = Referrers(self._reader, subject, self._passes_entry)
        return self._referrers


def _is_below(match: Match) -> bool:
    """Return whether a match is a referrer that is not an entry itself: below an entry, or not listed at all."""
    return match.how is not None and match.below is not None


def _matches(reader: Reader, rows: Iterable[tuple[Any, ...]]) -> Iterator[Match]:
    return (Match(reader, row) for row in rows)


def _digest_of(asking: Asking, query: Query) -> str:
    """Return the one digest that a query means. Raises NotFound and Ambiguous."""
    if query.kind == kinds.DIGEST:
        return query.digest or ""
    if query.kind == kinds.DIGEST_PREFIX:
        found = [digest for digest, _ in content.in_prefix(asking.reader, query.digest or "")]
        if not found:
            raise NotFound(f"no digest begins with {shown(query.text)}")
        if len(found) > 1:
            candidates = ", ".join(found[:CANDIDATES])
            raise Ambiguous(f"{shown(query.text)} is a prefix of {len(found)} digests: {candidates}; write more digits")
        return found[0]
    try:
        return asking.resolve(query).digest
    except NotFound:
        if asking.stores is None:
            raise
        # `--store` selects the stores of the answers; the digest may be in another store.
        return Asking(asking.reader, asking.note).resolve(query).digest


def _pair(text: str, option: str) -> tuple[Wanted, Wanted | None]:
    key, equals, value = text.partition("=")
    if not key:
        raise UsageError(f"{option} takes KEY or KEY=VALUE, not {shown(text)}")
    return Wanted(key), Wanted(value) if equals else None


def _one(text: str, option: str) -> Query:
    """Parse a text that has to mean one digest: a digest or a prefix of one, a name, or a tag."""
    query = parse_query(text)
    if query.kind in (kinds.PATTERN, kinds.TAG_PATTERN):
        raise UsageError(f"{option} takes one digest, name or ':TAG', not a pattern: {shown(text)}")
    return query


class _Repository:
    """The repository of `--repository`, or with wildcards those that match. Raises UsageError if it cannot be one."""

    def __init__(self, text: str) -> None:
        self._name: str | None = None
        self._globs: tuple[Glob, ...] = ()
        parts = split_repository(text)
        if parts is not None:
            self._name = repository_name(*parts)
        elif has_wildcard(text):
            self._globs = repository_globs(clean(text))
        else:
            raise UsageError(
                f"{shown(text)} is not a repository: write a name without tag or digest, as in alpine, or a pattern"
            )

    def __call__(self, name: str | None) -> bool:
        """Return whether a canonical repository is what is asked for."""
        if self._name is not None:
            return name == self._name
        return name is not None and any(glob.matches(name) for glob in self._globs)

    def rows(self, reader: Reader) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of the keys in these repositories."""
        names = [self._name] if self._name is not None else self._matching(reader)
        for name in names:
            yield from reader.rows("BY_REPOSITORY", {"repository": name})

    def _matching(self, reader: Reader) -> list[str]:
        return [row[1] for row in list(reader.rows("REPOSITORIES_WITH", {"part": "%"})) if self(row[1])]
