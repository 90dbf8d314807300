"""What manifests, indexes and configs say comes into the catalog."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from catalog.engine.interface import Writer
from catalog.exhausted import TOO_LARGE
from catalog.ingest import content, listing
from catalog.ingest.store_state import Store
from catalog.layout.blobs import BlobDirectories
from tests import writers
from tests.conftest import Catalogue, Said, stamp
from tests.content.asking import resolved
from tests.content.layouts import (
    EMPTY_LAYER,
    INDEX,
    MANIFEST,
    OTHER,
    UNREAD,
    UNUSABLE,
    digest_of,
    index,
    kind,
    kinds,
    layer,
    layout,
    manifest,
    named,
    on,
    problems,
    put,
    write,
)  # fmt: skip

DOCKER = "application/vnd.docker"


def test_an_image(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    image = writers.make_image(
        path, "a", arch="aarch64", variant="v8", layers=2, labels={"k": "v", "empty": ""}, extra_annotations={"a": "b"}
    )
    write(path, named(image))
    catalogue.add(path)
    assert catalogue.sql("SELECT digest, kind, media_type, artifact_type, size, layers, subject FROM manifests") == [
        (image["digest"], "manifest", writers.MANIFEST_TYPE, None, image["size"], 2, None)
    ]
    assert catalogue.sql("SELECT platform, created FROM manifests") == [("linux/arm64", "2024-01-02T03:04:05.000Z")]
    assert catalogue.sql("SELECT key, value FROM labels ORDER BY key") == [("empty", ""), ("k", "v")]
    assert catalogue.sql("SELECT key, value FROM annotations WHERE origin = 'manifest'") == [("a", "b")]
    size, claimed = catalogue.sql("SELECT sum(layers.size), min(layers_size) FROM layers, manifests")[0]
    assert size == claimed > 0
    assert sorted(kinds(catalogue).values()) == [UNREAD, UNREAD, MANIFEST, OTHER]  # layers are not read
    assert problems(catalogue) == set()


@pytest.mark.parametrize(
    ("manifest_type", "index_type"),
    [
        (writers.MANIFEST_TYPE, writers.INDEX_TYPE),
        (f"{DOCKER}.distribution.manifest.v2+json", f"{DOCKER}.distribution.manifest.list.v2+json"),
        ("application/x-completely-unknown", "application/x-unknown-too"),
        (None, ""),
    ],
)
def test_of_whatever_media_type(
    catalogue: Catalogue, tmp_path: Path, manifest_type: str | None, index_type: str
) -> None:
    """What a blob is, its structure says; types are kept as they are."""
    path = layout(tmp_path / "s")
    config = put(path, {"os": "linux", "architecture": "arm", "variant": "v7"}, f"{DOCKER}.container.image.v1+json")
    image = put(path, {"schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": []})
    if manifest_type is not None:
        image["mediaType"] = manifest_type
    outer = put(path, {"mediaType": index_type, "manifests": [image]}, index_type)
    write(path, named(outer))
    catalogue.add(path)
    assert [kind(catalogue, each) for each in (outer, image, config)] == [INDEX, MANIFEST, OTHER]
    assert resolved(catalogue, "alpine:1", "linux/arm") == Said(0, image["digest"], "s")
    said = dict(catalogue.sql("SELECT kind, media_type FROM manifests"))
    assert said == {"index": index_type or None, "manifest": manifest_type}
    assert problems(catalogue) == set()


def test_docker_schema_1_and_artifacts_are_kept_as_what_they_are(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    schema1 = put(
        path, {"schemaVersion": 1, "architecture": "amd64", "fsLayers": [], "history": [{"v1Compatibility": "x"}]}
    )
    chart = manifest(path, {"name": "chart"}, layer("chart"), config_type="application/vnd.cncf.helm.config.v1+json")
    empty = put(path, {}, "application/vnd.oci.empty.v1+json")
    sbom = manifest(path, empty, artifactType="application/spdx+json", subject={"digest": chart["digest"], "size": 1})
    nothing = put(path, {"manifests": None})
    write(path, *(named(each, name) for each, name in ((schema1, "a"), (chart, "b"), (sbom, "c"), (nothing, "d"))))
    catalogue.add(path)
    assert [kind(catalogue, each) for each in (schema1, chart, sbom, nothing, empty)] == [
        OTHER,
        MANIFEST,
        MANIFEST,
        OTHER,
        OTHER,
    ]
    assert catalogue.sql("SELECT artifact_type, subject, platform FROM manifests WHERE digest = ?", sbom["digest"]) == [
        ("application/spdx+json", chart["digest"], None)
    ]
    for ref in (":a", ":b", ":c", ":d"):
        assert resolved(catalogue, ref) == Said(0, catalogue.resolve(ref).digest, "s")
        assert resolved(catalogue, ref, "linux/amd64") == Said(1)
    assert problems(catalogue) == set()


def test_one_layer_twice_and_one_child_twice(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    empty = {"mediaType": writers.LAYER_TYPE, "digest": EMPTY_LAYER, "size": 32}
    image = manifest(path, {"os": "linux", "architecture": "amd64"}, empty, layer("x"), empty)
    outer = index(path, on(image, "linux", "amd64"), on(image, "linux", "386"), image)
    write(path, named(outer))
    catalogue.add(path)
    assert [row[0] for row in catalogue.sql("SELECT digest FROM layers ORDER BY position")] == [
        EMPTY_LAYER, layer("x")["digest"], EMPTY_LAYER,
    ]  # fmt: skip
    assert catalogue.sql("SELECT position, platform FROM platforms ORDER BY position") == [
        (0, "linux/amd64"), (1, "linux/386"), (2, "linux/amd64"),
    ]  # fmt: skip
    for platform in ("linux/amd64", "linux/386"):
        assert resolved(catalogue, "alpine:1", platform) == Said(0, image["digest"], "s")
    assert len(catalogue.query(f"@{image['digest']}")) == 1  # type: ignore[arg-type]


def test_chains_are_those_of_the_layers_in_order(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    config = put(path, {"os": "linux", "architecture": "amd64"}, writers.CONFIG_TYPE)
    lists = {"base": "ab", "same": "ab", "more": "abc", "turned": "ba", "none": ""}
    made = {n: manifest(path, config, *map(layer, seeds), annotations={"name": n}) for n, seeds in lists.items()}
    write(path, *(named(each, name) for name, each in made.items()))
    catalogue.add(path)
    chains = dict(catalogue.sql("SELECT digest, chain FROM manifests"))
    chain = {name: chains[each["digest"]] for name, each in made.items()}
    assert chain["base"] == chain["same"]
    assert len({chain["base"], chain["more"], chain["turned"], chain["none"]}) == 4
    assert chain["none"] is None
    on_base = "SELECT manifest FROM layers WHERE chain = ? AND position = 1 ORDER BY manifest"
    built = sorted(made[name]["digest"] for name in ("base", "same", "more"))
    assert [row[0] for row in catalogue.sql(on_base, chain["base"])] == built


def test_indexes_nested_deeper_than_any_recursion(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    image = manifest(path, {"os": "linux", "architecture": "amd64"})
    outer = image
    for _ in range(1100):
        outer = index(path, outer)
    write(path, named(outer))
    catalogue.add(path)
    assert kind(catalogue, image) == MANIFEST
    assert resolved(catalogue, image["digest"]) == Said(0, image["digest"], "s")
    assert resolved(catalogue, "alpine:1", "linux/amd64") == Said(0, image["digest"], "s")
    assert catalogue.matches("alpine:1")[0].value("platforms") == ["linux/amd64"]


def test_indexes_that_are_reached_in_many_ways(catalogue: Catalogue, tmp_path: Path) -> None:
    """Two to the power of 40 ways lead to the image: each index is looked at once."""
    path = layout(tmp_path / "s")
    image = manifest(path, {"os": "linux", "architecture": "amd64"})
    outer = image
    for number in range(40):
        outer = index(path, outer, outer, annotations={"n": str(number)})
    write(path, named(outer))
    catalogue.add(path)
    assert resolved(catalogue, "alpine:1", "linux/amd64") == Said(0, image["digest"], "s")
    assert resolved(catalogue, "alpine:1", "linux/arm64") == Said(1)
    assert catalogue.query(f"alpine@{image['digest']}") == [("s", outer["digest"])]


@pytest.mark.parametrize(
    ("created", "said"),
    [
        ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05.000Z"),
        ("2024-01-02T03:04:05.123456789Z", "2024-01-02T03:04:05.123Z"),
        ("2024-01-02T03:04:05.9999+02:00", "2024-01-02T01:04:05.999Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
        ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500Z"),
        ("0001-01-01T00:00:00Z", None),  # Go's zero time
        ("0001-01-01T00:00:00+05:00", None),
        ("9999-12-31T23:59:59-05:00", None),
        ("yesterday", None),
        ("", None),
        (None, None),
        (17, None),
    ],
)
def test_dates(catalogue: Catalogue, tmp_path: Path, created: object, said: str | None) -> None:
    path = layout(tmp_path / "s")
    write(path, named(manifest(path, {"os": "linux", "architecture": "amd64", "created": created})))
    catalogue.add(path)
    assert catalogue.sql("SELECT platform, created FROM manifests") == [("linux/amd64", said)]


def test_what_is_no_json_is_read_once_and_no_problem(catalogue: Catalogue, tmp_path: Path) -> None:
    """An entry may be anything: a layer, a file."""
    path = layout(tmp_path / "s")
    blobs = [
        put(path, None, data=data)
        for data in (b"\0\1\2", b"", b"{", b"[1, 2]", b'"text"', b"[" * 5000, b'{"a":' * 5000)
    ]
    write(path, *(named(each, f"alpine:{number}") for number, each in enumerate(blobs)))
    catalogue.add(path)
    assert [kind(catalogue, each) for each in blobs] == [UNUSABLE, UNUSABLE, UNUSABLE, OTHER, OTHER, UNUSABLE, UNUSABLE]
    assert problems(catalogue) == set()
    assert resolved(catalogue, "alpine:0") == Said(0, blobs[0]["digest"], "s")
    assert resolved(catalogue, "alpine:0", "linux/amd64") == Said(1)


def test_children_that_lie_nowhere_are_normal(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    there = manifest(path, {"os": "linux", "architecture": "amd64"})
    sparse = on(layer("not there"), "linux", "arm64")
    outer = index(path, sparse, on(there, "linux", "amd64"))
    write(path, named(outer))
    catalogue.add(path)
    assert problems(catalogue) == set()
    assert kind(catalogue, sparse) == UNREAD
    assert resolved(catalogue, sparse["digest"]) == Said(0, sparse["digest"], "s")
    assert resolved(catalogue, "alpine:1", "linux/amd64") == Said(0, there["digest"], "s")
    assert resolved(catalogue, "alpine:1", "linux/arm64") == Said(1)
    assert catalogue.lines[-1].endswith("its manifest or config for linux/arm64 is missing or cannot be read")
    assert catalogue.matches("alpine:1")[0].value("platforms") == ["linux/arm64", "linux/amd64"]


def test_sha384_and_sha512_are_read_too(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    config = b'{"os":"linux","architecture":"s390x"}'
    for algorithm in ("sha384", "sha512"):
        inner = digest_of(config, algorithm)
        document = writers.dump({"config": {"digest": inner}, "layers": []})
        outer = digest_of(document, algorithm)
        for digest, data in ((inner, config), (outer, document)):
            file = Path(path, "blobs", *digest.split(":"))
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(data)
        write(path, named({"digest": outer}))
        catalogue.add(path)
        assert resolved(catalogue, "alpine:1", "linux/s390x") == Said(0, outer, "s")


def test_a_store_that_takes_more_memory_than_there_is_keeps_no_other_from_being_read(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "large", "z"):
        path = layout(tmp_path / name)
        write(path, named(manifest(path, {"os": "linux", "architecture": "amd64"}, layer(name)), f"app:{name}"))
        for directory in (f"{path}/blobs", f"{path}/blobs/sha256"):
            stamp(directory)
        catalogue.add(path, index=False)
    list_blobs = listing.list_blobs

    def out_of_memory(writer: Writer, stores: Iterable[tuple[Store, BlobDirectories]]) -> Iterator[None]:
        found = list(stores)
        if any(store.name == "large" for store, _ in found):
            raise MemoryError
        return list_blobs(writer, found)

    # Replaced because no limit on memory is met at the same place on every machine.
    with monkeypatch.context() as patch:
        patch.setattr(content, "list_blobs", out_of_memory)
        catalogue.index()
    assert catalogue.sql("SELECT DISTINCT store FROM blobs ORDER BY store") == [("a",), ("z",)]
    unread = ("unreadable-blob", f"{tmp_path}/large/blobs", f"all of them {TOO_LARGE}")
    told = "SELECT kind, subject, detail FROM problems WHERE store = 'large'"
    assert unread in catalogue.sql(told)
    assert catalogue.sql("SELECT name FROM store WHERE content_pending") == []
    catalogue.index()
    assert unread in catalogue.sql(told), "it is not tried again as long as nothing changes"
    put(f"{tmp_path}/large", {})
    catalogue.index()
    assert unread not in catalogue.sql(told)
    assert catalogue.sql("SELECT DISTINCT store FROM blobs ORDER BY store") == [("a",), ("large",), ("z",)]
