"""Random Dockerfiles are parsed as by BuildKit's own parser, which the package `dockerfile` wraps.

The package has an older BuildKit, which accepts no blank between `<<` and the word of a heredoc, and ignores what follows
the list in the exec form.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from catalog.dockerfile.instructions import NAMES, parse
from catalog.errors import InvalidDockerfile
from tests.effort import examples

buildkit: Any = pytest.importorskip("dockerfile", reason="BuildKit's parser comes as a wheel for few machines")

PIECES = [
    "FROM a", "RUN", "run ", "COPY", " --from=b", "--from='b c'", ' --x="y\\"z"', "\\", "`", "\n", "\n", "\n", " ", "\t", "\r",
    "#", "# escape=`", "# escape=\\", "#syntax=x", "# nope=1", "EOF", "<<EOF", " <<-EOF", "<<'EOF'", ' <<"E"OF', "3<<B", "B",
    "\nEOF\n", "\n\tEOF\n", "\nB\n", "ONBUILD ", "USER <<EOF", "x", "'", '"', "$A", "<", "<<", "[", '["a", "<<EOF"]\n', "--",
    "\ufeff", "\u00a0", "é", "ARG A=1",
]  # fmt: skip

LATER = ("<< ", "<<\t", "<<\r", "<<\u00a0", "<<- ", "<<-\t", "<<-\r", "<<-\u00a0")


def ours(text: str) -> list[tuple[int, str, tuple[str, ...]]] | None:
    try:
        return [(each.line, each.name, tuple(each.flags)) for each in parse(text)[0]]
    except InvalidDockerfile:
        return None


def theirs(text: str) -> list[tuple[int, str, tuple[str, ...]]] | None:
    """Return BuildKit's instructions; None if it refuses the text, or an instruction (which it does after parsing)."""
    try:
        found = buildkit.parse_string(text)
    except buildkit.GoParseError:
        return None
    if any((each.cmd or "").lower() not in NAMES for each in found):
        return None
    return [(each.start_line, each.cmd.lower(), each.flags) for each in found]


@settings(max_examples=examples(2000))
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
@example("FROM a\nRUN <<A <<B\nA\nB\nRUN x")
@example("# escape=`\nFROM `\n\n# c\na\\\nRUN b`\n")
def test_instructions_are_parsed_as_by_buildkit(text: str) -> None:
    text = "FROM a\n" + text if not text.startswith(("#", "\ufeff")) else text + "\nFROM a"
    if any(later in text.replace("\\\n", "").replace("`\n", "") for later in LATER):
        return
    assert ours(text) == theirs(text)
