"""The data of the benchmarks, made with tests/writers: big layouts, a mix of layouts as tools write them, and layouts with blobs."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tests import writers
from tests.writers import Descriptor

LAST = "docker.io/library/last:1.0"
ENTRIES = 100
"""The number of entries in a store of the mix."""

FEW, MANY = 20, 2_000
"""The number of stores of the mix that share a name, tag and digest."""


class Big(NamedTuple):
    """A layout, its number of entries, and the last name in its list, in the canonical form that every tool accepts."""

    path: str
    entries: int
    last: str = LAST

    @property
    def file(self) -> str:
        """Return the path of its index.json."""
        return f"{self.path}/index.json"


def big(path: str, entries: int) -> Big:
    """Make a layout of `entries` entries like those of the mix. Only the last entry has its blobs, so that skopeo can inspect it."""
    if not os.path.exists(f"{path}/index.json"):
        writers.make_layout(path)
        last = writers.name_entry(writers.make_image(path, "last"), "canonical", *LAST.rsplit(":", 1))
        _stream(f"{path}/index.json", writers.big_entries(entries - 1), last)
    return Big(path, entries)


def blobs(path: str, count: int, size: int) -> str:
    """Make a layout without entries, with `count` blobs of `size` random bytes, and return its path."""
    if not os.path.exists(path):
        made = f"{path}.new"
        shutil.rmtree(made, ignore_errors=True)
        writers.make_layout(made)
        for _ in range(count):
            writers.write_blob(made, os.urandom(size), "application/octet-stream")
        os.rename(made, path)
    return path


def altered(path: str, entries: int) -> Big:
    """Make the same layout as `big`, but with another image in every hundredth entry."""
    if not os.path.exists(f"{path}/index.json"):
        writers.make_layout(path)
        others = (
            entry if number % 100 else entry | {"digest": writers.fake_descriptor(f"other-{number}")["digest"]}
            for number, entry in enumerate(writers.big_entries(entries - 1))
        )
        last = writers.name_entry(writers.make_image(path, "last"), "canonical", *LAST.rsplit(":", 1))
        _stream(f"{path}/index.json", others, last)
    return Big(path, entries)


def move_last_tag(layout: Big, number: int) -> None:
    """Move the last name to a new image, and write index.json as skopeo does. `number` distinguishes the images."""
    image = writers.make_image(layout.path, f"last-{number}")
    last = writers.name_entry(image, "canonical", *LAST.rsplit(":", 1))
    with open(layout.file, "rb") as file:
        data = file.read()
    begin = data.rindex(b'{"mediaType"')
    writers.write_skopeo(layout.path, data[:begin] + writers.dump(last) + b"]}")


def shared(stores: int) -> Descriptor:
    """Return the entry that the first `stores` stores of the mix share."""
    return writers.name_entry(
        writers.fake_descriptor(f"in-{stores}"), "canonical", f"docker.io/shared/in-{stores}", f"in{stores}"
    )


def mix(path: str, stores: int) -> str:
    """Make `stores` layouts of a hundred entries each, and return their root.

    The first FEW layouts have one more entry in common, and the first MANY another one.
    """
    if os.path.exists(path):
        return path
    for number in range(stores):
        store = f"{path}.new/{number % 100:02}/{number:05}"
        writers.make_layout(store)
        entries = list(writers.big_entries(ENTRIES, seed=number))
        entries += [shared(count) for count in (FEW, MANY) if number < count]
        writers.write_index(store, writers.empty_index(*entries))
    os.rename(f"{path}.new", path)
    return path


def mix_names(stores: int) -> Iterator[str]:
    """Yield canonical names in the mix, from its stores in turn."""
    for number in range(0, ENTRIES, 5):
        for seed in range(stores):
            for other in (1, 2, 3):
                yield f"docker.io/library/app-{seed}-{(number + other) % 16:02}:1.{number + other}"


def images(path: str, stores: int, each: int) -> str:
    """Make `stores` layouts of `each` images with a config and a layer, and an index for every two images. Return their root."""
    if os.path.exists(path):
        return path
    for number in range(stores):
        store = writers.make_layout(f"{path}.new/{number:04}")
        entries = []
        for image in range(0, each, 2):
            pair = [_image(store, f"{number}-{image + half}", arch) for half, arch in enumerate(("amd64", "arm64"))]
            above = writers.make_index_image(store, pair)
            entries.append(writers.name_entry(above, "canonical", f"docker.io/library/app-{number}", f"1.{image}"))
        writers.write_index(store, writers.empty_index(*entries))
    os.rename(f"{path}.new", path)
    return path


def named(path: str, stores: int) -> str:
    """Make `stores` layouts, each with a hundred names for three images, and one image that nothing lists. Return their root."""
    if os.path.exists(path):
        return path
    for number in range(stores):
        store = writers.make_layout(f"{path}.new/{number % 100:02}/{number:05}")
        made = [_image(store, f"{number}-{image}", "amd64") for image in range(4)]
        entries = [
            writers.name_entry(made[each % 3], "canonical", f"docker.io/library/app-{number}", f"1.{each}")
            for each in range(ENTRIES)
        ]
        writers.write_index(store, writers.empty_index(*entries))
    os.rename(f"{path}.new", path)
    return path


def _image(store: str, seed: str, arch: str) -> Descriptor:
    layer = writers.write_blob(store, f"layer {seed}".encode(), writers.LAYER_TYPE)
    labels = {"org.opencontainers.image.revision": hashlib.sha256(seed.encode()).hexdigest()[:40], "version": seed}
    config = writers.platform("linux", arch) | {
        "created": writers.CREATED,
        "config": {"Env": ["PATH=/bin", "LANG=C.UTF-8"], "Cmd": ["/bin/sh"], "Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        "history": [{"created": writers.CREATED, "created_by": f"RUN step {step} of {seed}"} for step in range(5)],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": writers.MANIFEST_TYPE,
        "config": writers.write_blob(store, writers.dump(config), writers.CONFIG_TYPE),
        "layers": [layer],
    }
    described = writers.write_blob(store, writers.dump(manifest), writers.MANIFEST_TYPE)
    return described | {"platform": writers.platform("linux", arch)}


def _stream(path: str, entries: Iterable[Descriptor], last: Descriptor) -> None:
    """Write an index.json entry by entry, because a million entries as objects would take gigabytes."""
    with open(path, "wb") as file:
        file.write(b'{"schemaVersion":2,"manifests":[')
        file.writelines(writers.dump(entry) + b"," for entry in entries)
        file.write(writers.dump(last) + b"]}")
