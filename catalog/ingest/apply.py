"""Write the results of reading a store: its state, its entries and names, and a snapshot of the change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, update

from catalog.db.schema import store
from catalog.exhausted import give_back
from catalog.ingest.history import retell, tell
from catalog.ingest.index_reading import IndexReading
from catalog.ingest.names import Applied, StoreNames
from catalog.ingest.records import SnapshotRow, StoreRow
from catalog.ingest.registry import Registry
from catalog.ingest.rows import Rows
from catalog.ingest.store_state import Store
from catalog.layout.files import ArchiveState
from catalog.layout.history import told_spans
from catalog.layout.index import IndexContent, IndexProblem, Marker
from catalog.names.keys import Unnamed
from catalog.names.limits import LAYOUT_VERSION


class Outcome(NamedTuple):
    """The result of writing one store: its state, the error or None, and the changes or None if nothing changed."""

    state: str
    error: str | None
    applied: Applied | None


class Written(NamedTuple):
    """The result of writing a batch: the stores to read again because they changed meanwhile, and the outcomes of the others."""

    later: list[IndexReading]
    outcomes: list[tuple[Store, IndexReading, Outcome]]


class NotFirst(Exception):
    """A store that was supposed to have no entries has some, because another process has read it meanwhile."""


def write_readings(
    connection: Connection,
    batch: Sequence[IndexReading],
    pause: Callable[[], None],
    *,
    first: bool = False,
    is_bulk: bool = False,
) -> Written:
    """Write the readings of several stores, except those that have changed meanwhile. `pause` is called often.

    With `first`, no store may have entries, so that foreign keys need not be checked; raises NotFirst if a store has some. With
    `is_bulk`, the indexes that only queries use are missing (Writer.begin_bulk). Raises anything that reading a streamed file raises, and
    MemoryError; then the transaction must be rolled back.
    """
    written = Written([], [])
    try:
        registry, rows = Registry(connection), Rows(connection)
        rows.pause, rows.is_bulk = pause, is_bulk
        current = {store.id: store for store in registry.stores([reading.store.id for reading in batch])}
        for reading in batch:
            store = current.get(reading.store.id)
            if store is None:
                continue  # Another process has removed it meanwhile.
            if first and store.entries:
                raise NotFirst
            if not reading.is_current(store.opened):
                written.later.append(reading)
            elif reading.content is not None:
                full = reading.waiting.full
                outcome = write_content(rows, store, reading.content, reading.marker, reading.took_ms, full=full)
                written.outcomes.append((store, reading, outcome))
            elif reading.problem is not None:
                outcome = write_state(connection, rows, store, reading.problem)
                written.outcomes.append((store, reading, outcome))
        rows.flush()
    except MemoryError:
        give_back()
        raise
    return written


def write_content(
    rows: Rows,
    found: Store,
    content: IndexContent,
    marker: Marker,
    took_ms: int,
    *,
    full: bool = False,
) -> Outcome:
    """Update the catalog to `content`. Raises what iterating over it raises; then the transaction must be rolled back.

    `marker` is the layout's `oci-layout`. `took_ms` is the time that reading took, in milliseconds. With `full`, compare the
    entries even if the bytes are the same as last time.
    """
    now = max(rows.moment.at, (found.changed_at or 0) + 1)  # Clocks may go backwards, but the spans of a name must not.
    repository, naming_problem = found.repository()
    keyed_by = found.keys_should_be()
    is_archive = isinstance(content.file, ArchiveState)
    # In an archive, names may have changed although index.json did not (catalog.layout.docker_save).
    same = not (full or content.streamed or is_archive or found.archive) and content.sha256 == found.sha256
    first = found.entries == 0
    unnamed, alone = found.unnamed(), content.elements == 1
    names = StoreNames(
        rows,
        found.id,
        repository,
        now,
        first=first,
        unnamed=unnamed if alone or not unnamed.alone else Unnamed(),
    )
    # Under `path`, the name of an unnamed entry depends on whether it is the only entry.
    counted = unnamed.alone and not same and (alone or found.entries == 1)
    rekeyed = names.rekey() if (found.keys_are_old or counted) and not first else 0
    applied = None if same else names.apply(content)
    if same and rekeyed:
        names.settle()
    first_at = now if found.first_at is None else found.first_at
    if same and found.keys_are_old:
        retell(rows, found.id, repository)
    entries = found.entries + (applied.added - applied.removed if applied else 0)
    state = "ok" if entries else "empty"
    if not same:
        spans, troubles = told_spans(content.history)
        tell(rows, found.id, repository, spans, first_at)
        others = [one for one in (naming_problem, marker.problem) if one]
        problems = [*content.skipped, *content.troubles, *troubles, *others]
        _store_problems(rows, found.id, problems)
    else:
        if found.keyed_by != keyed_by:
            _one_problem(rows, found.id, naming_problem, kind="no-repository")
        if marker.problem is not None or found.layout_version != LAYOUT_VERSION:
            _one_problem(rows, found.id, marker.problem, subject="oci-layout")
    changed = applied is not None and (any(applied) or content.sha256 != found.sha256)
    rewritten = is_archive and content.file.identity != found.file_identity  # so its blobs may have changed, too
    generation, changed_at = found.generation, found.changed_at
    if applied is not None and changed:
        generation, changed_at = generation + 1, now
        size = content.size
        rows.snapshot(SnapshotRow(found.id, generation, now, content.sha256, size, entries, *applied, took_ms=took_ms))
    elif rekeyed:
        generation, changed_at = generation + 1, now
    if (state, content.elements, entries) != (found.state, found.elements, found.entries):
        rows.moment.keep_stores([found.id])
    if found.state == "missing":
        rows.moment.note_store(found.id, is_back=True)
    rows.store(
        found.id,
        StoreRow(
            state,
            error=None,
            state_since=found.state_since if state == found.state else now,
            layout_version=marker.version,
            file_identity=content.file.identity,
            sha256=content.sha256,
            keyed_by=keyed_by,
            elements=content.elements,
            entries=entries,
            generation=generation,
            indexed_at=now,
            changed_at=changed_at,
            content_pending=(applied is not None and changed) or rewritten,  # the statement never resets it
            first_at=first_at,
            archive=is_archive,
        ),
    )
    return Outcome(state, None, applied if changed else None)


def write_state(connection: Connection, rows: Rows, found: Store, problem: IndexProblem) -> Outcome:
    """Record that a store cannot be read. Its last entries stay (docs/resolution.md), with names by the current naming policy.

    The identity of an unusable file is recorded too, so that it is not read again until it changes.
    """
    state, error = problem.state, problem.reason
    now = max(rows.moment.at, (found.changed_at or 0) + 1)
    file = problem.file if state == "invalid" else None
    values: dict[str, object] = {
        "state": state,
        "error": error,
        "file_identity": None if file is None else file.identity,
    }
    if state != found.state:
        values["state_since"] = now
        rows.moment.keep_stores([found.id])
    if found.keys_are_old:
        repository, naming_problem = found.repository()
        unnamed = found.unnamed()
        unnamed = unnamed if found.entries == 1 or not unnamed.alone else Unnamed()
        names = StoreNames(rows, found.id, repository, now, first=False, unnamed=unnamed)
        if names.rekey():
            values |= {"generation": found.generation + 1, "changed_at": now}
        names.settle()
        retell(rows, found.id, repository)
        _one_problem(rows, found.id, naming_problem, kind="no-repository")
        rows.flush()
        values["keyed_by"] = found.keys_should_be()
    connection.execute(update(store).where(store.c.id == found.id).values(values))
    if "missing" in (state, found.state) and state != found.state:
        rows.moment.note_store(found.id)
    return Outcome(state, error, None)


def _store_problems(rows: Rows, store_id: int, problems: Sequence[tuple[str, str, str]]) -> None:
    """Set the problems of a store that do not belong to an entry. Write nothing if they have not changed."""
    wanted = [tuple(problem) for problem in problems]
    stored = rows.cursor.execute(
        "SELECT kind, subject, detail FROM problem WHERE store_id = ? AND entry_id IS NULL AND stage = 0 ORDER BY id",
        (store_id,),
    ).fetchall()
    if stored == wanted:
        return
    rows.cursor.execute("DELETE FROM problem WHERE store_id = ? AND entry_id IS NULL AND stage = 0", (store_id,))
    for kind, subject, detail in wanted:
        rows.problem(store_id, None, kind, subject, detail)


def _one_problem(
    rows: Rows,
    store_id: int,
    problem: tuple[str, str, str] | None,
    *,
    kind: str | None = None,
    subject: str | None = None,
) -> None:
    """Replace a store's problem of this kind or about this subject by `problem`, or remove it if `problem` is None."""
    rows.cursor.execute(
        "DELETE FROM problem WHERE store_id = ? AND entry_id IS NULL AND stage = 0 AND (kind = ? OR subject = ?)",
        (store_id, kind, subject),
    )
    if problem is not None:
        rows.problem(store_id, None, *problem)
