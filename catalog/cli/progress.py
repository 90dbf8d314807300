"""Progress bars on stderr if it is a terminal, and nothing otherwise (docs/scripts.md)."""

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
    """Yield a function (what, done, total) that draws a progress bar on stderr.

    It draws nothing with `--quiet`, or if stderr is not a terminal. Each new `what` gets a bar of its own on a new line. With
    `in_bytes`, the bar also shows the two numbers as sizes, if there is room.
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
    """Draws one bar at a time; a new label begins a new bar."""

    def __init__(self, in_bytes: bool) -> None:
        self._in_bytes = in_bytes
        self._what = ""
        self._bar: ProgressBar[str] | None = None
        self._counting = False
        self._shows_bytes = False

    def draw(self, what: str, done: int, total: int) -> None:
        if not total and (done == 1 or done % _STEPS == 0):  # the total is not known
            self._counting = True
            messages.write(f"\r{what}: {done:,}")
        if not total:
            return
        if self._bar is None or what != self._what:
            self.end()
            self._what = what
            room = _columns() - len(what) - _BESIDE
            self._shows_bytes = self._in_bytes and room - _BYTES >= _LEAST
            self._bar = click.progressbar(
                length=1,
                label=what,
                file=sys.stderr,
                width=max(_LEAST, min(_WIDEST, room - (_BYTES if self._shows_bytes else 0))),
                update_min_steps=1,
                item_show_func=lambda text: text,
            )
            self._bar.__enter__()
        bar = self._bar
        bar.length = max(total, 1)
        if done - bar.pos >= max(1, total // _STEPS) or done == total:
            bar.finished = False  # the total may have grown
            bar.update(done - bar.pos, f"{human(done)} of {human(total)}" if self._shows_bytes else None)

    def end(self) -> None:
        if self._counting:
            self._counting = False
            messages.write("\r\x1b[K")
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None


def _columns() -> int:
    """Return the width of the terminal, which a line of a bar must fit: if it wrapped, each redraw would add another line."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
