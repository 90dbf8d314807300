"""The public Python API (docs/architecture.md): what the command line does, without a process for each question."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self, TypedDict, Unpack

from catalog.db.location import catalog_path
from catalog.errors import NotFound
from catalog.lookup.match import Match, once
from catalog.lookup.reader import open_reader
from catalog.lookup.resolve import Asking
from catalog.lookup.stores import store_ids
from catalog.names.platform import Platform
from catalog.names.query import parse_query


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

        `store` is a name or a glob, or several; `filters` narrow (class Filters). Raises InvalidReference, UnknownStore,
        UsageError for a filter that is wrong, NotInTime while the content that a filter needs is not all read, and
        CatalogUnavailable.
        """
        from catalog.cli.filters import Filters as Asked

        asking = self._asking(store)
        narrowing = None
        if filters:
            given = {
                key: (value,) if key in _SEVERAL and isinstance(value, str) else value for key, value in filters.items()
            }
            narrowing = Asked(**given).narrowing(asking)  # type: ignore[arg-type]  # keys and values are apart
        found = asking.matches(parse_query(text))
        return found if narrowing is None else once(each for match in found for each in narrowing(match))

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
            hint = asking.tag_hint(text)
            raise NotFound(str(error), "" if error.hint else hint) from error

    def index(self, *, full: bool = False) -> int:
        """One pass over all roots and stores, as `ocicat index`; returns how many stores changed.

        `full` reads each index.json although it looks unchanged. Raises CatalogUnavailable.
        """
        from catalog.db.engine import open_writer
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
