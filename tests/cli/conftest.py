"""A shelf of layouts and its catalog. It is made once, and the tests that share it only read it."""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import writers
from tests.cli.program import Ran, called
from tests.conftest import AT_ONCE, Place
from tests.postgres import Server

NASTY = "t\tn\nr\rb\\e\x1b[31mc\x9bd\x7fu\u202el\u2028p\u200f"
"""Tab, line ends, backslash, ESC, a C1 control, DEL, a bidi override, a line separator, a bidi mark."""
SHOWN = r"t\tn\nr\rb\\e\x1b[31mc\x9bd\x7fu\u202el\u2028p\u200f"

TAGS = ("3.16", "3.17", "latest")


class Shelf(NamedTuple):
    """`db` is the catalog, `config` settings without settling, `root` the directory `images`, `digests` by (layout, tag)."""

    db: str
    config: str
    root: str
    digests: dict[tuple[str, str], str]

    def ask(self, *arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> Ran:
        return called(*arguments, db=self.db, stdin=stdin, env=env)


def no_settling(directory: Path) -> str:
    """A settings file with AT_ONCE, because the files of a test have only just changed."""
    path = directory / "settings.toml"
    path.write_text(f"[watch]\nsettle_ms = {AT_ONCE.settle_ms}\nheld_ms = {AT_ONCE.held_ms}\n")
    return str(path)


def make_layout(path: str, style: str, repository: str) -> dict[str, str]:
    """Make a layout with an image for each of TAGS; return the digests by tag."""
    writers.make_layout(path)
    entries = [
        writers.name_entry(
            writers.make_image(path, f"{repository}:{tag}"), style, f"docker.io/library/{repository}", tag
        )
        for tag in TAGS
    ]
    writers.write_index(path, writers.empty_index(*entries))
    return {tag: entry["digest"] for tag, entry in zip(TAGS, entries, strict=True)}


@pytest.fixture(scope="session")
def shelves() -> dict[str, Shelf]:
    """The shelves by engine, each made when a test first asks for it; all test files share them."""
    return {}


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory, place: Place, engine: str, shelves: dict[str, Shelf]) -> Shelf:
    """The shelf, in a catalog of the engine under test."""
    if engine not in shelves:
        shelves[engine] = make_shelf(tmp_path_factory.mktemp("shelf"), place)
    return shelves[engine]


def make_shelf(base: Path, place: Place) -> Shelf:
    """`images` is a root: alpine (bare tags), busybox (short names), ctr (containerd's pairs), none (no names), multi
    (an index image), odd (names and a directory full of control characters), \\xff (a path that is not UTF-8), hurt (torn
    after it was indexed), void (no entries). `solo`, beside it, holds busybox with other digests, at priority 5.
    """
    root = str(base / "images")
    digests: dict[tuple[str, str], str] = {}
    for style, name in (("tag", "alpine"), ("short", "busybox"), ("containerd", "ctr"), ("none", "none")):
        made = make_layout(f"{root}/{name}", style, name)
        digests |= {(name, tag): digest for tag, digest in made.items()}
    digests |= {("hurt", tag): digest for tag, digest in make_layout(f"{root}/hurt", "short", "hurt").items()}

    multi = writers.make_layout(f"{root}/multi")
    children = [
        writers.make_image(multi, f"multi-{arch}", arch=arch) | {"platform": writers.platform("linux", arch)}
        for arch in ("amd64", "arm64")
    ]
    index = writers.make_index_image(multi, children)
    digests["multi", "1"] = index["digest"]
    digests["multi", "child"] = children[0]["digest"]
    writers.write_index(multi, writers.empty_index(writers.name_entry(index, "short", "docker.io/library/multi", "1")))

    odd = writers.make_layout(f"{root}/odd{NASTY}")
    entry = writers.fake_descriptor("odd") | {
        "mediaType": f"application/{NASTY}",
        "artifactType": f"artifact/{NASTY}",
        "platform": writers.platform("linux", "arm64", "v8"),
        "annotations": {writers.REF_NAME: f"odd{NASTY}", f"key{NASTY}": f"value{NASTY}"},
    }
    digests["odd", ""] = entry["digest"]
    writers.write_index(odd, writers.empty_index(entry))

    raw = os.fsencode(f"{root}/") + b"\xff%\xfe"
    writers.make_layout(os.fsdecode(raw))
    bytes_entry = writers.name_entry(writers.fake_descriptor("bytes"), "short", "docker.io/library/bytes", "1")
    digests["bytes", "1"] = bytes_entry["digest"]
    writers.write_index(os.fsdecode(raw), writers.empty_index(bytes_entry))
    writers.make_layout(f"{root}/void")

    solo = make_layout(str(base / "solo"), "canonical", "busybox-solo")
    layout = writers.read_index(str(base / "solo"))
    for each in layout["manifests"]:
        tag = each["annotations"][writers.REF_NAME].rpartition(":")[2]
        each["annotations"][writers.REF_NAME] = f"busybox:{tag}"
    writers.write_index(str(base / "solo"), layout)
    digests |= {("solo", tag): digest for tag, digest in solo.items()}

    config = no_settling(base)
    db = place(str(base))
    for arguments in (("add", root), ("add", str(base / "solo"), "--name", "solo", "--priority", "5")):
        done = called("--config", config, *arguments, db=db)
        assert done.status == 0, done
    with open(f"{root}/hurt/index.json", "a") as file:
        file.write("{")
    assert called("--config", config, "index", db=db).status == 0
    return Shelf(db, config, root, digests)


@pytest.fixture
def own(shelf: Shelf, tmp_path: Path) -> Callable[[str], str]:
    """A function that copies a layout of the shelf below the test's own directory and returns the new path."""

    def copy(name: str, to: str = "") -> str:
        target = str(tmp_path / (to or name))
        shutil.copytree(f"{shelf.root}/{name}", target)
        return target

    return copy


def retag(path: str, tag: str, seed: str) -> str:
    """Let a tag of a layout point to another image, as BuildKit does; return the digest of that image."""
    index = writers.read_index(path)
    old = next(each for each in index["manifests"] if (each.get("annotations") or {}).get(writers.REF_NAME) == tag)
    new = writers.fake_descriptor(seed) | {"annotations": dict(old["annotations"])}
    writers.write_index(path, writers.retag_replace(index, new))
    digest: str = new["digest"]
    return digest


def objects(result: Ran) -> list[dict[str, object]]:
    """Return the array that `--format json` printed."""
    found: list[dict[str, object]] = json.loads(result.out)
    return found


class Own:
    """A catalog of the test's own, empty at first, without settling. Calling it runs `ocicat`."""

    def __init__(self, directory: Path, db: str) -> None:
        self.directory = str(directory)
        self.db = db
        self.config = no_settling(directory)

    def __call__(self, *arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> Ran:
        return called("--config", self.config, *arguments, db=self.db, stdin=stdin, env=env)

    def done(self, *arguments: str) -> Ran:
        """Run a command that must succeed and print nothing on stderr."""
        result = self(*arguments)
        assert (result.status, result.err) == (0, ""), result
        return result

    def stores(self) -> dict[str, dict[str, object]]:
        """Return the objects that `stores` prints, by name."""
        return {str(each["name"]): each for each in objects(self("stores", "--format", "json"))}


@pytest.fixture
def cli(tmp_path: Path, engine: str, request: pytest.FixtureRequest) -> Iterator[Own]:
    if engine == "sqlite":
        path = str(tmp_path / "own.db")
        if request.node.get_closest_marker("without_catalog") is None:
            shutil.copy(request.getfixturevalue("empty_catalog"), path)  # to make one takes longer than most tests
        yield Own(tmp_path, path)
        return
    server: Server = request.getfixturevalue("server")
    url = server.new_catalog()
    yield Own(tmp_path, url)
    server.drop(url)


def tagged(
    directory: Path, name: str, *tags: str, style: str = "tag", repository: str = "docker.io/library/app"
) -> str:
    """Make a layout with bare tags below a directory: `tagged(directory, "images/alpine", "3.16", "3.17")`."""
    path = writers.make_layout(str(directory / name))
    entries = [writers.name_entry(writers.make_image(path, f"{name}:{tag}"), style, repository, tag) for tag in tags]
    writers.write_index(path, writers.empty_index(*entries))
    return path


@pytest.fixture
def layout(tmp_path: Path) -> Callable[..., str]:
    """`tagged` for the test's directory."""
    return functools.partial(tagged, tmp_path)
