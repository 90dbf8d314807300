"""The guides of docs/, which are installed with the package, as text for a terminal: `ocicat help TOPIC`."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterable, Iterator

from catalog.errors import OcicatError

GUIDES = {
    "tutorial": "Ten minutes from an empty machine to a watched catalog.",
    "scripts": "What scripts may rely on: formats, exit statuses, streams.",
    "resolution": "What a reference means, to ocicat and to other tools.",
    "commands": "Every command, option and environment variable.",
    "settings": "The configuration file.",
    "cleaning": "Finding what may be removed, and removing it safely.",
    "mirroring": "Finding what a copy lacks, and copying only that.",
    "problems": "What `ocicat check` reports, and what to do about it.",
    "sql": "The public views.",
    "cookbook": "Questions, with the SQL that answers them.",
    "reports": "The reports that are ready to run.",
    "builds": "Building with buildx from local layouts.",
    "python": "The catalog in Python.",
    "browse": "The catalog in a web browser.",
    "serve": "The layouts as a registry that clients pull from.",
    "completion": "Completing names in a shell.",
    "install": "Installing ocicat.",
    "operations": "Running the daemon: systemd, health, metrics, faults, backups.",
    "postgres": "Sharing one catalog between hosts, on PostgreSQL.",
    "glossary": "The words that the other guides use.",
}
"""The topics, with a line about each. A topic is the name of a file in docs/."""

_LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s]*)\)")
_ITEM = re.compile(r"( *)([-*]|[0-9]+\.) +")
_SEPARATOR = re.compile(r"\|(?: *:?-+:? *\|)+")
_CELL = re.compile(r"(?<!\\)\|")


def read_guide(topic: str) -> str:
    """Return the guide for `topic`, one of GUIDES, in Markdown. Raises OcicatError if this installation lacks it."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    shipped = os.path.join(package, "_guides")  # in an installed package; in a checkout docs/ is beside it
    directory = shipped if os.path.isdir(shipped) else os.path.join(os.path.dirname(package), "docs")
    try:
        with open(os.path.join(directory, f"{topic}.md"), encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise OcicatError(
            f"this installation lacks the guide {topic} ({error.strerror}): install ocicat again"
        ) from error


def render(markdown: str, width: int) -> str:
    """Return a guide as plain text for a terminal of `width` columns.

    Paragraphs and list items are wrapped. A row of a table becomes its first cell, with the other cells below it. Code
    is indented and never wrapped.
    """
    return "\n".join(_lines(markdown, max(width, 20))).strip("\n") + "\n"


def _lines(markdown: str, width: int) -> Iterator[str]:
    text = re.sub(r"<!--.*?-->\n?", "", markdown, flags=re.DOTALL)
    paragraph: list[str] = []
    table: list[list[str]] = []
    is_code = False
    for line in [*text.split("\n"), ""]:
        is_fence = line.startswith("```")
        is_row = line.startswith("|") and not is_code
        begins = not line.strip() or line.startswith("#") or is_fence or is_row or _ITEM.match(line)
        if paragraph and (begins or is_code):
            yield from _wrapped(" ".join(paragraph), width)
            paragraph = []
        if table and not is_row:
            yield from _rows(table, width)
            table = []
        if is_fence:
            is_code = not is_code
        elif is_code:
            yield f"    {line}".rstrip()
        elif not line.strip():
            yield ""
        elif line.startswith("#"):
            yield _heading(line)
        elif is_row:
            if not _SEPARATOR.fullmatch(line.strip()):
                table.append(_cells(line))
        else:
            paragraph.append(line.strip() if paragraph else line.rstrip())


def _heading(line: str) -> str:
    title = _plain(line.lstrip("#").strip())
    return title.upper() if line.startswith(("# ", "## ")) else title


def _cells(line: str) -> list[str]:
    return [_plain(cell.strip().replace("\\|", "|")) for cell in _CELL.split(line.strip().strip("|"))]


def _rows(table: list[list[str]], width: int) -> Iterator[str]:
    """Yield the lines of a table. Each cell below the first cell of a row is labelled with the header of its column."""
    heads, *rows = table
    for row in rows:
        yield from textwrap.wrap(row[0], width, break_on_hyphens=False) or [""]
        labels = [*heads, *[""] * len(row)]
        for label, cell in zip(labels[1:], row[1:], strict=False):
            if cell:
                text = f"{label}: {cell}" if label else cell
                yield from textwrap.wrap(
                    text, width, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False
                )


def _wrapped(text: str, width: int) -> Iterable[str]:
    item = _ITEM.match(text)
    indent = " " * len(item[0]) if item else ""
    return textwrap.wrap(_plain(text), width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _plain(text: str) -> str:
    """Return text without links and emphasis. A link to another guide becomes the command that prints it."""
    return _LINK.sub(_link, text).replace("**", "").replace("\\*", "*")


def _link(found: re.Match[str]) -> str:
    text, target = found[1], found[2]
    topic = target.partition("#")[0].removesuffix(".md")
    if topic in GUIDES and text in (topic, f"{topic}.md", f"ocicat help {topic}", f"`ocicat help {topic}`"):
        return f"'ocicat help {topic}'"
    return text
