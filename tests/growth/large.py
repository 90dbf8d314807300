"""Has every parser read a large input of every shape, and is ended by the kernel if one takes too long:
`python -m tests.growth.large [--every N]`, where only one of N shapes is tried.

Counted lines (tests/growth/counting.py) do not show what happens inside an expression, a search or a copy, which run in C. Here nothing is
counted: where a cost grows with the square of SIZE, it is minutes, and SECONDS of processor time are given.
"""

from __future__ import annotations

import argparse
import contextlib
import signal

from catalog.errors import OcicatError
from tests.growth.parsers import PARSERS, Make

SIZE = 256 << 10
"""Characters of an input."""
SECONDS = 10
"""Of processor time, for each. What is linear takes a second at most."""
_UNIT = 1000


def made(make: Make, size: int = SIZE) -> str:
    """Return the text of a shape with about so many characters."""
    return make(max(1, size * _UNIT // len(make(_UNIT))))[:size]


def main() -> None:
    """Print each input before it is read, so that the last line tells what took too long."""
    options = argparse.ArgumentParser()
    options.add_argument("--every", type=int, default=1)
    every = options.parse_args().every
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    inputs = [(parser, shape) for parser, (_, shapes) in PARSERS.items() for shape in shapes]
    for number, (parser, shape) in enumerate(inputs):
        if number % every:
            continue
        print(f"{parser}: {shape}", flush=True)
        parse, shapes = PARSERS[parser]
        text = made(shapes[shape])
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        with contextlib.suppress(OcicatError):
            parse(text)
    print("all are read")


if __name__ == "__main__":
    main()
