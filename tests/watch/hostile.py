"""One hostile store of each kind: `KINDS` has how to make it below a directory, and what its owner does to it all the time."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable
from typing import NamedTuple

from tests import writers
from tests.content.layouts import index, manifest, named, put
from tests.ingest.test_long_words import AMD64, INSIDE, LONG, WORDS


class Kind(NamedTuple):
    """`make` is given a path and a size, 1.0 for the full one. `load` is Python code that its owner runs with the path until it is killed.

    `store` is the path of the hostile store within what was made.
    """

    make: Callable[[str, float], None]
    load: str = ""
    store: str = ""


def _entries(count: int, tag: str = "t") -> list[dict[str, object]]:
    return [
        {
            "digest": f"sha256:{hashlib.sha256(f'{tag}{n}'.encode()).hexdigest()}",
            "annotations": {writers.REF_NAME: f"{tag}{n}"},
        }
        for n in range(count)
    ]


def _index(path: str, data: bytes) -> None:
    with open(f"{path}/new", "wb") as file:
        file.write(data)
    os.rename(f"{path}/new", f"{path}/index.json")


def _layout(path: str, _size: float = 1) -> None:
    writers.make_layout(path)


def rewriting(entries: int, pause: str) -> str:
    """Code of an owner who renames one of two lists of `entries` (times its second argument) into place, again and again.

    It prints a line once the lists are made, and one after each rename. `pause` is an expression in seconds.
    """
    return f"""
import os, random, time
path, count = sys.argv[1], int({entries} * float(sys.argv[2]))
texts = []
for seed in (1, 2):
    made = random.Random(seed)
    texts.append(dump({{"manifests": [
        {{"digest": f"sha256:{{made.getrandbits(256):064x}}", "annotations": {{"org.opencontainers.image.ref.name": f"v{{seed}}.{{n}}"}}}}
        for n in range(count)
    ]}}))
print("ready", flush=True)
number = 0
while True:
    with open(f"{{path}}/new", "wb") as file:
        file.write(texts[number % 2])
    os.rename(f"{{path}}/new", f"{{path}}/index.json")
    number += 1
    print(number, flush=True)
    time.sleep({pause})
"""


HOT = rewriting(480_000, "0.3 + number % 3")
SMALL = rewriting(30_000, "0.5")

REWRITTEN = """
path = sys.argv[1]
texts = [dump({"manifests": [{"digest": f"sha256:{n:064x}"}] * 10}) for n in range(2)]
print("ready", flush=True)
number = 0
while True:
    with open(f"{path}/index.json", "r+b") as file:
        file.write(texts[number % 2])
    number += 1
"""

SWAPPED = """
import os
path = sys.argv[1]
os.makedirs(f"{path}.real", exist_ok=True)
print("ready", flush=True)
while True:
    os.rename(path, f"{path}.aside")
    os.symlink(f"{path}.aside", path)
    os.unlink(path)
    os.rename(f"{path}.aside", path)
"""

STORM = """
import os, shutil
path = sys.argv[1]
print("ready", flush=True)
number = 0
while True:
    for n in range(20):
        os.makedirs(f"{path}/d{n}/e/f/g", exist_ok=True)
        with open(f"{path}/d{n}/e/index.json", "w") as file:
            file.write("{}")
    for n in range(20):
        shutil.rmtree(f"{path}/d{n}")
"""

WIDE_STORM = """
import os
path = sys.argv[1]
print("ready", flush=True)
number = 0
while True:
    os.mkdir(f"{path}/x{number % 1000}")
    os.rename(f"{path}/x{number % 1000}", f"{path}/y{number % 1000}")
    os.rmdir(f"{path}/y{number % 1000}")
    number += 1
"""

BLOBS_STORM = """
import os
path = sys.argv[1]
print("ready", flush=True)
number = 0
while True:
    name = f"{path}/blobs/sha256/{number % 1000:064x}"
    with open(name, "w") as file:
        file.write("{}")
    os.unlink(name)
    number += 1
"""

MODES = """
import os
path = sys.argv[1]
print("ready", flush=True)
while True:
    os.chmod(path, 0o700); os.utime(f"{path}/index.json"); os.chmod(path, 0o755)
"""


def _commas(path: str, size: float) -> None:
    _layout(path)
    each = ",".join(f"repo{n}:tag" for n in range(int(300_000 * size)))
    _index(
        path, writers.dump(writers.empty_index({"digest": f"sha256:{1:064x}", "annotations": {writers.REF_NAME: each}}))
    )


def _words(path: str, _size: float) -> None:
    _layout(path)
    inside = [named(make(path)) for make in INSIDE.values()]
    image = manifest(path, AMD64)
    more = [change(image) for change in WORDS.values()]
    _index(path, writers.dump(writers.empty_index(*inside, *more)))
    deep = f"{path}/" + "/".join(LONG[n * 200 : n * 200 + 200] for n in range(12))
    os.makedirs(deep)
    _layout(deep)


def _memory(path: str, size: float) -> None:
    _layout(path)
    entries = [
        {"digest": f"sha256:{n:064x}", "annotations": {f"{n}.{k}": "" for k in range(4)}}
        for n in range(int(1_500_000 * size))
    ]
    _index(path, writers.dump({"manifests": entries}))


def _nested(path: str, size: float) -> None:
    _layout(path)
    depth = int(2_000_000 * size)
    _index(path, b'{"a":' * depth + b"1" + b"}" * depth)


def _nested_lists(path: str, size: float) -> None:
    _layout(path)
    depth = int(10_000_000 * size)
    _index(path, b'{"manifests":[' + b"[" * depth + b"]" * depth + b"]}")


def _chain(path: str, size: float) -> None:
    _layout(path)
    at = manifest(path, AMD64)
    for _ in range(int(10_000 * size)):
        at = index(path, at)
    _index(path, writers.dump(writers.empty_index(named(at, "chain:1"))))


def _wide(path: str, size: float) -> None:
    _layout(path)
    images = [manifest(path, AMD64 | {"n": n}) for n in range(int(2_000 * size))]
    tops = [index(path, *images, annotations={"n": str(n)}) for n in range(20)]
    _index(path, writers.dump(writers.empty_index(*(named(top, f"wide:{n}") for n, top in enumerate(tops)))))


def _large_manifests(path: str, size: float) -> None:
    """Manifests of 4 MiB, each another, of many layers; the file system holds 40 GB in 10,000 hard links of 100 files."""
    _layout(path)
    entries = []
    count = max(1, int(60 * size))
    layers = [{"mediaType": writers.LAYER_TYPE, "digest": f"sha256:{n:064x}", "size": n} for n in range(26_000)]
    entries += [named(manifest(path, AMD64 | {"n": n}, *layers), f"m:{n}") for n in range(count)]
    # 10,000 names: most blobs hash to something else than their name, and are read all the same
    source = f"{path}/blobs/sha256/{entries[0]['digest'][7:]}"
    for n in range(int(10_000 * size)):
        digest = hashlib.sha256(f"{n}".encode()).hexdigest()
        os.link(source, f"{path}/blobs/sha256/{digest}")
        entries.append({"mediaType": writers.MANIFEST_TYPE, "digest": f"sha256:{digest}", "size": 4 << 20})
    _index(path, writers.dump(writers.empty_index(*entries)))


def _many_manifests(path: str, size: float) -> None:
    """10,000 entries, each a manifest of 100 layers."""
    _layout(path)
    entries = []
    config = put(path, AMD64, writers.CONFIG_TYPE)
    for n in range(int(10_000 * size)):
        layers = [
            {"mediaType": writers.LAYER_TYPE, "digest": f"sha256:{n * 100 + k:064x}", "size": k} for k in range(100)
        ]
        entries.append(named(manifest(path, config, *layers), f"m:{n}"))
    _index(path, writers.dump(writers.empty_index(*entries)))


def _blobs(path: str, size: float) -> None:
    _layout(path)
    for n in range(int(200_000 * size)):
        os.close(os.open(f"{path}/blobs/sha256/{n:064x}", os.O_WRONLY | os.O_CREAT))
    _index(path, writers.dump(writers.empty_index(*_entries(3))))


def _json_blobs(path: str, size: float) -> None:
    """Blobs that nothing points to and that begin like JSON: each is read."""
    _layout(path)
    for n in range(int(50_000 * size)):
        put(path, {"schemaVersion": 2, "n": n})
    _index(path, writers.dump(writers.empty_index(*_entries(3))))


def _sparse(path: str, _size: float) -> None:
    _layout(path)
    digest = f"{5:064x}"
    with open(f"{path}/blobs/sha256/{digest}", "wb") as file:
        file.truncate(8 << 40)
    entry = {"mediaType": writers.MANIFEST_TYPE, "digest": f"sha256:{digest}", "size": 8 << 40}
    _index(path, writers.dump(writers.empty_index(entry)))


def _sparse_index(path: str, _size: float) -> None:
    _layout(path)
    with open(f"{path}/index.json", "wb") as file:
        file.truncate(8 << 40)


def _special(path: str, _size: float) -> None:
    """A FIFO, a socket and devices, as index.json and as blobs."""
    made: dict[str, Callable[[str], None]] = {
        "fifo": os.mkfifo,
        "socket": _socket,
        "zero": lambda p: os.mknod(p, 0o20666, os.makedev(1, 5)),
        "tty": lambda p: os.mknod(p, 0o20666, os.makedev(5, 0)),
    }
    for name, make in made.items():
        try:
            _layout(f"{path}/{name}")
            os.unlink(f"{path}/{name}/index.json")
            make(f"{path}/{name}/index.json")
            _layout(f"{path}/{name}-blob")
            digest = f"{7:064x}"
            make(f"{path}/{name}-blob/blobs/sha256/{digest}")
        except PermissionError:
            continue
        entry = {"mediaType": writers.MANIFEST_TYPE, "digest": f"sha256:{digest}", "size": 100}
        _index(f"{path}/{name}-blob", writers.dump(writers.empty_index(entry)))


def _socket(path: str) -> None:
    directory, name = os.path.split(path)
    here = os.getcwd()
    os.chdir(directory)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(name)
    finally:
        os.chdir(here)


def _unreadable(path: str, _size: float) -> None:
    _layout(path)
    os.chmod(f"{path}/index.json", 0)
    os.chmod(path, 0)


def _linked(path: str, size: float) -> None:
    """1,000 stores with one index.json."""
    first = f"{path}/0"
    _layout(first)
    _index(first, writers.dump(writers.empty_index(*_entries(100))))
    for n in range(1, int(1000 * size)):
        _layout(f"{path}/{n}")
        os.unlink(f"{path}/{n}/index.json")
        os.link(f"{first}/index.json", f"{path}/{n}/index.json")


LINKED = """
import os, time
path = sys.argv[1]
print("ready", flush=True)
number = 0
while True:
    with open(f"{path}/0/index.json", "r+b") as file:
        file.write(dump({"manifests": [{"digest": f"sha256:{number:064x}"} for n in range(100)]}))
    number += 1
    time.sleep(1)
"""


def _tree(path: str, size: float) -> None:
    """A tree of many directories, none of them a layout."""
    for n in range(int(300 * size)):
        for k in range(100):
            os.makedirs(f"{path}/{n}/{k}")


def _entries_just_small(path: str, size: float) -> None:
    _layout(path)
    _index(path, writers.dump({"manifests": _entries(int(30_000 * size))}))


KINDS: dict[str, Kind] = {
    "none": Kind(_layout),
    "hot 64 MiB list": Kind(_layout, HOT),
    "hot list just below large": Kind(_layout, SMALL),
    "rewritten without end": Kind(_layout, REWRITTEN),
    "4 MiB of names in one": Kind(_commas),
    "long words": Kind(_words),
    "more than memory": Kind(_memory),
    "nested objects": Kind(_nested),
    "nested arrays": Kind(_nested_lists),
    "chain of indexes": Kind(_chain),
    "wide indexes": Kind(_wide),
    "manifests of 4 MiB": Kind(_large_manifests),
    "10,000 manifests": Kind(_many_manifests),
    "200,000 blobs": Kind(_blobs),
    "50,000 blobs like JSON": Kind(_json_blobs),
    "8 TB blob": Kind(_sparse),
    "8 TB index.json": Kind(_sparse_index),
    "special files": Kind(_special),
    "swapped with a link": Kind(_layout, SWAPPED),
    "storm of directories": Kind(_layout, STORM),
    "storm of renames": Kind(_layout, WIDE_STORM),
    "storm of blobs": Kind(_layout, BLOBS_STORM),
    "storm of attributes": Kind(_layout, MODES),
    "unreadable": Kind(_unreadable),
    "1,000 stores of one file": Kind(_linked, LINKED),
    "30,000 directories": Kind(_tree),
}


def change(path: str, number: int) -> str:
    """Let the image `app:1` of a layout be another one; its digest."""
    entry = named(writers.fake_descriptor(f"{number:06}"), "app:1")
    _index(path, writers.dump(writers.empty_index(entry)))
    return str(entry["digest"])
