"""`make docs`: write contrib/man, the manual pages, from click's commands and command_words.py, like docs/commands.md.

With `--check`, write nothing and exit with status 1 if a file is out of date.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from functools import partial

import click
from command_docs import VARIABLES
from command_words import WORDS
from sql_docs import keep

from catalog.cli.guides import GUIDES
from catalog.cli.main import COMMANDS, group, listed_options

_STATUSES = {
    0: "Success; every reference was found.",
    1: "Something was not found, or a check found problems.",
    2: "Usage error: an unknown option, a malformed reference, an unknown store, refused SQL.",
    3: "The reference is ambiguous (resolve, contexts).",
    4: "The catalog cannot answer, or cannot answer in time.",
    130: "Interrupted by Ctrl-C.",
    141: "stdout was closed.",
}


def main_page() -> str:
    """Return the text of ocicat(1)."""
    context = click.Context(group, info_name="ocicat")
    return "".join(
        [
            _head("ocicat", _sentence(group)),
            _section("SYNOPSIS", f".B ocicat\n{_roff(' '.join(group.collect_usage_pieces(context)))}\n"),
            _section("DESCRIPTION", _paragraphs(inspect.cleandoc(group.help or ""))),
            _section(
                "COMMANDS", "".join(_item(f"\\fBocicat\\-{name}\\fR(1)", line) for name, line in COMMANDS.items())
            ),
            _section(
                "OPTIONS", "These options may also stand after the command.\n" + "".join(_options(group, context))
            ),
            _section("EXIT STATUS", "".join(_item(str(status), text) for status, text in _STATUSES.items())),
            _section("ENVIRONMENT", "".join(_item(_roff(name), text) for name, text in VARIABLES.items())),
            _section(
                "GUIDES",
                "Printed by \\fBocicat help\\fR \\fITOPIC\\fR.\n"
                + "".join(_item(topic, line) for topic, line in GUIDES.items()),
            ),
        ]
    )


def command_page(name: str) -> str:
    """Return the text of ocicat-NAME(1)."""
    top = click.Context(group, info_name="ocicat")
    command = group.get_command(top, name)
    assert command is not None
    also = ".BR ocicat (1)\n"
    return (
        _head(f"ocicat-{name}", COMMANDS[name])
        + "".join(_command(command, f"ocicat {name}", top, "SYNOPSIS"))
        + _section("SEE ALSO", also)
    )


def _command(command: click.Command, path: str, above: click.Context, title: str) -> Iterator[str]:
    context = click.Context(command, info_name=path.rpartition(" ")[2], parent=above)
    usage = f".B {_roff(path)}\n{_roff(' '.join(command.collect_usage_pieces(context)))}\n"
    words = WORDS[path.removeprefix("ocicat ")]
    if title == "SYNOPSIS":
        yield _section("SYNOPSIS", usage)
        yield ".SH DESCRIPTION\n"
    else:
        yield f'.SS "{_roff(path)}"\n{usage}.PP\n'
    yield _paragraphs(inspect.cleandoc(command.help or ""))
    level = ".SH" if title == "SYNOPSIS" else ".PP\n.B"
    if listed_options(command):
        yield f"{level} OPTIONS\n"
        yield from _options(command, context)
    if words.statuses:
        yield f'{level} "EXIT STATUS"\n'
        yield from (_item(str(status), f"{text[:1].upper()}{text[1:]}.") for status, text in words.statuses.items())
    if words.examples or words.to_copy:
        yield f"{level} EXAMPLES\n.nf\n{_roff(words.to_copy + words.examples)}.fi\n"
    if isinstance(command, click.Group):
        yield ".SH COMMANDS\n"
        for name, below in command.commands.items():
            yield from _command(below, f"{path} {name}", context, name)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for option in listed_options(command):
        name = ", ".join(f"\\fB{_roff(each)}\\fR" for each in (*option.opts, *option.secondary_opts))
        value = "" if option.is_flag else f" \\fI{_roff(option.make_metavar(context))}\\fR"
        yield _item(name + value, option.help or "")


def _head(name: str, line: str) -> str:
    return (
        '.\\" Made by `make docs` from the commands of click and contrib/command_words.py. Do not edit.\n'
        f'.TH {name.upper()} 1 "" ocicat "User Commands"\n.SH NAME\n{_roff(name)} \\- {_roff(line.rstrip("."))}\n'
    )


def _section(title: str, text: str) -> str:
    return f'.SH "{title}"\n{text}'


def _item(term: str, text: str) -> str:
    return f".TP\n{term}\n{_roff(text)}\n"


def _sentence(command: click.Command) -> str:
    return inspect.cleandoc(command.help or "").partition("\n")[0]


def _paragraphs(text: str) -> str:
    return "\n.PP\n".join(_roff(part.replace("\b\n", "")) for part in text.split("\n\n")) + "\n"


def _roff(text: str) -> str:
    """Escape text for man(7), so that every character is literal and no line is a request."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "")
    escaped = "".join(each if each.isascii() else f"\\[u{ord(each):04X}]" for each in escaped)
    return re.sub(r"^\.", r"\\&.", escaped, flags=re.MULTILINE)


if __name__ == "__main__":
    pages = {f"contrib/man/ocicat-{name}.1": partial(command_page, name) for name in COMMANDS}
    sys.exit(keep({"contrib/man/ocicat.1": main_page, **pages}))
