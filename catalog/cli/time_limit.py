"""The option `--timeout` of every command that asks, as click reads it. The plain way of `query` and `resolve` reads it in start.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import click

from catalog.cli.limits import LONGEST_SECONDS
from catalog.engine.question import TIMEOUT_SECONDS


class Seconds(click.FloatRange):
    """A finite number of seconds above 0, or `zero` too."""

    name = "seconds"

    def __init__(self, *, zero: bool = False) -> None:
        super().__init__(min=0, min_open=not zero)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number, at most LONGEST_SECONDS; fail if `value` is not a finite number."""
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value} is no number of seconds.", param, ctx)
        return min(found, LONGEST_SECONDS)


def time_limit(default: float | None, each: str = "") -> Callable[[Any], Any]:
    """The option. Its value is None where it is not given; `default` is what holds then, for `each` of something."""
    holds = "no limit" if default is None else f"{default:g}{each}, of work"
    return click.option(
        "--timeout",
        type=Seconds(),
        metavar="SECONDS",
        help=f"Give up after so long, the reading of the answer included, with status 4. [default: {holds}]",
    )


statement_limit = click.option(
    "--timeout",
    type=Seconds(),
    default=TIMEOUT_SECONDS,
    metavar="SECONDS",
    help="Give up after so long, with status 4. [default: 60]",
)
"""The option of the commands that run a statement over the views: the time in which its rows wait to be read does not count."""
