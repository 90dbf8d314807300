"""What the documents say is so: every example is run, every list is compared with the code."""

from __future__ import annotations

import ast
import contextlib
import doctest
import itertools
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest

import catalog
from catalog import errors
from catalog.api import Filters
from catalog.cli import config, stated
from catalog.cli.commands import changes, check, diff, history, stores
from catalog.cli.main import COMMANDS, group, listed_options
from catalog.cli.queried import QUERY_COLUMNS
from catalog.db.views import VIEWS
from catalog.ingest.settings import Settings
from catalog.lookup import changes as followed
from catalog.lookup import compare, inspect
from catalog.lookup.match import FIELDS, Match
from catalog.watch.configuration import Configuration
from tests import samples
from tests.forking import CLEAN, OCICAT, on_path

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted((*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")))
WITH_EXAMPLES = [each for each in DOCUMENTS if "\n```console\n" in each.read_text(encoding="utf-8")]


class Example(NamedTuple):
    """A command of a ```console block, and what the document says that it prints."""

    place: str
    command: str
    output: str


def examples(text: str, name: str) -> Iterator[Example]:
    """The examples of a document: `$ ` begins a command, `> ` continues it, anything else is output."""
    for block in re.finditer(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        line = text.count("\n", 0, block.start(1))
        place, command, output = "", "", ""
        for number, each in enumerate(block[1].splitlines(), line + 1):
            if each.startswith("$ "):
                if command:
                    yield Example(place, command, output)
                place, command, output = f"{name}:{number}", each[2:], ""
            elif each.startswith("> ") and not output:
                command += "\n" + each[2:]
            else:
                output += each + "\n"
        yield Example(place, command, output)


def as_expression(output: str) -> str:
    """Return a pattern in which a line `…` matches any lines, and `…` within a line matches any text."""
    lines = (
        r"(?:.*\n)*" if line == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in output.splitlines()
    )
    return "".join(lines)


PLAIN = re.compile(r"ocicat((?: (?:[\w./:@,+=%-]+|'[^'\n]*'))*)(; echo \"status \$\?\")?")
"""ocicat with words in which nothing has a meaning for a shell or which are quoted; perhaps with the status that it ends with."""


class Shell:
    """A shell in a place with the documented layouts, and a catalog of them."""

    def __init__(self, directory: Path) -> None:
        self.srv = os.path.realpath(directory)
        home = f"{self.srv}/home"
        os.mkdir(home)
        self.environment = {
            "PATH": f"{on_path()}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
            "HOME": home,
            "OCICAT_DB": f"{home}/catalog.db",
            "LC_ALL": "C.UTF-8",
        }
        samples.make(self.srv)
        self._groups: list[int] = []

    def run(self, command: str) -> str:
        """Return what the command prints, on stdout and stderr together.

        Words that a shell only passes on need none: most of what a short command takes is the start of the shell, and of the program
        that asks for a fork (tests/forking.py).
        """
        text = command.replace("/srv", self.srv)
        plain = PLAIN.fullmatch(text)
        program, environment = ["bash", "-c", text], self.environment
        if plain:
            program, environment = [OCICAT, *shlex.split(plain[1])], {**CLEAN, **self.environment}
            del environment["LC_ALL"]  # LANG of CLEAN says the same
        with subprocess.Popen(
            program,
            cwd=self.srv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=None if plain else 0,  # with a group of its own it would be started in full
        ) as started:
            if " & " in command:  # it starts something in the background
                self._groups.append(started.pid)
            try:
                printed, _ = started.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                if plain:
                    started.kill()
                else:
                    os.killpg(started.pid, signal.SIGKILL)
                raise
        if plain and plain[2]:
            printed += f"status {started.returncode}\n"
        return printed.replace(self.srv, "/srv")

    def close(self) -> None:
        """End what the commands started in the background and left running."""
        for each in self._groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(each, signal.SIGKILL)


@pytest.mark.parametrize("document", WITH_EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_example_prints_what_the_document_says(document: Path) -> None:
    # Short, because messages truncate long paths. A daemon that is just ending may still write there.
    with tempfile.TemporaryDirectory(prefix="ocicat", ignore_cleanup_errors=True) as directory:
        shell = Shell(Path(directory))
        with contextlib.closing(shell):
            run_examples(document, shell)


def run_examples(document: Path, shell: Shell) -> None:
    for example in examples(document.read_text(encoding="utf-8"), document.name):
        printed = shell.run(example.command)
        assert re.fullmatch(as_expression(example.output), printed), (
            f"{example.place}: $ {example.command}\n--- the document says\n{example.output}--- it printed\n{printed}"
        )


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """The documented catalog, as the first lines of docs/python.md make it."""
    shell = Shell(tmp_path_factory.mktemp("python"))
    for example in examples(read("docs/python.md"), "python.md"):
        assert shell.run(example.command) == example.output
    return shell


def test_the_python_session_is_as_it_is_told(shelf: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """All `>>>` of the document are one session."""
    monkeypatch.setenv("OCICAT_DB", shelf.environment["OCICAT_DB"])
    blocks = re.findall(r"^```pycon\n(.*?)^```$", read("docs/python.md"), re.MULTILINE | re.DOTALL)
    text = "\n".join(blocks).replace("/srv/", f"{shelf.srv}/")
    session = doctest.DocTestParser().get_doctest(text, {}, "python.md", None, 0)
    assert len(session.examples) >= 20
    told: list[str] = []
    doctest.DocTestRunner().run(session, out=told.append)
    session.globs.clear()
    assert told == []


def test_the_python_scripts_print_what_is_told(shelf: Shell) -> None:
    found = re.findall(
        r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", read("docs/python.md"), re.MULTILINE | re.DOTALL
    )
    assert len(found) == read("docs/python.md").count("```python\n")
    for script, output in found:
        done = subprocess.run(
            [sys.executable, "-c", script], env=shelf.environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, output, "")


def test_the_python_document_tells_all_that_is_public() -> None:
    text = read("docs/python.md")
    assert all(f"`{name}" in text for name in catalog.__all__ if name != "__version__")
    told = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", section(text, "## `Match`"), re.MULTILINE)
    assert {name for row in told for name in re.findall(r"\w+", row)} == {*FIELDS, "how"}
    assert all(isinstance(getattr(Match, name, None), property) for name in FIELDS if name != "fallback")
    filters = re.findall(r"`(\w+)`", text[text.index("The filters of `query`") :].partition(";")[0])[1:]
    assert filters == list(Filters.__annotations__)


def test_settings_are_those_of_the_code() -> None:
    documented = {
        key: (default, unit)
        for key, default, unit in re.findall(
            r"^\| `([a-z]+\.[a-z_]+)` \| (\w+) \| ([^|]+) \|", read("docs/settings.md"), re.MULTILINE
        )
    }
    keys = (*config.NUMBERS, *config.INTERVALS, *config.TEXTS, *config.FLAGS)
    assert documented == {key: (default_of(key), unit_of(key)) for key in keys}
    of_places = section(read("docs/settings.md"), "## Roots and stores")
    assert tuple(re.findall(r"^\| `(\w+)` \|", of_places, re.MULTILINE)) == config.PLACE_KEYS


def default_of(key: str) -> str:
    if key in config.NUMBERS:
        settings = Settings()
        number = config.NUMBERS[key]
        value = getattr(settings.limits if number.field in settings.limits._fields else settings, number.field)
        assert value % number.factor == 0
        return str(value // number.factor)
    value = getattr(Configuration(), (config.INTERVALS | config.TEXTS | config.FLAGS)[key])
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else value


def unit_of(key: str) -> str:
    units = {"bytes": "bytes", "ms": "milliseconds", "days": "days", "seconds": "seconds", "ratio": "times"}
    texts = {
        "watch.metrics": "HOST:PORT", "watch.answer": "true or false", "log.format": "text or json",
        "log.level": "debug, info, warning or error",
    }  # fmt: skip
    return texts.get(key) or units[key.rpartition("_")[2]]


def test_the_index_of_the_documents_has_them_all() -> None:
    linked = set(re.findall(r"\]\(([^)#:]+)\)", read("docs/README.md")))
    assert {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"} <= linked
    assert {f"../{path.name}" for path in ROOT.glob("*.md")} - {"../README.md"} <= linked


def test_the_settings_example_is_taken(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```$", read("docs/settings.md"), re.MULTILINE | re.DOTALL)
    file = tmp_path / "ocicat.toml"
    file.write_text(example, encoding="utf-8")
    assert config.load_settings(str(file)) != Settings()
    taken = config.load(str(file))
    assert len(taken.places) == 3
    assert all(value is not None for value in (taken.metrics, taken.places[2].settings.name))


def test_kinds_of_problems_are_those_of_the_code() -> None:
    documented = re.findall(r"^\| `([a-z-]+)` \|", read("docs/problems.md"), re.MULTILINE)
    assert len(documented) == len(set(documented))
    assert set(documented) == set(kinds_in_the_code())


def kinds_in_the_code() -> Iterator[str]:
    """What is given as a kind where a problem is made, and the kinds and the states of stores that the view adds."""
    for path in (ROOT / "catalog").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and called(node) in ("NameProblem", "Problem", "BlobProblem", "problem"):
                literal = (each.value for each in node.args if isinstance(each, ast.Constant))
                yield from itertools.islice((each for each in literal if isinstance(each, str)), 1)
    (view,) = (view for view in VIEWS if view.name == "problems")
    (states,) = re.findall(r"store\.state IN \((.*?)\)", view.create("sqlite"))
    yield from re.findall(r"'(\w+)'", states)
    yield from (kind.strip("'") for (_, kind, *_), _ in view.more if kind.startswith("'"))


def called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


@pytest.mark.parametrize(
    "script", ["sql_docs.py", "command_docs.py", "completion_files.py", "man_pages.py", "schema_files.py"]
)
def test_the_generated_files_are_what_make_docs_writes(script: str) -> None:
    done = subprocess.run(
        [sys.executable, f"contrib/{script}", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_variable_of_the_commands_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    text = read("docs/commands.md")
    top = click.Context(group, info_name="ocicat", auto_envvar_prefix="OCICAT")
    contexts = {"": top}
    for name in COMMANDS:
        command = group.get_command(top, name)
        assert command is not None
        contexts[f" {name}"] = click.Context(command, parent=top, info_name=name)
    found = 0
    for name, context in contexts.items():
        part = section(text, f"## ocicat{name}\n" if name else "## Options of every command")
        part = part.partition("\n### ")[0]
        rows = re.findall(r"^\| `(-[^ `]+)[^|`]*(?:\\\|[^|`]*)*` \| [^|]*\| `(OCICAT_\w+)`", part, re.MULTILINE)
        options = listed_options(context.command)
        assert [option for option, _ in rows] == [max(o.opts, key=len) for o in options if "--version" not in o.opts]
        for option, (_, variable) in zip(options, rows, strict=False):
            monkeypatch.setenv(variable, "7")
            assert option.resolve_envvar_value(context) == "7", variable
            found += 1
    assert found > 50


def test_the_readme_names_every_command_and_the_two_of_make() -> None:
    readme = read("README.md")
    assert set(re.findall(r"^\| `ocicat ([a-z]+)", readme, re.MULTILINE)) == set(COMMANDS)
    assert "```sh\nmake demo\n```" in readme
    assert "```sh\nmake test\n```" in readme


def test_the_script_contract_lists_the_keys_and_columns_of_the_code() -> None:
    text = read("docs/scripts.md")
    rows = re.findall(r"^\| ((?:`[a-z_]+`(?:, )?)+) \|", section(text, "## Formats"), re.MULTILINE)
    documented = {key for row in rows for key in re.findall(r"`([a-z_]+)`", row)}
    commands = {
        "query",
        "find",
        "resolve",
        "stores",
        "check",
        "history",
        "changes",
        "diff",
        "status",
        "sql",
        "verify",
        "report",
    }
    assert documented - commands == {
        *FIELDS,
        "how",
        "reference",
    }
    assert f"| `query` | {', '.join(QUERY_COLUMNS)} |" in text
    assert f"| `stores` | {', '.join(stores.COLUMNS)} |" in text
    assert f"| `history` | {', '.join(history.COLUMNS)} |" in text
    assert f"| `diff` | {', '.join(diff.COLUMNS)} |" in text
    assert f"| `changes` | {', '.join(changes.COLUMNS)} |" in text
    for title, fields in (("## What differs", compare.FIELDS), ("## What changed", followed.FIELDS)):
        keys = re.findall(r"^\| ((?:`[a-z_]+`(?:, )?)+) \|", section(text, title), re.MULTILINE)
        assert [key for row in keys for key in re.findall(r"`([a-z_]+)`", row)] == list(fields)
    keys = re.findall(r"^\| ((?:`[a-z_]+`(?:, )?)+) \|", section(text, "## All about one image"), re.MULTILINE)
    listed = ("reference", *inspect.HEAD, *inspect.SECTIONS)
    assert sorted(key for row in keys for key in re.findall(r"`([a-z_]+)`", row)) == sorted(listed)
    assert f"| `check`, `verify` | {', '.join(check.COLUMNS)} |" in text
    assert f"| `status` | {', '.join(stated.COLUMNS)} |" in text


def test_the_exit_statuses_are_those_of_the_errors() -> None:
    listed = {int(each) for each in re.findall(r"^\| (\d) \|", read("docs/scripts.md"), re.MULTILINE)}
    assert listed == {0} | {each.status for each in subclasses(errors.OcicatError)}


def subclasses(kind: type[errors.OcicatError]) -> Iterator[type[errors.OcicatError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from subclasses(each)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_headings_that_are_there(document: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)#([^)]+)\)", document.read_text(encoding="utf-8")):
        assert anchor in anchors(document.parent / target if target else document), f"{target}#{anchor}"


def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub makes from the headings of a document."""
    text = re.sub(r"^ *```.*?^ *```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def test_every_claim_of_security_names_a_test_that_is_there() -> None:
    found, file = [], ""
    for path, name in re.findall(r"`(tests/[a-z_/]+\.py)?::(\w+)`", read("SECURITY.md")):
        file = path or file  # `::name` is of the file that was named last
        found.append(name)
        assert f"\ndef {name}(" in read(file), f"{file}::{name}"
    assert len(found) > 40
    assert len(found) == read("SECURITY.md").count("::")


IMAGE_SPEC = {
    "annotations.md", "config.md", "descriptor.md", "image-index.md", "image-layout.md", "layer.md", "manifest.md", "media-types.md",
}  # fmt: skip
"""Documents of the image-spec, which anyone can find by their name."""


def test_every_document_that_is_cited_is_there() -> None:
    """A document of ours by its path from the root, with a heading where one is named; or one of the image-spec's."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    sources = [ROOT / name for name in listed.split() if name.endswith((".py", ".toml", ".sh", "run", "Makefile"))]
    wrong = []
    for source in sources:
        text = source.read_text(encoding="utf-8")
        for cited, _, heading in re.findall(r"(?<![\w.-])/?([\w.-][\w./-]*\.md)\b(, \"([^\"]+)\")?", text):
            there = [base for base in (ROOT, ROOT / "docs") if (base / cited).is_file()]
            if cited in IMAGE_SPEC or cited == ".md" or cited.startswith("catalog/_guides/"):
                continue
            if not there or (
                heading and not re.search(rf"^#+ {re.escape(heading)}$", read(f"{there[0]}/{cited}"), re.MULTILINE)
            ):
                wrong.append(f"{source.relative_to(ROOT)}: {cited} {heading}".rstrip())
        wrong += [f"{source.relative_to(ROOT)}: {issue}" for issue in re.findall(r"\bissue [0-9]+\b", text)]
    assert wrong == []


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    begin = text.index(heading)
    end = text.find("\n## ", begin + 1)
    return text[begin : end if end >= 0 else None]
