"""What `check` and `missing` tell of blobs: problems, and not the habits of writers."""

from __future__ import annotations

import base64
import json
import os
import shutil
from pathlib import Path

import pytest

from tests import writers
from tests.conftest import Catalogue, Said, stamp
from tests.content.asking import resolved
from tests.content.layouts import file_of, index, layer, layout, manifest, named, put, write

AMD64 = {"os": "linux", "architecture": "amd64"}
FOREIGN = (
    {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"},
    {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"},
    {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"},
    {"urls": ["https://example.com/base"]},
)


def told(catalogue: Catalogue) -> list[tuple[str, str, str]]:
    """Store, kind and subject of what `ocicat check` lists."""
    return sorted(catalogue.sql("SELECT store, kind, subject FROM problems"))


def missing(catalogue: Catalogue) -> list[tuple[str, str, str]]:
    return sorted(catalogue.sql("SELECT store, digest, role FROM missing"))


@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_foreign_layer_is_not_missing(catalogue: Catalogue, tmp_path: Path, foreign: dict[str, object]) -> None:
    path = layout(tmp_path / "s")
    write(path, named(manifest(path, AMD64, layer("base") | foreign)))
    catalogue.add(path)
    assert told(catalogue) == missing(catalogue) == []
    write(path, named(manifest(path, AMD64, layer("base") | foreign, layer("top"))))
    catalogue.index()
    assert missing(catalogue) == [("s", layer("top")["digest"], "layer")]


def test_embedded_blobs_are_there(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    config = put(path, AMD64)
    data = Path(file_of(path, config["digest"])).read_bytes()
    os.unlink(file_of(path, config["digest"]))
    embedded = config | {"mediaType": writers.CONFIG_TYPE, "data": base64.b64encode(data).decode()}
    image = manifest(path, embedded)
    write(path, named(image))
    catalogue.add(path)
    assert told(catalogue) == missing(catalogue) == []
    assert resolved(catalogue, "alpine:1", "linux/amd64") == Said(0, image["digest"], "s")
    assert catalogue.sql("SELECT digest FROM blobs") == [(image["digest"],)]


def test_manifests_of_an_index_may_be_absent(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    write(path, named(index(path, put(path, AMD64), {"mediaType": writers.MANIFEST_TYPE} | layer("other"))))
    catalogue.add(path)
    assert told(catalogue) == missing(catalogue) == []


@pytest.mark.parametrize("good_first", [True, False])
@pytest.mark.parametrize("size", [0, 20, 10_000])
def test_a_blob_of_another_size_is_told_whichever_copy_was_read_first(
    catalogue: Catalogue, tmp_path: Path, good_first: bool, size: int
) -> None:
    good, bad = layout(tmp_path / "good"), layout(tmp_path / "bad")
    for path in (good, bad):
        image = manifest(path, AMD64)
        write(path, named(image, f"{os.path.basename(path)}:1"))
    os.truncate(file_of(bad, image["digest"]), size)
    for path in (good, bad) if good_first else (bad, good):
        catalogue.add(path)
    assert told(catalogue) == [("bad", "digest-differs", image["digest"])]
    assert resolved(catalogue, "bad:1", "linux/amd64") == Said(1)
    assert resolved(catalogue, "good:1", "linux/amd64") == Said(0, image["digest"], "good")
    shutil.copyfile(file_of(good, image["digest"]), file_of(bad, image["digest"]))
    catalogue.index(full=True)
    assert told(catalogue) == []
    assert resolved(catalogue, "bad:1", "linux/amd64") == Said(0, image["digest"], "bad")


@pytest.mark.parametrize("what", ["config", "child"])
def test_what_is_truncated_below_an_index_does_not_answer(catalogue: Catalogue, tmp_path: Path, what: str) -> None:
    paths = [layout(tmp_path / name) for name in ("a", "b")]
    for path in paths:
        config = put(path, AMD64)
        child = manifest(path, config | {"mediaType": writers.CONFIG_TYPE})
        write(path, named(index(path, child), f"{os.path.basename(path)}:1"))
    cut = {"config": config, "child": child}[what]["digest"]
    os.truncate(file_of(paths[1], cut), 3)
    for path in paths:
        catalogue.add(path)
    assert told(catalogue) == [("b", "digest-differs", cut)]
    assert resolved(catalogue, "b:1", "linux/amd64") == Said(1)
    assert resolved(catalogue, "a:1", "linux/amd64") == Said(0, child["digest"], "a")


def test_a_truncated_layer_is_told_by_what_its_manifest_claims(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    top = put(path, None, writers.LAYER_TYPE, data=b"some bytes")
    write(path, named(manifest(path, AMD64, top)))
    catalogue.add(path)
    assert told(catalogue) == []
    file = file_of(path, top["digest"])
    os.unlink(file)
    Path(file).write_bytes(b"")
    catalogue.index()
    assert told(catalogue) == [("s", "truncated-blob", top["digest"])]
    assert catalogue.sql("SELECT detail FROM problems") == [("has 0 bytes instead of 10",)]


def test_a_size_that_one_of_several_descriptors_claims_is_right(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    top = put(path, None, writers.LAYER_TYPE, data=b"some bytes")
    one, other = manifest(path, AMD64, top), manifest(path, AMD64, top | {"size": 3})
    write(path, named(one), named(other, "alpine:2"))
    catalogue.add(path)
    assert told(catalogue) == []


def test_odd_manifests_and_configs_are_told_in_every_store(catalogue: Catalogue, tmp_path: Path) -> None:
    """Of the same bytes two readers make two images, whichever store the catalog read them from."""
    paths = [layout(tmp_path / name) for name in ("one", "two")]
    for path in paths:
        config = put(path, None, writers.CONFIG_TYPE, data=b'{"os": "linux", "OS": "windows", "architecture": "amd64"}')
        top, other = (put(path, None, writers.LAYER_TYPE, data=data) for data in (b"top", b"other"))
        layers = f'"layers": [{json.dumps(top)}], "Layers": [{json.dumps(other)}]'
        odd = put(path, None, writers.MANIFEST_TYPE, data=f'{{"config": {json.dumps(config)}, {layers}}}'.encode())
        write(path, named(index(path, odd, mediatype=writers.INDEX_TYPE)))
        catalogue.add(path)
    top_level = catalogue.sql("SELECT digest FROM images")[0][0]
    expected = [
        (name, "odd-json", digest) for name in ("one", "two") for digest in (top_level, odd["digest"], config["digest"])
    ]
    assert told(catalogue) == sorted(expected)
    says = dict(catalogue.sql("SELECT subject, detail FROM problems WHERE store = 'two'"))
    assert says[odd["digest"]] == "Layers is read as layers"
    assert says[config["digest"]] == "OS is read as os"
    assert says[top_level] == "mediatype is read as mediaType"
    assert catalogue.sql("SELECT platforms FROM images") == [("windows/amd64",)] * 2
    assert catalogue.sql("SELECT DISTINCT digest FROM layers") == [(other["digest"],)]


def test_descriptors_of_a_manifest_that_cannot_be_used_are_told(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    child = manifest(path, AMD64)
    bad = index(path, child, {"mediaType": writers.MANIFEST_TYPE, "digest": "sha256:../../x", "size": 1})
    write(path, named(bad))
    catalogue.add(path)
    assert catalogue.sql("SELECT kind, subject, detail FROM problems") == [
        ("bad-descriptor", bad["digest"], "manifests[1]: digest 'sha256:../../x' is not valid")
    ]


def marked(catalogue: Catalogue) -> list[tuple[str, str]]:
    """Kind and detail of the problems of an `oci-layout` or an `index.json`."""
    return sorted(catalogue.sql("SELECT kind, detail FROM problems WHERE subject IN ('oci-layout', 'index.json')"))


@pytest.mark.parametrize(
    ("marker", "kind", "says"),
    [
        (None, "no-marker", "is missing"),
        (b"", "bad-marker", "is not JSON"),
        (b'{"imageLayoutVersion": ', "bad-marker", "is not JSON"),
        (b"[]", "bad-marker", "has no imageLayoutVersion"),
        (b'{"imageLayoutVersion": 1}', "bad-marker", "has no imageLayoutVersion"),
        (b'{"ImageLayoutVersion": "1.0.0"}', "odd-json", "ImageLayoutVersion is read as imageLayoutVersion"),
        (
            b'{"imageLayoutVersion": "2.0.0", "imageLayoutVersion": "1.0.0"}',
            "odd-json",
            "imageLayoutVersion occurs more than once",
        ),
        (b'{"imageLayoutVersion": "2.0.0"}', "bad-marker", "imageLayoutVersion is '2.0.0', which is unknown"),
        (b" " * 70_000, "bad-marker", "has 70000 bytes"),
        ("link", "bad-marker", "oci-layout is a symbolic link"),
    ],
)
def test_an_odd_marker_is_told_until_it_is_mended(
    catalogue: Catalogue, tmp_path: Path, marker: bytes | str | None, kind: str, says: str
) -> None:
    path = layout(tmp_path / "s")
    write(path, named(manifest(path, AMD64)))
    good = Path(f"{path}/oci-layout").read_bytes()
    os.unlink(f"{path}/oci-layout")
    if isinstance(marker, bytes):
        Path(f"{path}/oci-layout").write_bytes(marker)
    elif marker is not None:
        (tmp_path / "marker").write_bytes(good)
        os.symlink(tmp_path / "marker", f"{path}/oci-layout")
    for directory in ("blobs", "blobs/sha256"):  # what has just changed is looked at again
        stamp(f"{path}/{directory}")
    catalogue.add(path)
    ((found, detail),) = marked(catalogue)
    assert (found, detail[: len(says)]) == (kind, says)
    assert catalogue.sql("SELECT state FROM stores") == [("ok",)]
    assert catalogue.writes(catalogue.index) == 0
    if marker is not None:
        os.unlink(f"{path}/oci-layout")
    Path(f"{path}/oci-layout").write_bytes(good)
    catalogue.index()
    assert told(catalogue) == []
    assert catalogue.sql("SELECT layout_version FROM stores") == [("1.0.0",)]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"schemaVersion": 2, "config": layer("c"), "layers": [layer("l")]}, "is an image manifest"),
        ({"schemaVersion": 2}, "has no manifests"),
        ({"schemaVersion": 2, "manifests": None}, None),
        ({"schemaVersion": 2, "manifests": []}, None),
    ],
)
def test_an_index_json_that_is_none_is_told(
    catalogue: Catalogue, tmp_path: Path, document: dict[str, object], says: str | None
) -> None:
    path = layout(tmp_path / "s")
    Path(f"{path}/index.json").write_bytes(writers.dump(document))
    catalogue.add(path)
    found = marked(catalogue)
    assert [(kind, detail.startswith(str(says))) for kind, detail in found] == (
        [("not-an-index", True)] if says else []
    )
    if says:
        assert catalogue.sql("SELECT subject FROM unjudged") == [("index.json",)]
    write(path, named(manifest(path, AMD64)))
    catalogue.index()
    assert told(catalogue) == []
    assert catalogue.sql("SELECT subject FROM unjudged") == []
