"""What somebody tries who has never used ocicat."""

from __future__ import annotations

import shlex

import click
import pytest

from catalog._version import __version__
from catalog.cli.examples import EXAMPLES
from catalog.cli.main import COMMANDS, Globals, group
from tests.cli.conftest import Shelf
from tests.cli.program import called, on_a_terminal


def commands() -> list[tuple[str, ...]]:
    context = click.Context(group)
    found: list[tuple[str, ...]] = []
    for name in COMMANDS:
        command = group.get_command(context, name)
        found.append((name,))
        if isinstance(command, click.Group):
            found += [(name, below) for below in command.commands]
    return found


def test_ocicat_alone_prints_its_help() -> None:
    result = called()
    assert (result.status, result.err) == (0, "")
    assert result.out == called("--help").out == called("-h").out
    assert "Examples:\n    ocicat add /srv/images\n" in result.out


@pytest.mark.parametrize("words", commands())
def test_every_help_ends_with_examples_and_shows_no_range(words: tuple[str, ...]) -> None:
    text = called(*words, "-h").out
    assert text == called(*words, "--help").out
    *_, last = text.split("Examples:\n")
    assert last.splitlines() == [f"    {line}" for line in EXAMPLES[" ".join(words)]]
    assert "<" not in text.replace("<=", "<")
    assert not any(len(line) > 80 for line in text.partition("Examples:")[0].splitlines())


@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_no_word_is_broken_at_any_width(columns: str) -> None:
    words = set(called("add", "--help", env={"COLUMNS": "1000"}).out.split())
    assert set(called("add", "--help", env={"COLUMNS": columns}).out.split()) == words


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_a_right_command_line(name: str) -> None:
    for line in EXAMPLES[name]:
        program, *words = shlex.split(line)
        assert program == "ocicat"
        context = group.make_context("ocicat", list(words))
        command: click.Command = group
        rest = words
        while isinstance(command, click.Group):
            context = command.make_context(program, list(rest), parent=None if command is group else context)
            context.obj = Globals(None, None)
            word, below, rest = command.resolve_command(context, [*context._protected_args, *context.args])
            assert below is not None
            command, program = below, str(word)
        assert command.make_context(program, list(rest), parent=context)


def test_short_names(shelf: Shelf) -> None:
    assert shelf.ask("ls").out == shelf.ask("stores").out != ""
    assert shelf.ask("rm", "x").err == shelf.ask("remove", "x").err
    assert shelf.ask("ls", "--help").out == shelf.ask("stores", "--help").out.replace("ocicat stores", "ocicat ls", 1)
    assert called("version").out == called("--version").out == f"ocicat {__version__}\n"


@pytest.mark.parametrize(
    "command", [("query", ":3.16"), ("resolve", "ctr:3.16"), ("find", "ctr"), ("query", "--limit", "9")]
)
def test_short_options(shelf: Shelf, command: tuple[str, ...]) -> None:
    long = shelf.ask(*command, "--store", "images/ctr", "--format", "json")
    assert long.out
    for options in (
        ("-s", "images/ctr", "--json"),
        ("-s", "images/ctr", "-f", "json"),
        ("-o", "json", "-s", "images/ctr"),
        ("--json", "-simages/ctr"),
    ):
        assert shelf.ask(*command, *options) == long


def test_every_command_with_a_format_has_json(shelf: Shelf) -> None:
    for command in ("stores", "status", "check", "report", "schema"):
        assert shelf.ask(command, "--json").out == shelf.ask(command, "--format", "json").out
    assert shelf.ask("sql", "SELECT 1 AS one", "--json").out == '[{"one":1}]\n'
    assert shelf.ask("query", "--json", "--format", "{tag}").out == shelf.ask("query", "--format", "{tag}").out
    json = shelf.ask("query", "--limit", "2", "--format", "json").out
    for options in (("--json",), ("--format", "{tag}", "--json")):
        for env in ({}, {"OCICAT_QUERY_FORMAT": "tsv"}):
            assert shelf.ask("query", "--limit", "2", *options, env=env).out == json
    assert shelf.ask("query", "--limit", "2", env={"OCICAT_QUERY_JSON": "1"}).out == json
    assert shelf.ask("query", "--limit", "2", env={"OCICAT_QUERY_FORMAT": "json"}).out == json
    tags = shelf.ask("query", "--limit", "2", "--format", "{tag}")
    assert shelf.ask("query", "--limit", "2", "--format", "{tag}", env={"OCICAT_QUERY_JSON": "1"}) == tags


def test_quiet_and_verbose_have_short_forms(shelf: Shelf) -> None:
    for quiet in (("-q", "query", "hurt:3.17"), ("query", "hurt:3.17", "-q")):
        assert shelf.ask(*quiet).err == ""
    assert shelf.ask("query", "hurt:3.17").err != ""


def test_colour_is_a_choice(shelf: Shelf) -> None:
    assert "\x1b[" in shelf.ask("--color", "always", "stores", "--format", "table").out
    assert "\x1b[" in shelf.ask("stores", "--format", "table", "--color", "always").out
    assert "\x1b[" in shelf.ask("--color", "always", "query", "nope").err
    assert "\x1b[" not in shelf.ask("stores", "--format", "table", "--color", "never").out
    assert shelf.ask("stores", "--color", "sometimes").status == 2
    assert any("\x1b[" in line for line in on_a_terminal("stores", "--color", "always", db=shelf.db))
    assert not any("\x1b[" in line for line in on_a_terminal("stores", "--color", "never", db=shelf.db))
