"""No parser takes more than about four times as long for four times the input, or it refuses that."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from catalog.errors import OcicatError
from tests.growth.counting import FACTOR, SIZES, SPARE, cost, is_linear
from tests.growth.parsers import PARSERS

EVERY = 97
"""`make test` reads one of so many large inputs: a prime, so that each parser has some of its own."""
SHORT, SHORT_FACTOR, SHORT_SPARE = (100, 400), 4.25, 200
"""Sizes for all but a few parsers, and the most that four times such an input may cost. It is less than for SIZES, so that what goes
through its whole text for each part of that is still seen."""
LIMITED = {"a name that is nearly another", "a pattern", "a template"}
"""Parsers with limits between the two of SHORT: below them, each part of a text is compared with each other one."""


def costs_of(parser: str, shape: str, sizes: tuple[int, int]) -> tuple[int, int]:
    """What a parser costs for a shape of input at two sizes; what it refuses counts until then."""
    parse, shapes = PARSERS[parser]

    def reading(size: int) -> Callable[[], None]:
        text = shapes[shape](size)

        def do() -> None:
            try:
                parse(text)
            except OcicatError:
                return

        return do

    small, large = (reading(size) for size in sizes)
    small()  # what is imported and compiled at first use does not count
    return cost(small), cost(large)


@pytest.mark.parametrize("parser", PARSERS)
def test_a_parser_is_linear(parser: str) -> None:
    sizes, factor, spare = (SIZES, FACTOR, SPARE) if parser in LIMITED else (SHORT, SHORT_FACTOR, SHORT_SPARE)
    found = {shape: costs_of(parser, shape, sizes) for shape in PARSERS[parser][1]}
    assert {shape: costs for shape, costs in found.items() if not is_linear(costs, factor, spare)} == {}


def test_a_large_input_is_read_within_seconds() -> None:
    """Expressions and other code in C, whose steps cannot be counted. `make stress` tries every shape."""
    command = [sys.executable, "-m", "tests.growth.large", "--every", str(EVERY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "all are read"), done.stderr[-2000:]
