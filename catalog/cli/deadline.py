"""The end of a command that takes longer than `--timeout`: whatever it does then, it ends, with status 4.

Python notices a signal between two of its own instructions, which may be minutes apart while SQLite works or a server is waited
for. So a thread ends the process. That is no harm: these commands only read, and what `--fresh` writes is as safe from a
process that ends as from a power cut.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from catalog.cli.messages import fail
from catalog.errors import NotInTime


class Deadline:
    """Ends the process `seconds` after it was entered, unless it was left before; `cancel` ends what a server does for it."""

    def __init__(self, seconds: float, cancel: Callable[[], object]) -> None:
        self._seconds = seconds
        self._cancel = cancel
        self._is_over = threading.Event()

    def __enter__(self) -> None:
        """Begin."""
        threading.Thread(target=self._wait, daemon=True).start()

    def __exit__(self, *_error: object) -> None:
        """The command has ended in time."""
        self._is_over.set()

    def _wait(self) -> None:
        if not self._is_over.wait(self._seconds):
            status = fail(
                NotInTime(
                    f"this took longer than {self._seconds:g} seconds, and what was printed is not all of it:"
                    " narrow it, or give it more with --timeout"
                )
            )
            null = os.open(os.devnull, os.O_WRONLY)
            for descriptor in (1, 2):  # what the other thread makes of the cancelling is no news
                os.dup2(null, descriptor)
            self._cancel()
            os._exit(status)
