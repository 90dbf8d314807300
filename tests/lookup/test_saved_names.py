"""The names that `docker save` writes beside a layout in an archive, and no annotation carries, are names like others."""

from __future__ import annotations

import io
import json
import os
import random
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from catalog.engine.sqlite.writer import SqliteWriter
from tests import writers
from tests.conftest import Catalogue, stamp
from tests.effort import examples, is_short
from tests.lookup.asking import Still, differences, references
from tests.lookup.turns import scanned
from tests.oracle import IMAGE_NAME, REF_NAME, OracleStore
from tests.writers import Descriptor

New = Callable[[str], Catalogue]
ALPINE, APP = "docker.io/library/alpine", "quay.io/user/app"
NAMES = (
    f"{ALPINE}:3",
    "alpine:3",
    "alpine",
    "alpine:4",
    f"{APP}:3",
    APP,
    "index.docker.io/user/app:1",
    "alpine:5",
    "app:3",
)
POLICIES = ("annotations", "fixed=alpine", "path", "path:tag", "annotation=base")
IMAGES = ("one", "two", "three", "four")
SHM = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # where a commit costs least


class Item(NamedTuple):
    """An item of manifest.json: which image's config it names and how, and its RepoTags."""

    image: str
    form: str
    tags: Any


BAD = ("", "UPPER", f"alpine@sha256:{'a' * 64}", "a b", "3\0", "\ud800", "x" * 1100, None, 5, ["alpine"])
FORMS = ("{}.json", "sha256:{}", "/blobs/sha256/{}", "blobs/sha256/{}/", "blobs/sha256/../{}")
RAW = ("3", "", "v1+b", f"alpine:3@sha256:{'b' * 64}")


class Save(NamedTuple):
    """What an archive has: an image, a media type and annotations per entry, and the items of manifest.json."""

    entries: list[tuple[str, str, dict[str, str]]]
    items: list[Item]


def save_of(rng: random.Random) -> Save:
    """A save with few names and images, so that they collide; one part in five or so of everything is odd."""

    def one_of(usual: Sequence[Any], odd: Sequence[Any], share: float = 0.2) -> Any:
        return rng.choice(odd if rng.random() < share else usual)

    entries = [
        (
            rng.choice(IMAGES),
            one_of((writers.MANIFEST_TYPE, ""), (writers.INDEX_TYPE, "application/vnd.oci.artifact.manifest.v1+json")),
            {
                key: one_of(NAMES, RAW, 0.4)
                for key, share in ((REF_NAME, 0.4), (IMAGE_NAME, 0.3), ("base", 0.2))
                if rng.random() < share
            },
        )
        for _ in range(rng.randrange(6))
    ]
    items = [
        Item(
            rng.choice(IMAGES),
            one_of(("blobs/sha256/{}",), FORMS),
            one_of(([one_of(NAMES, BAD) for _ in range(rng.randrange(1, 4))],), (None, "alpine:9", {}, []), 0.1),
        )
        for _ in range(rng.randrange(1, 6))
    ]
    return Save(entries, items)


def image_of(layout: str, name: str) -> tuple[Descriptor, str]:
    """An image of the layout, and the hex digits of its config. "four" is not among the blobs that are packed."""
    made = writers.make_image(layout, name)
    with open(f"{layout}/blobs/sha256/{made['digest'][7:]}", "rb") as file:
        return made, json.load(file)["config"]["digest"][7:]


def pack(path: str, layout: str, save: Save, spelling: str = "RepoTags") -> None:
    """Write the archive at `path` anew, and give it a time that no file had before."""
    images = {name: image_of(layout, name) for name in IMAGES}
    index = writers.empty_index(
        *({**images[name][0], "mediaType": kind, "annotations": said} for name, kind, said in save.entries)
    )
    listed = [
        {"Config": each.form.format(images[each.image][1]), spelling: each.tags, "Layers": []} for each in save.items
    ]
    left_out = images["four"][0]["digest"][7:]
    with tarfile.open(f"{path}.part", "w") as tar:
        for name, data in (
            ("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'),
            ("index.json", json.dumps(index).encode()),
            ("manifest.json", json.dumps(listed).encode()),
        ):
            put(tar, name, data)
        for blob in sorted(os.listdir(f"{layout}/blobs/sha256")):
            if blob != left_out:
                tar.add(f"{layout}/blobs/sha256/{blob}", f"blobs/sha256/{blob}")
    os.replace(f"{path}.part", path)
    stamp(path)


def put(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def test_every_answer_is_that_of_a_linear_scan(new_catalogue: New, engine: str) -> None:
    """Also after manifest.json alone has changed, and after another naming policy."""
    saved = 0
    for seed in range(examples(24 if engine == "sqlite" else 8)):
        rng = random.Random(seed)
        with tempfile.TemporaryDirectory(dir=SHM) as made:
            directory, before = os.path.realpath(made), os.getcwd()
            os.chdir(directory)
            path, layout = f"{directory}/R/library/alpine/3", writers.make_layout(f"{directory}/source")
            os.makedirs(os.path.dirname(path))
            catalogue = new_catalogue(directory)
            naming, then = rng.choice(POLICIES), rng.choice(POLICIES)
            try:
                catalogue.add(f"{directory}/R", naming=naming, index=False)
                save = save_of(rng)
                for number in range(3):
                    pack(path, layout, save, ("RepoTags", "repoTags")[number % 2])
                    if not number:
                        catalogue.add(path, naming=naming)
                    catalogue.index()
                    saved += agree(catalogue, path, naming, directory)
                    save = Save(save.entries if rng.random() < 0.6 else save_of(rng).entries, save_of(rng).items)
                catalogue.add(path, naming=then)
                saved += agree(catalogue, path, then, directory)
                catalogue.index(full=True)
                agree(catalogue, path, then, directory)
            finally:
                catalogue.close()
                os.chdir(before)
    assert saved


def agree(catalogue: Catalogue, path: str, naming: str, directory: str) -> int:
    """Compare every answer with the oracle, and return how many names there are of `docker save` alone."""
    name = catalogue.sql("SELECT name FROM store")[0][0]
    root = f"{directory}/R"
    store = OracleStore(name, path, naming=naming, root=root)
    oracle = Still([store])
    refs = references(oracle, directory)
    if not isinstance(catalogue.writer, SqliteWriter):  # There each is a round trip.
        refs = refs[:: 10 if is_short() else 5]
    assert differences(catalogue, oracle, refs, directory) == []
    answers = {
        (repository, tag): digest
        for repository, tag, digest in catalogue.sql("SELECT repository, tag, digest FROM history WHERE until IS NULL")
    }
    assert answers == scanned(store).answers
    sources = dict.fromkeys(("containerd", "ref", "docker-save"), 0) | dict(
        catalogue.sql("SELECT source, count(*) FROM images GROUP BY source")
    )
    keys = [str(key.source) for entry in oracle.read()[0].entries for key in entry.keys]
    words = {"containerd": "containerd", "ref": "ref", "docker-save": "saved by docker"}
    assert sources == {source: keys.count(word) for source, word in words.items()}
    return keys.count("saved by docker")
