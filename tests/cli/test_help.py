"""`ocicat help`: commands, installed guides, and words that are neither."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from catalog.cli.guides import GUIDES, read_guide, render
from catalog.cli.main import COMMANDS
from tests.cli.program import called, one_error

ROOT = Path(__file__).parents[2]


def test_without_an_argument_it_lists_commands_and_guides() -> None:
    said = called("help")
    assert said.status == 0
    for name, line in itertools.chain(COMMANDS.items(), GUIDES.items()):
        assert re.search(rf"^  {name} +{re.escape(line.replace('`', '')[:20])}", said.out, re.MULTILINE), name


@pytest.mark.parametrize("command", [*((name,) for name in COMMANDS), ("db", "copy")])
def test_the_help_of_a_command_is_that_of_its_help_option(command: tuple[str, ...]) -> None:
    assert called("help", *command).out.startswith(called(*command, "--help").out)


@pytest.mark.parametrize("topic", GUIDES)
def test_a_guide_is_the_document_in_plain_text(topic: str) -> None:
    said = called("help", topic)
    assert said.status == 0
    assert said.err == ""
    document = (ROOT / "docs" / f"{topic}.md").read_text(encoding="utf-8")
    assert document == read_guide(topic)
    for title in re.findall(r"^# (.*)$", document, re.MULTILINE)[:1]:
        assert title.upper() in said.out
    assert not re.search(r"\]\([^)]*\.md", said.out), "a link is text"
    # Everything except the targets of links, hidden comments, and the headers of first columns.
    shown = re.sub(r"\]\([^)]*\)|<!--.*?-->|```\w*|\|[^|\n]*(?=\|[^\n]*\n\|---)", "", document, flags=re.DOTALL)
    lost = set(re.findall(r"[a-z]{4,}", shown.lower())) - set(re.findall(r"[a-z]{4,}", said.out.lower()))
    assert lost == set()


def test_every_guide_that_is_named_exists() -> None:
    """Guides are named in messages, in help and in comments."""
    for path in (*(ROOT / "catalog").rglob("*.py"), *(ROOT / "contrib").glob("*.py")):
        for topic in re.findall(r"'ocicat help ([a-z]+)'", path.read_text(encoding="utf-8")):
            assert topic in GUIDES, (path, topic)


def test_no_message_names_a_document_that_an_installation_lacks() -> None:
    for path in (ROOT / "catalog").rglob("*.py"):
        text = re.sub(r'"""(?:.|\n)*?"""|#.*', "", path.read_text(encoding="utf-8"))
        assert re.findall(r"docs/\w+\.md", text) == [], path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["problem"], "did you mean 'problems'?"),
        (["resolv"], "did you mean 'resolve'?"),
        (["db", "cop"], "did you mean 'copy'?"),
        (["nothing-like-it"], "there is no command or guide called 'nothing-like-it'"),
        (["scripts", "more"], "there is no command or guide called 'scripts'"),
        (["\x1b[31m"], "'\\x1b[31m'"),
    ],
)
def test_a_word_that_is_neither_is_refused(words: list[str], message: str) -> None:
    one_error(called("help", *words), 2, message)


TEXT = """<!-- made -->
# A title

Words of a paragraph that is [long enough](settings.md#roots-and-stores) to be wrapped, see [scripts.md](scripts.md).
| key | |
|---|---|
| `a\\|b` | said |
| c | |
- an item that is also long enough to be wrapped
  and goes on
```sh
code   as it is | and longer than the width of all of it
```
"""


def test_how_a_guide_is_rendered() -> None:
    assert (
        render(TEXT, 30)
        == """A TITLE

Words of a paragraph that is
long enough to be wrapped, see
'ocicat help scripts'.
`a|b`
    said
c
- an item that is also long
  enough to be wrapped and
  goes on
    code   as it is | and longer than the width of all of it
"""
    )


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
@pytest.mark.parametrize("page", sorted((ROOT / "contrib/man").iterdir()), ids=lambda page: page.stem)
def test_the_manual_pages_are_valid(page: Path) -> None:
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", page], capture_output=True, check=False)
    assert done.stderr == b""
    assert done.stdout.count(b"\n") > 15
