"""Find the images that a build of a Dockerfile needs, by the rules of BuildKit's dockerfile2llb.

Only what the target needs counts: its base, what it copies and mounts from, and the same for each stage among these.
Only the variables of the global scope matter: FROM sees no others, and `COPY --from` and `RUN --mount=from=` take none.
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
"""The maximum length of a Dockerfile, in bytes."""
MAX_STAGES = 1000

SCRATCH = "scratch"
"""The name of the empty base, which is not an image (convert.go, `emptyImageName`)."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_STAGE_NAME = f"{_LETTERS}0123456789-_."


class Image(NamedTuple):
    """An image that the build needs.

    `text` is its name as written, with variables replaced. `platform` is the requested one, None if there is none.
    `is_stage` is true if a stage that is built has the same name; a context of that name would also replace the stage.
    """

    line: int
    text: str
    reference: Reference
    platform: Platform | None
    is_stage: bool = False

    @property
    def context(self) -> str:
        """The name under which BuildKit looks up a named context for this image."""
        return context_name(self.reference)


class Build(NamedTuple):
    """How a Dockerfile is built: `docker buildx build --platform --target --build-arg`, and the builder's own platform.

    `replaced` has the names of the contexts that the user gives to buildx (`--skip`). They replace images, and also stages, which
    then need nothing.
    """

    builder: Platform
    platform: Platform | None = None
    target: str = ""
    arguments: Mapping[str, str] = {}
    replaced: frozenset[str] = frozenset()


def context_name(reference: Reference) -> str:
    """Return the name of the context that replaces an image (dockerui/config.go, `NamedContext`).

    It is the familiar form without `:latest`.
    """
    return reference.familiar.removesuffix(":latest")


def read(text: str, build: Build) -> list[Image]:
    """Return the images that `build` needs, in the order of the Dockerfile. Raises InvalidDockerfile."""
    if len(text) > MAX_BYTES:
        raise InvalidDockerfile(f"the Dockerfile is longer than {MAX_BYTES} bytes: give the path of a Dockerfile")
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
    """A stage. `base` is what it is built on, None for scratch or if a context replaces the stage.

    `needs` are the stages and images that it copies or mounts from. `triggers` has what its ONBUILD instructions need, which every
    stage that is built on it needs as well. It is a separate stage, so that it is visited only once, however many stages those are.
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
        """The images that the stage needs directly."""
        return (each for each in self._all() if isinstance(each, Image))

    @property
    def stages(self) -> Iterator[_Stage]:
        """The stages that the stage needs directly."""
        return (each for each in self._all() if isinstance(each, _Stage))

    @property
    def is_alias(self) -> bool:
        """Whether the stage is nothing but the image of the same name (`FROM alpine AS alpine`)."""
        return isinstance(self.base, Image) and not self.instructions and self.base.context == self.name

    def _all(self) -> Iterator[_Stage | Image]:
        if self.base is not None:
            yield self.base
        yield from self.needs
        if isinstance(self.base, _Stage) and self.base.triggers is not None:
            yield self.base.triggers

    def trigger(self, line: int, needs: Iterable[_Stage | Image]) -> None:
        """Record what the stages built on this one need, because of the ONBUILD in line `line`."""
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
        """Return the stages. FROM may refer only to stages above it; `--from` may refer to any stage."""
        values = self._predefined(instructions)
        for instruction in instructions:
            if instruction.name == "from":
                if len(self._stages) >= MAX_STAGES:
                    raise invalid(instruction.line, f"a Dockerfile may have at most {MAX_STAGES} stages")
                stage = self._from(instruction, values)
                self._stages.append(stage)
                if stage.name:
                    self._named[stage.name] = stage
            elif self._stages:
                self._stages[-1].instructions.append(instruction)
            elif instruction.name == "arg":
                self._argument(instruction, values)
            else:
                raise invalid(instruction.line, "only ARG may come before the first FROM")
        if not self._stages:
            raise InvalidDockerfile(
                "the Dockerfile has no FROM, so there is nothing to build: give the path of a Dockerfile"
            )
        for stage in self._stages:
            if stage.name in self._build.replaced:
                continue  # convert.go: a named context replaces the whole stage
            for instruction in stage.instructions:
                stage.needs += self._needs(instruction)
                if instruction.name == "onbuild":
                    stage.trigger(instruction.line, self._needs(_trigger(instruction)))
        return self._stages

    def _predefined(self, instructions: list[Instruction]) -> dict[str, str]:
        """Return the arguments that need no ARG (convert.go, `defaultArgs`). A build argument overrides the default."""
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
        """Apply an ARG of the global scope: set each variable to its build argument, else to its default; with neither, leave it."""
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
            raise invalid(line, f"{shown(text)} cannot be expanded: {shown(str(error))}") from error

    def _needs(self, instruction: Instruction) -> Iterator[_Stage | Image]:
        """Yield the stages and images from which an instruction copies or mounts."""
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
        """Return the stage with this number, counted from zero."""
        if len(number) > 9 or not 0 <= int(number) < len(self._stages):
            raise invalid(line, f"there is no stage {shown(number)}: stages are numbered from 0")
        return self._stages[int(number)]

    def _called(self, name: str, line: int) -> Iterator[_Stage | Image]:
        """Yield the stage of this name, in any letter case, or else the image; yield nothing for scratch."""
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
    """Return the name that FROM gives its stage, in lower case; "" if it gives none."""
    words = instruction.words()
    if len(words) == 1:
        return ""
    if len(words) != 3 or words[1].lower() != "as":
        raise invalid(instruction.line, "write FROM IMAGE or FROM IMAGE AS NAME")
    name = words[2].lower()
    if name[0] not in _LETTERS or name.strip(_STAGE_NAME):
        raise invalid(
            instruction.line,
            f"{shown(words[2])} is not a valid stage name: begin with a letter, and use letters, digits, '-', '_' and '.'",
        )
    return name


def _trigger(instruction: Instruction) -> Instruction:
    """Return the instruction after ONBUILD."""
    found = split(instruction.line, instruction.rest)
    if found.name not in NAMES - {"onbuild", "from", "maintainer"}:
        raise invalid(
            instruction.line, "ONBUILD must be followed by an instruction other than ONBUILD, FROM and MAINTAINER"
        )
    return found


def _mounted(mount: str, line: int) -> str:
    """Return the X in `RUN --mount=...,from=X`; "" for the build context."""
    try:
        fields = next(csv.reader([mount], strict=True), [])
    except csv.Error as error:
        raise invalid(line, f"--mount={shown(mount)} is not a list of KEY=VALUE: {error}") from error
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
    raise InvalidDockerfile(
        f"the Dockerfile has no stage {shown(name)}: --target takes the name of a stage ({shown(known)})"
    )


def _reached(target: _Stage) -> list[_Stage]:
    """Return the stages that the target needs, including itself and triggers."""
    found = {target}
    ahead = [target]
    while ahead:
        for each in ahead.pop().stages:
            if each not in found:
                found.add(each)
                ahead.append(each)
    return list(found)


def _check_cycles(stages: list[_Stage]) -> None:
    """Raise InvalidDockerfile if stages need each other. Like BuildKit, this includes stages that the target does not need."""
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
                raise invalid(following.line, "this stage needs itself: its FROM and --from form a cycle")
            elif following not in done:
                open_.add(following)
                path.append((following, following.stages))
