"""`--fresh` of `query` and `resolve`: bring the catalog up to date, and only then look up the stores that options name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from catalog.cli.config import load_followed
from catalog.errors import InvalidReference, NotInTime, UnknownStore
from catalog.ingest.fresh import FRESH_SECONDS, make_fresh
from catalog.names.query import Query, parse_query

if TYPE_CHECKING:
    from catalog.cli.answer import Options
    from catalog.engine.interface import Reader
    from catalog.lookup.resolve import Asking

Scope = Callable[[], frozenset[int] | None]
"""Returns the ids of the stores to search, None for all of them. Raises UnknownStore."""


def ask_freshly(
    options: Options, reader: Reader, asking: Asking, scope: Scope, *, content: bool, whole: bool = False
) -> Callable[[Query | None], None]:
    """Bring the catalog up to date for all references and restrict `asking` to the stores of `scope`.

    Returns a function to call before each reference is answered. References from stdin are not known yet; for these, that
    function brings the catalog up to date. With `content`, manifests are read as well, and with `whole`, also which layers are present.
    Raises UnknownStore, UsageError for a mistake in the configuration, and what `make_fresh` raises.
    """
    settings, places = load_followed(options.config)

    def freshen(queries: list[Query], seconds: float = FRESH_SECONDS) -> None:
        make_fresh(reader, queries, options.stores, settings, seconds, content=content, whole=whole, places=places)

    if "-" in options.refs:
        return _each(asking, scope, freshen)
    queries = []
    for text in options.refs:
        try:
            queries.append(parse_query(text))
        except InvalidReference:
            continue  # reported when its turn comes
    if queries and options.filters is not None:
        queries += options.filters.references
    late: NotInTime | None = None
    if queries or not options.refs:
        try:
            freshen(queries)
        except NotInTime as error:
            if len(options.refs) < 2:
                raise
            late = error
    try:
        asking.stores = scope()
    except UnknownStore:
        if late is not None:
            raise late from None
        raise
    # One store that is late does not prevent the others from answering.
    return lambda query: None if late is None else freshen([query] if query else [], 0)


def _each(asking: Asking, scope: Scope, freshen: Callable[[list[Query]], None]) -> Callable[[Query | None], None]:
    try:
        asking.stores = scope()
    except UnknownStore:
        freshen([])
        asking.stores = scope()

    def before(query: Query | None) -> None:
        freshen([] if query is None else [query])
        asking.stores = scope()

    return before
