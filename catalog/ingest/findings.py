"""Findings about a store: its referrers, its truncated blobs, and how its entries and manifests use its blobs.

They are found when a store has been read, and the differences from the catalog are written in the transaction that ends the
reading. For a large store that would take long, and all others would wait for it. So its findings are found before that
transaction, in steps that lock nothing, and if there are many rows, they are written before it in transactions of
WRITTEN_AT_ONCE rows. If the store has changed since the steps began, everything is found again in the last transaction.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection

from catalog.engine.interface import Writer
from catalog.ingest.claims import Claims, find_claims, write_claims
from catalog.ingest.reach import Ask, Reach, find_reach, write_changes, write_reach
from catalog.ingest.referrals import Referrals, find_referrals, write_referrals, write_some_referrals
from catalog.ingest.rows import Row, Rows
from catalog.ingest.store_state import Store

WRITTEN_AT_ONCE = 2_000
"""The most rows of one store that are written in one transaction."""

_T = TypeVar("_T")

_STILL = "SELECT 1 FROM store WHERE id = ? AND generation = ?"


class Findings(NamedTuple):
    """The changes to write about a store."""

    referrals: Referrals
    claims: Claims
    reach: Reach


def find(
    ask: Ask,
    store: Store,
    reasons: Mapping[str, str],
    unlisted: Mapping[str, str],
    pages: Sequence[tuple[int, int]] = (),
) -> Generator[None, None, Findings]:
    """Return the changes to write about a store. Yields between statements.

    `reasons` are the reasons why blobs could not be read, by digest; `unlisted` why directories could not be listed, by path. `pages`
    is passed to `find_claims`.
    """
    referrals = yield from find_referrals(ask, store.id)
    claims = yield from find_claims(ask, store.id, pages)
    reach = yield from find_reach(ask, store.id, reasons, unlisted, sparse=store.sparse)
    return Findings(referrals, claims, reach)


def asking(rows: Rows) -> Ask:
    """Return a function that runs queries within the transaction of `rows`."""
    return lambda question, values: list(rows.cursor.execute(question, tuple(values)).fetchall())


def asking_anew(writer: Writer) -> Ask:
    """Return a function that runs each query in its own snapshot."""

    def ask(question: str, values: Sequence[object]) -> list[Row]:
        with writer.snapshot() as connection:
            return asking(Rows(connection))(question, values)

    return ask


def write(rows: Rows, store: Store, found: Findings) -> None:
    """Write all findings about a store."""
    write_referrals(rows, found.referrals)
    write_claims(rows, store.id, found.claims)
    write_reach(rows, found.reach)


def write_most(writer: Writer, store: Store, found: Findings) -> Generator[None, None, Findings]:
    """Write findings that are too many for one transaction in several transactions, and return the rest. Yields after each one.

    Nothing more is written once the entries of the store have changed.
    """
    referrals, claims, reach = found.referrals, found.claims, found.reach
    parts: list[Callable[[Rows], None]] = []
    if len(referrals.new) + len(referrals.gone) > WRITTEN_AT_ONCE:
        pieces = [Referrals([], some) for some in _pieces(referrals.gone)]
        pieces += [Referrals(some, []) for some in _pieces(referrals.new)]
        parts += [functools.partial(write_some_referrals, store_id=store.id, part=each) for each in pieces]
        referrals = Referrals([], [])
    if len(claims.new) + len(claims.gone) > WRITTEN_AT_ONCE:
        cut = [Claims([], some) for some in _pieces(claims.gone)] + [Claims(some, []) for some in _pieces(claims.new)]
        parts += [functools.partial(write_claims, store_id=store.id, found=each) for each in cut]
        claims = Claims([], [])
    if len(reach.changed) > WRITTEN_AT_ONCE:
        parts += [functools.partial(write_changes, found=reach, changed=some) for some in _pieces(reach.changed)]
        reach = reach._replace(changed=[])
    for part in parts:
        writer.write(functools.partial(_write_part, store=store, part=part))
        yield
    return found._replace(referrals=referrals, claims=claims, reach=reach)


def _pieces(values: list[_T]) -> list[list[_T]]:
    return [values[number : number + WRITTEN_AT_ONCE] for number in range(0, len(values), WRITTEN_AT_ONCE)]


def _write_part(connection: Connection, store: Store, part: Callable[[Rows], None]) -> None:
    rows = Rows(connection)
    if rows.cursor.execute(_STILL, (store.id, store.generation)).fetchone() is not None:
        part(rows)
        rows.flush()
