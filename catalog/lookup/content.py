"""Answers that need the content of manifests: digests below entries, platforms, labels (docs/resolution.md)."""

from __future__ import annotations

from catalog.errors import NotInTime
from catalog.lookup.below import ATTESTATION, INDEX, MANIFEST, UNREAD, config_of, is_below, platforms_of
from catalog.lookup.match import CONTENT_ID, CONTENT_KIND, DIGEST, PLATFORM, STORE_ID, Match
from catalog.names.pattern import upper_bound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from catalog.engine.interface import Reader
    from catalog.engine.names import Name
    from catalog.names.pattern import Wanted
    from catalog.names.platform import Platform

    Row = tuple[Any, ...]
    Child = tuple[int, str, str | None, int | None, str | None, bool, bool]
    """An image below an entry: content id, digest, media type, size in bytes, platform or None, whether the store has it,
    and whether the store itself shows that it is below the entry (rather than only a copy of the index in another store)."""

_OTHERS = 10
"""The maximum number of platforms in a note."""


def check_pending(reader: Reader, stores: frozenset[int] | None, what: str) -> None:
    """Raise NotInTime if one of the stores (any store if None) has manifests that are not read yet."""
    if is_pending(reader, stores):
        raise NotInTime(
            f"{what} is not known yet: manifests are still being read; ask again, or use --fresh to wait for them"
        )


def is_pending(reader: Reader, stores: frozenset[int] | None) -> bool:
    """Return whether one of the stores (any store if None) has manifests that are not read yet."""
    return any(stores is None or row[0] in stores for row in list(reader.rows("PENDING", {})))


def reaching(reader: Reader, digest: str, store_id: int | None = None) -> Iterator[Row]:
    """Return the rows of the entries above a manifest, in order, in one store, or in all stores if `store_id` is None."""
    if store_id is None:
        return reader.rows("REACHING", {"digest": digest})
    return reader.rows("STORE_REACHING", {"digest": digest, "store_id": store_id})


def in_prefix(reader: Reader, prefix: str) -> list[tuple[str, int]]:
    """Return every known digest that begins with `prefix`, in order, each with the id of its content."""
    bounds = {"low": prefix, "high": upper_bound(prefix)}
    return [(row[0], row[1]) for row in reader.rows("CONTENTS_IN_RANGE", bounds)]


def as_below(reader: Reader, match: Match, digest: str) -> Match:
    """Return a match for the manifest `digest` below the entry of `match`, with the digest, type and size of the manifest."""
    return match.replaced(**_as_child(reader, digest))


def _as_child(reader: Reader, digest: str) -> dict[str, object]:
    """Return the column values of a match for the manifest `digest`, which an index lists."""
    if ("child", digest) not in reader.known:
        reader.known["child", digest] = reader.row("EDGE_TO", {"digest": digest})
    content_id, kind, media_type, size = reader.known["child", digest] or (None, UNREAD, None, None)
    return {
        "digest": digest,
        "media_type": media_type,
        "size": size,
        "artifact_type": None,
        "platform": None,
        "content_id": content_id,
        "content_kind": kind,
    }


def containing(reader: Reader, digest: str) -> Iterator[Row]:
    """Yield the rows of the entries that have this digest, or reach it as a manifest, config or layer at any depth."""
    yield from list(reader.rows("BY_DIGEST", {"digest": digest}))
    yield from list(reader.rows("CONTAINING", {"digest": digest}))


def holds(reader: Reader, match: Match, digest: str) -> bool:
    """Return whether the digest is that of the referrer `match`, of its config or of one of its layers."""
    if match.digest == digest:
        return True
    rows = list(reader.rows("NEEDED", {"digest": match.digest, "store_id": match.store_id}))
    return any(row[2] == digest for row in rows)


def has_platform(reader: Reader, match: Match, wanted: Platform) -> bool:
    """Return whether an entry has an image for a platform. If its content is not read yet, its descriptor decides."""
    asked = str(wanted), match.row[STORE_ID], match.row[CONTENT_ID], match.row[PLATFORM]
    if asked not in reader.known:
        reader.known[asked] = _has_platform(reader, match, wanted)
    return bool(reader.known[asked])


def _has_platform(reader: Reader, match: Match, wanted: Platform) -> bool:
    names = platforms_of(reader, match.row[STORE_ID], match.row[CONTENT_ID], match.row[CONTENT_KIND])
    claimed = match.row[PLATFORM]
    if claimed is not None and match.row[CONTENT_KIND] == UNREAD:
        names = [claimed]
    return any(wanted.rank(name) is not None for name in names)


def for_platform(reader: Reader, match: Match, wanted: Platform) -> tuple[Match | None, str]:
    """Return the image of `match` for a platform and a note about it (may be empty), or None and the reason why there is no image."""
    kind = match.row[CONTENT_KIND]
    here = {"content_id": match.row[CONTENT_ID], "store_id": match.row[STORE_ID]}
    if kind == UNREAD or reader.row("IS_HERE", here) is None:
        return None, "its manifest is missing or cannot be read"
    if kind not in (MANIFEST, INDEX):
        return None, "it is not an image"
    children = [child for child in images_of(reader, match) if child[6]]
    names = {child[4]: wanted.rank(child[4]) for child in children if child[4] is not None}
    ranks = {name: rank for name, rank in names.items() if rank is not None}
    if ranks:
        best = min(ranks, key=lambda name: ranks[name])  # the first if several are equally good
        content_id, digest, media_type, size, platform, is_here, _ = next(each for each in children if each[4] == best)
        if not is_here:
            return None, f"its manifest or config for {platform} is missing or cannot be read"
        if kind == MANIFEST:
            return match, ""
        child = match.replaced(
            digest=digest,
            media_type=media_type,
            size=size,
            artifact_type=None,
            platform=platform,
            content_id=content_id,
            content_kind=MANIFEST,
        )
        return child, _other_versions(wanted, best, [name for name in ranks if ranks[name][0] == ranks[best][0]])
    if kind == MANIFEST and not children:
        return None, "its config is missing, cannot be read, or is not that of an image"
    return None, "it has no image for that platform"


def _other_versions(wanted: Platform, best: str, names: list[str]) -> str:
    """Return a note if `best` was chosen from `names` although its version was not requested, else ""."""
    from catalog.names.platform import split

    version = split(best)[1]
    others = [name for name in names if split(name)[1] != version]
    if not others or (wanted.version and (wanted.os == "windows" or wanted.version == version)):
        return ""
    more = f" and {len(others) - _OTHERS} more" if len(others) > _OTHERS else ""
    return f"chose {best}; it also has {', '.join(others[:_OTHERS])}{more}"


def images_of(reader: Reader, match: Match) -> list[Child]:
    """Return the images of an entry, flat and in order, without attestations."""
    return [child for child in _children(reader, match) if child[4] != ATTESTATION]


def has_label(reader: Reader, match: Match, key: Wanted, value: Wanted | None) -> bool:
    """Return whether the image, or an image below the index, has a label whose key and value match. None matches any value."""

    def has(content_id: int) -> bool:
        return _has_pair(reader.rows("LABELS_OF", {"content_id": content_id}), key, value)

    return is_below(reader, match.row[STORE_ID], match.row[CONTENT_ID], ("label", *_texts(key, value)), has)


def has_annotation(reader: Reader, match: Match, key: Wanted, value: Wanted | None) -> bool:
    """Return whether the entry, or a manifest that it is or reaches, has an annotation whose key and value match.

    None matches any value. The descriptors of layers and of the children of an index count too. The annotations of an entry do
    not count for a referrer below it.
    """
    annotations = match.value("annotations") if match.how is None or match.below is None else None
    if isinstance(annotations, dict) and _has_pair(annotations.items(), key, value):
        return True

    def has(content_id: int) -> bool:
        statements: tuple[Name, ...] = ("CONTENT_ANNOTATIONS", "DESCRIPTOR_ANNOTATIONS")
        return any(_has_pair(reader.rows(each, {"content_id": content_id}), key, value) for each in statements)

    return is_below(reader, match.row[STORE_ID], match.row[CONTENT_ID], ("annotation", *_texts(key, value)), has)


def artifact_type(reader: Reader, match: Match) -> str | None:
    """Return the artifact type in the descriptor, else the one in the manifest, else the media type of its config, else None.

    The media type of the config counts by the rule of the image-spec (manifest.md, `artifactType`).
    """
    claimed = match.value("artifact_type")
    if isinstance(claimed, str):
        return claimed
    row = reader.row("ARTIFACT_TYPE_OF", {"content_id": match.row[CONTENT_ID]})
    return None if row is None else row[0]


def _has_pair(pairs: Any, key: Wanted, value: Wanted | None) -> bool:
    return any(key(k) and (value is None or value(v)) for k, v in pairs)


def _texts(key: Wanted, value: Wanted | None) -> tuple[str, str | None]:
    return key.text, None if value is None else value.text


def _children(reader: Reader, match: Match) -> list[Child]:
    """Return the images of an entry, flat and in order: those below an index, or the image itself."""
    store_id = match.row[STORE_ID]
    if match.row[CONTENT_KIND] == MANIFEST:
        config = config_of(reader, match.row[CONTENT_ID], store_id)
        if config is None:
            return []
        return [(match.row[CONTENT_ID], match.row[DIGEST], None, None, config[0], config[1], True)]
    found: list[Child] = []
    seen = {(match.row[CONTENT_ID], True)}
    pending = _rows_below(reader, match.row[CONTENT_ID], store_id, is_proven=True)
    while pending:
        child_id, digest, kind, platform, media_type, size, is_here, is_proven = pending.pop()
        if kind == INDEX and (is_here or platform is None):
            # Its children determine the platforms, not its descriptor.
            below = child_id, is_proven and is_here
            if below not in seen:
                seen.add(below)
                pending += _rows_below(reader, child_id, store_id, is_proven=below[1])
            continue
        if platform is None and kind == MANIFEST:
            config = config_of(reader, child_id, store_id)
            if config is not None:
                platform, is_proven = config[0], is_proven and is_here and config[1]
        found.append((child_id, digest, media_type, size, platform, is_here, is_proven))
    return found


def _rows_below(reader: Reader, content_id: int, store_id: int, *, is_proven: bool) -> list[Row]:
    """Return the children of an index, the last one first, each with whether the store itself shows that child."""
    rows = reader.rows("CHILDREN", {"content_id": content_id, "store_id": store_id})
    return [(*row[:6], bool(row[6]), is_proven) for row in rows][::-1]
