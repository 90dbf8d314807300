"""The answers of `contexts`: for each image of a Dockerfile, a layout that buildx can take it from (docs/builds.md)."""

from __future__ import annotations

import json
from typing import NamedTuple

from catalog.cli import formats, output
from catalog.errors import Ambiguous, CatalogUnavailable, NotFound, NotInTime, OcicatError, UsageError
from catalog.layout.beneath import opened_path
from catalog.layout.blobs import BlobDirectories
from catalog.lookup.needed import Needs
from catalog.names import query as kinds
from catalog.names.escape import shown
from catalog.names.paths import decode_path
from catalog.names.query import Query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from catalog.dockerfile.images import Image
    from catalog.engine.interface import Reader
    from catalog.lookup.match import Match
    from catalog.lookup.resolve import Asking
    from catalog.names.platform import Platform

FIELDS = ("name", "reference", "platform", "found", "store", "path", "digest", "line", "error")
"""The keys of an object of `--format json`. Keys are only ever added."""
_SPLIT_OR_MATCHED = "*?[]()\\"
"""Characters that make an unquoted `$(...)` a pattern, or that a shell treats specially there."""
_PLACED = (
    "SELECT root.path, root.path_bytes, store.own_settings FROM store LEFT JOIN root ON root.id = store.root_id"
    " WHERE store.id = :store_id"
)


class Context(NamedTuple):
    """One image of the Dockerfile with its answer: a match and a digest, or the error that says why there is none."""

    image: Image
    match: Match | None
    digest: str | None
    error: OcicatError | None


def answers(asking: Asking, images: Iterable[Image], *, builder: Platform, first: bool) -> Iterator[Context]:
    """Yield the answer for each image. Images that BuildKit looks up by the same name get the same digest, or none.

    Raises CatalogUnavailable if the catalog cannot answer; the errors of single images are part of their answers.
    """
    by_name: dict[str, list[Image]] = {}
    for image in images:
        by_name.setdefault(image.context, []).append(image)
    stores = list(asking.reader.rows("STORES", {}))
    shared, archives = {row[0] for row in stores if row[11] is not None}, {row[0] for row in stores if row[15]}
    for together in by_name.values():
        try:
            match, digest = _one(asking, together, _Building(asking.reader, builder, shared, archives), first=first)
        except OcicatError as error:
            if isinstance(error, CatalogUnavailable) and not isinstance(error, NotInTime):
                raise
            yield from (Context(image, None, None, error) for image in together)
        else:
            yield from (Context(image, match, digest, None) for image in together)


class _Building:
    """What buildx needs from a layout: all blobs of an image, in the directory of the layout itself, on this host."""

    def __init__(self, reader: Reader, builder: Platform, shared: set[int], archives: set[int]) -> None:
        self._reader = reader
        self._builder = builder
        self._shared = shared
        self._archives = archives

    def needs(self, platforms: tuple[Platform | None, ...]) -> Needs:
        """Return which blobs a build for these platforms needs of a base image."""
        return Needs(self._reader, platforms, self._builder, self._is_there, self._archives)

    def _is_there(self, match: Match, digest: str) -> bool:
        return match.store_id not in self._shared or self._has_own(match, digest)

    def _has_own(self, match: Match, digest: str) -> bool:
        """Return whether the directory of the layout itself has the blob as a file.

        No link below the root is followed, except at the path of a store that has settings of its own.
        """
        row = next(self._reader.select(_PLACED, {"store_id": match.store_id}), None)
        path = decode_path(match.path, match.path_bytes)
        root = None if row is None or row[0] is None else decode_path(row[0], row[1])
        follow = root is None or path == root or bool(row and row[2])
        with BlobDirectories(opened_path(path, root, follow=follow)) as blobs:
            return blobs.stat(digest) is not None


def _one(asking: Asking, images: list[Image], building: _Building, *, first: bool) -> tuple[Match, str]:
    """Return the match and the digest for all images with one name. Raises what `resolve` raises."""
    image = images[0]
    if any(each.is_stage for each in images):
        raise NotFound(
            f"{shown(image.context)} is also the name of a stage, and a context with that name would replace the stage",
            "give the stage another name",
        )
    query = _query(image)
    platforms = tuple(dict.fromkeys(each.platform for each in images))

    def found_for(*wanted: Platform | None, shadowed: bool = False) -> Match:
        asking.needs = building.needs(wanted)
        return asking.resolve(query, first=first, shadowed=shadowed)

    def for_all() -> Match:
        """Return an entry that has all platforms; a shadowed one only if no other has."""
        try:
            return found_for(*platforms)
        except NotFound:
            if len(platforms) == 1 or query.kind != kinds.NAME:
                raise
            return found_for(*platforms, shadowed=True)

    try:
        match = for_all()
    except NotFound:
        if len(platforms) == 1:
            raise
        apart = {match.digest: match for match in map(found_for, platforms)}
        lines = [f"{shown(match.store)}\t{shown(match.name or '-')}\t{digest}" for digest, match in apart.items()]
        wanted = ", ".join(str(each) for each in platforms if each)
        raise Ambiguous(
            f"{shown(image.text)} is needed for {wanted}, and no entry has all of these platforms; "
            "narrow the search with --store, or run one build per platform",
            lines,
            len(lines),
        ) from None
    if (host := match.host) is not None:
        raise NotFound(
            f"{shown(match.store)} is on the host {shown(host)}, where buildx on this host cannot read it",
            "build there, or copy the image to a layout on this host",
        )
    # If the answer is an index, give buildx the index: it picks the platform itself, so one context serves all platforms.
    return match, match.digest if query.digest is None else query.digest


def _query(image: Image) -> Query:
    """Return the query for an image: always a Docker reference, even if it looks like another form (`oci:latest`)."""
    reference = image.reference
    kind = kinds.NAME if reference.digest is None else kinds.NAME_DIGEST
    tag = reference.tag or (None if reference.digest else "latest")
    return Query(image.text, kind, repository=reference.repository, tag=tag, digest=reference.digest)


# --- formats ----------------------------------------------------------------------------------------------------


def write_flags(contexts: Iterable[Context]) -> list[UsageError]:
    """Print one `--build-context NAME=oci-layout://PATH@DIGEST` per name; return an error for each that cannot be printed."""
    refused: list[UsageError] = []
    for context in _once(contexts):
        try:
            text = f"{context.image.text}={_source(context)}"
            if any(each in _SPLIT_OR_MATCHED or each.isspace() or not each.isprintable() for each in text):
                raise UsageError(
                    f"{shown(text)} contains white space or a character that a shell would interpret in $(...): "
                    "use --format bake"
                )
        except UsageError as error:
            refused.append(error)
        else:
            output.write(f"--build-context {text}\n")
    return refused


def write_bake(contexts: Iterable[Context], target: str) -> list[UsageError]:
    """Print a file for `docker buildx bake -f`; return an error for each context that it cannot express."""
    refused: list[UsageError] = []
    sources: dict[str, str] = {}
    for context in _once(contexts):
        try:
            # bake expands templates in values, so these are escaped. It takes names literally, so they must be in the form
            # that BuildKit looks up.
            sources[context.image.context] = _source(context).replace("${", "$${").replace("%{", "%%{")
        except UsageError as error:
            refused.append(error)
    document = {"target": {target: {"contexts": sources}}}
    is_printable = all(source.isprintable() for source in sources.values())
    output.write(json.dumps(document, ensure_ascii=not is_printable, indent=2) + "\n")
    return refused


def write_json(contexts: Iterable[Context]) -> None:
    """Print one object per image and platform, whether the image was found or not."""
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
    """Yield the contexts that were found, one per name, because BuildKit takes one context per name."""
    seen: set[str] = set()
    for context in contexts:
        if context.match is not None and context.image.context not in seen:
            seen.add(context.image.context)
            yield context


def _source(context: Context) -> str:
    """Return `oci-layout://PATH@DIGEST`. Raises UsageError if the path is not UTF-8, or buildx could not parse it."""
    match = context.match
    if match is None:
        raise UsageError("nothing was found")
    if match.path_bytes is not None:
        raise UsageError(
            f"the path of store {shown(match.store)} is not UTF-8, so it cannot be printed: move the layout"
        )
    if ":" in match.path:  # an `@` does no harm: buildx splits at the last one, which is the one before the digest
        raise UsageError(
            f"buildx splits a path at ':', so it cannot read store {shown(match.store)} at "
            f"{shown(match.path)}: move the layout to a path without ':'"
        )
    return f"oci-layout://{match.path}@{context.digest}"
