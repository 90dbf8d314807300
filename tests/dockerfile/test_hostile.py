"""Dockerfiles made to be expensive are answered or refused in bounded time and memory."""

from __future__ import annotations

import tracemalloc

import pytest

from catalog.dockerfile.images import MAX_BYTES, MAX_STAGES, Build, read
from catalog.errors import InvalidDockerfile
from catalog.names.platform import Platform

BUILD = Build(Platform.parse("linux/amd64"))
LINE = 60_000

HOSTILE = {
    "a laugh of a billion": "ARG A=" + "x" * 1000 + "\n" + "ARG A=$A$A$A$A$A$A$A$A\n" * 40 + "FROM $A",
    "a wide one": "ARG A=" + "x" * 60_000 + "\n" + "\n".join(f"ARG B{n}=$A" for n in range(50_000)) + "\nFROM a",
    "deep variables": "ARG A=" + "${B:-" * 10_000 + "}" * 10_000 + "\nFROM a",
    "stars": "ARG A=" + "a" * 30_000 + "\nARG B=${A%" + "*a" * 10_000 + "*b}\nFROM a",
    "question marks": "ARG A=" + "a" * 30_000 + "\nARG B=${A//" + "?" * 10_000 + "b/x}\nFROM a",
    "many patterns": "ARG A=" + "a" * 1000 + "\n" + "ARG B=${A//?a?a*b/x}\n" * 40_000 + "FROM a",
    "a large replacement": "ARG A=" + "a" * 30_000 + "\nARG B=${A//a/" + "b" * 30_000 + "}\nFROM a",
    "too large": "FROM a\n" + "#\n" * MAX_BYTES,
    "stages": "FROM a\n" * (MAX_STAGES + 1),
    "an endless line": "FROM a\nRUN " + "x" * MAX_BYTES,
}
ANSWERED = {
    "continuations": "FROM \\\n" + "\\\n" * 400_000 + "alpine",
    "comments": "# \\\n" * 200_000 + "FROM alpine",
    "quotes": "FROM alpine\n" + ("RUN " + "'\"" * (LINE // 2) + "' <<E\n") * 15,
    "heredocs": "FROM alpine\nRUN" + " <<E" * 10_000 + "\n" + "E\n" * 10_000,
    "brackets": "FROM alpine\nRUN " + "[" * LINE,
    "blanks": "FROM alpine\n" + ("RUN" + " " * LINE + "\n") * 16,
    "flags": "FROM alpine\n" + ("COPY " + "--x " * (LINE // 4) + "\n") * 16,
    "a chain": "FROM alpine AS s0\n" + "\n".join(f"FROM s{n} AS s{n + 1}" for n in range(MAX_STAGES - 1)),
    "everything copies from everything": "\n".join(
        f"FROM alpine AS s{n}\n" + "".join(f"COPY --from={m} a b\n" for m in range(n)) for n in range(200)
    ),
    "bytes that are no text": "FROM alpine\nRUN \udcff\udc80\x00\x1b[31m",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_dockerfile_that_exceeds_a_limit_is_refused_soon_with_a_printable_message(name: str) -> None:
    with pytest.raises(InvalidDockerfile) as caught:
        read(HOSTILE[name], BUILD)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", ANSWERED)
def test_a_strange_but_valid_dockerfile_is_answered(name: str) -> None:
    assert {image.context for image in read(ANSWERED[name], BUILD)} == {"alpine"}


def test_memory_is_bounded() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InvalidDockerfile):
            read(HOSTILE["a wide one"], BUILD)
        assert tracemalloc.get_traced_memory()[1] < 100 * MAX_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "text", ["FROM a\x1b[31m", "FROM a\nCOPY --from=\x1b]0; x y", "FROM ${A?\x1b[2J}", "FROM a AS \x9b"]
)
def test_no_message_contains_a_control_character(text: str) -> None:
    with pytest.raises(InvalidDockerfile) as caught:
        read(text, BUILD)
    assert str(caught.value).isprintable()
