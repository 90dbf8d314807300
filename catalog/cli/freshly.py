"""`--fresh` of `query` and `resolve`: the catalog is made true first, and only then it is known which stores there are."""

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
"""The stores to ask in, None for all of them; raises UnknownStore."""


def ask_freshly(
    options: Options, reader: Reader, asking: Asking, scope: Scope, *, content: bool, whole: bool = False
) -> Callable[[Query | None], None]:
    """Make the catalog true for all references and let `asking` ask in `scope`; returns what to do before each is answered.

    References from stdin are not known yet: for each the catalog is made true when it comes. With `content` what manifests
    say is to be true as well, with `whole` what of their layers is there. Raises UnknownStore, UsageError for the configuration, and what `make_fresh` raises.
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
            continue  # said when its turn comes
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
    # One store that is not in time does not keep the others from answering.
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
