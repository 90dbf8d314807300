"""The names that `docker save` writes beside a layout in an archive: the RepoTags of `manifest.json`.

Since version 25, `docker save` (moby, image/tarexport/save.go) and `ctr images export` (containerd, images/archive/exporter.go) write
a layout, and beside it the list that `docker load` has always read: items with the path of a config, its layers and its RepoTags.
Both write each RepoTag as an annotation, too. If the list has more names than the annotations, these become names of the entries as
well, because `docker load` would give them to the image.

An item belongs to the first image manifest in `index.json` whose config it names, as `blobs/ALGORITHM/HEX`. So manifests are read, but
only if a RepoTag is in no annotation. The list is read as Go reads it, and is as untrusted as the rest of an archive.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from catalog.layout.blobs import BlobDirectories, BlobProblem
from catalog.layout.descriptor import Descriptor, SavedDescriptor
from catalog.layout.files import ArchiveState, FileState, IndexChanged, IndexProblem, StoreFile, stat_index
from catalog.layout.gojson import fold
from catalog.layout.index import IndexContent
from catalog.layout.list_limits import ListLimits
from catalog.layout.manifest import AmbiguousManifest, parse_manifest
from catalog.layout.room import ensure_room
from catalog.layout.stream import Problem
from catalog.layout.text import clean, decode, integer, kind, refuse
from catalog.names.digest import is_docker_digest
from catalog.names.escape import shown
from catalog.names.keys import derive_keys
from catalog.names.limits import KEY_BYTES, MAX_NAMES, is_long
from catalog.names.media_types import DOCKER_MANIFEST, OCI_MANIFEST
from catalog.names.reference import repository_name, split_reference
from catalog.names.sizes import counted

LIST = "manifest.json"
LIST_BYTES = 4 << 20
"""The largest list that is read, in bytes: `docker save` of 2,000 images writes one of this size."""
READ_BYTES = 64 << 20
"""The most bytes of manifests that are read to find the images of a list."""

_ROOM = 24  # bytes of memory per byte of text
_TYPES = ("", OCI_MANIFEST, DOCKER_MANIFEST)

_Item = tuple[Any, Any]
_NOTHING: _Item = (None, None)


def add_saved_names(content: IndexContent, store_path: str, limits: ListLimits, pause: Callable[[], None]) -> None:
    """Give the descriptors of an archive the names that only its `manifest.json` has, and record the problems of that file.

    A manifest of more than `limits.descriptor_bytes` is not read. `pause` is called before each is read; exceptions from it are passed
    on. Raises IndexProblem, IndexChanged, Exhausted and MemoryError, as `read_index` does.
    """
    if not isinstance(content.file, ArchiveState):
        return
    try:
        data = _read(store_path, content.file, limits, pause)
        wanted = {} if data is None else _names_by_config(_items(data), content.troubles)
    except ValueError as error:
        _note(content.troubles, str(error))
        return
    if wanted and content.streamed:
        _note(content.troubles, f"is not read, because index.json has {content.size} bytes")
        return
    wanted = _not_carried(wanted, content) if wanted else wanted
    if wanted:
        _attach(wanted, content, store_path, limits, pause)
        if stat_index(store_path) != content.file:
            raise IndexChanged("the archive changed while it was read")


def _note(troubles: list[Problem], detail: str) -> None:
    troubles.append(Problem("docker-list", LIST, detail))


def _read(store_path: str, file: FileState, limits: ListLimits, pause: Callable[[], None]) -> bytes | None:
    """Return the bytes of `manifest.json` in the archive `file`, or None if it has none. Raises ValueError if it is too large."""
    try:
        opened = StoreFile(store_path, LIST, limits, pause)
    except IndexProblem as problem:
        if problem.state != "invalid":
            raise
        return None  # A link of that name is reported as `odd-member`; a directory is nothing that docker would load.
    try:
        if opened.state != file:
            raise IndexChanged("the archive changed while it was read")
        if opened.size > LIST_BYTES:
            raise ValueError(f"has {opened.size} bytes, more than {LIST_BYTES}, and is not read")
        ensure_room(_ROOM * opened.size)
        data = opened.read(opened.size, 0)
        opened.check()
        return data
    finally:
        opened.close()


def _items(data: bytes) -> list[Any]:
    """Return Config and RepoTags of each item, as encoding/json decodes them. Raises ValueError if `data` is not a JSON array."""
    try:
        found = json.loads(decode(data), object_pairs_hook=_item, parse_int=integer, parse_constant=refuse)
    except RecursionError:
        raise ValueError("is nested too deep") from None
    except ValueError:
        raise ValueError("is not JSON") from None
    if found is not None and not isinstance(found, list):
        raise ValueError(f"is {'an object' if isinstance(found, tuple) else kind(found)}, not an array")
    return found or []


def _item(pairs: list[tuple[str, Any]]) -> _Item:
    config = tags = None
    for key, value in pairs:
        name = fold(key)
        if name == "config" and value is not None:  # null leaves a string as it is, and clears a list
            config = value
        elif name == "repotags":
            tags = value
    return _NOTHING if config is None or not tags else (config, tags)


def _names_by_config(items: list[Any], troubles: list[Problem]) -> dict[str, list[str]]:
    """Return the RepoTags of each config, by its digest. Ignores items whose Config is not a path of a blob, as in older saves."""
    found: dict[str, dict[str, None]] = {}
    long = other = more = 0
    for item in items:
        config, tags = item if isinstance(item, tuple) else _NOTHING
        parts = config.split("/") if isinstance(config, str) else []
        digest = ":".join(parts[1:])
        if len(parts) != 3 or parts[0] != "blobs" or not is_docker_digest(digest):
            continue
        if not isinstance(tags, list):
            other += 1
            continue
        names = found.setdefault(digest, {})
        for tag in tags:
            if not isinstance(tag, str):
                other += tag is not None
            elif is_long(tag):
                long += 1
            elif len(names) >= MAX_NAMES:
                more += clean(tag) not in names
            else:
                names[clean(tag)] = None
    for count, one, several in (
        (other, "1 of its RepoTags is not a string", "{} of its RepoTags are not strings"),
        (long, f"1 of its RepoTags is longer than {KEY_BYTES} bytes", f"{{}} of its RepoTags are longer than {KEY_BYTES} bytes"),
        (more, f"1 of its RepoTags exceeds the limit of {MAX_NAMES} per image", f"{{}} of its RepoTags exceed the limit of {MAX_NAMES} per image"),
    ):  # fmt: skip
        if count:
            _note(troubles, one if count == 1 else several.format(count))
    return {digest: list(names) for digest, names in found.items() if names}


def _not_carried(wanted: dict[str, list[str]], content: IndexContent) -> dict[str, list[str]]:
    """Return the names in `wanted` that no annotation of any entry contains."""
    carried: set[tuple[str | None, str | None]] = set()
    for descriptor in content:
        if descriptor.annotations:
            keys, _ = derive_keys(descriptor.ref_name, descriptor.image_name, descriptor.digest, None)
            carried.update((key.repository, key.tag) for key in keys)
    left: dict[str, list[str]] = {}
    for digest, names in wanted.items():
        new = [name for name in names if _key(name) not in carried]
        if new:
            left[digest] = new
    return left


def _key(name: str) -> tuple[str | None, str | None]:
    """Return the repository and tag that a RepoTag means, or `(None, None)` if it is not a reference."""
    parts = split_reference(name)
    if parts is None:
        return None, None
    domain, path, tag, digest = parts
    return repository_name(domain, path), tag or (None if digest else "latest")


def _attach(
    wanted: dict[str, list[str]], content: IndexContent, store_path: str, limits: ListLimits, pause: Callable[[], None]
) -> None:
    """Give the names to the first entry of each config, and remove them from `wanted`. Report the names that remain."""
    looked: set[str] = set()
    left, manifest_bytes = READ_BYTES, limits.descriptor_bytes
    with BlobDirectories(store_path, limits=limits, pause=pause) as blobs:
        for place, descriptor in enumerate(list(content)):
            if descriptor.digest in looked or descriptor.media_type not in _TYPES:
                continue
            looked.add(descriptor.digest)
            pause()
            found = blobs.stat(descriptor.digest)
            left -= 0 if found is None else min(found.st_size, manifest_bytes)
            if left < 0:
                _note(
                    content.troubles,
                    f"is read in part: finding its images takes more than {READ_BYTES} bytes of manifests",
                )
                return
            names = wanted.pop(_config_of(blobs, descriptor, manifest_bytes) or "", None)
            if names is not None:
                content.replace(place, SavedDescriptor.of(descriptor, names))
            if not wanted:
                return
    names = [name for each in wanted.values() for name in each]
    what = (
        f"{shown(names[0], 100)} belongs"
        if len(names) == 1
        else f"{shown(names[0], 100)} and {counted(len(names) - 1, 'more name')} belong"
    )
    _note(content.troubles, f"{what} to an image without an entry in index.json, and not to any other entry")


def _config_of(blobs: BlobDirectories, descriptor: Descriptor, most: int) -> str | None:
    """Return the digest of the config that a manifest refers to, or None if it cannot be read or has no config."""
    try:
        data = descriptor.embedded(most) or blobs.read(descriptor.digest, most)
        manifest = None if data is None else parse_manifest(data)
    except (BlobProblem, AmbiguousManifest, ValueError):
        return None  # The problem is reported when the contents of the store are read.
    return None if manifest is None or manifest.config is None else manifest.config.digest
