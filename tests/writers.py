"""Write layouts as other tools do: blobs, names, and above all the ways in which they rewrite `index.json`.

Everything depends only on its seed. Indexes and descriptors are plain dicts, as in JSON. Functions that change an index
return a new one; functions that write one take bytes.
"""

from __future__ import annotations

import contextlib
import copy
import fcntl
import hashlib
import io
import json
import os
import random
import tarfile
import tempfile
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Descriptor = dict[str, Any]
Index = dict[str, Any]
Write = Callable[[str, bytes], None]

IMAGE_NAME = "io.containerd.image.name"
REF_NAME = "org.opencontainers.image.ref.name"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
CREATED = "2024-01-02T03:04:05Z"


# Layouts and blobs


def dump(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def make_layout(path: str) -> str:
    """Make an empty layout and return its path."""
    os.makedirs(f"{path}/blobs/sha256", exist_ok=True)
    for name, document in (("oci-layout", {"imageLayoutVersion": "1.0.0"}), ("index.json", empty_index())):
        with open(f"{path}/{name}", "wb") as file:
            file.write(dump(document))
    return path


def empty_index(*entries: Descriptor) -> Index:
    return {"schemaVersion": 2, "manifests": list(entries)}


def read_index(path: str) -> Index:
    with open(f"{path}/index.json", "rb") as file:
        index: Index = json.load(file)
    return index


def entries_of(index: Index) -> list[Descriptor]:
    """Return the entries of an index; `umoci init` writes null if there are none."""
    return index.get("manifests") or []


def write_index(path: str, index: Index, style: str = "skopeo") -> None:
    WRITE_STYLES[style](path, dump(index))


def write_blob(path: str, data: bytes, media_type: str) -> Descriptor:
    digest = hashlib.sha256(data).hexdigest()
    with open(f"{path}/blobs/sha256/{digest}", "wb") as file:
        file.write(data)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}


def platform(os_name: str, arch: str, variant: str | None = None) -> dict[str, str]:
    return {"architecture": arch, "os": os_name} | ({"variant": variant} if variant else {})


def make_image(
    path: str,
    seed: str,
    *,
    os: str = "linux",
    arch: str = "amd64",
    variant: str | None = None,
    layers: int = 1,
    labels: Mapping[str, str] | None = None,
    extra_annotations: Mapping[str, str] | None = None,
) -> Descriptor:
    """Layers, config and manifest, with `extra_annotations` on the manifest; the manifest's descriptor, without a
    platform."""
    tars = [_tar(f"{seed}-{number}", f"layer {number} of {seed}\n".encode()) for number in range(layers)]
    config = platform(os, arch, variant) | {
        "created": CREATED,
        "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"], "Labels": dict(labels or {})},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in tars]},
        "history": [{"created": CREATED, "created_by": f"layer {number}"} for number in range(layers)],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": write_blob(path, dump(config), CONFIG_TYPE),
        "layers": [write_blob(path, _gzip(tar), LAYER_TYPE) for tar in tars],
    }
    if extra_annotations:
        manifest["annotations"] = dict(extra_annotations)
    return write_blob(path, dump(manifest), MANIFEST_TYPE)


def _gzip(data: bytes) -> bytes:
    """Compress to the same bytes with every Python: gzip.compress has another header from 3.13 on."""
    return zlib.compress(data, level=9, wbits=31)


def _tar(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        member = tarfile.TarInfo(name)  # owner 0, time 0: the same bytes each time
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def make_index_image(path: str, descriptors: Sequence[Descriptor]) -> Descriptor:
    """Make an image index of these descriptors, which have a `platform`."""
    index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": list(descriptors)}
    return write_blob(path, dump(index), INDEX_TYPE)


def fake_descriptor(seed: str) -> Descriptor:
    """Return the descriptor of a manifest that does not exist."""
    digest = hashlib.sha256(seed.encode()).hexdigest()
    return {"mediaType": MANIFEST_TYPE, "digest": f"sha256:{digest}", "size": 400 + len(seed)}


# Names


def familiar(name: str) -> str:
    return name.removeprefix("docker.io/").removeprefix("library/")


NAME_STYLES = ("tag", "short", "canonical", "containerd", "crane", "joined", "garbage", "none")


def name_annotations(style: str, repository: str, tag: str) -> dict[str, str]:
    full = f"{repository}:{tag}"
    return {
        "tag": {REF_NAME: tag},
        "short": {REF_NAME: familiar(full)},
        "canonical": {REF_NAME: full},
        "containerd": {IMAGE_NAME: full, REF_NAME: tag},
        "crane": {REF_NAME: full.replace("docker.io/", "index.docker.io/", 1)},
        "joined": {REF_NAME: f"{full},{repository}-too:{tag}"},
        "garbage": {REF_NAME: f"{tag}+build.5"},
        "none": {},
    }[style]


def name_entry(descriptor: Descriptor, style: str, repository: str, tag: str) -> Descriptor:
    """Return a copy of the descriptor with the name annotations of a style. `repository` is canonical."""
    entry = {key: value for key, value in descriptor.items() if key != "annotations"}
    kept = {k: v for k, v in descriptor.get("annotations", {}).items() if k not in (IMAGE_NAME, REF_NAME)}
    annotations = kept | name_annotations(style, repository, tag)
    return entry | ({"annotations": annotations} if annotations else {})


# Ways to rewrite index.json


def write_skopeo(path: str, data: bytes) -> None:
    """Write as skopeo, podman, buildah and oras do: truncate the file, then write it in place."""
    with open(f"{path}/index.json", "wb", buffering=0) as file:
        file.write(data)


def write_buildkit(path: str, data: bytes) -> None:
    """Write as BuildKit and buildx do: with a temporary lock file, overwrite the file in place, then truncate it."""
    lock = f"{path}/index.json.lock"
    with open(lock, "wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file = os.open(f"{path}/index.json", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            os.pwrite(file, data, 0)
            os.ftruncate(file, len(data))
        finally:
            os.close(file)
            fcntl.flock(held, fcntl.LOCK_UN)
            with contextlib.suppress(FileNotFoundError):  # a reader of BuildKit's removes it as well
                os.unlink(lock)


def write_umoci(path: str, data: bytes) -> None:
    """Write as umoci does: rename a file from a temporary directory beside it, which keeps its mode 0600."""
    directory = tempfile.mkdtemp(prefix=".umoci-", dir=path)
    handle, name = tempfile.mkstemp(prefix="index-", dir=directory)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(name, f"{path}/index.json")
    os.rmdir(directory)


def write_regctl(path: str, data: bytes) -> None:
    """Write as regclient and olareg do: rename a temporary file of mode 0600 beside it."""
    handle, name = tempfile.mkstemp(prefix="index.json.", suffix=".tmp", dir=path)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    os.rename(name, f"{path}/index.json")


def write_zot(path: str, data: bytes) -> None:
    """Write as zot does: rename an upload."""
    os.makedirs(f"{path}/.uploads", exist_ok=True)
    name = f"{path}/.uploads/{uuid.uuid4()}"
    with open(name, "wb") as file:
        file.write(data)
    os.rename(name, f"{path}/index.json")


def write_crane(path: str, data: bytes) -> None:
    """Write as crane does: first an empty index, in place, then the real one."""
    write_skopeo(path, dump({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": []}))
    write_skopeo(path, data)


def linuxkit_between(old: Index, new: Index) -> Index:
    """Return the index between linuxkit's two rewrites, in which an entry whose name changes is temporarily absent."""
    kept = [entry for entry in entries_of(old) if entry in entries_of(new)]
    return {**old, "manifests": kept}


def write_linuxkit(path: str, data: bytes) -> None:
    """Write as linuxkit does: under an fcntl lock on `.lock`, two rewrites in place, from the present index to `data`."""
    with open(f"{path}/.lock", "wb") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        try:
            old = read_index(path)
        except (FileNotFoundError, ValueError):
            old = empty_index()
        write_skopeo(path, dump(linuxkit_between(old, json.loads(data))))
        write_skopeo(path, data)


def write_recreate(path: str, data: bytes) -> None:
    """Write as a script may: remove the file and create it again."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{path}/index.json")
    with open(f"{path}/index.json", "xb") as file:
        file.write(data)


WRITE_STYLES: dict[str, Write] = {
    "skopeo": write_skopeo,
    "buildkit": write_buildkit,
    "umoci": write_umoci,
    "regctl": write_regctl,
    "zot": write_zot,
    "crane": write_crane,
    "linuxkit": write_linuxkit,
    "recreate": write_recreate,
}

RENAMING = frozenset({"umoci", "regctl", "zot"})
"""The styles that rename a whole file into place."""


def slow_in_place(path: str, data: bytes, *, chunk: int, pause: float) -> None:
    """Write data of the present length in chunks, like a slow writer that never truncates."""
    with open(f"{path}/index.json", "r+b", buffering=0) as file:
        if os.fstat(file.fileno()).st_size != len(data):
            raise ValueError("the new index.json is to have the old one's length")
        for start in range(0, len(data), chunk):
            if start:
                time.sleep(pause)
            file.write(data[start : start + chunk])


def torn(path: str, data: bytes, cut: int) -> None:
    """Write like a writer that died after `cut` bytes."""
    write_skopeo(path, data[:cut])


# Changes of an index: each gives a new one


def _with(index: Index, entries: Sequence[Descriptor]) -> Index:
    return copy.deepcopy({**index, "manifests": list(entries)})


def append(index: Index, *entries: Descriptor) -> Index:
    return _with(index, [*entries_of(index), *entries])


def retag_skopeo(index: Index, entry: Descriptor) -> Index:
    """The first entry of that ref.name loses it; then the first unnamed one of that digest is overwritten, or the new
    one appended."""
    entries = copy.deepcopy(entries_of(index))
    name = _annotation(entry, REF_NAME)
    for old in entries:
        if name and _annotation(old, REF_NAME) == name:
            del old["annotations"][REF_NAME]
            if not old["annotations"]:
                del old["annotations"]
            break
    for position, old in enumerate(entries):
        if old.get("digest") == entry["digest"] and not _annotation(old, REF_NAME):
            entries[position] = entry
            return _with(index, entries)
    return _with(index, [*entries, entry])


def retag_replace(index: Index, entry: Descriptor) -> Index:
    """Do what BuildKit's Put does: remove entries with the same name and tag, and append the new one."""
    names = _annotation(entry, IMAGE_NAME), _annotation(entry, REF_NAME)
    old = entries_of(index)
    kept = [each for each in old if (_annotation(each, IMAGE_NAME), _annotation(each, REF_NAME)) != names]
    return _with(index, [*(kept if names != ("", "") else old), entry])


def _annotation(entry: Descriptor, key: str) -> str:
    value: str = (entry.get("annotations") or {}).get(key, "")
    return value


def remove(index: Index, position: int) -> Index:
    entries = list(entries_of(index))
    del entries[position]
    return _with(index, entries)


def reorder(index: Index, rng: random.Random) -> Index:
    """Return the same entries in another order, as oras does each time."""
    entries = list(entries_of(index))
    return _with(index, rng.sample(entries, len(entries)))


def duplicate(index: Index, position: int) -> Index:
    """Repeat an entry at the end."""
    return append(index, entries_of(index)[position])


# Large layouts


def big_entries(n: int, *, seed: int = 0, mix: bool = True) -> Iterator[Descriptor]:
    """Descriptors in the mix that writers leave: a fifth each of bare tags, short names, canonical names, containerd's
    pairs and no name; 16 repositories; one digest for every two entries; one annotation more on a third.
    Without `mix`: canonical names, a digest each. No name stands twice."""
    styles = ("tag", "short", "canonical", "containerd", "none")
    for number in range(n):
        entry = fake_descriptor(f"{seed}-{number // 2 if mix else number}")
        if mix and number % 3 == 0:
            entry["annotations"] = {"org.opencontainers.image.created": CREATED}
        repository = f"docker.io/library/app-{seed}-{number % 16:02}"
        yield name_entry(entry, styles[number % 5] if mix else "canonical", repository, f"1.{number}")


def big_layout(path: str, n: int, *, seed: int = 0, mix: bool = True) -> str:
    """Make a layout of n such entries, without blobs."""
    make_layout(path)
    write_index(path, empty_index(*big_entries(n, seed=seed, mix=mix)))
    return path
