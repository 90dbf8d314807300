"""The shared catalog opened for reading: the same statements as on SQLite, as catalog/db/hosts.py renders them for PostgreSQL.

What is asked of the stores of many hosts answers for this one first, and calls the store of another one `HOST:STORE`. A
plain name, and a path, are those of this host.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Self

import psycopg

from catalog.db.placeholders import named
from catalog.db.postgres import CHANNEL, connect, displayed, explain, timeout_ms
from catalog.db.view import ONCE
from catalog.errors import CatalogMissing, CatalogVersion
from catalog.lookup import frozen, frozen_postgres
from catalog.lookup.frozen import SCHEMA_MAJOR, SCHEMA_MINOR
from catalog.lookup.reader import Reader
from catalog.names.escape import shown

_WIDE = frozenset({"BY_DIGEST_RANGE", "BY_REPOSITORY", "BY_NAME_RANGE", "BY_ANY_NAME", "BY_TAG_RANGE", "BY_ANY_TAG",
                   "STORE_ENTRIES", "SPANS", "SPANS_BY_NAME_RANGE", "SPANS_BY_TAG_RANGE"})  # fmt: skip
"""Statements whose rows may be without number: they come through a cursor of the server's."""
_CHUNK = 2000
_CANCEL_SECONDS = 2.0
_MANY = frozenset({"BY_NAME", "ANSWERS_BY_NAME", "BY_TAG", "BY_LONG_RAW", "BY_DIGEST", "BY_REPOSITORY_DIGEST", "STORE_BY_NAME",
                   "STORE_BY_IMAGE_NAME", "STORE_BY_REF_NAME", "STORE_BY_LONG_REF_NAME", "STORE_BY_TAG", "STORE_BY_REF_TAIL",
                   "STORE_BY_DIGEST", "STORE_BY_REPOSITORY_DIGEST", "LYING", "REACHING", "STORE_REACHING", "CONTAINING", "PARENTS", "BY_CONTENT",
                   "CONTENTS_IN_RANGE", "REFERRERS_OF", "SPANS_BY_NAME", "SPANS_BY_TAG", "SPANS_BY_DIGEST"})  # fmt: skip
"""Statements whose rows are few as a rule, and the first of them most often all that is wanted: a layout may have one tag a
million times. A cursor would be two more round trips: it is opened only where there are more rows than FIRST."""
FIRST = 200
_DAMAGE = "XX", "58", "22"
"""Classes of what the server says of rows that it cannot read: its own state, its disk, their data."""
_LISTINGS = frozenset({"BY_ANY_NAME", "BY_ANY_TAG", "STORE_ENTRIES", "SPANS"})
"""Those of them that read all there is, where a hash join beats a million searches."""


def _planner(freely: str) -> str:
    """Let the planner join as it likes, or only by searching an index from row to row, as SQLite does.

    A lookup goes by no statistics then. Those lag behind a first load, and take a name that one store has a thousand times
    for one that a thousand stores have: it would start other processes for one row, which takes ten times as long as it does.
    """
    settings = dict.fromkeys(("enable_seqscan", "enable_hashjoin", "enable_mergejoin"), freely)
    settings["max_parallel_workers_per_gather"] = "0"
    return f"SELECT {', '.join(f'set_config({name!r}, {value!r}, false)' for name, value in settings.items())}"


_SEARCHING, _FREELY = _planner("off"), _planner("on")
_TIMEOUT = "SELECT set_config('statement_timeout', :milliseconds, false)"
_COPIES = f"SELECT store.id FROM store WHERE store.shared_as IS NOT NULL AND NOT {ONCE}"  # noqa: S608


def first_rows(name: str, text: str) -> str:
    """The text of a statement as it is asked first."""
    return f"{text} LIMIT {FIRST}" if name in _MANY else text


class PostgresReader(Reader):
    """A read-only session of the catalog at a URL; raises CatalogUnavailable and its kinds."""

    __slots__ = ("_hosts", "_listening", "_session", "_texts")

    def __init__(self, url: str) -> None:
        self.path = url
        self.past = None
        self.known: dict[object, Any] = {}
        self._texts: dict[str, tuple[str, dict[str, Any], str]] = {}
        self._hosts: dict[int, str | None] = {}
        self._listening: psycopg.Connection[tuple[Any, ...]] | None = None
        self._session = connect(url, read_only=True)
        try:
            self.row(_SEARCHING, {})
            self._check_version()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the session."""
        for session in (self._session, self._listening):
            if session is not None:
                session.close()

    def check_current(self) -> None:
        """Nothing to do: a session ends with its database."""

    def rows(self, statement: str, parameters: Mapping[str, object]) -> Iterator[tuple[Any, ...]]:
        """The rows of a statement; raises CatalogUnavailable."""
        if _is_nowhere(parameters):
            return
        text, constants, name = self._text(statement)
        values = {**constants, **parameters, **self._asof()}
        try:
            if name in _WIDE:
                yield from self._streamed(text, values, freely=name in _LISTINGS)
            elif name in _MANY:
                first = self._session.execute(first_rows(name, text), values).fetchall()
                yield from first
                if len(first) == FIRST:
                    had = set(first)
                    yield from (row for row in self._streamed(text, values, freely=False) if row not in had)
            else:
                yield from self._session.execute(text, values).fetchall()
        except psycopg.Error as error:
            raise explain(error, self.path) from None

    def row(self, statement: str, parameters: Mapping[str, object]) -> tuple[Any, ...] | None:
        """The first row of a statement, or None; raises CatalogUnavailable."""
        if _is_nowhere(parameters):
            return None
        text, constants, _ = self._text(statement)
        try:
            return self._session.execute(text, {**constants, **parameters, **self._asof()}).fetchone()
        except psycopg.Error as error:
            raise explain(error, self.path) from None

    def at(self, milliseconds: int) -> Self:
        """As Reader says."""
        then = super().at(milliseconds)
        then._texts, then._hosts = {}, {}  # noqa: SLF001 - of this very class
        return then

    def host_of(self, store_id: int) -> str | None:
        """The host that a store belongs to, None where that is this one."""
        if store_id not in self._hosts:
            asked = (
                "SELECT host.name, host.name = current_setting('ocicat.host') FROM store JOIN host ON host.id = host_id"
            )
            row = self.row(f"{asked} WHERE store.id = :store_id", {"store_id": store_id})
            self._hosts[store_id] = None if row is None or row[1] else str(row[0])
        return self._hosts[store_id]

    def copies(self) -> frozenset[int]:
        """The stores whose layouts another host sees too and is the one to ask: this one, or who saw it change last."""
        return frozenset(row[0] for row in self.rows(_COPIES, {}))

    def listen(self) -> None:
        """Begin to notice what others commit."""
        self._listening = self._connect_listening()

    def wait_for_change(self, seconds: float) -> None:
        """Wait until somebody has committed since `listen` or the last call, `seconds` at most."""
        if self._listening is None:
            self._listening = self._connect_listening()
        try:
            for _ in self._listening.notifies(timeout=seconds, stop_after=1):
                pass
        except psycopg.Error as error:
            raise explain(error, self.path) from None

    def _connect_listening(self) -> psycopg.Connection[tuple[Any, ...]]:
        session = connect(self.path, read_only=True)
        try:
            session.execute(f"LISTEN {CHANNEL}")
        except psycopg.Error as error:
            session.close()
            raise explain(error, self.path) from None
        return session

    def limit(self, seconds: float) -> None:
        """Have the server end each statement of this session after so many seconds; raises CatalogUnavailable."""
        self.row(_TIMEOUT, {"milliseconds": str(timeout_ms(seconds))})

    def cancel(self) -> None:
        """End what the server does for this session; a thread of its own calls it, and the process ends then."""
        with contextlib.suppress(psycopg.Error):
            self._session.cancel_safe(timeout=_CANCEL_SECONDS)

    def size_bytes(self) -> int:
        """What the database takes on the server's disk."""
        found = self.row("SELECT pg_database_size(current_database())", {})
        return int(found[0]) if found else 0

    def views(self) -> list[str]:
        """The statements that made the public views, with their documentation, by name."""
        from catalog.db.views import VIEWS

        return [view.create("postgresql") for view in sorted(VIEWS, key=lambda view: view.name)]

    def damage(self) -> list[str]:
        """What is wrong with the database, a line each: every row of every table is read once."""
        from catalog.db.schema import metadata

        found = []
        for table in metadata.sorted_tables:
            try:
                self._session.execute(f"SELECT count(*), max(length({table.name}::text)) FROM {table.name}")  # noqa: S608
            except psycopg.Error as error:
                if not (error.sqlstate or "").startswith(_DAMAGE):
                    raise explain(error, self.path) from None
                found.append(f"{table.name}: {shown(str(error))}")
        return found

    def _streamed(self, text: str, values: dict[str, Any], *, freely: bool) -> Iterator[tuple[Any, ...]]:
        # With hold: other statements run between two rows, and each is a transaction of its own.
        with self._session.cursor(name=f"wide_{id(values)}", withhold=True) as cursor:
            cursor.itersize = _CHUNK
            if freely:
                self._session.execute(_FREELY)
            try:
                cursor.execute(text, values)
            finally:
                if freely:
                    self._session.execute(_SEARCHING)
            yield from cursor

    def _text(self, statement: str) -> tuple[str, dict[str, Any], str]:
        """A statement of `frozen`, or one with `:name` for parameters, as PostgreSQL takes it; its constants; its name."""
        known = self._texts.get(statement)
        if known is not None:
            pass
        elif self.past is not None and self.past.numbers is not None:
            from catalog.lookup.moments import of_shared_past

            name = _names().get(statement)
            text, constants = (named(statement), {}) if name is None else frozen_postgres.STATEMENTS[name]
            known = self._texts[statement] = of_shared_past(text), constants, name or ""
        else:
            name = _names().get(statement)
            known = (named(statement), {}, "") if name is None else (*frozen_postgres.STATEMENTS[name], name)
            self._texts[statement] = known
        return known

    def _asof(self) -> dict[str, Any]:
        """The parameters by which a statement asks the past."""
        if self.past is None or self.past.numbers is None:
            return {}
        return {"hosts": list(self.past.numbers), "numbers": list(self.past.numbers.values())}

    def _check_version(self) -> None:
        found = self.row(frozen.SCHEMA_VERSION, {})
        if found is None:
            raise CatalogMissing(f"{shown(displayed(self.path))} is no catalog yet: 'ocicat db upgrade' makes one")
        major, _, minor = str(found[0]).partition(".")
        if (int(major), int(minor)) != (SCHEMA_MAJOR, SCHEMA_MINOR):
            newer = int(major) > SCHEMA_MAJOR
            if newer or (int(major), int(minor)) < (SCHEMA_MAJOR, SCHEMA_MINOR):
                what = "upgrade ocicat" if newer else "run 'ocicat db upgrade'"
                raise CatalogVersion(
                    f"{shown(displayed(self.path))} has schema {found[0]} and this ocicat reads {SCHEMA_MAJOR}.{SCHEMA_MINOR}: {what}"
                )


def _is_nowhere(parameters: Mapping[str, object]) -> bool:
    """Whether a text is asked for that no row can hold: PostgreSQL takes no NUL, and none is ever stored."""
    return any(isinstance(value, str) and "\0" in value for value in parameters.values())


_by_text: dict[str, str] = {}


def _names() -> dict[str, str]:
    """The names of the frozen statements by their texts."""
    if not _by_text:
        _by_text.update({getattr(frozen, name): name for name in frozen_postgres.STATEMENTS})
    return _by_text
