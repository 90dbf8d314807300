"""Progress bars on a terminal, nothing elsewhere (docs/scripts.md)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from catalog.cli import messages
from catalog.names.sizes import human

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

Draw = Callable[[str, int, int], None]
_STEPS = 200
_WIDEST = 36  # click's own
_LEAST = 5
_BESIDE = len("  []  100%  00:00:00")
_BYTES = len("  1023.9 MiB of 1023.9 GiB")


@contextmanager
def progress(*, in_bytes: bool = False) -> Iterator[Draw]:
    """A function (what, done, total) that draws on stderr, where that is a terminal and nobody asked for quiet.

    Each `what` has a bar of its own, below the one before; with `in_bytes` it says how much is done of how much.
    """
    if not sys.stderr.isatty() or messages.volume.quiet:
        yield lambda _what, _done, _total: None
        return
    bars = _Bars(in_bytes)
    try:
        yield bars.draw
    finally:
        bars.end()


class _Bars:
    """The bar that is drawn, after those that are done. A bar begins with the first word of it."""

    def __init__(self, in_bytes: bool) -> None:
        self._in_bytes = in_bytes
        self._what = ""
        self._bar: ProgressBar[str] | None = None

    def draw(self, what: str, done: int, total: int) -> None:
        if self._bar is None or what != self._what:
            self.end()
            self._what = what
            self._bar = click.progressbar(
                length=1,
                label=what,
                file=sys.stderr,
                width=self._width(what),
                update_min_steps=1,
                item_show_func=lambda text: text,
            )
            self._bar.__enter__()
        bar = self._bar
        bar.length = max(total, 1)
        if done - bar.pos >= max(1, total // _STEPS) or done == total:
            bar.finished = False  # there may be more to do than there was
            bar.update(done - bar.pos, f"{human(done)} of {human(total)}" if self._in_bytes else None)

    def _width(self, what: str) -> int:
        """How wide a bar may be beside what else stands in its line: a line that wraps is a new one at each step."""
        try:
            room = os.get_terminal_size(sys.stderr.fileno()).columns or 80
        except (OSError, ValueError):
            room = 80
        return max(_LEAST, min(_WIDEST, room - len(what) - _BESIDE - (_BYTES if self._in_bytes else 0)))

    def end(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None
