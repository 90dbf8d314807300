"""The layout of `--help`: like click's, but words are never broken, and a narrow terminal gets narrow columns."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

import click

_LEAST = 24
"""The least width of the texts beside the options. If the terminal has less room, the texts go below the options."""
_WIDEST, _NARROWEST = 80, 30
_NEVER_WRAPPED = "\b"


class HelpFormatter(click.HelpFormatter):
    """A formatter that breaks lines only at spaces. It is as wide as the terminal, but at most `max_width` columns."""

    def __init__(self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None) -> None:
        if width is None:
            width = max(min(shutil.get_terminal_size().columns, max_width or _WIDEST) - 2, _NARROWEST)
        super().__init__(indent_increment, width, max_width)

    def write_text(self, text: str) -> None:
        """Write paragraphs. The lines of a paragraph whose first line is _NEVER_WRAPPED are not wrapped."""
        indent = " " * self.current_indent
        for number, paragraph in enumerate(text.strip("\n").split("\n\n")):
            if number:
                self.write("\n")
            lines = paragraph.split("\n")
            if lines[0].strip(" ") == _NEVER_WRAPPED:
                self.write("".join(f"{indent}{line}\n" for line in lines[1:]))
            else:
                wrapped = _wrapped(" ".join(paragraph.split()), self.width - self.current_indent)
                self.write("".join(f"{indent}{line}\n" for line in wrapped))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write each term with its text beside it, or below it if the term is too long or the terminal too narrow."""
        rows = list(rows)
        indent = " " * self.current_indent
        room = self.width - self.current_indent
        column = min(max((len(term) for term, _ in rows), default=0), col_max) + col_spacing
        longest = max((len(word) for _, text in rows for word in text.split()), default=0)
        is_narrow = room - column < max(_LEAST, longest)
        column = 4 if is_narrow else column
        for term, text in rows:
            lines = _wrapped(text, room - column) if text else [""]
            if is_narrow or len(term) > column - col_spacing:
                self.write(f"{indent}{term}\n")
            else:
                self.write(f"{indent}{term:<{column}}{lines.pop(0)}".rstrip() + "\n")
            self.write("".join(f"{indent}{' ' * column}{line}\n" for line in lines if line))


class HelpContext(click.Context):
    """A click context whose help is laid out by HelpFormatter."""

    formatter_class = HelpFormatter
    latest: click.Context | None = None
    """The last context that was made: the command that was being parsed when click raised an error without a context."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        HelpContext.latest = self


def _wrapped(text: str, width: int) -> list[str]:
    return list(_lines(text, max(width, 10))) or [""]


def _lines(text: str, width: int) -> Iterator[str]:
    yield from textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
