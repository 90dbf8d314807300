"""The option `--timeout` of the commands, for click.

For the plain forms of commands that need no click, start.py reads the option itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import click

from catalog.cli.limits import LEAST_INTERVAL, LONGEST_SECONDS, MOST_INTERVAL
from catalog.engine.question import TIMEOUT_SECONDS
from catalog.names.escape import shown


class Seconds(click.FloatRange):
    """A finite number of seconds above 0; with `zero`, 0 is allowed too."""

    name = "seconds"

    def _describe_range(self) -> str:
        return ""  # click would print 'x>0' in the help

    def __init__(self, *, zero: bool = False) -> None:
        super().__init__(min=0, min_open=not zero)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number, at most LONGEST_SECONDS; fail if `value` is not a finite number."""
        try:
            found = float(value)
        except ValueError:
            found = math.nan
        if not math.isfinite(found):
            self.fail(f"'{shown(str(value))}' is not a number of seconds.", param, ctx)
        if found < 0 or (found == 0 and self.min_open):
            self.fail(f"{found:g} is not {'more than' if self.min_open else 'at least'} 0 seconds.", param, ctx)
        return min(found, LONGEST_SECONDS)


class Interval(Seconds):
    """The interval, in seconds, at which the daemon repeats something, with the same limits as in the configuration file."""

    def __init__(self) -> None:
        click.FloatRange.__init__(self, min=LEAST_INTERVAL, max=MOST_INTERVAL)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number of seconds; fail if `value` is not a number within the limits."""
        found = super().convert(value, param, ctx)
        if not LEAST_INTERVAL <= found <= MOST_INTERVAL:
            self.fail(f"{found:g} is not from {LEAST_INTERVAL:g} to {MOST_INTERVAL} seconds.", param, ctx)
        return found


def time_limit(default: float | None, each: str = "") -> Callable[[Any], Any]:
    """Return the option `--timeout`. Its value is None if it is not given.

    The help says that the limit is then `default` seconds, followed by `each`, such as " for each REF"; or none if `default` is None.
    """
    limit = "no limit" if default is None else f"{default:g}{each}"
    waits = "" if default is None else "; by default, these do not count"
    return click.option(
        "--timeout",
        type=Seconds(),
        metavar="SECONDS",
        help=f"Give up with status 4 after SECONDS, including waits for the reader of the output{waits}. [default: {limit}]",
    )


def writing_limit(kept: str) -> Callable[[Any], Any]:
    """Return the option `--timeout` of a command that writes the catalog. `kept` is the sentence in its help on what is kept at the limit."""
    return click.option(
        "--timeout",
        type=Seconds(),
        metavar="SECONDS",
        help=f"Give up with status 4 after SECONDS. {kept} [default: no limit]",
    )


statement_limit = click.option(
    "--timeout",
    type=Seconds(),
    default=TIMEOUT_SECONDS,
    metavar="SECONDS",
    help="Give up with status 4 after SECONDS. [default: 60]",
)
"""The option of the commands that run a statement over the views. The time that rows wait for somebody to read them does not count."""
