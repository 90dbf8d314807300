"""The option `--utc` of the commands that show times, for click."""

from __future__ import annotations

import click

from catalog.cli.times import chosen


def _choose(_ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    chosen.is_utc = value


utc_option = click.option(
    "--utc",
    is_flag=True,
    expose_value=False,
    callback=_choose,
    help="On a terminal, show times in UTC, not as ages ('3 days ago') or in local time.",
)
