"""The images that a build of a Dockerfile takes from outside, by the rules of BuildKit's dockerfile2llb.

Only what the target needs counts: its base, what it copies and mounts from, and the same of those stages. Variables are
those of the global scope: neither FROM, nor `COPY --from`, nor `RUN --mount` sees what a stage declares.
"""

from __future__ import annotations

import csv
from typing import NamedTuple

from catalog.dockerfile.expand import BadWord, Expander
from catalog.dockerfile.instructions import NAMES, Instruction, invalid, parse, quoted_words, split
from catalog.errors import InvalidDockerfile, InvalidReference
from catalog.names.escape import shown
from catalog.names.platform import Platform
from catalog.names.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MAX_BYTES = 1024 * 1024
"""Bytes of a Dockerfile."""
MAX_STAGES = 1000

SCRATCH = "scratch"
"""The base that is no image (convert.go, `emptyImageName`)."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_STAGE_NAME = f"{_LETTERS}0123456789-_."


class Image(NamedTuple):
    """An image that is taken from outside.

    `text` is its name as written, variables replaced; `context` the name by which BuildKit looks up a named context for
    it (dockerui/config.go, `NamedContext`: the familiar form without `:latest`); `platform` what is asked for, None where
    nothing says. `is_stage` where a stage that is built has that name too, and a context would take that stage's place.
    """

    line: int
    text: str
    reference: Reference
    platform: Platform | None
    is_stage: bool = False

    @property
    def context(self) -> str:
        """The name that BuildKit looks for among the named contexts."""
        return context_name(self.reference)


class Build(NamedTuple):
    """How a Dockerfile is built: `docker buildx build --platform --target --build-arg`, and the builder's own platform.

    `replaced` are the names of contexts that are given elsewhere: of images, and of stages, which then need nothing.
    """

    builder: Platform
    platform: Platform | None = None
    target: str = ""
    arguments: Mapping[str, str] = {}
    replaced: frozenset[str] = frozenset()


def context_name(reference: Reference) -> str:
    """The name of the context that stands in for an image."""
    return reference.familiar.removesuffix(":latest")


def read(text: str, build: Build) -> list[Image]:
    """The images that `build` takes from outside, in the order of the Dockerfile; raises InvalidDockerfile."""
    if len(text) > MAX_BYTES:
        raise InvalidDockerfile(f"it is longer than {MAX_BYTES} bytes: give a Dockerfile")
    instructions, escape = parse(text)
    stages = _Reader(build, escape).stages(instructions)
    _check_cycles(stages)
    needed = _reached(_target(stages, build.target))
    names = {stage.name for stage in needed if stage.name and not stage.is_alias}
    images = {image for stage in needed for image in stage.images if image.context not in build.replaced}
    return sorted(
        (image._replace(is_stage=image.context in names) for image in images),
        key=lambda image: (image.line, image.text, str(image.platform)),
    )


class _Stage:
    """A stage: `base` is what it is built on, None for scratch; `needs` are the stages and images that it copies from.

    `triggers` holds those of its ONBUILD instructions, which the stages that are built on it need: as a stage of its own, so
    that they are gone through once however many stages are built on this one.
    """

    def __init__(self, line: int, name: str, base: _Stage | Image | None) -> None:
        self.line = line
        self.name = name
        self.base = base
        self.instructions: list[Instruction] = []
        self.needs: list[_Stage | Image] = []
        self.triggers: _Stage | None = None

    @property
    def images(self) -> Iterator[Image]:
        """The images that the stage takes."""
        return (each for each in self._all() if isinstance(each, Image))

    @property
    def stages(self) -> Iterator[_Stage]:
        """The stages that the stage takes from."""
        return (each for each in self._all() if isinstance(each, _Stage))

    @property
    def is_alias(self) -> bool:
        """Whether the stage is the image of its name and nothing else (`FROM alpine AS alpine`)."""
        return isinstance(self.base, Image) and not self.instructions and self.base.context == self.name

    def _all(self) -> Iterator[_Stage | Image]:
        if self.base is not None:
            yield self.base
        yield from self.needs
        if isinstance(self.base, _Stage) and self.base.triggers is not None:
            yield self.base.triggers

    def trigger(self, line: int, needs: Iterable[_Stage | Image]) -> None:
        """Note what the stages that are built on this one need, by the ONBUILD at `line`."""
        if self.triggers is None:
            self.triggers = _Stage(line, "", None)
        self.triggers.needs += needs


class _Reader:
    """Reads instructions into stages."""

    def __init__(self, build: Build, escape: str) -> None:
        self._build = build
        self._escape = escape
        self._expander = Expander(escape)
        self._stages: list[_Stage] = []
        self._named: dict[str, _Stage] = {}

    def stages(self, instructions: list[Instruction]) -> list[_Stage]:
        """The stages. FROM knows the stages above it alone; what a stage copies from may stand anywhere."""
        values = self._predefined(instructions)
        for instruction in instructions:
            if instruction.name == "from":
                if len(self._stages) >= MAX_STAGES:
                    raise invalid(instruction.line, f"a Dockerfile may have {MAX_STAGES} stages, and no more")
                stage = self._from(instruction, values)
                self._stages.append(stage)
                if stage.name:
                    self._named[stage.name] = stage
            elif self._stages:
                self._stages[-1].instructions.append(instruction)
            elif instruction.name == "arg":
                self._argument(instruction, values)
            else:
                raise invalid(instruction.line, "before the first FROM there may be nothing but ARG")
        if not self._stages:
            raise InvalidDockerfile("it has no FROM, so there is nothing to build: give a Dockerfile")
        for stage in self._stages:
            if stage.name in self._build.replaced:
                continue  # convert.go: a named context takes the place of a stage, with all that the stage does
            for instruction in stage.instructions:
                stage.needs += self._needs(instruction)
                if instruction.name == "onbuild":
                    stage.trigger(instruction.line, self._needs(_trigger(instruction)))
        return self._stages

    def _predefined(self, instructions: list[Instruction]) -> dict[str, str]:
        """The arguments that are there without an ARG (convert.go, `defaultArgs`); the build may give others."""
        build = self._build
        values = {}
        for prefix, platform in (("BUILD", build.builder), ("TARGET", build.platform or build.builder)):
            values[f"{prefix}PLATFORM"] = str(platform)
            values[f"{prefix}OS"] = platform.os
            values[f"{prefix}OSVERSION"] = platform.version
            values[f"{prefix}ARCH"] = platform.arch
            values[f"{prefix}VARIANT"] = platform.variant
        last = next((each for each in reversed(instructions) if each.name == "from"), None)
        values["TARGETSTAGE"] = build.target or (_stage_name(last) if last else "") or "default"
        return {name: build.arguments.get(name, value) for name, value in values.items()}

    def _argument(self, instruction: Instruction, values: dict[str, str]) -> None:
        """An ARG of the global scope: what the build gives, else its default; with neither, it stays as it was."""
        for word in quoted_words(instruction.rest, self._escape):
            name, equals, default = word.partition("=")
            if not name:
                raise invalid(instruction.line, "ARG names no variable")
            if name in self._build.arguments:
                values[name] = self._build.arguments[name]
            elif equals:
                values[name] = self._expand(default, values, instruction.line)

    def _from(self, instruction: Instruction, values: Mapping[str, str]) -> _Stage:
        line = instruction.line
        name = _stage_name(instruction)
        written = instruction.words()[0]
        base = self._expand(written, values, line)
        if not base:
            raise invalid(line, f"{shown(written)} is empty: give its variables with --build-arg NAME=VALUE")
        platform = self._build.platform
        asked = instruction.value("platform")
        if asked:
            try:
                platform = Platform.parse(self._expand(asked, values, line))
            except InvalidReference as error:
                raise invalid(line, str(error)) from error
        found = self._named.get(base) or _image(line, base, platform)
        return _Stage(line, name, None if name in self._build.replaced else found)

    def _expand(self, text: str, values: Mapping[str, str], line: int) -> str:
        try:
            return self._expander.word(text, values)
        except BadWord as error:
            raise invalid(line, f"{shown(text)} cannot be read: {shown(str(error))}") from error

    def _needs(self, instruction: Instruction) -> Iterator[_Stage | Image]:
        """What an instruction takes from other stages, or from images."""
        line = instruction.line
        if instruction.name == "copy":
            source = instruction.value("from")
            if source and self._expand(source, {}, line) != source:
                raise invalid(line, "--from takes no variables: name a stage with FROM $VARIABLE AS NAME")
            digits = source.removeprefix("-").removeprefix("+")
            if digits.isascii() and digits.isdigit():
                yield self._at(source, line)
            elif source:
                yield from self._called(source, line)
        elif instruction.name == "run":
            for mount in instruction.values("mount"):
                source = _mounted(mount, line)
                if source:
                    yield from self._called(source, line)

    def _at(self, number: str, line: int) -> _Stage:
        """The stage of a number, which counts from zero."""
        if len(number) > 9 or not 0 <= int(number) < len(self._stages):
            raise invalid(line, f"there is no stage {shown(number)}: they count from 0")
        return self._stages[int(number)]

    def _called(self, name: str, line: int) -> Iterator[_Stage | Image]:
        """The stage of a name, in whatever case, before the image."""
        found = self._named.get(name.lower()) or _image(line, name, self._build.platform)
        if found is not None:
            yield found


def _image(line: int, text: str, platform: Platform | None) -> Image | None:
    if text == SCRATCH:
        return None
    try:
        return Image(line, text, Reference.parse(text), platform)
    except InvalidReference as error:
        raise invalid(line, str(error)) from error


def _stage_name(instruction: Instruction) -> str:
    """The name that FROM gives its stage, in lower case; empty where it gives none."""
    words = instruction.words()
    if len(words) == 1:
        return ""
    if len(words) != 3 or words[1].lower() != "as":
        raise invalid(instruction.line, "FROM is written FROM IMAGE or FROM IMAGE AS NAME")
    name = words[2].lower()
    if name[0] not in _LETTERS or name.strip(_STAGE_NAME):
        raise invalid(
            instruction.line, f"{shown(words[2])} is no name of a stage: write letters, digits, '-', '_' or '.'"
        )
    return name


def _trigger(instruction: Instruction) -> Instruction:
    """The instruction behind ONBUILD."""
    found = split(instruction.line, instruction.rest)
    if found.name not in NAMES - {"onbuild", "from", "maintainer"}:
        raise invalid(instruction.line, "ONBUILD is followed by an instruction other than ONBUILD, FROM and MAINTAINER")
    return found


def _mounted(mount: str, line: int) -> str:
    """What `RUN --mount=...,from=X` mounts from; empty for the build's own context."""
    try:
        fields = next(csv.reader([mount], strict=True), [])
    except csv.Error as error:
        raise invalid(line, f"--mount={shown(mount)} is no list of KEY=VALUE: {error}") from error
    source = ""
    for field in fields:
        key, _, value = field.partition("=")
        if key.lower() == "from":
            source = value
    if "$" in source[:-1]:
        raise invalid(line, "from= takes no variables: name a stage with FROM $VARIABLE AS NAME")
    return source


def _target(stages: list[_Stage], name: str) -> _Stage:
    if not name:
        return stages[-1]
    for stage in reversed(stages):
        if stage.name == name.lower():
            return stage
    known = ", ".join(dict.fromkeys(stage.name for stage in stages if stage.name)) or "none has a name"
    raise InvalidDockerfile(f"it has no stage {shown(name)}: --target takes the name of one ({shown(known)})")


def _reached(target: _Stage) -> list[_Stage]:
    """The stages that the target needs, itself and triggers too."""
    found = {target}
    ahead = [target]
    while ahead:
        for each in ahead.pop().stages:
            if each not in found:
                found.add(each)
                ahead.append(each)
    return list(found)


def _check_cycles(stages: list[_Stage]) -> None:
    """Refuse stages that need each other, as BuildKit does, whether the target needs them or not."""
    open_: set[_Stage] = set()
    done: set[_Stage] = set()
    for first in stages:
        path = [] if first in done else [(first, first.stages)]
        open_.update(stage for stage, _ in path)
        while path:
            stage, ahead = path[-1]
            following = next(ahead, None)
            if following is None:
                path.pop()
                open_.discard(stage)
                done.add(stage)
            elif following in open_:
                raise invalid(following.line, "this stage needs itself: COPY --from and FROM go round in a circle")
            elif following not in done:
                open_.add(following)
                path.append((following, following.stages))
