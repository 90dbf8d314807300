"""The destination of a copy: a store of this host, a store of another host, or a path that need not exist yet."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Collection
from typing import Any, Self

from catalog.engine.interface import Reader
from catalog.errors import CatalogUnavailable, UnknownStore, UsageError
from catalog.layout.beneath import opened_path
from catalog.layout.files import IndexChanged, IndexProblem, StoreFile
from catalog.lookup.stores import store_id
from catalog.names.escape import shown
from catalog.names.paths import decode_path, kept_path
from catalog.plans.files import ALGORITHMS, BlobFiles
from catalog.plans.stores import PlanStore
from catalog.plans.walk import AT_ONCE

MOST_BYTES = 64 << 20
"""The largest index.json that is read for a plan, in bytes."""
REF_NAME, IMAGE_NAME = "org.opencontainers.image.ref.name", "io.containerd.image.name"

_STORE = "SELECT path, path_bytes, shared_blobs, shared_blobs_bytes FROM store WHERE id = :store_id"
_HAS = "SELECT content_id, size, is_good FROM store_blob WHERE store_id = :store_id AND NOT embedded AND content_id IN ({0})"
_ENTRIES = (
    "SELECT content.digest, entry.ref_name, entry.image_name FROM entry JOIN content ON content.id = entry.content_id"
    " WHERE entry.store_id = :store_id AND content.digest = :digest"
)


class Destination:
    """A destination, as a context manager. `path` is its path, and `host` the name of its host if that is another host, or None.

    `blobs` is the directory that new blobs are written to, in a subdirectory per algorithm. `shared` is that directory if it is a
    shared one, else None.
    """

    def __init__(self, reader: Reader, text: str, stores: dict[int, PlanStore]) -> None:
        """Raises UsageError if `text` is neither a store nor a path that can become one."""
        self._reader = reader
        self._id = store_id(reader, text)
        self.host: str | None = None
        self.shared: str | None = None
        opened: str | None = None
        if self._id is not None:
            self.host = reader.host_of(self._id)
            path, raw, shared, shared_raw = next(iter(reader.select(_STORE, {"store_id": self._id})))
            self.path = decode_path(path, raw)
            self.shared = None if shared is None else decode_path(shared, shared_raw)
            if self._id in stores:
                opened = stores[self._id].opened
        elif "/" in text or text in (".", ".."):
            if "\0" in text:
                raise UsageError(f"{shown(text)} is not a path: it contains a NUL")
            self.path = kept_path(text)
            opened = opened_path(self.path, follow=True)
        else:
            raise UnknownStore(
                f"no store is named {shown(text)}: 'ocicat stores' lists them; for a path write ./{shown(text)}"
            )
        self.blobs = self.shared or f"{self.path.rstrip('/')}/blobs"
        self._opened = opened
        self._listed: set[tuple[str, str | None, str | None]] | None = None
        self._files = None if opened is None else BlobFiles(opened, self.shared)
        if opened is not None:
            self._refuse_others()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._files is not None:
            self._files.__exit__()

    def bad_and_listed(self, ids: Collection[int]) -> dict[int, tuple[int, bool]]:
        """Return what the catalog knows about blobs of the destination, by content id: the size, and whether the blob is bad."""
        found: dict[int, tuple[int, bool]] = {}
        some = sorted(ids) if self._id is not None else []
        for at in range(0, len(some), AT_ONCE):
            marks = ",".join(map(str, some[at : at + AT_ONCE]))
            for one, size, is_good in self._reader.select(_HAS.format(marks), {"store_id": self._id}):
                found[one] = size, is_good is not None and not is_good
        return found

    def has(self, digest: str, size: int | None, listed: tuple[int, bool] | None) -> bool:
        """Return whether the destination has a blob with the right size that is not known to be bad. On this host its file is checked."""
        if listed is not None and listed[1]:
            return False
        if self._files is None:
            return listed is not None and size in (None, listed[0])
        if size is None and listed is not None:
            size = listed[0]
        return any(size in (None, file.found.st_size) for file in self._files.find(digest))

    def path_of(self, digest: str) -> str:
        """Return the path to write a blob to."""
        return f"{self.blobs}/{digest.replace(':', '/', 1)}"

    def lists(self, descriptor: dict[str, Any]) -> bool:
        """Return whether index.json has an entry with the same digest and names. The entries of a store are looked up in the catalog."""
        if self._id is not None:
            rows = self._reader.select(_ENTRIES, {"store_id": self._id, "digest": descriptor["digest"]})
            return any(tuple(row) == _key(descriptor) for row in rows)
        if self._listed is None:
            self._listed = set(map(_key, elements(self._opened or "")))
        return _key(descriptor) in self._listed

    def _refuse_others(self) -> None:
        """Raise UsageError if a path to write below is not a directory or is a link, which could lead anywhere.

        The path of the destination itself, and that of a shared directory, may be a link.
        """
        below = () if self.shared else (self.blobs,)
        for path in (self.path, *below, *(f"{self.blobs}/{each}" for each in ALGORITHMS)):
            try:
                found = os.stat(path) if path == self.path else os.lstat(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise UsageError(f"cannot copy to {shown(path)}: {error.strerror}") from error
            if not stat.S_ISDIR(found.st_mode):
                raise UsageError(f"cannot copy to {shown(path)}: it is a symbolic link, or not a directory")


def ref_name(element: dict[str, Any], annotation: str = REF_NAME) -> str | None:
    """Return an annotation of a descriptor, or None if it is missing or not a string."""
    annotations = element.get("annotations")
    found = annotations.get(annotation) if isinstance(annotations, dict) else None
    return found if isinstance(found, str) else None


def _key(element: dict[str, Any]) -> tuple[str, str | None, str | None]:
    return str(element.get("digest")), ref_name(element), ref_name(element, IMAGE_NAME)


def elements(opened: str) -> list[dict[str, Any]]:
    """Return the descriptors of a layout's index.json unchanged, or an empty list if there is none.

    Raises CatalogUnavailable if the file is being replaced, cannot be opened, read or parsed, or is larger than MOST_BYTES.
    """
    try:
        file = StoreFile(opened, "index.json")
    except IndexProblem as problem:
        if problem.state == "missing" or problem.reason == "no index.json":
            return []
        raise CatalogUnavailable(f"an index.json cannot be read: {shown(problem.reason)}") from problem
    except IndexChanged as error:
        raise CatalogUnavailable(f"index.json is changing at this moment: plan again ({error})") from error
    try:
        if file.size > MOST_BYTES:
            raise CatalogUnavailable("an index.json is too large for a plan: add the layout with 'ocicat add'")
        found = json.loads(file.read(file.size + 1, 0))
        listed = found.get("manifests") if isinstance(found, dict) else None
    except (IndexProblem, IndexChanged, ValueError, RecursionError) as error:
        raise CatalogUnavailable(f"an index.json cannot be read: {shown(str(error))}") from error
    finally:
        file.close()
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
