"""The public Python API (docs/python.md): the questions of the command line, without a process for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Self, TypedDict, Unpack

from catalog.engine.location import catalog_path
from catalog.engine.open import open_reader
from catalog.errors import NotFound
from catalog.lookup.match import Match, once
from catalog.lookup.resolve import Asking
from catalog.lookup.stores import store_ids
from catalog.names.platform import Platform
from catalog.names.query import Query, parse_query

if TYPE_CHECKING:
    from catalog.lookup.filters import Narrowing


class Filters(TypedDict, total=False):
    """The filters of `Catalog.query`: the options of `ocicat query`, with underscores.

    `annotations` and `labels` are one or several KEY or KEY=VALUE; `since` is a time or an age, as on the command line.
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


class Catalog:
    """An open catalog. This is a context manager, and only the thread that opened it may use it.

    After each question, `notes` has the lines that the command line would print to stderr, for example about a store that
    cannot be read or buildx's single-entry rule.
    """

    def __init__(self, path: str) -> None:
        self._reader = open_reader(path)
        self.notes: list[str] = []

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

    def query(self, text: str, *, store: str | tuple[str, ...] = (), **filters: Unpack[Filters]) -> Iterator[Match]:
        """Yield every entry that `text` matches, in the order in which they answer. It is not an error if there is none.

        A long answer is read in pages, and the catalog is not held open between them, so the caller may iterate slowly. An
        entry that changes meanwhile may be yielded as it was or as it is. An entry that stays is yielded exactly once.

        `store` is a name or a glob, or several of them; `filters` are those of class Filters. Raises InvalidReference,
        UnknownStore, UsageError if a filter is wrong, NotInTime if a filter needs content that is not read yet, and
        CatalogUnavailable.
        """
        from catalog.lookup.filters import EntryFilters

        asking = self._asking(store)
        narrowing = None
        if filters:
            given = {
                key: (value,) if key in _SEVERAL and isinstance(value, str) else value for key, value in filters.items()
            }
            narrowing = EntryFilters(**given).narrowing(asking)  # type: ignore[arg-type]  # keys and values are apart
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
        """Return the one answer for `text`. The arguments are the options of `ocicat resolve`.

        Raises NotFound, Ambiguous, InvalidReference, UnknownStore, NotInTime and other types of CatalogUnavailable.
        """
        asking = self._asking(store, strict=strict, platform=platform)
        query = parse_query(text)
        try:
            return asking.resolve(query, first=first)
        except NotFound as error:
            from catalog.lookup.advice import tag_hint

            hint = tag_hint(asking.reader, text)
            raise NotFound(str(error), "" if error.hint else hint) from error

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

    def _asking(self, store: str | tuple[str, ...], *, strict: bool = False, platform: str | None = None) -> Asking:
        self.notes = []
        self._reader.check_current()
        texts = (store,) if isinstance(store, str) else tuple(store)
        scope = store_ids(self._reader, texts) if texts else None
        wanted = None if platform is None else Platform.parse(platform)
        return Asking(self._reader, self.notes.append, stores=scope, strict=strict, platform=wanted)


def _pages(asking: Asking, query: Query, narrowing: Narrowing | None) -> Iterator[Match]:
    """Yield the matches that pass `narrowing`. In SQLite they are read in pages, because an idle reader would keep the WAL.

    Each page runs the query again and skips the matches of earlier pages. Pages double in size, so all of them together
    read about twice the answer. On a server, the rows wait in a cursor that holds no snapshot.
    """
    is_held = asking.reader.holds_state
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
            if is_held and count == size:
                break
            count += 1
            found = (match,) if narrowing is None else narrowing(match)
            if not is_held:
                yield from found
                continue
            seen.add(key)
            page.extend(found)
        else:
            size = 0
        matches = iter(())  # closes the cursor, which holds a state of the catalog
        yield from page
        if not size:
            return
        size = min(2 * size, MOST_PAGE)
