"""Options of the contract that this version cannot serve yet: they are known, and say so, rather than be unknown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from catalog.errors import CatalogUnavailable

_F = TypeVar("_F", bound=Callable[..., Any])

_WHY = {
    "host": "this version keeps the catalog of one host",
}


def refuse_later(*names: str) -> Callable[[_F], _F]:
    """Declare the options `--NAME` of the contract that end with status 4 and the reason."""

    def refuse(ctx: click.Context, parameter: click.Parameter, value: object) -> None:
        if value and not ctx.resilient_parsing:
            name = parameter.opts[0].removeprefix("--")
            raise CatalogUnavailable(f"--{name} cannot be served: {_WHY[name]}")

    def decorate(function: _F) -> _F:
        for name in names:
            function = click.option(f"--{name}", callback=refuse, expose_value=False, hidden=True)(function)
        return function

    return decorate
