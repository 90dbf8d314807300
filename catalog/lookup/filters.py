"""The filters of `query` (docs/scripts.md). This module is loaded only if a filter is given."""

from __future__ import annotations

import itertools
import time

from catalog.errors import Ambiguous, InvalidReference, NotFound, UsageError
from catalog.lookup import content
from catalog.lookup.match import ENTRY_ID, SOURCE, Match
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
    from catalog.lookup.starts import Start

FEW = 1_000
"""Fewer candidates than this are few enough to be tested one by one."""
_ENOUGH = 50
"""Once a filter selects this few candidates, no narrower filter is looked for."""


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
        """Return the first given option that cannot be used with `--at`, or None. Only the filters for names, tags and stores can be."""
        given = {
            "--digest": self.digest,
            "--media-type": self.media_type,
            "--unnamed": self.unnamed,
            "--since": self.since,
        }
        return next((name for name, value in given.items() if value), self.content_option)

    @property
    def references(self) -> list[Query]:
        """The values of `--contains` and `--referrers-of` that must first be resolved to a digest."""
        return [asked for asked in (self.contains, self.referrers_of) if asked and asked.kind != kinds.DIGEST]

    def narrowing(self, asking: Asking) -> Narrowing:
        """Apply the filters to a catalog. Raises NotFound, Ambiguous, UnknownStore, and NotInTime if manifests are still being read."""
        return Narrowing(self, asking)

    def passes_entry(self, match: Match) -> bool:
        """Return whether the entry of a match passes the filters for names. The manifest below the entry does not matter."""
        return self._is_named(match)

    def says(self, match: Match) -> bool:
        """Return whether the descriptor has the requested digest, or one that begins with the requested prefix, if there is one."""
        if self.digest is None:
            return True
        wanted = self.digest.digest or ""
        return match.digest == wanted if self.digest.kind == kinds.DIGEST else match.digest.startswith(wanted)

    def _is_named(self, match: Match) -> bool:
        """Return whether one key of the entry passes all filters for names; with `--unnamed`, whether the entry has no key."""
        if not self.unnamed and self.tag is None and self.repository is None:
            return True
        if self.unnamed:
            return match.row[SOURCE] is None and self.tag is None and self.repository is None
        keys = itertools.chain([(match.repository, match.tag)], self._other_keys(match))
        return any(
            (self.repository is None or self.repository(r)) and (self.tag is None or self.tag(t)) for r, t in keys
        )

    @staticmethod
    def _other_keys(match: Match) -> Iterator[tuple[str | None, str | None]]:
        """Yield the repository and tag of all keys. They are read only if the key with which the entry is shown does not pass."""
        yield from ((repository, tag) for repository, tag, _ in match.lookup_keys())

    def starts(self, reader: Reader) -> list[Start]:
        """Return the filters that can start from a database index, beginning with those that usually select the fewest entries."""
        content_given = self.annotations or self.labels or self.artifact_type or self.platform
        if not (content_given or self.unnamed or self.media_type):
            return []
        from catalog.lookup import starts

        pairs: list[tuple[type[starts.Annotated | starts.Labelled], Wanted, Wanted | None]] = [
            *((starts.Annotated, *pair) for pair in self.annotations),
            *((starts.Labelled, *pair) for pair in self.labels),
        ]
        pairs.sort(key=lambda each: each[2] is None or each[2].glob is not None)
        found: list[Start] = [kind(reader, key, value) for kind, key, value in pairs]
        if self.artifact_type is not None:
            found.append(starts.OfArtifactType(reader, self.artifact_type))
        if self.platform is not None:
            found.append(starts.ForPlatform(reader, self.platform))
        if self.unnamed:
            found.append(starts.WithoutKeys(reader))
        if self.media_type is not None:
            found.append(starts.OfMediaType(reader, self.media_type))
        return found


class Narrowing:
    """The filters applied to one catalog, with `--contains` and `--referrers-of` resolved to digests."""

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
        self._starts = filters.starts(self._reader)
        if self._since is not None and self._since.has_index:
            self._starts.insert(0, self._since)

    def __call__(self, match: Match) -> Iterator[Match]:
        """Yield the match if it passes; with `--referrers-of`, yield the referrers at or below its entry that pass."""
        if self._subject is None:
            if self._accepts(match):
                yield match
            return
        for found in [match] if match.how is not None else self._about(self._subject).of(match):
            if self._accepts(found):
                yield found

    def without_ref(self, few: int | None = None) -> Iterable[Match] | Query | Start | None:
        """Return the entries that the narrowest filter finds with an index, or the query or Start that finds them, else None.

        `few` is the number of entries in the selected stores, or None if all stores are selected.
        """
        reader, filters = self._reader, self._filters
        if self._subject is not None:
            return self._about(self._subject).everywhere()
        if filters.digest is not None:
            return filters.digest
        if self._contains is not None:
            return _matches(reader, content.containing(reader, self._contains))
        if few is not None and few < FEW and filters.repository is None and filters.tag is None:
            return None
        start = self._narrowest()
        if start is not None and not self._has_few_names():
            return start
        if filters.repository is not None:
            return _matches(reader, filters.repository.rows(reader, filters.tag))
        if filters.tag is not None:
            kind = kinds.TAG if filters.tag.glob is None else kinds.TAG_PATTERN
            return Query(f":{filters.tag.text}", kind, tag=filters.tag.text)
        return None if few is not None else next(iter(self._starts), None)

    def alone(self) -> Start | None:
        """Return the only filter that is given if its index contains exactly the entries that pass; else None."""
        filters = self._filters
        others = (self._subject, filters.digest, self._contains, filters.repository, filters.tag, self._since)
        if len(self._starts) != 1 or any(other is not None for other in others):
            return None
        return self._starts[0] if self._starts[0].is_exact else None

    @property
    def is_empty(self) -> bool:
        """Whether there is no filter at all."""
        filters = self._filters
        given = (self._subject, filters.digest, self._contains, filters.repository, filters.tag, self._since)
        return not self._starts and all(each is None for each in given)

    def _narrowest(self) -> Start | None:
        """Return the filter that selects the fewest candidates; None if every one selects many, or only names are filtered."""
        if len(self._starts) == 1 and self._filters.repository is None and self._filters.tag is None:
            return self._starts[0]
        best, least = None, FEW
        for start in self._starts:
            if least <= _ENOUGH or (best is not None and start.reads_all):
                break
            number = sum(1 for _ in itertools.islice(start.seeds(), least))
            if number < least:
                best, least = start, number
        return best

    def _has_few_names(self) -> bool:
        """Return whether the tag or the repository has so few keys that the search should start from them."""
        filters = self._filters
        if filters.repository is not None and filters.repository.name is not None:
            if filters.tag is not None and filters.tag.glob is None:
                return True
            row = self._reader.row("COUNT_REPOSITORY", {"repository": filters.repository.name})
            return row is not None and row[0] < FEW
        if filters.tag is None or filters.tag.glob is not None:
            return False
        row = self._reader.row("COUNT_TAG", {"tag": filters.tag.text})
        return row is not None and row[0] < FEW

    def _accepts(self, match: Match) -> bool:
        filters = self._filters
        return (
            self._is_new(match)
            and self._holds(match)
            and filters.says(match)
            and filters.passes_entry(match)
            and all(start.passes(match) for start in self._starts if start is not self._since)
        )

    def _passes_entry(self, match: Match) -> bool:
        return self._is_new(match) and self._filters.passes_entry(match)

    def _is_new(self, match: Match) -> bool:
        return self._since is None or self._since.passes_alone(match)

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
    """Return whether a match is a referrer that is not itself an entry, but is below an entry or not listed at all."""
    return match.how is not None and match.below is not None


def _matches(reader: Reader, rows: Iterable[tuple[Any, ...]]) -> Iterator[Match]:
    return (Match(reader, row) for row in rows)


def _digest_of(asking: Asking, query: Query) -> str:
    """Return the one digest that a query means. Raises NotFound, Ambiguous, UnknownStore and NotInTime."""
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
        if (short := _short_digest(asking, query.text)) is not None:
            return _digest_of(asking, short)
        if asking.stores is None:
            raise
        # `--store` selects the stores of the answers; the digest may be in another store.
        return Asking(asking.reader, asking.note).resolve(query).digest


def _short_digest(asking: Asking, text: str) -> Query | None:
    """Return the query for a digest whose beginning was given as hex digits only; None if no known digest begins so."""
    try:
        query = parse_digest(text)
    except InvalidReference:
        return None
    return query if any(content.in_prefix(asking.reader, query.digest or "")) else None


def _pair(text: str, option: str) -> tuple[Wanted, Wanted | None]:
    key, equals, value = text.partition("=")
    if not key:
        raise UsageError(f"{option} takes KEY or KEY=VALUE, not {shown(text)}")
    return Wanted(key), Wanted(value) if equals else None


def _one(text: str, option: str) -> Query:
    """Parse a text that must mean one digest: a digest, a prefix of a digest, a name, or a tag. Raises UsageError for a pattern."""
    query = parse_digest(text) if text.startswith("@") else parse_query(text)
    if query.kind in (kinds.PATTERN, kinds.TAG_PATTERN):
        raise UsageError(f"{option} takes one digest, name or ':TAG', not a pattern: {shown(text)}")
    return query


class _Repository:
    """The value of `--repository`: a repository or a pattern. Raises UsageError if it is neither."""

    def __init__(self, text: str) -> None:
        self.name: str | None = None
        self._globs: tuple[Glob, ...] = ()
        parts = split_repository(text)
        if parts is not None:
            self.name = repository_name(*parts)
        elif has_wildcard(text):
            self._globs = repository_globs(clean(text))
        else:
            is_upper = split_repository(text.lower()) is not None
            hint = (
                f"did you mean '{shown(text.lower())}'?"
                if is_upper
                else "write a name without tag or digest, as in alpine, or a pattern"
            )
            raise UsageError(f"{shown(text)} is not a repository: {hint}")

    def __call__(self, name: str | None) -> bool:
        """Return whether a canonical repository is the requested one or matches the pattern."""
        if self.name is not None:
            return name == self.name
        return name is not None and any(glob.matches(name) for glob in self._globs)

    def rows(self, reader: Reader, tag: Wanted | None) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of the keys in these repositories, or only those with `tag` if it is one tag of one repository."""
        if self.name is not None and tag is not None and tag.glob is None:
            yield from reader.rows("BY_NAME", {"name": f"{self.name}:{tag.text}"})
            return
        names = [self.name] if self.name is not None else self._matching(reader)
        for name in names:
            yield from reader.rows("BY_REPOSITORY", {"repository": name})

    def _matching(self, reader: Reader) -> list[str]:
        return [
            row[1]
            for row in list(reader.rows("REPOSITORIES_WITH", {"part": "%", "low": "", "count": 1 << 62}))
            if self(row[1])
        ]
