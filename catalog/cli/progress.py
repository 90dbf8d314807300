"""A progress bar on a terminal, nothing elsewhere (cli.md, `add`)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from catalog.cli import messages


@contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """A function (done, total) that draws on stderr, where that is a terminal and nobody asked for quiet."""
    if not sys.stderr.isatty() or messages.volume.quiet:
        yield lambda _done, _total: None
        return
    with click.progressbar(length=1, label=label, file=sys.stderr, update_min_steps=1) as bar:

        def draw(done: int, total: int) -> None:
            bar.length = max(total, 1)
            if done - bar.pos >= max(1, total // 200) or done == total:
                bar.update(done - bar.pos)

        yield draw
