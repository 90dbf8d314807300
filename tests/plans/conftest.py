"""A catalog of a test's own, driven as the command line drives it."""

from __future__ import annotations

from tests.cli.conftest import cli, layout

__all__ = ["cli", "layout"]
