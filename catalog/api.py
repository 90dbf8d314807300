"""The public Python API (docs/architecture.md): what the command line does, without a process for each question."""

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
    """What narrows `query`: the filters of `ocicat query` by their names, with underscores.

    `annotations` and `labels` are KEY or KEY=VALUE, one or several; `since` is a time or an age, as on the command line.
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
"""So many entries are in the first page of an answer, and in each further one twice as many, up to MOST_PAGE."""
MOST_PAGE = 100_000


class Catalog:
    """A catalog, open for questions. A context manager; for the thread that opened it alone.

    What the command line says on stderr beside an answer (a store that cannot be read, buildx's single-entry rule) is in
    `notes` after each question.
    """

    def __init__(self, path: str) -> None:
        self._reader = open_reader(path)
        self.notes: list[str] = []

    @classmethod
    def open(cls, path: str | None = None) -> Catalog:
        """The catalog at `path`, or where the command line would look; raises CatalogUnavailable."""
        return cls(catalog_path(path))

    def close(self) -> None:
        """Close it."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def query(self, text: str, *, store: str | tuple[str, ...] = (), **filters: Unpack[Filters]) -> Iterator[Match]:
        """Every entry that `text` matches, in the order in which they answer; none is no error.

        A long answer is read in pages, and no state of the catalog is held between them: whoever iterates may take their time.
        What changes meanwhile comes as it was or as it is; an entry that stays is neither missed nor told twice.

        `store` is a name or a glob, or several; `filters` narrow (class Filters). Raises InvalidReference, UnknownStore,
        UsageError for a filter that is wrong, NotInTime while the content that a filter needs is not all read, and
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
        """The one answer for `text`; raises NotFound, Ambiguous, InvalidReference, UnknownStore, CatalogUnavailable."""
        asking = self._asking(store, strict=strict, platform=platform)
        query = parse_query(text)
        try:
            return asking.resolve(query, first=first)
        except NotFound as error:
            from catalog.lookup.advice import tag_hint

            hint = tag_hint(asking.reader, text)
            raise NotFound(str(error), "" if error.hint else hint) from error

    def index(self, *, full: bool = False) -> int:
        """One pass over all roots and stores, as `ocicat index`; returns how many stores changed.

        `full` reads each index.json although it looks unchanged. Raises CatalogUnavailable.
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
    """The matches that pass `narrowing`. In a file they come in pages, since a reader who stands still would keep the WAL.

    Each page asks again and skips the matches of earlier pages. Pages double in size, so all of them together read about twice
    the answer. On a server the rows wait in a cursor that holds no snapshot.
    """
    is_held = asking.reader.holds_state
    told: set[tuple[int, str]] = set()
    size = PAGE
    while True:
        page: list[Match] = []
        count = 0
        matches = asking.matches(query)
        for match in matches:
            key = match.entry_id, match.answered
            if key in told:
                continue
            if is_held and count == size:
                break
            count += 1
            found = (match,) if narrowing is None else narrowing(match)
            if not is_held:
                yield from found
                continue
            told.add(key)
            page.extend(found)
        else:
            size = 0
        matches = iter(())  # its cursor goes, and with it what it holds of the catalog
        yield from page
        if not size:
            return
        size = min(2 * size, MOST_PAGE)
