"""What an image is besides its descriptor: its total size, when it was created, its labels. Loaded only if one is asked for."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.engine.interface import Reader
    from catalog.engine.names import Name


def total_size(reader: Reader, store_id: int, content_id: int) -> int | None:
    """Return the bytes of all blobs that an image reaches in its store, each once; None if not all of it was read."""
    if reader.row("IS_HERE", {"content_id": content_id, "store_id": store_id}) is None:
        return None
    return _one(reader, "TOTAL_SIZE", store_id, content_id)


def created(reader: Reader, store_id: int, content_id: int) -> int | None:
    """Return when an image was created, in milliseconds since 1970: of an index, the newest of its images; None if unknown."""
    return _one(reader, "CREATED", store_id, content_id)


def labels(reader: Reader, store_id: int, content_id: int) -> dict[str, str]:
    """Return the labels of an image; of an index, those of all its images, the first image with a label deciding its value."""
    found: dict[str, str] = {}
    children = [row[0] for row in list(reader.rows("CHILDREN", {"content_id": content_id, "store_id": store_id}))]
    for each in (content_id, *children):
        for key, value in reader.rows("LABELS_OF", {"content_id": each}):
            found.setdefault(key, value)
    return dict(sorted(found.items()))


def _one(reader: Reader, statement: Name, store_id: int, content_id: int) -> int | None:
    row = reader.row(statement, {"store_id": store_id, "content_id": content_id})
    return None if row is None else row[0]
