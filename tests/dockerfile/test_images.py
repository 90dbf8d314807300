"""The images that a Dockerfile needs: one case for each of BuildKit's rules, with its source.

`docs` is docs.docker.com/reference/dockerfile/#SECTION. Other sources are files of github.com/moby/buildkit in frontend/.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from catalog.dockerfile.images import Build, Image, read
from catalog.errors import InvalidDockerfile
from catalog.names.platform import Platform

AMD64 = Platform.parse("linux/amd64")
ARM64 = Platform.parse("linux/arm64")


class Case(NamedTuple):
    """A rule and an example. `images` are the names that BuildKit looks up; `build` is how the Dockerfile is built."""

    rule: str
    source: str
    text: str
    images: list[str]
    build: dict[str, object] = {}  # noqa: RUF012 - read only


CASES = [
    # --- directives
    Case("one image", "docs from", "FROM alpine", ["alpine"]),
    Case("the escape character", "docs escape", "# escape=`\nFROM `\nalpine:1\nCOPY --from=b:1 C:\\ D:\\", ["alpine:1", "b:1"]),
    Case(
        "directives are case-insensitive and may have blanks",
        "docs parser-directives",
        "#  Escape  =  `\nFROM `\nalpine",
        ["alpine"],
    ),
    Case(
        "after a comment a directive is one too",
        "docs parser-directives",
        "# About\n# escape=`\nFROM alp\\\nine",
        ["alpine"],
    ),
    Case("after an unknown directive too", "docs parser-directives", "# nope=1\n# escape=`\nFROM alp\\\nine", ["alpine"]),
    Case("after an empty line too", "dockerfile/parser/directives.go", "\n# escape=`\nFROM alp\\\nine", ["alpine"]),
    Case(
        "syntax and check are no images",
        "docs syntax",
        "# syntax=docker/dockerfile:1\n# check=skip=all\nFROM alpine",
        ["alpine"],
    ),
    Case("a byte order mark", "dockerfile/parser/parser.go discardBOM", "\ufeffFROM alpine", ["alpine"]),
    Case("CR LF", "dockerfile/parser/parser.go trimNewline", "FROM alpine \\\r\n  AS b\r\nFROM b\r\n", ["alpine"]),
    # --- lines
    Case("comments in a continuation", "docs format", "FROM \\\n# no\n   # nor this \\\nalpine", ["alpine"]),
    Case("empty lines in a continuation", "dockerfile/parser/parser.go", "FROM \\\n\n  \nalpine:2", ["alpine:2"]),
    Case("blanks behind the escape", "dockerfile/parser/parser.go", "FROM \\ \t\nalpine", ["alpine"]),
    Case("a doubled escape goes on nowhere", "dockerfile/parser/parser.go", "FROM alpine\nRUN a\\\\\nRUN b", ["alpine"]),
    Case("a comment that ends in an escape", "dockerfile/parser/parser.go", "# no \\\nFROM alpine", ["alpine"]),
    Case("instructions in any case", "docs format", "from alpine as A\nfRoM a", ["alpine"]),
    # --- heredocs
    Case("a heredoc of RUN", "docs here-documents", "FROM alpine\nRUN <<EOF\nFROM no\nEOF\nCOPY --from=b x y", ["alpine", "b"]),
    Case("its tabs", "docs here-documents", "FROM alpine\nRUN <<-EOF\n\tFROM no\n\t\tEOF\nCOPY --from=b x y", ["alpine", "b"]),
    Case(
        "quoted",
        "docs here-documents",
        "FROM alpine\nRUN <<'EOF' cat\nEOF x\nFROM no\nEOF\nCOPY --from=b x y",
        ["alpine", "b"],
    ),
    Case(
        "several on a line",
        "docs here-documents",
        'FROM alpine\nCOPY <<A <<"B" /\nFROM no\nB\nA\nFROM no\nB\nCOPY --from=b x y',
        ["alpine", "b"],
    ),
    Case(
        "a descriptor, and blanks before the word",
        "dockerfile/parser/parser.go reHeredoc",
        "FROM alpine\nRUN cat 3<< EOF\nFROM no\nEOF\nCOPY --from=b x y",
        ["alpine", "b"],
    ),
    Case(
        "a comment in one is text",
        "docs here-documents",
        "FROM alpine\nRUN <<EOF\n# COPY --from=no a b \\\nEOF\nFROM b",
        ["b"],
    ),
    Case("of no other instruction", "dockerfile/parser/parser.go heredocDirectives", "FROM alpine\nENV A=<<EOF\nFROM b", ["b"]),
    Case("no here-string", "dockerfile/parser/parser.go reHeredoc", "FROM alpine\nRUN cat <<<EOF\nCOPY --from=b x y", ["alpine", "b"]),
    Case("none in quotes", "dockerfile/parser/parser.go", 'FROM alpine\nRUN echo "<<EOF x"\nCOPY --from=b x y', ["alpine", "b"]),
    Case("none in the exec form", "dockerfile/parser/parser.go", 'FROM alpine\nRUN ["a", "<<EOF"]\nCOPY --from=b x y', ["alpine", "b"]),
    Case(
        "behind ONBUILD",
        "dockerfile/parser/parser.go heredocCompoundDirectives",
        "FROM alpine\nONBUILD RUN <<EOF\nFROM no\nEOF\nCOPY --from=b x y",
        ["alpine", "b"],
    ),
    # --- stages
    Case("the last stage alone", "docs.docker.com/build/building/multi-stage", "FROM a\nFROM b", ["b"]),
    Case("a stage that it is built on", "docs from", "FROM a AS x\nFROM no AS y\nFROM x", ["a"]),
    Case("a stage that it copies from", "docs copy---from", "FROM a AS x\nFROM b\nCOPY --from=X /x /x", ["a", "b"]),
    Case("by number", "docs copy---from", "FROM a\nFROM no\nFROM b\nCOPY --from=0 /x /x", ["a", "b"]),
    Case("an image that it copies from", "docs copy---from", "FROM a\nCOPY --from=nginx:latest /x /x", ["a", "nginx"]),
    Case("a flag among flags", "docs copy", "FROM a\nCOPY --link --chown=1:2 --from='b:1' /x /x", ["a", "b:1"]),
    Case("no flag behind the first word", "dockerfile/parser/split_command.go", "FROM a\nCOPY x --from=b y", ["a"]),
    Case("ADD copies from none", "docs add", "FROM a\nADD x y", ["a"]),
    Case("a target", "docs.docker.com/build/building/multi-stage", "FROM a AS x\nFROM b AS y", ["a"], {"target": "X"}),
    Case("scratch", "docs from", "FROM scratch\nCOPY --from=scratch a b", []),
    Case("a stage before an image of its name", "dockerfile2llb addState", "FROM a AS golang\nFROM golang", ["a"]),
    Case("but below it alone", "dockerfile2llb addState", "FROM golang AS golang", ["golang"]),
    Case("the last of a name, to copy", "dockerfile2llb addState", "FROM no AS x\nFROM b AS x\nFROM c\nCOPY --from=x a b", ["b", "c"]),
    Case("a stage below, to copy", "dockerfile2llb toCommand", "FROM a AS t\nCOPY --from=x a b\nFROM b AS x", ["a", "b"], {"target": "t"}),
    # --- mounts
    Case("RUN --mount", "docs run---mount", "FROM a\nRUN --mount=type=bind,from=b:1,target=/x true", ["a", "b:1"]),
    Case("of a stage", "docs run---mount", "FROM b AS x\nFROM a\nRUN --mount=from=x,target=/x true", ["b", "a"]),
    Case("several", "docs run---mount", "FROM a\nRUN --mount=from=b,target=/b --mount=from=c,target=/c true", ["a", "b", "c"]),
    Case("in a cache", "docs run---mounttypecache", "FROM a\nRUN --mount=type=cache,target=/c true", ["a"]),
    Case("a cache that begins as an image", "docs run---mounttypecache", "FROM a\nRUN --mount=type=cache,FROM=b,target=/c true", ["a", "b"]),
    Case("a quoted field", "instructions/commands_runmount.go", 'FROM a\nRUN --mount=\\"from=b\\",target=/b true', ["a", "b"]),
    # --- variables
    Case("a default", "docs understand-how-arg-and-from-interact", "ARG V=3\nFROM a:$V", ["a:3"]),
    Case("that the build replaces", "docs arg", "ARG V=3\nFROM a:${V}", ["a:4"], {"arguments": {"V": "4"}}),
    Case("from another", "dockerfile2llb buildMetaArgs", "ARG A=x\nARG B=$A-y C=${B}z\nFROM r:$C", ["r:x-yz"]),
    Case("quoted", "docs arg", "ARG A=\"x y\" B='$A'\nFROM r:${A#x?}", ["r:y"]),
    Case("not declared", "docs arg", "FROM a:${V:-1}", ["a:1"], {"arguments": {"V": "4"}}),
    Case("of a stage: not seen by FROM", "docs understand-how-arg-and-from-interact", "FROM a\nARG V=1\nFROM b:${V:-2}", ["b:2"]),
    Case("declared after its use", "docs understand-how-arg-and-from-interact", "ARG A=${B:-none}\nARG B=x\nFROM r:$A", ["r:none"]),
    Case("in the whole name", "docs from", "ARG BASE\nFROM ${BASE:-scratch} AS x\nFROM ${BASE:-x}", []),
    Case("a stage by a variable", "docs from", "ARG S=one\nFROM a AS one\nFROM no AS two\nFROM $S", ["a"]),
    Case("the platform's", "docs automatic-platform-args-in-the-global-scope", "FROM a:$TARGETOS-$TARGETARCH$TARGETVARIANT", ["a:linux-armv7"], {"platform": Platform.parse("linux/arm/v7")}),
    Case("the builder's", "docs automatic-platform-args-in-the-global-scope", "FROM a:$BUILDARCH", ["a:amd64"], {"platform": ARM64}),
    Case("the target stage's", "dockerfile2llb defaultArgs", "FROM a AS dev\nFROM b:$TARGETSTAGE AS prod", ["b:prod"]),
    # --- ONBUILD
    Case("not in its own stage", "docs onbuild", "FROM a\nONBUILD COPY --from=no x y", ["a"]),
    Case("in what is built on it", "dockerfile2llb initOnBuildTriggers", "FROM a AS x\nONBUILD COPY --from=b x y\nFROM x", ["a", "b"]),
    Case("once", "docs onbuild", "FROM a AS x\nONBUILD RUN --mount=from=b,target=/b true\nFROM x AS y\nFROM y", ["a", "b"]),
    # --- names of contexts
    Case("familiar", "dockerui/config.go NamedContext", "FROM docker.io/library/alpine:latest", ["alpine"]),
    Case("of another registry", "dockerui/config.go NamedContext", "FROM ghcr.io/o/r:1", ["ghcr.io/o/r:1"]),
    Case("a digest", "dockerui/config.go NamedContext", f"FROM a:1@sha256:{'a' * 64}", [f"a:1@sha256:{'a' * 64}"]),
    Case("one context for every spelling", "dockerui/config.go NamedContext", "FROM alpine\nCOPY --from=library/alpine:latest a b", ["alpine", "alpine"]),
]  # fmt: skip


def images(text: str, **build: object) -> list[Image]:
    return read(text, Build(AMD64)._replace(**build))  # type: ignore[arg-type]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_the_images_are_those_that_buildkit_needs(case: Case) -> None:
    assert [image.context for image in images(case.text, **case.build)] == case.images


REFUSED = [
    ("a directive twice", "dockerfile/parser/directives.go", "# escape=`\n# escape=`\nFROM a"),
    ("an escape of two", "dockerfile/parser/parser.go", "# escape=xy\nFROM a"),
    ("no FROM", "dockerfile2llb", "ARG A=1"),
    ("nothing", "dockerfile2llb", ""),
    ("RUN before FROM", "instructions/parse.go CurrentStage", "RUN true\nFROM a"),
    ("an unknown instruction", "instructions/parse.go", "FROM a\nFRO b"),
    ("FROM of two words", "instructions/parse.go", "FROM a b"),
    ("an invalid stage name", "instructions/parse.go validStageName", "FROM a AS 1x"),
    ("an unset base", "dockerfile2llb", "FROM $X"),
    ("upper case", "dockerfile2llb resolveBaseImage", "FROM ALPINE"),
    ("upper case where it is not needed", "dockerfile2llb resolveBaseImage", "FROM ALPINE\nFROM b"),
    ("a variable in --from", "dockerfile2llb toCommand", "ARG A=b\nFROM a\nCOPY --from=$A x y"),
    ("a variable in a mount", "instructions/commands_runmount.go", "FROM a\nRUN --mount=from=$A,target=/x true"),
    ("an index past the end", "dockerfile2llb findStateByIndex", "FROM a\nFROM b\nCOPY --from=2 x y"),
    ("an index below zero", "dockerfile2llb findStateByIndex", "FROM a\nFROM b\nCOPY --from=-1 x y"),
    ("a cycle", "dockerfile2llb validateCircularDependency", "FROM a AS x\nCOPY --from=y a b\nFROM x AS y"),
    ("itself", "dockerfile2llb validateCircularDependency", "FROM a AS x\nCOPY --from=x a b"),
    ("a heredoc without end", "dockerfile/parser/parser.go", "FROM a\nRUN <<EOF\ntrue"),
    ("--from twice", "instructions/bflag.go", "FROM a\nCOPY --from=b --from=c x y"),
    ("--from without a value", "instructions/bflag.go", "FROM a\nCOPY --from x y"),
    ("an invalid platform", "dockerfile2llb", "FROM --platform=a/b/c/d a"),
    ("ONBUILD ONBUILD", "docs onbuild", "FROM a\nONBUILD ONBUILD RUN true"),
    ("a message", "docs variable substitution", "ARG V\nFROM a:${V:?say which}"),
    ("a line too long", "bufio.MaxScanTokenSize", f"FROM a\nRUN {'x' * 65536}"),
]


@pytest.mark.parametrize(("rule", "source", "text"), REFUSED, ids=[each[0] for each in REFUSED])
def test_a_dockerfile_that_buildkit_refuses_is_refused_in_one_printable_line(rule: str, source: str, text: str) -> None:
    with pytest.raises(InvalidDockerfile) as caught:
        images(text)
    assert caught.value.status == 2
    assert str(caught.value).isprintable()


def test_the_error_for_an_unknown_target_lists_the_stages() -> None:
    with pytest.raises(InvalidDockerfile, match=r"no stage prod.*\(dev\)"):
        images("FROM a AS dev", target="prod")


@pytest.mark.parametrize(
    ("text", "platform", "expected"),
    [
        ("FROM a", None, None),
        ("FROM a", "linux/arm64", "linux/arm64"),
        ("FROM --platform=linux/s390x a", "linux/arm64", "linux/s390x"),
        ("FROM --platform=$BUILDPLATFORM a", "linux/arm64", "linux/amd64"),
        ("FROM --platform=${TARGETPLATFORM} a", "linux/arm64", "linux/arm64"),
        ("FROM --platform=linux/$TARGETARCH a", "linux/arm64", "linux/arm64"),
        ("FROM --platform=linux/s390x scratch\nCOPY --from=a x y", "linux/arm64", "linux/arm64"),
    ],
)
def test_the_platform_is_that_of_from_else_that_of_the_build(
    text: str, platform: str | None, expected: str | None
) -> None:
    (image,) = images(text, platform=Platform.parse(platform) if platform else None)
    assert image.platform == (Platform.parse(expected) if expected else None)


def test_the_build_may_say_what_the_builder_is() -> None:
    (image,) = images("FROM --platform=$BUILDPLATFORM a", arguments={"BUILDPLATFORM": "linux/riscv64"})
    assert str(image.platform) == "linux/riscv64"


@pytest.mark.parametrize(
    ("text", "is_stage"),
    [
        ("FROM alpine AS alpine\nRUN true", True),
        ("FROM alpine:latest AS Alpine\nRUN true", True),
        ("FROM b AS alpine\nRUN true\nFROM alpine\nCOPY --from=alpine:latest a b", True),
        ("FROM alpine AS alpine\nFROM alpine\nRUN true", False),
        ("FROM alpine:3 AS alpine\nRUN true", False),
        ("FROM b AS alpine\nRUN true\nFROM alpine:latest", False),
    ],
)
def test_a_stage_with_the_name_of_a_context_is_reported(text: str, is_stage: bool) -> None:
    """A context replaces a stage of the same name (dockerfile2llb buildDispatchStates).

    That is harmless if the stage is an alias or is not built.
    """
    assert any(image.is_stage for image in images(text)) == is_stage


def test_lines_are_those_where_the_instruction_begins() -> None:
    text = "# c\n\nFROM a \\\n AS x\nRUN <<E\n1\nE\nCOPY \\\n  --from=b x y"
    assert [(image.line, image.text) for image in images(text)] == [(3, "a"), (8, "b")]
