"""What a command that changes the catalog reports to a person: what it did, or what it kept when it was interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, func, select

from catalog.cli import messages
from catalog.db.schema import problem
from catalog.engine.interface import Writer
from catalog.ingest.registry import Registry
from catalog.ingest.store_state import Store
from catalog.names.sizes import counted

_AT_ONCE = 500


def done(text: str) -> None:
    """Print what was done, unless stderr is not a terminal, or `--quiet` is given."""
    messages.remark(text)


@contextmanager
def interruptible(kept: str) -> Iterator[None]:
    """Print what is kept, or how to go on, if Ctrl-C ends the block."""
    try:
        yield
    except KeyboardInterrupt:
        messages.note(f"interrupted: {kept}")
        raise


def of_stores(writer: Writer, belongs: Callable[[Store], bool]) -> str:
    """Return, as text, the number of stores that pass `belongs`, of their entries, and of their problems."""
    with writer.snapshot() as connection:
        stores = [store for store in Registry(connection).stores() if belongs(store)]
        problems = _problems(connection, [store.id for store in stores])
    bad = sum(store.state in ("invalid", "unreadable") for store in stores)
    parts = [counted(len(stores), "store"), counted(sum(store.entries for store in stores), "entry", "entries")]
    if bad:
        parts.append(f"{counted(bad, 'store')} that cannot be read")
    if problems or bad:
        parts.append(f"{counted(problems, 'problem')}: see 'ocicat check'")
    return ", ".join(parts)


def _problems(connection: Connection, ids: list[int]) -> int:
    count = 0
    for start in range(0, len(ids), _AT_ONCE):
        some = problem.c.store_id.in_(ids[start : start + _AT_ONCE])
        count += connection.execute(select(func.count()).select_from(problem).where(some)).scalar_one()
    return count
