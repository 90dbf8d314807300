"""`make stress`: what tests/growth counts, at larger sizes: python -m tests.growth

The exit status is 1, with what was wrong, where anything grows faster than its input.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
import time

from tests.conftest import Catalogue, file_of
from tests.growth import test_fields
from tests.growth.counting import FACTOR, LARGE, is_linear
from tests.growth.fields import TEXTS
from tests.growth.large import SECONDS as LONGEST_SECONDS
from tests.growth.layouts import LAYOUTS
from tests.growth.parsers import PARSERS
from tests.growth.test_parsers import costs_of
from tests.growth.test_reports import ROWS_SPARE, costs, on_server
from tests.growth.test_walks import SPARE, drivers, steps
from tests.postgres import Server

SIZES = 150, 600
LENGTH = 40_000  # of a text, in characters
LARGER = 2_400
"""Where it is not linear between SIZES on PostgreSQL: the planner may have changed its plan once, for another that is linear."""


def parsers() -> dict[str, tuple[int, int]]:
    """What each parser costs for each shape of input that it is not linear in."""
    found = {f"{name}: {shape}": costs_of(name, shape, LARGE) for name in PARSERS for shape in PARSERS[name][1]}
    return {name: counted for name, counted in found.items() if not is_linear(counted)}


def layouts(shape: str) -> dict[str, tuple[int, int]]:
    """What reading, reports and views cost that are not linear in layouts of a shape."""
    counted: list[dict[str, int]] = []
    for size in SIZES:
        directory = tempfile.mkdtemp(prefix="ocicat-growth-")
        try:
            os.makedirs(f"{directory}/layouts")
            LAYOUTS[shape](f"{directory}/layouts", size)
            catalogue = Catalogue(f"{directory}/catalog.db")
            catalogue.add(f"{directory}/layouts", index=False)
            reading = steps(drivers(catalogue), functools.partial(catalogue.index))
            counted.append({"reading": reading, **costs(file_of(catalogue.reader))})
            catalogue.close()
        finally:
            shutil.rmtree(directory)
    small, large = counted
    return {
        f"{shape}: {what}": (small[what], large[what]) for what in small if large[what] > small[what] * FACTOR + SPARE
    }


def rows(server: Server, shape: str) -> dict[str, tuple[int, int]]:
    """What reports and views on PostgreSQL look at that is not linear in layouts of a shape."""

    def counted(size: int) -> dict[str, int]:
        with tempfile.TemporaryDirectory(prefix="ocicat-growth-") as directory:
            LAYOUTS[shape](directory, size)
            return on_server(server, directory)

    def steep(small: dict[str, int], large: dict[str, int]) -> dict[str, tuple[int, int]]:
        return {what: (small[what], large[what]) for what in small if large[what] > small[what] * FACTOR + ROWS_SPARE}

    small, large = (counted(size) for size in SIZES)
    found = steep(small, large)
    if found:
        still = steep(large, counted(LARGER))
        found = {what: numbers for what, numbers in still.items() if what in found}
    return {f"{shape}, PostgreSQL: {what}": numbers for what, numbers in found.items()}


def texts() -> dict[str, dict[str, tuple[int, int]]]:
    """What a byte costs in texts and fields where that is too much."""
    with tempfile.TemporaryDirectory(prefix="ocicat-growth-") as directory:
        return test_fields.steep(f"{directory}/texts", lambda place: Catalogue(f"{place}/catalog.db"), TEXTS, LENGTH)


def main() -> int:
    began = time.monotonic()
    server = Server()
    try:
        return _main(server, began)
    finally:
        server.close()


def _main(server: Server, began: float) -> int:
    wrong = parsers()
    print(f"{time.monotonic() - began:6.1f} s  parsers", flush=True)
    large = subprocess.run([sys.executable, "-m", "tests.growth.large"], stdout=subprocess.PIPE, text=True, check=False)
    print(f"{time.monotonic() - began:6.1f} s  large inputs", flush=True)
    costly = texts()
    print(f"{time.monotonic() - began:6.1f} s  texts", flush=True)
    for shape in LAYOUTS:
        wrong |= layouts(shape) | rows(server, shape)
        print(f"{time.monotonic() - began:6.1f} s  {shape}", flush=True)
    for what, (small, more) in wrong.items():
        print(f"WRONG: {what}: {small} at one size, {more} at four times that")
    for text, fields in costly.items():
        print(f"WRONG: {text}: {fields}: lines and bytes of memory for each byte")
    if large.returncode:
        print(
            f"WRONG: {large.stdout.splitlines()[-1]}: status {large.returncode} within {LONGEST_SECONDS} s of processor time"
        )
    return 1 if wrong or costly or large.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
