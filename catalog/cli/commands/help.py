"""`ocicat help`."""

from __future__ import annotations

import click

from catalog.cli import output
from catalog.cli.guides import GUIDES, read_guide, render
from catalog.cli.report_help import ReportCommand
from catalog.cli.widths import terminal_width
from catalog.errors import UsageError
from catalog.names.escape import shown
from catalog.names.nearest import did_you_mean
from catalog.reports.asking import report_named

_WIDEST = 100
_IN_A_PIPE = 80


@click.command(name="help")
@click.argument("words", nargs=-1, metavar="[COMMAND|TOPIC]...")
@click.pass_context
def command(ctx: click.Context, words: tuple[str, ...]) -> int:
    """Print the help for COMMAND, or the guide to TOPIC. Without an argument, list all commands and guides.

    A guide is one of the documents that are installed with ocicat. If a command and a
    guide have the same name, the help for the command comes first.
    """
    top = ctx.find_root()
    if not words:
        output.write(_overview(top))
        return 0
    guide = words[0] if len(words) == 1 and words[0] in GUIDES else None
    is_command = isinstance(top.command, click.Group) and words[0] in top.command.list_commands(top)
    parts = [_help(top, top.command, words)] if is_command or guide is None else []
    if guide is not None:
        parts.append(render(read_guide(guide), _width()))
    output.write("\n".join(parts))
    return 0


def _overview(ctx: click.Context) -> str:
    formatter = ctx.make_formatter()
    with formatter.section("Guides ('ocicat help TOPIC')"):
        formatter.write_dl([(topic, line.replace("`", "")) for topic, line in GUIDES.items()])
    return f"{ctx.get_help()}\n\n{formatter.getvalue()}"


def _help(ctx: click.Context, found: click.Command, words: tuple[str, ...]) -> str:
    """Return the help for the command that `words` name, such as ("db", "copy"). Raises UsageError if there is none."""
    for word in words:
        if isinstance(found, ReportCommand) and found.choose(ctx, word):
            continue
        below = found.get_command(ctx, word) if isinstance(found, click.Group) else None
        if below is None:
            known = [*(found.list_commands(ctx) if isinstance(found, click.Group) else ()), *GUIDES]
            if isinstance(found, ReportCommand):
                report_named(word)
            raise UsageError(
                f"there is no command or guide called '{shown(word)}': {did_you_mean(word, known)}'ocicat help' lists them"
            )
        found, ctx = below, below.context_class(below, info_name=word, parent=ctx)
    return f"{found.get_help(ctx)}\n"


def _width() -> int:
    width = terminal_width()
    return _IN_A_PIPE if width is None else min(width, _WIDEST)
