"""Share the statements that SQLAlchemy has compiled among all writers of catalogs in files that a process opens.

A process of ocicat opens one catalog for writing, and a process of tests thousands. Each would compile the statements of its first pass
anew, which takes as long as the rest of that pass.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, create_engine

from catalog.engine.sqlite import writer

_first = create_engine("sqlite://")


def share() -> None:
    """Let each engine that a writer makes from now on find what others have compiled."""
    _first.connect().close()  # It asks SQLite for its version.
    _first.dispose()
    writer.create_engine = _create_engine  # type: ignore[attr-defined]


def _create_engine(*arguments: Any, **named: Any) -> Engine:
    made = create_engine(*arguments, **named)
    made.dialect, made._compiled_cache = _first.dialect, _first._compiled_cache
    return made
