"""`make docs`: write docs/commands.md from click's commands and options, and from command_words.py.

With `--check`, write nothing and exit with status 1 if the file is out of date. tests/test_docs.py runs the examples, as in
every document.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator

import click
from command_words import WORDS
from sql_docs import keep

from catalog.cli.main import COMMANDS, group, listed_options

_HEAD = """<!-- Made by `make docs` from the commands of click and contrib/command_words.py. Do not edit. -->
# Commands

This document lists every command, option, default and environment variable. [scripts.md](scripts.md) says what scripts may
rely on (formats, statuses, streams), and [resolution.md](resolution.md) what a REF means. The tests run the examples, one
after the other, on the layouts that README.md shows.

"""

VARIABLES = {
    "OCICAT_DB": "The catalog, like `--db`.",
    "OCICAT_CONFIG": "The configuration file, like `--config`.",
    "OCICAT_DEBUG": "`1`: like `--debug`.",
    "OCICAT_HOST": "The name of this host in a shared catalog, instead of the system's ('ocicat help postgres').",
    "OCICAT_MACHINE": "`watch` on a shared catalog: any string that stays the same and is unique to this machine, instead of /etc/machine-id.",
    "STATE_DIRECTORY, XDG_DATA_HOME, HOME": "Where the catalog is if `--db` is not given ('ocicat help scripts').",
    "NO_COLOR": "If set and not empty, there is no colour. Otherwise only a terminal gets colour, unless `TERM` is unset, empty or `dumb`.",
    "COLUMNS": "The width of tables on a terminal. It overrides what the terminal itself reports.",
    "OCICAT_PAGER, PAGER, LESS": "The program that shows long output on a terminal ('ocicat help scripts').",
    "NOTIFY_SOCKET, WATCHDOG_USEC": "`watch`: set by systemd. The daemon tells systemd when it is ready, when it stops, and that it is alive.",
    "NAME": "`contexts --build-arg NAME` without a value takes the value of this variable, as buildx does.",
}
"""Environment variables besides those of options, and what each means."""

_GLOBAL = """
These options may come before or after the command, `--version` only before it. `--help` after a command describes that command.

`-h` is short for `--help`, `-q` for `--quiet`, `-v` for `--verbose`, `-s` for `--store`, and `-f` and `-o` for `--format`.
`--json` is short for `--format json`. `ocicat ls` is short for `ocicat stores`, and `ocicat rm` for `ocicat remove`.

## Environment

Each option has a variable, which the tables name. The command line overrides the variable. `1`, `true`, `yes` or `on` sets a
flag. A repeatable option takes several values separated by white space.

{variables}

## Exit status

| status | means |
|---|---|
| 0 | success; every reference was found |
| 1 | something was not found, or `check`, `verify` or `status --check` found problems |
| 2 | usage error: an unknown option, a malformed reference, an unknown store, refused SQL |
| 3 | `resolve`, `contexts`: the reference is ambiguous |
| 4 | the catalog cannot answer, or cannot answer in time; or the question needs a feature that this version does not have |
| 130 | interrupted by Ctrl-C |
| 141 | stdout was closed (`ocicat query \\| head -1`), as a shell reports SIGPIPE |

Each command below lists what 0 to 3 mean for it; 4 means the same for all commands.
"""


def render() -> str:
    """Return the text of docs/commands.md."""
    context = click.Context(group, info_name="ocicat")
    parts = [_HEAD, _contents(), "\n## Options of every command\n\n"]
    parts += ["\n".join(_options(listed_options(group), "OCICAT")), "\n", _GLOBAL.replace("{variables}", _variables())]
    for name in COMMANDS:
        command = group.get_command(context, name)
        assert command is not None
        parts.append("\n" + "\n".join(_command(command, f"ocicat {name}", context)))
    return "".join(parts)


def _variables() -> str:
    rows = [
        f"| {', '.join(f'`{each}`' for each in names.split(', '))} | {_linked(text)} |"
        for names, text in VARIABLES.items()
    ]
    return "\n".join(["| variable | |", "|---|---|", *rows])


def _contents() -> str:
    rows = [f"| [`ocicat {name}`](#ocicat-{name}) | {short} |" for name, short in COMMANDS.items()]
    return "\n".join(["| command | |", "|---|---|", *rows, ""])


def _command(command: click.Command, path: str, above: click.Context) -> Iterator[str]:
    words = WORDS.get(path.removeprefix("ocicat "))
    if words is None:
        sys.exit(f"contrib/command_words.py has no entry for {path}: add what its statuses mean, and an example")
    context = click.Context(command, info_name=path.rpartition(" ")[2], parent=above)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    yield f"{'###' if path.count(' ') > 1 else '##'} {path}\n\n```text\n{usage}\n```\n"
    yield _linked(inspect.cleandoc(command.help or "").replace("*", "\\*")) + "\n"
    options = listed_options(command)
    if options:
        yield from _options(options, "")
        yield ""
    if words.statuses:
        yield "Status: " + "; ".join(f"{status} {meaning}" for status, meaning in words.statuses.items()) + ".\n"
    if words.to_copy:
        yield f"```sh\n{words.to_copy}```\n"
    if words.examples:
        yield f"```console\n{words.examples}```\n"
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from _command(below, f"{path} {name}", context)


def _options(options: Iterable[click.Option], prefix: str) -> Iterator[str]:
    """Yield the lines of the table of options. `prefix` begins the names of the variables that click derives from options."""
    yield "| option | default | variable | |"
    yield "|---|---|---|---|"
    for option in options:
        text, default = _help(option)
        name = max(option.opts, key=len)
        shown = name if option.is_flag else f"{name} {option.make_metavar(click.Context(group))}"
        variable = option.envvar or (
            f"{prefix}_{name.lstrip('-').upper().replace('-', '_')}" if name not in _WITHOUT else None
        )
        yield f"| `{_cell(shown)}` | {default} | {f'`{variable}`' if variable else ''} | {_cell(text)} |"


_WITHOUT = ("--version", "--help")
_ANY_NUMBER = 1 << 30
"""Larger limits are those of the machine, and are not printed."""


def _help(option: click.Option) -> tuple[str, str]:
    """Return the help of an option without its default, and the default."""
    assert option.help, f"{option.opts}: every option needs a help text"
    text, default = option.help, ""
    found = re.search(r" ?\[default: (.*?)\]", text)
    if found:
        text, default = text.replace(found[0], ""), found[1]
    elif "--format" in option.opts:
        default = "on a terminal `table`, else `tsv`"
    if isinstance(option.type, click.IntRange | click.FloatRange) and not (option.type.max or 0) >= _ANY_NUMBER:
        least = "more than" if option.type.min_open else "at least"
        most = f", at most {option.type.max}" if option.type.max else ""
        text = f"{text} ({least} {option.type.min}{most})"
    return _linked(text), _linked(default)


def _linked(text: str) -> str:
    return re.sub(r"'ocicat help ([a-z]+)'", lambda found: f"[`{found[0][1:-1]}`]({found[1]}.md)", text)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(keep({"docs/commands.md": render}))
