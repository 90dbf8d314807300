"""The type of options that take a whole number. Its messages state the limits in words."""

from __future__ import annotations

from typing import Any

import click

from catalog.names.escape import shown


class Whole(click.IntRange):
    """A whole number from `min` to `max`. The help does not show the limits; a message about a wrong number does."""

    name = "number"

    def _describe_range(self) -> str:
        return ""  # click would print '1<=x<=256' in the help

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number; fail if `value` is not a whole number within the limits."""
        try:
            number = int(value)
        except ValueError:
            self.fail(f"'{shown(str(value))}' is not a whole number.", param, ctx)
        if (self.min is not None and number < self.min) or (self.max is not None and number > self.max):
            limits = f"at least {self.min}" if self.max is None else f"from {self.min} to {self.max}"
            self.fail(f"{number} is not {limits}.", param, ctx)
        return number
