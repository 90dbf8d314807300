"""Layouts made to cost whoever walks through them: each maker writes some below a directory, of so many parts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any

from tests import writers

Descriptor = dict[str, Any]
Make = Callable[[str, int], list[str]]
"""Writes layouts below a directory, of so many parts, and returns their paths."""

NAME = "docker.io/library/app"


class Layout:
    """A layout that is being written, at `path`."""

    def __init__(self, path: str) -> None:
        self.path = writers.make_layout(path)
        self.entries: list[Descriptor] = []

    def put(self, document: Descriptor, media_type: str, algorithm: str = "sha256") -> Descriptor:
        """Write a blob; its descriptor."""
        data = writers.dump(document)
        digest = hashlib.new(algorithm, data).hexdigest()
        os.makedirs(f"{self.path}/blobs/{algorithm}", exist_ok=True)
        with open(f"{self.path}/blobs/{algorithm}/{digest}", "wb") as file:
            file.write(data)
        return {"digest": f"{algorithm}:{digest}", "size": len(data), "mediaType": media_type}

    def image(self, seed: object = 0, *, layers: int = 1, platform: str = "amd64", **more: object) -> Descriptor:
        config = self.put(
            {"os": "linux", "architecture": platform, "config": {"Labels": {"n": str(seed)}}}, writers.CONFIG_TYPE
        )
        listed = [layer(f"{seed} {number}") for number in range(layers)]
        return self.put({"schemaVersion": 2, "config": config, "layers": listed, **more}, writers.MANIFEST_TYPE)

    def index(self, *children: Descriptor, **more: object) -> Descriptor:
        document = {"schemaVersion": 2, "manifests": list(children), "annotations": more}
        return self.put(document, writers.INDEX_TYPE)

    def add(self, descriptor: Descriptor, ref_name: str | None = None, **annotations: str) -> None:
        """Let the layout list it."""
        names = {} if ref_name is None else {writers.REF_NAME: ref_name}
        self.entries.append({**descriptor, "annotations": {**names, **annotations}})

    def done(self) -> str:
        writers.write_index(self.path, writers.empty_index(*self.entries))
        return self.path


def layer(seed: str) -> Descriptor:
    digest = hashlib.sha256(seed.encode()).hexdigest()
    return {"digest": f"sha256:{digest}", "size": 9, "mediaType": writers.LAYER_TYPE}


def chain(made: Layout, bottom: Descriptor, depth: int) -> Descriptor:
    """`depth` indexes, each above the one before."""
    for _ in range(depth):
        bottom = made.index(bottom)
    return bottom


def _one(do: Callable[[Layout, int], object]) -> Make:
    def make(directory: str, number: int) -> list[str]:
        made = Layout(os.path.join(directory, "s"))
        do(made, number)
        return [made.done()]

    return make


def _chain(made: Layout, number: int) -> None:
    made.add(chain(made, made.image(), number), "app:1")


def _tops(made: Layout, number: int) -> None:
    shared = chain(made, made.image(), number)
    for each in range(number):
        made.add(made.index(shared, n=str(each)), f"app:{each}")


def _names(made: Layout, number: int) -> None:
    index = made.index(*(made.image(each) for each in range(number)))
    for each in range(number):
        made.add(index, f"app:{each}")


def _list_of_names(made: Layout, number: int) -> None:
    index = made.index(*(made.image(each) for each in range(number)))
    made.add(index, ",".join(f"app:{each}" for each in range(number)))


def _missing(made: Layout, number: int) -> None:
    for each in range(number):
        made.add(layer("absent") | {"mediaType": writers.MANIFEST_TYPE}, f"app:{each}")


def _duplicates(made: Layout, number: int) -> None:
    for each in range(number):
        made.add(made.image(each), "app:1")


def _tags_of_a_list(made: Layout, number: int) -> None:
    subject = made.image()
    made.add(subject, "app:1")
    about = made.index(*(made.image(each, subject=subject) for each in range(number)))
    for _ in range(number):
        made.add(about, subject["digest"].replace(":", "-"))


def _lists(made: Layout, number: int) -> None:
    """Lists for one subject, each with a referrer of its own and one that all have."""
    subject = made.image()
    made.add(subject, "app:1")
    common = made.image("common", subject=subject)
    for each in range(number):
        about = made.index(common, made.image(each, subject=subject))
        made.add(about, subject["digest"].replace(":", "-"))


def _cut_tags_of_a_list(made: Layout, number: int) -> None:
    """Tags that are cut to 64 digits of their subject, all for one list, whose children say nothing of a subject."""
    subject = made.put({"schemaVersion": 2, "layers": []}, writers.MANIFEST_TYPE, "sha512")
    made.add(subject, "app:1")
    about = made.index(*(made.image(each) for each in range(number)))
    for _ in range(number):
        made.add(about, "sha512-" + subject["digest"].partition(":")[2][:64])


def _a_list_under_many(made: Layout, number: int) -> None:
    """One list of referrers below a chain of indexes, and indexes with names above that."""
    subject = made.image()
    made.add(subject, "app:0")
    about = chain(made, made.index(*(made.image(each, subject=subject) for each in range(number))), number)
    for each in range(number):
        made.add(made.index(about, n=str(each)), f"app:{each + 1}")


def _alike_digests(made: Layout, number: int) -> None:
    """Manifests that are in no store and whose digests begin alike, in an index that many entries name."""
    children = [
        layer("absent") | {"digest": f"sha256:{each:064x}", "mediaType": writers.MANIFEST_TYPE}
        for each in range(number)
    ]
    index = made.index(*children)
    for each in range(number):
        made.add(index, f"app:{each}")


def _one_child_again(made: Layout, number: int) -> None:
    subject = made.image()
    made.add(subject, "app:1")
    made.add(made.index(*([made.image(1, subject=subject)] * number)), subject["digest"].replace(":", "-"))


def _attestations(made: Layout, number: int) -> None:
    subject = made.image()
    children = [
        made.image(each) | {"annotations": {"vnd.docker.reference.digest": subject["digest"]}} for each in range(number)
    ]
    made.add(made.index(subject, *children), "app:1")


def _signatures(made: Layout, number: int) -> None:
    subject = made.image()
    made.add(subject, "app:1")
    for each in range(number):
        made.add(made.image(each), subject["digest"].replace(":", "-") + ".sig")


def _referrers_of_referrers(made: Layout, number: int) -> None:
    at = made.image()
    made.add(at, "app:1")
    for each in range(number):
        at = made.image(each, subject=at)


def _many_layers_again(made: Layout, number: int) -> None:
    image = made.image(layers=number)
    made.add(
        made.index(*({**image, "platform": {"os": "linux", "architecture": f"a{n}"}} for n in range(number))), "app:1"
    )


def _platforms(made: Layout, number: int) -> None:
    for each in range(number):
        made.add(made.image(each, platform=f"a{each}"), f"app:{each}")


def _bases(made: Layout, number: int) -> None:
    for each in range(number):
        made.add(made.image("base", layers=each + 1), f"app:{each}") if each < 10 else made.add(
            made.image(each), f"app:{each}"
        )


def _unlisted(made: Layout, number: int) -> None:
    """Manifests and layers that nothing reaches, in chains."""
    chain(made, made.image(), number)
    for each in range(number):
        made.image(each)


def _stores(directory: str, number: int) -> list[str]:
    """Layouts with one image and one base in common."""
    paths = []
    for each in range(number):
        made = Layout(os.path.join(directory, f"s{each}"))
        made.add(made.image("same"), "app:1")
        made.add(made.image(each), f"own:{each}")
        made.index(made.image("nobody's"))
        with open(f"{made.path}/blobs/sha256/{layer('same 0')['digest'][7:]}", "wb") as file:
            file.write(b"{ no JSON")
        paths.append(made.done())
    return paths


def _claims(made: Layout, number: int) -> None:
    """Manifests that claim different sizes of one layer, whose file has none of these."""
    shared = made.put({"n": "shared"}, writers.LAYER_TYPE)
    for each in range(number):
        config = made.put({"os": "linux", "architecture": "amd64", "n": each}, writers.CONFIG_TYPE)
        claimed = {**shared, "size": 1000 + each}
        made.add(
            made.put({"schemaVersion": 2, "config": config, "layers": [claimed]}, writers.MANIFEST_TYPE), f"app:{each}"
        )


def _short_blobs(made: Layout, number: int) -> None:
    """Layers that are shorter than what every manifest claims, the same of all of them."""
    layers = [{**made.put({"n": each}, writers.LAYER_TYPE), "size": 1000} for each in range(20)]
    for each in range(number):
        config = made.put({"os": "linux", "architecture": "amd64", "n": each}, writers.CONFIG_TYPE)
        made.add(
            made.put({"schemaVersion": 2, "config": config, "layers": layers}, writers.MANIFEST_TYPE), f"app:{each}"
        )


def _names_of_a_base(made: Layout, number: int) -> None:
    _named_and_built_on(made, made.image("base", layers=1), number)


def _named_and_built_on(made: Layout, base: Descriptor, number: int) -> None:
    """`size` names of `base`, and as many images on its layer."""
    for each in range(number):
        made.add(base, f"base:{each}")
        config = made.put({"os": "linux", "architecture": "amd64", "n": each}, writers.CONFIG_TYPE)
        layers = [layer("base 0"), layer(f"own {each}")]
        made.add(
            made.put({"schemaVersion": 2, "config": config, "layers": layers}, writers.MANIFEST_TYPE), f"app:{each}"
        )


def _names_of_an_index_with_a_base(made: Layout, number: int) -> None:
    """As before, but the base has its names by an index that it is in."""
    _named_and_built_on(made, made.index(made.image("base", layers=1)), number)


def _indexes_with_a_base(made: Layout, number: int) -> None:
    """As before, with an index for each name."""
    base = made.image("base", layers=1)
    for each in range(number):
        made.add(made.index(base, n=str(each)), f"base:{each}")
        config = made.put({"os": "linux", "architecture": "amd64", "n": each}, writers.CONFIG_TYPE)
        layers = [layer("base 0"), layer(f"own {each}")]
        made.add(
            made.put({"schemaVersion": 2, "config": config, "layers": layers}, writers.MANIFEST_TYPE), f"app:{each}"
        )


def _stores_with_a_short_layer(directory: str, number: int) -> list[str]:
    """Layouts with a manifest of their own each, and a layer that all have, shorter than they say."""
    paths = []
    for each in range(number):
        made = Layout(os.path.join(directory, f"s{each}"))
        shared = {**made.put({"n": "shared"}, writers.LAYER_TYPE), "size": 1000}
        config = made.put({"os": "linux", "architecture": "amd64", "n": each}, writers.CONFIG_TYPE)
        made.add(made.put({"schemaVersion": 2, "config": config, "layers": [shared]}, writers.MANIFEST_TYPE), "app:1")
        paths.append(made.done())
    return paths


def _bad_and_missing(made: Layout, number: int) -> None:
    """Blobs that are directories, and layers that are absent."""
    for each in range(number):
        made.add(made.image(each), f"app:{each}")
        bad = layer(f"bad {each}") | {"mediaType": writers.MANIFEST_TYPE}
        os.mkdir(f"{made.path}/blobs/{bad['digest'].replace(':', '/')}")
        made.add(bad, f"bad:{each}")


def _one_name_in_stores(directory: str, number: int) -> list[str]:
    """Layouts with one name that is another image in each, and a config that is no JSON."""
    paths = []
    for each in range(number):
        made = Layout(os.path.join(directory, f"s{each}"))
        made.add(made.image(each), NAME + ":1")
        paths.append(made.done())
    return paths


def _empty_stores(directory: str, number: int) -> list[str]:
    return [Layout(os.path.join(directory, f"s{each}")).done() for each in range(number)]


LAYOUTS: dict[str, Make] = {
    "a chain of indexes": _one(_chain),
    "entries above one chain": _one(_tops),
    "names of one index": _one(_names),
    "a list of names of one index": _one(_list_of_names),
    "entries of one missing digest": _one(_missing),
    "entries of one name": _one(_duplicates),
    "tags of one list of referrers": _one(_tags_of_a_list),
    "cut tags of one list of referrers": _one(_cut_tags_of_a_list),
    "a list of referrers below many": _one(_a_list_under_many),
    "digests that begin alike": _one(_alike_digests),
    "lists of referrers of one subject": _one(_lists),
    "a list of one referrer again and again": _one(_one_child_again),
    "attestations of one subject": _one(_attestations),
    "signatures of one subject": _one(_signatures),
    "a chain of referrers": _one(_referrers_of_referrers),
    "an index of one image with many layers": _one(_many_layers_again),
    "a platform for each name": _one(_platforms),
    "images on one base": _one(_bases),
    "what nothing reaches": _one(_unlisted),
    "stores with the same blobs": _stores,
    "claims of one layer": _one(_claims),
    "layers shorter than claimed": _one(_short_blobs),
    "names of a base": _one(_names_of_a_base),
    "names of an index with a base": _one(_names_of_an_index_with_a_base),
    "indexes with a base": _one(_indexes_with_a_base),
    "bad blobs and missing ones": _one(_bad_and_missing),
    "stores with one layer that is too short": _stores_with_a_short_layer,
    "stores with one name": _one_name_in_stores,
    "empty stores": _empty_stores,
}
