"""`ocicat contexts`."""

from __future__ import annotations

import os
import sys

import click

from catalog.cli import contexts, messages, output
from catalog.cli.limits import ASK_SECONDS, Limits
from catalog.cli.main import Globals
from catalog.cli.time_limit import time_limit
from catalog.dockerfile.images import MAX_BYTES, Build, context_name, read
from catalog.engine.location import catalog_path
from catalog.errors import NotFound, OcicatError, UsageError
from catalog.exhausted import exhausted
from catalog.lookup.needed import this_machine
from catalog.lookup.resolve import Asking
from catalog.lookup.stores import store_ids
from catalog.names.escape import shown
from catalog.names.platform import Platform
from catalog.names.reference import Reference


@click.command(name="contexts")
@click.argument("dockerfile", metavar="DOCKERFILE")
@click.option("--platform", metavar="P", help="Build for os/arch[/variant], or for several, separated by commas.")
@click.option("--target", metavar="T", default="", help="Build this stage. [default: the last one]")
@click.option("--build-arg", "arguments", multiple=True, metavar="K=V", help="A build argument. Repeatable.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(("flags", "json", "bake")),
    default="flags",
    help="Options for buildx build, one JSON object per image, or a file for buildx bake. [default: flags]",
)
@click.option("--strict", is_flag=True, help="Fail if an image is not in the catalog or not complete.")
@click.option(
    "--skip",
    multiple=True,
    metavar="NAME",
    help="Leave out the image NAME, whose context you give to buildx yourself. Repeatable.",
)
@click.option("--store", "stores", multiple=True, metavar="S", help="Only this store: a name or a glob. Repeatable.")
@click.option("--first", is_flag=True, help="Take the first store in priority order where stores differ.")
@time_limit(ASK_SECONDS, " for each image")
@click.pass_obj
def command(
    globals_: Globals,
    dockerfile: str,
    platform: str | None,
    target: str,
    arguments: tuple[str, ...],
    format_: str,
    strict: bool,
    skip: tuple[str, ...],
    stores: tuple[str, ...],
    first: bool,
    timeout: float | None,
) -> int:
    """Print --build-context options for those images of DOCKERFILE that the catalog has ('ocicat help builds').

    docker buildx build $(ocicat contexts Dockerfile) . then builds from local layouts. '-' reads the Dockerfile from
    stdin. An image that the catalog lacks, or that lacks a blob the build needs, is named on stderr.
    """
    with Limits(timeout, ASK_SECONDS) as limits:
        platforms = [None] if platform is None else [Platform.parse(each) for each in platform.split(",")]
        given, text = dict(_arguments(arguments)), _text(dockerfile)
        builder = this_machine()
        replaced = frozenset(context_name(Reference.parse(name)) for name in skip)
        images = [image for each in platforms for image in read(text, Build(builder, each, target, given, replaced))]
        reader = limits.open_reader(catalog_path(globals_.db))
        try:
            scope = store_ids(reader, stores) if stores else None
            asking = Asking(reader, messages.note, stores=scope, strict=strict)
            builder = Platform.parse(given["BUILDPLATFORM"]) if given.get("BUILDPLATFORM") else builder
            found = []
            for context in contexts.answers(asking, dict.fromkeys(images), builder=builder, first=first):
                limits.restart()
                found.append(context)
        finally:
            reader.close()
        worst = _report(found, strict=strict)
        if format_ == "json":
            contexts.write_json(found)
            return worst
        refused = contexts.write_flags(found) if format_ == "flags" else contexts.write_bake(found, target or "default")
        return max([worst, *map(messages.fail, refused)])


def _report(found: list[contexts.Context], *, strict: bool) -> int:
    """Report each image without an answer once, on stderr; return the highest exit status."""
    worst = 0
    named: set[str] = set()
    for image, _, _, error in found:
        if error is None or image.context in named:
            continue
        named.add(image.context)
        if isinstance(error, NotFound) and not strict:
            messages.note(f"{shown(image.text)} (line {image.line}) is left to buildx: {error}")
            continue
        if isinstance(error, NotFound) and not error.hint:
            failure: OcicatError = NotFound(f"{error} (line {image.line})", "'ocicat add PATH' adds more layouts")
        else:
            failure = error
        worst = max(worst, messages.fail(failure))
    return worst


def _arguments(texts: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the build arguments as pairs of name and value.

    As in buildx, a name without a value takes it from the environment; if it is not set there, it is left out.
    """
    found = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise UsageError(f"--build-arg {shown(text)} has no name: write NAME=VALUE")
        given = value if equals else os.environ.get(name)
        if given is not None:
            found.append((name, given))
    return found


def _text(path: str) -> str:
    """Return the text of the Dockerfile. Raises UsageError if it cannot be read or is longer than MAX_BYTES."""
    try:
        if path == "-":
            with output.waits:
                data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with open(path, "rb") as file:
                data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        ran_out = exhausted(error.errno) if isinstance(error, OSError) else None
        if ran_out is not None:
            raise ran_out from error
        reason = error.strerror if isinstance(error, OSError) else "the path contains a NUL"
        raise UsageError(
            f"cannot read the Dockerfile {shown(path)} ({reason}): give its path, or - for stdin"
        ) from error
    if len(data) > MAX_BYTES:
        raise UsageError(f"{shown(path)} is longer than {MAX_BYTES} bytes: give the path of a Dockerfile")
    return data.decode("utf-8", "surrogateescape")
