"""The public Python API (docs/python.md). It answers the same questions as the command line, without a process for each."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Self, TypedDict, Unpack

from catalog.engine.location import catalog_path
from catalog.engine.open import displayed, open_reader
from catalog.errors import NotFound, UsageError
from catalog.lookup.match import Match, once
from catalog.lookup.resolve import Asking
from catalog.lookup.stores import store_ids
from catalog.names import query as kinds
from catalog.names.moment import parse_moment, rfc3339
from catalog.names.platform import Platform
from catalog.names.query import Query, parse_query

if TYPE_CHECKING:
    from datetime import datetime

    from catalog.engine.interface import Reader
    from catalog.lookup.changes import Change, Followed
    from catalog.lookup.filters import Narrowing
    from catalog.lookup.inspect import Page
    from catalog.lookup.past import Span
    from catalog.lookup.store_list import ListedStore


class Filters(TypedDict, total=False):
    """The filters of `Catalog.query`, named like the options of `ocicat query`, with underscores.

    `annotations` and `labels` (`--annotation` and `--label`) are each a KEY or KEY=VALUE, or a tuple of several. `since` is a time
    or an age, as on the command line.
    """

    tag: str
    digest: str
    repository: str
    media_type: str
    unnamed: bool
    platform: str
    artifact_type: str
    annotations: str | tuple[str, ...]
    labels: str | tuple[str, ...]
    contains: str
    referrers_of: str
    since: str


_SEVERAL = ("annotations", "labels")


PAGE = 1000
"""The number of entries in the first page of an answer. Each further page has twice as many, up to MOST_PAGE."""
MOST_PAGE = 100_000


class Result:
    """The answer to a SQL statement or a report. `columns` has the column names; iterate once for the rows, which are tuples.

    `close` stops the statement, and so does the end of a `with` block. Iteration may raise what `Catalog.sql` raises.
    """

    def __init__(self, columns: tuple[str, ...], rows: Iterator[tuple[object, ...]]) -> None:
        self.columns = columns
        self._rows = rows

    def __repr__(self) -> str:
        return f"Result(columns={self.columns!r})"

    def __iter__(self) -> Iterator[tuple[object, ...]]:
        return self._rows

    def objects(self) -> Iterator[dict[str, object]]:
        """Yield each row as a dict, keyed by column name."""
        for row in self._rows:
            yield dict(zip(self.columns, row, strict=True))

    def close(self) -> None:
        """Stop the statement if it still runs."""
        self._rows = iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Questions:
    """The questions that can be asked about both the present (use Catalog) and the past (use `Catalog.at`)."""

    def __init__(self, reader: Reader, present: Reader) -> None:
        self._reader = reader
        self._present = present
        self.notes: list[str] = []

    def __repr__(self) -> str:
        past = self._reader.past
        return f"{self._of_catalog()}.at({rfc3339(past.at)!r})" if past is not None else self._of_catalog()

    def _of_catalog(self) -> str:
        return f"Catalog({displayed(self._present.path)!r})"

    @property
    def _is_past(self) -> bool:
        return self._reader is not self._present

    def query(self, text: str, *, store: str | tuple[str, ...] = (), **filters: Unpack[Filters]) -> Iterator[Match]:
        """Yield every entry that `text` matches, in order of precedence. It is not an error if there is none.

        A long answer is read in pages, and the catalog is not held open between them, so the caller may iterate slowly. An
        entry that changes meanwhile may be yielded as it was or as it is. An entry that stays in the catalog is yielded exactly once.

        `store` is a name or a glob, or several of them; `filters` are those of class Filters. Raises InvalidReference,
        UnknownStore, UsageError if a filter is wrong or cannot be used for the past, NotInTime if a filter needs content that
        is not read yet, and CatalogUnavailable.
        """
        from catalog.lookup.filters import EntryFilters

        asking = self._asking(store)
        narrowing = None
        if filters:
            given = {
                key: (value,) if key in _SEVERAL and isinstance(value, str) else value for key, value in filters.items()
            }
            entry_filters = EntryFilters(**given)  # type: ignore[arg-type]  # mypy does not match keys with the types of their values
            if self._is_past and (refused := entry_filters.past_refuses()):
                raise UsageError(f"{refused} cannot be used for the past: ask about the digests without it")
            narrowing = entry_filters.narrowing(asking)
        found = _pages(asking, parse_query(text), narrowing)
        return found if narrowing is None else once(found)

    def resolve(
        self,
        text: str,
        *,
        platform: str | None = None,
        store: str | tuple[str, ...] = (),
        first: bool = False,
        strict: bool = False,
    ) -> Match:
        """Return the one match for `text`. The arguments are the options of `ocicat resolve`.

        Raises NotFound, Ambiguous, InvalidReference, UnknownStore, UsageError if `platform` is used for the past, NotInTime
        and other types of CatalogUnavailable.
        """
        if platform is not None and self._is_past:
            raise UsageError("platform cannot be used for the past: resolve the digest, then ask the present about it")
        asking = self._asking(store, strict=strict, platform=platform)
        query = parse_query(text)
        try:
            return asking.resolve(query, first=first)
        except NotFound as error:
            from catalog.lookup.advice import tag_hint

            hint = "" if self._is_past else tag_hint(asking.reader, text)
            raise NotFound(str(error), "" if error.hint else hint) from error

    def _asking(self, store: str | tuple[str, ...], *, strict: bool = False, platform: str | None = None) -> Asking:
        scope = self._scope(store)
        wanted = None if platform is None else Platform.parse(platform)
        return Asking(self._reader, self.notes.append, stores=scope, strict=strict, platform=wanted)

    def _scope(self, store: str | tuple[str, ...]) -> frozenset[int] | None:
        """Clear the notes for a new question. Return the ids of the stores that may answer, or None for all stores.

        Raises UnknownStore, and CatalogUnavailable if the catalog was deleted or replaced since it was opened.
        """
        self.notes = []
        self._present.check_current()
        texts = _several(store)
        return store_ids(self._reader, texts) if texts else None


class Catalog(Questions):
    """An open catalog. This is a context manager, and only the thread that opened it may use it.

    After each question, `notes` has the lines that the command line would print to stderr, for example about a store that
    cannot be read or buildx's single-entry rule.
    """

    def __init__(self, path: str) -> None:
        reader = open_reader(path)
        super().__init__(reader, reader)

    @classmethod
    def open(cls, path: str | None = None) -> Catalog:
        """Open the catalog at `path`, or the default one of the command line. Raises CatalogUnavailable."""
        return cls(catalog_path(path))

    def close(self) -> None:
        """Close the catalog."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def at(self, moment: str | datetime) -> Questions:
        """Return an object that answers `query` and `resolve` as of `moment`, like `--at`, until this catalog is closed.

        `moment` is a time or an age, as on the command line, or a datetime, which is local time if it has no zone. Raises
        UsageError if it is a string that is neither a time nor an age, and CatalogUnavailable.
        """
        self._present.check_current()
        return Questions(self._present.at(_milliseconds(moment)), self._present)

    def find(self, *words: str, store: str | tuple[str, ...] = (), limit: int | None = 50) -> list[Match]:
        """Return the entries that have each of `words` in a name, tag, store or title, best first.

        Returns at most `limit` entries, or all if it is None. Raises UnknownStore, UsageError if there are no words or too many, and
        CatalogUnavailable.
        """
        from catalog.lookup.search import TextSearch

        scope = self._scope(store)
        return list(TextSearch(self._reader, words, scope).matches(limit))

    def stores(self) -> list[ListedStore]:
        """Return all stores, in order of precedence. Raises CatalogUnavailable."""
        from catalog.lookup.store_list import stores

        self._scope(())
        return list(stores(self._reader))

    def history(self, text: str, *, store: str | tuple[str, ...] = ()) -> list[Span]:
        """Return what `text` pointed to and when, oldest first. For a digest, return the names that pointed to it.

        `store` is a current or former name, a path or a glob, or several of them. It is not an error if there is no history.
        Raises InvalidReference, UnknownStore, UsageError for forms that have no history, and CatalogUnavailable.
        """
        from catalog.lookup.past import in_stores, spans, spans_of_digest

        self._scope(())
        query = parse_query(text)
        texts = _several(store)
        is_wanted = in_stores(self._reader, texts) if texts else None
        is_digest = query.kind == kinds.DIGEST and query.digest is not None
        found = spans_of_digest(self._reader, query.digest or "") if is_digest else spans(self._reader, query)
        return [span for span in found if is_wanted is None or is_wanted(span)]

    def changes(
        self, *, since: str | datetime | None = None, cursor: str | None = None, store: str | tuple[str, ...] = ()
    ) -> Iterator[Change]:
        """Yield changes, oldest first: those after `since` (a time or an age) or after `cursor`, or else all that are kept.

        The catalog is not held open while the caller iterates. Raises UsageError if both `since` and `cursor` are given, if one
        is malformed, or if some of the changes are no longer kept; UnknownStore; and CatalogUnavailable.
        """
        from catalog.lookup.changes import from_beginning, from_time, parsed
        from catalog.lookup.past import in_stores

        self._scope(())
        if since is not None and cursor is not None:
            raise UsageError("since and cursor both say where to begin: leave one out")
        texts = _several(store)
        is_wanted = in_stores(self._reader, texts) if texts else None
        if cursor is not None:
            followed = parsed(cursor)
        elif since is not None:
            followed = from_time(self._reader, _milliseconds(since))
        else:
            followed, kept = from_beginning(self._reader)
            if kept is not None:
                self.notes.append(f"changes before {rfc3339(kept)} are no longer kept")
        return _changes(self._reader, followed, is_wanted)

    def inspect(
        self,
        text: str,
        *,
        platform: str | None = None,
        store: str | tuple[str, ...] = (),
        first: bool = False,
        limit: int = 10,
    ) -> Page:
        """Return everything about the image that `text` resolves to, with at most `limit` items in each section.

        Raises what `resolve` raises.
        """
        from catalog.lookup.inspect import Page

        return Page(self._reader, self.resolve(text, platform=platform, store=store, first=first), limit)

    def sql(self, statement: str, parameters: Mapping[str, str] | None = None, *, timeout: float = 60.0) -> Result:
        """Run a SQL statement over the public views, read-only; `parameters` are the values of `:name` in it.

        The statement runs in its own process, for at most `timeout` seconds, not counting the time that the caller spends on
        the rows. Raises RefusedSQL, NotInTime, and CatalogUnavailable.
        """
        from catalog.reports.gate import statements_of

        self._scope(())
        return Result(*statements_of(self._reader, timeout).run(statement, parameters or {}))

    def report(
        self,
        name: str,
        parameters: Mapping[str, str] | None = None,
        *,
        store: str | tuple[str, ...] = (),
        timeout: float = 60.0,
    ) -> Result:
        """Run a report, as `ocicat report` does; sizes are in bytes. `notes` names the stores that the report leaves out.

        Raises UsageError for an unknown report or parameter, for a malformed age, or for `store` if the report has no column for
        it; what `resolve` raises for the parameter `image`; UnknownStore, NotInTime, and CatalogUnavailable.
        """
        from catalog.reports.asking import AskedReport, report_named
        from catalog.reports.gate import statements_of

        scope = self._scope(store)
        asked = AskedReport(self._reader, report_named(name), parameters or {}, scope, self.notes.append)
        return Result(*asked.run(statements_of(self._reader, timeout)))

    def index(self, *, full: bool = False) -> int:
        """Make one pass over all roots and stores, as `ocicat index` does. Returns the number of stores that changed.

        `full` reads every index.json, even if it looks unchanged. Raises CatalogUnavailable.
        """
        from catalog.engine.open import open_writer
        from catalog.ingest.registry import Registry
        from catalog.ingest.settings import Settings
        from catalog.ingest.sweep import Sweep

        self.notes = []
        with open_writer(self._reader.path, create=False) as writer:
            with writer.snapshot() as connection:
                roots = Registry(connection).roots()
            return Sweep(writer, Settings(), self.notes.append).run(roots, None, full=full).changed


def _several(store: str | tuple[str, ...]) -> tuple[str, ...]:
    return (store,) if isinstance(store, str) else tuple(store)


def _milliseconds(moment: str | datetime) -> int:
    """Return a time as milliseconds since 1970. Raises UsageError if a string is neither a time nor an age."""
    if not isinstance(moment, str):
        return int(moment.timestamp() * 1000)
    return parse_moment(moment, time.time_ns() // 1_000_000)


def _changes(reader: Reader, followed: Followed, is_wanted: Callable[[Change], bool] | None) -> Iterator[Change]:
    """Yield the changes, and advance the positions of `followed`. The changes are read PAGE at a time."""
    while True:
        page = list(itertools.islice(followed.changes(reader), PAGE))
        yield from (change for change in page if is_wanted is None or is_wanted(change))
        if len(page) < PAGE:
            return


def _pages(asking: Asking, query: Query, narrowing: Narrowing | None) -> Iterator[Match]:
    """Yield the matches that pass `narrowing`. They are read in pages, because an open cursor would hold a snapshot of the catalog.

    Each page runs the query again and skips the matches of earlier pages. Up to MOST_PAGE, pages double in size, so all of
    them together read about twice the answer.
    """
    seen: set[tuple[int, str]] = set()
    size = PAGE
    while True:
        page: list[Match] = []
        count = 0
        matches = asking.matches(query)
        for match in matches:
            key = match.entry_id, match.answered
            if key in seen:
                continue
            if count == size:
                break
            count += 1
            seen.add(key)
            page.extend((match,) if narrowing is None else narrowing(match))
        else:
            size = 0
        matches = iter(())  # closes the cursor
        yield from page
        if not size:
            return
        size = min(2 * size, MOST_PAGE)
