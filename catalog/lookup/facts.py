"""Facts about an image that are not in its descriptor: total size, time of creation, labels. Loaded only if one is requested.

The entries of one question often reach the same images, so results are kept until the next question (catalog.lookup.below).
"""

from __future__ import annotations

from catalog.lookup.below import INDEX, MANIFEST, UNREAD, known_results

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

    from catalog.engine.interface import Reader
    from catalog.engine.names import Name

_MOST_CHARACTERS = 4_000_000
"""How many characters of labels are kept."""
_MOST_VISITED = 1_000
"""How many manifests below an index are visited for their labels, as in the views (catalog.db.recursive)."""


def total_size(reader: Reader, store_id: int, content_id: int, kind: int) -> int | None:
    """Return the total bytes of the blobs that an image reaches in its store, each counted once; None if not all were read."""
    known = known_results(reader)
    path, bottom = _down(reader, store_id, content_id, kind, lambda at: ("total_size", store_id, at) in known)
    if ("total_size", store_id, bottom) not in known:
        known["total_size", store_id, bottom] = (
            None if _size_here(reader, store_id, bottom) is None else _asked(reader, "TOTAL_SIZE", store_id, bottom)
        )
    found: int | None = known["total_size", store_id, bottom]
    for each in reversed(path):
        size = _size_here(reader, store_id, each)
        found = None if found is None or size is None else found + size
        known["total_size", store_id, each] = found
    return found


def created(reader: Reader, store_id: int, content_id: int, kind: int) -> int | None:
    """Return when an image was created, or the newest image of an index, in milliseconds since 1970; None if unknown."""
    if kind == UNREAD:
        return None
    known = known_results(reader)
    if kind == MANIFEST:
        if ("created", store_id, content_id) not in known:
            row = reader.row("CREATED_OF_MANIFEST", {"content_id": content_id})
            known["created", store_id, content_id] = None if row is None else row[0]
        of_manifest: int | None = known["created", store_id, content_id]
        return of_manifest
    path, bottom = _down(reader, store_id, content_id, kind, lambda at: ("created", store_id, at) in known)
    if ("created", store_id, bottom) not in known:
        known["created", store_id, bottom] = _asked(reader, "CREATED", store_id, bottom)
    found: int | None = known["created", store_id, bottom]
    known.update((("created", store_id, each), found) for each in path)
    return found


def labels(reader: Reader, store_id: int, content_id: int, kind: int) -> dict[str, str]:
    """Return the labels of an image, or of all images of an index; the first image that has a label determines its value.

    The first _MOST_VISITED manifests of an index count.
    """
    known = known_results(reader)
    kept: dict[tuple[int, int], dict[str, str]] = known.setdefault("labels", {})
    path, bottom = _down(reader, store_id, content_id, kind, lambda at: (store_id, at) in kept)
    found = kept.get((store_id, bottom))
    if found is None:
        found = _labels_below(reader, store_id, bottom, INDEX if path else kind)
        path.append(bottom)
    if path:  # Otherwise they are kept already, and would count twice towards the limit.
        keep_labels(known, [(store_id, each) for each in path], found)
    return dict(found)


def _labels_below(reader: Reader, store_id: int, top: int, kind: int) -> dict[str, str]:
    found: dict[str, str] = {}
    seen: set[int] = set()
    ahead = [(top, kind)]
    while ahead and len(seen) < _MOST_VISITED:
        at, kind = ahead.pop()
        if at in seen:
            continue
        seen.add(at)
        for key, value in reader.rows("LABELS_OF", {"content_id": at}):
            found.setdefault(key, value)
        if kind == INDEX:
            children = list(reader.rows("CHILDREN", {"content_id": at, "store_id": store_id}))
            ahead += [(row[0], row[2]) for row in reversed(children)]
    return dict(sorted(found.items()))


def keep_labels(known: dict[object, Any], of: Collection[tuple[int, int]], found: dict[str, str]) -> None:
    """Keep the labels of images, given the ids of their store and content. If all kept labels become too long, forget the others."""
    kept: dict[tuple[int, int], dict[str, str]] = known.setdefault("labels", {})
    characters = sum(len(key) + len(value) for key, value in found.items())
    known["characters"] = known.get("characters", 0) + characters
    if known["characters"] > _MOST_CHARACTERS:
        kept.clear()
        known["characters"] = characters
    if characters <= _MOST_CHARACTERS:
        kept.update(dict.fromkeys(of, found))


def _down(reader: Reader, store_id: int, top: int, kind: int, is_known: Callable[[int], bool]) -> tuple[list[int], int]:
    """Return the chain of indexes with only one child that leads down from `top`, and the content at its end.

    The chain also ends at content for which `is_known` is true. Many entries may lead to the same content through such indexes, and
    this way it is not read again for each entry. Indexes with several children are not followed, because these may share blobs.
    """
    if kind != INDEX:
        return [], top
    path: dict[int, None] = {}
    at = top
    while not is_known(at) and _size_here(reader, store_id, at) is not None:
        row = reader.row("ONLY_CHILD", {"content_id": at})
        if row is None or _size_here(reader, store_id, row[0]) is None:
            break
        path[at] = None
        if row[0] in path:
            return [], top
        at = row[0]
    return list(path), at


def _size_here(reader: Reader, store_id: int, content_id: int) -> int | None:
    """Return the size of a blob in a store in bytes; None if the store does not have it, or only a part of it."""
    row = reader.row("IS_HERE", {"content_id": content_id, "store_id": store_id})
    return None if row is None else row[0]


def _asked(reader: Reader, statement: Name, store_id: int, content_id: int) -> int | None:
    row = reader.row(statement, {"store_id": store_id, "content_id": content_id})
    return None if row is None else row[0]
