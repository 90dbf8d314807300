"""Pause the garbage collector while tens of thousands of objects without cycles are made: it would scan them again and again."""

from __future__ import annotations

import gc


class CollectorPaused:
    """A context manager that pauses the garbage collector."""

    def __enter__(self) -> None:
        self._was_enabled = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._was_enabled:
            gc.enable()
