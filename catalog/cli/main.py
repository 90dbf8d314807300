"""The click group `ocicat`. Every command is in a module of its own, which is loaded when the command is called."""

from __future__ import annotations

import errno
import gc
import importlib
import os
import sys
from types import ModuleType
from typing import Any

import click

from catalog._version import __version__
from catalog.cli import messages, output
from catalog.cli.colour import HOW, chosen
from catalog.cli.examples import epilog
from catalog.cli.help_format import HelpContext
from catalog.collector import CollectorPaused
from catalog.errors import OcicatError, UsageError
from catalog.names.escape import shown

COMMANDS = {
    "add": "Register a layout, or a directory of layouts, and index it.",
    "remove": "Forget a store or a root.",
    "stores": "List the stores: name, path, state, entries, last change.",
    "index": "Read what changed since the last pass.",
    "watch": "Follow all stores and roots as they change.",
    "answer": "Run a process that answers commands in a millisecond.",
    "find": "Find entries by any part of a name, tag, store or title.",
    "query": "List every entry that matches.",
    "resolve": "Print the one digest that each reference resolves to.",
    "inspect": "Show everything about one image.",
    "history": "Print what a name pointed to, and when.",
    "changes": "List what changed, or follow changes as they happen.",
    "diff": "List what differs between stores, or between two times.",
    "wait": "Wait until a reference resolves.",
    "contexts": "Print the images of a Dockerfile as build contexts for buildx.",
    "status": "Show the state of the catalog and its daemon.",
    "check": "List problems of stores, entries, names and blobs.",
    "verify": "Read every blob and compare its digest.",
    "sql": "Run read-only SQL over the public views.",
    "report": "Print a ready-made report over all stores.",
    "plan": "Plan what could be removed, copied or shared.",
    "browse": "Show the catalog in a web browser.",
    "serve": "Serve all layouts as a read-only registry.",
    "db": "Maintain the database itself.",
    "schema": "Print the JSON Schema of an object.",
    "completion": "Print a script for completion in a shell.",
    "version": "Print the version.",
    "help": "Print the help for a command, or a guide.",
}
"""The name and short help of each command, so that the overview does not have to load the commands."""


ALIASES = {"ls": "stores", "rm": "remove"}
"""Other names of commands. Help and completion list only the main names, which are the values."""
_ANYWHERE = ("db", "config", "quiet", "verbose", "debug", "color", "no_pager")
_JSON = "ocicat.json"
_SHORT = {"--format": ("-f", "-o"), "--store": ("-s",)}


class LazyGroup(click.Group):
    """A group that imports `catalog.cli.commands.NAME` only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        cmd_name = ALIASES.get(cmd_name, cmd_name)
        if cmd_name not in COMMANDS:
            return None
        name = f"catalog.cli.commands.{cmd_name}"
        module = sys.modules.get(name) or _load(name)
        command: click.Command = module.command
        _complete(command, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))
        formatter.write_paragraph()
        formatter.write_text("'ls' is short for stores, and 'rm' for remove.")


def _load(name: str) -> ModuleType:
    """Import the module of a command. What this loads stays until the process ends, so the garbage collector never scans it.

    This saves a sixth of the time of importing SQLAlchemy, which the commands that write need.
    """
    with CollectorPaused():
        module = importlib.import_module(name)
    gc.freeze()
    return module


LazyGroup.context_class = HelpContext


def _unpaged(_ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        output.unpaged()


@click.group(
    cls=LazyGroup,
    epilog=epilog(""),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--db", metavar="PATH", help="The catalog. [default: see 'ocicat help scripts']")
@click.option("--config", metavar="FILE", help="Configuration file in TOML ('ocicat help settings').")
@click.option("-q", "--quiet", is_flag=True, help="Print only answers and errors.")
@click.option("-v", "--verbose", is_flag=True, help="Print more about what ocicat does.")
@click.option("--debug", is_flag=True, help="Print the traceback of an error.")
@click.option("--color", type=click.Choice(HOW), metavar="WHEN", help="Colour: auto, always or never. [default: auto]")
@click.option(
    "--no-pager",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_unpaged,
    help="Never show long output in a pager.",
)
@click.version_option(__version__, prog_name="ocicat", message="%(prog)s %(version)s")
@click.pass_context
def group(
    ctx: click.Context,
    db: str | None,
    config: str | None,
    quiet: bool,
    verbose: bool,
    debug: bool,
    color: str | None,
) -> None:
    """Names, tags and digests of many OCI image layouts, from one index."""
    messages.volume.quiet = quiet
    messages.volume.verbose = verbose
    messages.volume.debug = messages.volume.debug or debug
    chosen.how = color or "auto"
    ctx.obj = Globals(db, _readable(config))


class Globals:
    """The values of the global options --db and --config."""

    def __init__(self, db: str | None, config: str | None) -> None:
        self.db = db
        self.config = config


def _readable(config: str | None) -> str | None:
    """Return the path of the configuration. Raises UsageError if it cannot be read, whether or not the command needs it."""
    if config is not None and not os.access(config, os.R_OK):
        if not config:
            raise UsageError("--config is empty: give it the path of a file that you can read, or leave it out")
        reason = "no permission" if os.path.lexists(config) else "it does not exist"
        raise UsageError(f"cannot read {shown(config)} ({reason}): give --config the path of a file that you can read")
    return config


def _complete(command: click.Command, path: str) -> None:
    """Add to a command, such as `plan copy`, what all commands have: global options, short options, --json, --help and examples.

    The environment variable of each of its own options is named after the option. click would name it after the parameter of
    the function, which often has another name (`stores` for `--store`).
    """
    variable = f"OCICAT_{path.upper().replace(' ', '_')}"
    taken = {name for parameter in command.params for name in parameter.opts}
    if "--db" in taken:
        return  # done already
    for option in command.params:
        if isinstance(option, click.Option) and option.envvar is None:
            name = max(option.opts, key=len).lstrip("-")
            option.envvar = f"{variable}_{name.upper().replace('-', '_')}"
            option.opts[:0] = _SHORT.get(f"--{name}", ())
    if f"{variable}_FORMAT" in {option.envvar for option in command.params}:
        place = next(n for n, each in enumerate(command.params) if each.envvar == f"{variable}_FORMAT") + 1
        command.params[place - 1].callback = _unless_json
        command.params.insert(place, _json(f"{variable}_JSON"))
    command.epilog = epilog(path)
    command.context_class = HelpContext
    for each in group.params:
        if isinstance(each, click.Option) and each.name in _ANYWHERE:
            command.params.append(
                click.Option(
                    each.opts,
                    is_flag=each.is_flag,
                    type=each.type,
                    callback=_also,
                    expose_value=False,
                    is_eager=each.name == "no_pager",  # before --help
                    hidden=True,
                    allow_from_autoenv=False,
                )
            )
    command.params.append(_help())
    if isinstance(command, click.Group):
        for below in command.commands.values():
            _complete(below, f"{path} {below.name}")


def _help() -> click.Option:
    """Return the option --help. Unlike click's own, it prints through `output`, which has a pager for a long text."""
    return click.Option(
        ["-h", "--help"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_show_help,
        allow_from_autoenv=False,
        help="Show this message and exit.",
    )


def listed_options(command: click.Command) -> list[click.Option]:
    """Return the options of a command that its help shows, without --help."""
    return [
        each
        for each in command.params
        if isinstance(each, click.Option) and not each.hidden and "--help" not in each.opts
    ]


def _show_help(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        output.write(f"{ctx.get_help()}\n")
        ctx.exit()


def _json(variable: str) -> click.Option:
    """Return the option --json. It stands for --format json, so a later --format overrides it."""
    return click.Option(
        ["--json", "json_"],
        is_flag=True,
        expose_value=False,
        callback=_as_json,
        envvar=variable,
        help="Short for --format json.",
    )


def _as_json(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    """Set the format to JSON, unless only the environment asks for JSON and the command line has --format."""
    sources = click.core.ParameterSource
    is_given = ctx.get_parameter_source("format_") == sources.COMMANDLINE
    if value and not (is_given and ctx.get_parameter_source("json_") != sources.COMMANDLINE):
        ctx.meta[_JSON] = True
        ctx.params["format_"] = "json"


def _unless_json(ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Return the value of --format, or "json" if --json was read first and --format is not on the command line."""
    is_given = ctx.get_parameter_source("format_") == click.core.ParameterSource.COMMANDLINE
    return "json" if ctx.meta.get(_JSON) and not is_given else value


def _also(ctx: click.Context, parameter: click.Parameter, value: str | bool | None) -> None:
    """Apply a global option that was written after the command as if it were before it."""
    if value and parameter.name is not None:
        found = ctx.find_object(Globals)
        if parameter.name == "color":
            chosen.how = str(value)
            return
        if parameter.name == "no_pager":
            output.unpaged()
            return
        if parameter.name == "config":
            _readable(str(value))
        setattr(found if parameter.name in ("db", "config") else messages.volume, parameter.name, value)


def _words(error: click.UsageError, where: str) -> str:
    """Return click's message, with the nearest command or option for a mistyped one, and where to find help."""
    message = error.format_message().rstrip(".")
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        from catalog.names.nearest import nearest_option

        known = [
            name for each in error.ctx.command.get_params(error.ctx) for name in each.opts if name.startswith("--")
        ]
        near = nearest_option(error.option_name, known)
        hint = f" did you mean '{near}'?" if near else ""
        return f"no such option: {error.option_name}{';' if not hint else ':'}{hint} '{where} --help' shows the usage"
    above = None if error.ctx is None else error.ctx.command
    if error.ctx is None or not isinstance(above, click.Group) or not message.startswith("No such command '"):
        return f"{message}; '{where} --help' shows the usage"
    from catalog.names.nearest import did_you_mean

    typed = message.split("'")[1]
    hint = did_you_mean(typed, above.list_commands(error.ctx))
    return f"No such command '{typed}'{': ' if hint else '; '}{hint}'{where} --help' lists the commands"


group.params.append(_help())


def run_click(arguments: list[str]) -> int:
    """Run a command line with click and return the exit status. Raises the errors of catalog.errors."""
    try:
        result: Any = group.main(arguments, prog_name="ocicat", standalone_mode=False, auto_envvar_prefix="OCICAT")
    except click.exceptions.NoArgsIsHelpError as error:
        if not arguments:
            output.write(f"{group.get_help(HelpContext(group, info_name='ocicat', max_content_width=100))}\n")
            return 0
        where = error.ctx.command_path if error.ctx is not None else "ocicat"
        raise UsageError(f"no command was given: '{where} --help' lists the commands") from error
    except click.UsageError as error:
        context = error.ctx or HelpContext.latest
        where = "ocicat" if context is None else context.command_path
        if isinstance(error, click.MissingParameter) or error.message != "Missing command.":
            raise UsageError(_words(error, where)) from error
        raise UsageError(f"no command was given: '{where} --help' lists the commands") from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        raise OcicatError(f"cannot write the output ({error.strerror}), so it is incomplete") from error
    except click.Abort as error:
        raise KeyboardInterrupt from error
    except click.ClickException as error:
        raise OcicatError(error.format_message()) from error
    return result if isinstance(result, int) else 0
