"""The public views as `ocicat sql --schema` describes them: on a terminal as a page for a person, with --format as one row per column.

A pipe without --format gets the statements that create the views, with the same text as comments.
"""

from __future__ import annotations

from collections.abc import Iterable

from catalog.cli import formats
from catalog.cli.help_format import HelpFormatter
from catalog.cli.widths import terminal_width
from catalog.db.view import View

COLUMNS = ("view", "column", "description")
_WIDEST = 100


def page(views: Iterable[View]) -> str:
    """Return a section per view: its name, what a row is, and its columns with their descriptions."""
    formatter = HelpFormatter(width=min(terminal_width() or _WIDEST, _WIDEST))
    for view in views:
        formatter.write(f"{view.name}\n")
        with formatter.indentation():
            formatter.write_text(f"{view.sentence[0].upper()}{view.sentence[1:]}.")
            formatter.write_dl([(name, documentation) for name, _, documentation in view.columns])
        formatter.write_paragraph()
    return formatter.getvalue()


def print_columns(views: Iterable[View], format_: str) -> None:
    """Print one row per column of the views. Raises UsageError for an unknown format."""
    show = formats.open_format(format_, COLUMNS, COLUMNS, prose=True)
    for view in views:
        for name, _, documentation in view.columns:
            row = dict(zip(COLUMNS, (view.name, name, documentation), strict=True))
            show.row(row.__getitem__)
    show.end()
