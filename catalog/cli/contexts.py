"""What `contexts` answers: for each image of a Dockerfile, the layout that buildx can take it from (docs/builds.md)."""

from __future__ import annotations

import json
import os
from typing import NamedTuple

from catalog.cli import formats
from catalog.errors import Ambiguous, CatalogUnavailable, NotFound, NotInTime, OcicatError, UsageError
from catalog.lookup import frozen
from catalog.lookup.find import find
from catalog.names import query as kinds
from catalog.names.escape import shown
from catalog.names.query import Query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from catalog.dockerfile.images import Image
    from catalog.lookup.match import Match
    from catalog.lookup.reader import Reader
    from catalog.lookup.resolve import Asking

FIELDS = ("name", "reference", "platform", "found", "store", "path", "digest", "line", "error")
"""The keys of an object of `--format json`. Keys are only ever added."""
_SPLIT_OR_MATCHED = "*?[]()\\"
"""What a shell takes for a pattern in an unquoted `$(...)`."""


class Context(NamedTuple):
    """One image of the Dockerfile, and what answers for it: a store and a digest, or why there is none."""

    image: Image
    match: Match | None
    digest: str | None
    error: OcicatError | None


def answers(asking: Asking, images: Iterable[Image], *, first: bool) -> Iterator[Context]:
    """The answer for each image; those that BuildKit looks up by one name have one digest, or none."""
    by_name: dict[str, list[Image]] = {}
    for image in images:
        by_name.setdefault(image.context, []).append(image)
    shared = {row[0] for row in asking.reader.rows(frozen.STORES, {}) if row[11] is not None}
    for together in by_name.values():
        try:
            match, digest = _one(asking, together, shared, first=first)
        except OcicatError as error:
            if isinstance(error, CatalogUnavailable) and not isinstance(error, NotInTime):
                raise
            yield from (Context(image, None, None, error) for image in together)
        else:
            yield from (Context(image, match, digest, None) for image in together)


def _one(asking: Asking, images: list[Image], shared: set[int], *, first: bool) -> tuple[Match, str]:
    """The match and the digest for all images of one name; raises what `resolve` raises, and NotFound."""
    image = images[0]
    if any(each.is_stage for each in images):
        raise NotFound(
            f"{shown(image.context)} is the name of a stage too, and a context of that name would take the stage's place",
            "give the stage another name",
        )
    found: dict[str, Match] = {}
    for each in images:
        asking.platform = each.platform
        query = _query(each)
        match = asking.resolve(query, first=first)
        found.setdefault(_whole(asking.reader, query, match), match)
    if len(found) > 1:
        lines = [f"{shown(match.store)}\t{shown(match.name or '-')}\t{digest}" for digest, match in found.items()]
        platforms = ", ".join(dict.fromkeys(str(each.platform) for each in images if each.platform))
        raise Ambiguous(
            f"{shown(image.text)} is needed for {platforms}, and no one entry has them all; "
            "narrow with --store, or give each platform a build of its own",
            lines,
            len(lines),
        )
    ((digest, match),) = found.items()
    if (host := match.host) is not None:
        raise NotFound(
            f"{shown(match.store)} lies on the host {shown(host)}, and buildx looks here",
            "build there, or copy the image to a layout of this host",
        )
    if match.store_id in shared and not os.path.exists(_own_blob(match, digest)):
        raise NotFound(
            f"{shown(match.store)} keeps {digest} in a shared directory of blobs, where buildx does not look",
            "copy the image to a layout of its own",
        )
    return match, digest


def _query(image: Image) -> Query:
    """What is asked for an image: a Docker reference, also where it looks like another form (`oci:latest`)."""
    reference = image.reference
    kind = kinds.NAME if reference.digest is None else kinds.NAME_DIGEST
    tag = reference.tag or (None if reference.digest else "latest")
    return Query(image.text, kind, repository=reference.repository, tag=tag, digest=reference.digest)


def _whole(reader: Reader, query: Query, match: Match) -> str:
    """The digest to hand to buildx: that of the index where the answer is its image for a platform.

    buildx picks the platform itself, and one named context serves every platform that a build asks for.
    """
    if query.digest is not None:
        return query.digest
    entries = (entry.digest for entry in find(reader, query, None, None) if entry.entry_id == match.entry_id)
    return next(entries, match.digest)


def _own_blob(match: Match, digest: str) -> bytes:
    path = os.fsencode(match.path) if match.path_bytes is None else match.path_bytes
    algorithm, _, encoded = digest.partition(":")
    return os.path.join(path, b"blobs", algorithm.encode(), encoded.encode())


# --- formats ----------------------------------------------------------------------------------------------------


def write_flags(contexts: Iterable[Context]) -> list[UsageError]:
    """Print `--build-context NAME=oci-layout://PATH@DIGEST`, one a name; returns what cannot be said so."""
    refused: list[UsageError] = []
    for context in _once(contexts):
        try:
            text = f"{context.image.text}={_source(context)}"
            if any(each in _SPLIT_OR_MATCHED or each.isspace() or not each.isprintable() for each in text):
                raise UsageError(
                    f"{shown(text)} holds white space or a character of patterns, and a shell takes $(...) apart there: "
                    "use --format bake"
                )
        except UsageError as error:
            refused.append(error)
        else:
            formats.write(f"--build-context {text}\n")
    return refused


def write_bake(contexts: Iterable[Context], target: str) -> list[UsageError]:
    """Print a file for `docker buildx bake -f`; returns what cannot be said so."""
    refused: list[UsageError] = []
    sources: dict[str, str] = {}
    for context in _once(contexts):
        try:
            # bake takes a text for a template, and a name as it stands: it has to be as BuildKit looks it up
            sources[context.image.context] = _source(context).replace("${", "$${").replace("%{", "%%{")
        except UsageError as error:
            refused.append(error)
    document = {"target": {target: {"contexts": sources}}}
    is_printable = all(source.isprintable() for source in sources.values())
    formats.write(json.dumps(document, ensure_ascii=not is_printable, indent=2) + "\n")
    return refused


def write_json(contexts: Iterable[Context]) -> None:
    """Print an object an image and platform, found or not."""
    show = formats.open_format("json", FIELDS, FIELDS)
    for context in contexts:
        image, match = context.image, context.match
        values: dict[str, object] = {
            "name": image.text,
            "reference": image.reference.canonical,
            "platform": None if image.platform is None else str(image.platform),
            "found": match is not None,
            "store": None if match is None else match.store,
            "path": None if match is None else match.path,
            "digest": context.digest,
            "line": image.line,
            "error": None if context.error is None else str(context.error),
        }
        show.row(values.__getitem__)
    show.end()


def _once(contexts: Iterable[Context]) -> Iterator[Context]:
    """Those that were found, one a name: BuildKit knows one context by each."""
    seen: set[str] = set()
    for context in contexts:
        if context.match is not None and context.image.context not in seen:
            seen.add(context.image.context)
            yield context


def _source(context: Context) -> str:
    """`oci-layout://PATH@DIGEST`; raises UsageError where buildx could not read it back."""
    match = context.match
    if match is None:
        raise UsageError("nothing was found")
    if match.path_bytes is not None:
        raise UsageError(f"the path of store {shown(match.store)} is no UTF-8, and cannot be told: move the layout")
    if ":" in match.path or "@" in match.path:
        raise UsageError(
            f"buildx takes a path apart at ':' and '@', so it cannot read that of store {shown(match.store)} "
            f"({shown(match.path)}): move the layout to a path without them"
        )
    return f"oci-layout://{match.path}@{context.digest}"
