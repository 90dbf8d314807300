"""What was found at a store, written into the catalog: its state, its entries and names, and the snapshot of the change.

One door for every way a change arrives (docs/architecture.md): `add`, `index`, later the watcher and `--fresh`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, update

from catalog.db.schema import store
from catalog.ingest.history import retell, tell
from catalog.ingest.names import Applied, StoreNames
from catalog.ingest.rows import Rows
from catalog.ingest.store_state import Store
from catalog.layout.history import told_spans
from catalog.layout.index import IndexContent, IndexProblem, Marker
from catalog.names.keys import Unnamed
from catalog.names.limits import LAYOUT_VERSION


class Outcome(NamedTuple):
    """What writing one store came to: its state now, why it is not ok, and what changed (None: nothing)."""

    state: str
    error: str | None
    applied: Applied | None


def write_content(
    rows: Rows,
    found: Store,
    content: IndexContent,
    marker: Marker,
    took_ms: int,
    *,
    full: bool = False,
) -> Outcome:
    """Make the catalog say what `content` says. Raises what iterating it raises; then the transaction is to be undone.

    `marker` is the layout's, `took_ms` are milliseconds; `full` compares the entries although the bytes are
    those that were read last.
    """
    now = max(rows.moment.at, (found.changed_at or 0) + 1)  # clocks step; the spans of a store's names only rise
    repository, naming_problem = found.repository()
    keyed_by = found.keys_should_be()
    same = not full and not content.streamed and content.sha256 == found.sha256
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
    # Under `path` the name of an entry without one depends on whether it is the only one.
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
        told = [*content.skipped, *troubles, *(one for one in (naming_problem, marker.problem) if one)]
        _store_problems(rows, found.id, told)
    else:
        if found.keyed_by != keyed_by:
            _one_problem(rows, found.id, naming_problem, kind="no-repository")
        if marker.problem is not None or found.layout_version != LAYOUT_VERSION:
            _one_problem(rows, found.id, marker.problem, subject="oci-layout")
    changed = applied is not None and (any(applied) or content.sha256 != found.sha256)
    generation, changed_at = found.generation, found.changed_at
    if applied is not None and changed:
        generation, changed_at = generation + 1, now
        size = content.file.size
        rows.snapshot((found.id, generation, now, content.sha256, size, entries, *applied, took_ms))
    elif rekeyed:
        generation, changed_at = generation + 1, now
    if (state, content.elements, entries) != (found.state, found.elements, found.entries):
        rows.moment.keep_stores([found.id])
    if found.state == "missing":
        rows.moment.note_store(found.id, is_back=True)
    rows.store(
        found.id,
        (
            state,
            None,
            found.state_since if state == found.state else now,
            marker.version,
            content.file.identity,
            content.sha256,
            keyed_by,
            content.elements,
            entries,
            generation,
            now,
            changed_at,
            applied is not None and changed,  # or as before
            first_at,
        ),
    )
    return Outcome(state, None, applied if changed else None)


def write_state(connection: Connection, rows: Rows, found: Store, problem: IndexProblem) -> Outcome:
    """Note that the store cannot be read: what it last said stays (docs/resolution.md), by today's naming policy.

    The file that was found unusable is noted as well, so that it is not read again until it changes.
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
    """The problems of a store that belong to no entry of it, written where they differ."""
    wanted = [tuple(problem) for problem in problems]
    had = rows.cursor.execute(
        "SELECT kind, subject, detail FROM problem WHERE store_id = ? AND entry_id IS NULL AND stage = 0 ORDER BY id",
        (store_id,),
    ).fetchall()
    if had == wanted:
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
    """Let `problem` be the only one of this kind, or about this subject, that a store has."""
    rows.cursor.execute(
        "DELETE FROM problem WHERE store_id = ? AND entry_id IS NULL AND stage = 0 AND (kind = ? OR subject = ?)",
        (store_id, kind, subject),
    )
    if problem is not None:
        rows.problem(store_id, None, *problem)
