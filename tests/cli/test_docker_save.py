"""`docker save` writes a list of its own beside the layout in an archive: names in it that no annotation carries."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from catalog.layout import docker_save
from catalog.layout.index import ListLimits, read_index
from tests import writers
from tests.cli.conftest import Own, objects
from tests.cli.test_archives import PACKERS, few
from tests.lookup.test_saved_names import put
from tests.programs import needs


class Saved:
    """An archive as moby's save.go writes it: an entry per tag, in the familiar form in manifest.json, and sorted members."""

    def __init__(self, directory: Path) -> None:
        self.layout = writers.make_layout(str(directory / "source"))
        self.path = str(directory / "saved.tar")
        self.configs: dict[str, str] = {}

    def image(self, seed: str) -> dict[str, Any]:
        """Make an image whose layers are not compressed, as docker keeps them; return its descriptor."""
        tar = writers._tar("file", seed.encode())
        diff_id = f"sha256:{hashlib.sha256(tar).hexdigest()}"
        config = writers.platform("linux", "amd64") | {
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "config": {},
        }
        manifest: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": writers.MANIFEST_TYPE,
            "config": writers.write_blob(self.layout, writers.dump(config), writers.CONFIG_TYPE),
            "layers": [writers.write_blob(self.layout, tar, "application/vnd.oci.image.layer.v1.tar")],
        }
        found = writers.write_blob(self.layout, writers.dump(manifest), writers.MANIFEST_TYPE)
        self.configs[found["digest"]] = manifest["config"]["digest"]
        return found

    def item(self, image: dict[str, Any], *tags: str) -> dict[str, Any]:
        """The item of manifest.json for an image."""
        with open(f"{self.layout}/blobs/sha256/{image['digest'][7:]}", "rb") as file:
            manifest = json.load(file)
        config, layers = manifest["config"]["digest"], manifest["layers"]
        at = "blobs/sha256/"
        return {
            "Config": f"{at}{config[7:]}",
            "RepoTags": list(tags) or None,
            "Layers": [f"{at}{layer['digest'][7:]}" for layer in layers],
            "LayerSources": {layer["digest"]: {"mediaType": layer["mediaType"], "size": 1} for layer in layers},
        }

    def write(self, entries: list[dict[str, Any]], listed: object, *, raw: bytes | None = None) -> None:
        """Write the archive."""
        files = {
            "index.json": json.dumps(writers.empty_index(*entries)).encode(),
            "manifest.json": json.dumps(listed).encode() if raw is None else raw,
            "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
            "repositories": b"{}",
        }
        for blob in os.listdir(f"{self.layout}/blobs/sha256"):
            files[f"blobs/sha256/{blob}"] = Path(f"{self.layout}/blobs/sha256/{blob}").read_bytes()
        with tarfile.open(f"{self.path}.part", "w", format=tarfile.PAX_FORMAT) as tar:
            for name in sorted(files):
                put(tar, name, files[name])
        os.replace(f"{self.path}.part", self.path)


def tagged(image: dict[str, Any], tag: str) -> dict[str, Any]:
    return writers.name_entry(image, "containerd", "docker.io/acme/app", tag)


def lists(cli: Own) -> list[str]:
    """The details of the problems with manifest.json."""
    return [str(each["detail"]) for each in objects(cli("check", "--format", "json")) if each["kind"] == "docker-list"]


@needs("skopeo")
def test_names_as_skopeo_reads_them(cli: Own, tmp_path: Path) -> None:
    """Each of RepoTags names the image that skopeo, which reads only manifest.json, gives for it."""
    saved = Saved(tmp_path)
    one, two = saved.image("one"), saved.image("two")
    tags = {"acme/app:1": one, "acme/app:extra": one, "registry.example.com:5000/team/tool:v2": two}
    listed = [saved.item(image, *(tag for tag, of in tags.items() if of is image)) for image in (one, two)]
    saved.write([tagged(one, "1"), two], listed)
    cli.done("add", saved.path)
    assert lists(cli) == []
    for tag, image in tags.items():
        assert cli.done("resolve", tag).out.strip() == image["digest"]
        raw = subprocess.run(
            ["skopeo", "inspect", "--raw", f"docker-archive:{saved.path}:{tag}"], check=True, capture_output=True
        ).stdout
        assert json.loads(raw)["config"]["digest"] == saved.configs[image["digest"]]
    rows = objects(cli("sql", "SELECT tag, source, ref_name, image_name FROM images ORDER BY tag", "--format", "json"))
    assert [(row["tag"], row["source"]) for row in rows] == [
        ("1", "containerd"),
        ("extra", "docker-save"),
        ("v2", "docker-save"),
    ]
    assert rows[2]["image_name"] is None
    assert [each["names"] for each in objects(cli("query", ":1", "--format", "json"))] == [
        ["docker.io/acme/app:1", "docker.io/acme/app:extra"]
    ]
    assert cli("query", "--unnamed").out == ""
    subprocess.run(
        [
            "skopeo",
            "copy",
            "-q",
            f"docker-archive:{saved.path}:acme/app:extra",
            f"docker-archive:{tmp_path}/old.tar:acme/app:1",
        ],
        check=True,
    )
    assert "docker save before 25" in cli("add", str(tmp_path / "old.tar")).err  # skopeo writes no layout there


def test_compressed_archives_have_them_too(cli: Own, tmp_path: Path) -> None:
    saved = Saved(tmp_path)
    one, two = saved.image("one"), saved.image("two")
    listed = [saved.item(one, "acme/app:1", "acme/app:extra"), saved.item(two, "acme/tool:2")]
    saved.write([tagged(one, "1"), two], listed)
    for suffix, pack in few(cli, PACKERS):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(pack(Path(saved.path).read_bytes()))
        cli.done("add", str(path))
        for tag, image in {"acme/app:1": one, "acme/app:extra": one, "acme/tool:2": two}.items():
            assert cli.done("resolve", tag, "--store", path.name).out.strip() == image["digest"]
    assert lists(cli) == []


def test_a_change_of_the_list_alone_is_a_change(cli: Own, tmp_path: Path) -> None:
    saved = Saved(tmp_path)
    one, two = saved.image("one"), saved.image("two")
    saved.write([one, two], [saved.item(one, "acme/app:a"), saved.item(two)])
    cli.done("add", saved.path)
    before = str(objects(cli("history", "acme/app:a", "--format", "json"))[-1]["since"])
    assert cli.done("resolve", "acme/app:a").out.strip() == one["digest"]
    for tag, image in (("a", two), ("b", two)):
        saved.write([one, two], [saved.item(image, f"acme/app:{tag}")])
        assert cli.done("resolve", "--fresh", f"acme/app:{tag}").out.strip() == image["digest"]
    assert cli("resolve", "acme/app:a").status == 1
    assert cli.done("resolve", "acme/app:a", "--at", before).out.strip() == one["digest"]
    spans = objects(cli("history", "acme/app:a", "--format", "json"))
    assert [(each["digest"], each["until"] is None) for each in spans] == [
        (one["digest"], False),
        (two["digest"], False),
    ]
    # What carries the name as an annotation comes first, in this store; its entry may be any.
    saved.write([one, tagged(two, "b")], [saved.item(one, "acme/app:b")])
    assert cli.done("resolve", "--fresh", "acme/app:b").out.strip() == two["digest"]
    assert len(objects(cli("query", "acme/app:b", "--format", "json"))) == 1


def test_an_archive_that_is_unpacked_has_the_names_of_its_annotations(cli: Own, tmp_path: Path) -> None:
    """A directory is read anew when its index.json changes, so names from another file would go stale unseen."""
    saved = Saved(tmp_path)
    one = saved.image("one")
    saved.write([tagged(one, "1")], [saved.item(one, "acme/app:2")])
    cli.done("add", saved.path)
    assert cli("resolve", "acme/app:2").status == 0
    with tarfile.open(saved.path) as tar:
        # Python 3.11.4 brought filters, and 3.12 warns if none is given.
        how: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        tar.extractall(tmp_path / "unpacked", **how)
    os.unlink(saved.path)
    os.rename(tmp_path / "unpacked", saved.path)
    cli.done("index")
    assert cli("resolve", "acme/app:1").status == 0
    assert cli("resolve", "acme/app:2").status == 1


def test_images_that_index_json_does_not_list_have_no_names(cli: Own, tmp_path: Path) -> None:
    """containerd names an index, and in manifest.json the config of one of its images: that name is the index's alone."""
    saved = Saved(tmp_path)
    one = saved.image("one")
    index = writers.make_index_image(saved.layout, [one | {"platform": writers.platform("linux", "amd64")}])
    saved.write([tagged(index, "1")], [saved.item(one, "acme/app:1")])
    cli.done("add", saved.path)
    assert cli.done("resolve", "acme/app:1").out.strip() == index["digest"]
    assert lists(cli) == []
    saved.write([tagged(index, "1")], [saved.item(one, "acme/app:1", "acme/app:2", "acme/\x1bapp:3")])
    cli.done("index")
    assert cli("resolve", "acme/app:2").status == 1
    assert lists(cli) == [
        "acme/app:2 and 1 more name belong to an image without an entry in index.json, and not to any other entry"
    ]
    old = saved.item(one, "acme/app:9") | {"Config": f"{'a' * 64}.json"}  # as docker save before 25 wrote it
    saved.write([tagged(index, "1")], [old])
    cli.done("index")
    assert cli("resolve", "acme/app:9").status == 1
    assert lists(cli) == []


def test_lists_that_cannot_be_used(cli: Own, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = Saved(tmp_path)
    one, two = saved.image("one"), saved.image("two")
    entries = [tagged(one, "1"), two]
    config = saved.item(one)["Config"]
    saved.write(entries, [])
    cli.done("add", saved.path)
    for raw, detail in (
        (b"", "is not JSON"),
        (b"[{]", "is not JSON"),
        (b"[" * 100_000, "is nested too deep"),
        (b'{"Config": "x"}', "is an object, not an array"),
        (b"7", "is a number, not an array"),
        (b" " * (docker_save.LIST_BYTES + 1), f"has {docker_save.LIST_BYTES + 1} bytes, more than {docker_save.LIST_BYTES}, and is not read"),
        (b"[5, null, [], {}]", None),
        (b"null", None),
        (json.dumps([{"Config": config, "RepoTags": "x"}]).encode(), "1 of its RepoTags is not a string"),
        (json.dumps([{"Config": config, "RepoTags": [1, "x" * 1025, "x" * 1026, None]}]).encode(), "1 of its RepoTags is not a string"),
        (json.dumps([{"Config": config, "RepoTags": [f"a:{n}" for n in range(1001)]}]).encode(), "1 of its RepoTags exceeds the limit of 1000 per image"),
    ):  # fmt: skip
        saved.write(entries, None, raw=raw)
        assert cli("index").err == ""
        assert lists(cli)[:1] == ([] if detail is None else [detail])
        assert cli("resolve", "acme/app:1").status == 0
    assert cli.done("resolve", "a:999").out.strip() == one["digest"]
    assert cli("resolve", "a:1000").status == 1
    bad = ("UPPER", f"acme/app@sha256:{'0' * 64}", "", "acme/\x1b[31m")
    saved.write(entries, [saved.item(two, *bad, "acme/app:good")])
    cli.done("index")
    assert cli.done("resolve", "acme/app:good").out.strip() == two["digest"]
    found = [each for each in objects(cli("check", "--format", "json")) if each["subject"] == "RepoTags"]
    assert sorted(str(each["kind"]) for each in found) == [
        "name-digest",
        "unusable-name",
        "unusable-name",
        "unusable-name",
    ]
    assert "\x1b" not in cli("check").out
    with tarfile.open(saved.path, "a") as tar:  # the last member of a name counts
        link = tarfile.TarInfo("manifest.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    cli.done("index")
    assert cli("resolve", "acme/app:good").status == 1
    assert "odd-member" in cli("check").out
    # Writing 64 MiB of manifests, or a list with as many entries as are streamed, would take half a minute.
    monkeypatch.setattr(docker_save, "READ_BYTES", 100)
    saved.write(entries, [saved.item(one, "acme/app:1")])
    cli.done("index")
    assert lists(cli) == []  # so no manifest was read
    saved.write(entries, [saved.item(two, "acme/app:2")])
    cli.done("index")
    assert lists(cli) == ["is read in part: finding its images takes more than 100 bytes of manifests"]
    monkeypatch.undo()
    cli.done("index", "--full")
    assert cli.done("resolve", "acme/app:2").out.strip() == two["digest"]


def test_a_list_beside_a_streamed_index_is_not_read(tmp_path: Path) -> None:
    """The names of all entries are compared with it, so they have to fit into memory."""
    saved = Saved(tmp_path)
    one = saved.image("one")
    for tags, told in (((), 0), (("acme/app:2",), 1)):
        saved.write([tagged(one, "1")], [saved.item(one, *tags)])
        with read_index(saved.path, ListLimits(in_memory_bytes=10)) as content:
            assert content.streamed
            docker_save.add_saved_names(content, saved.path, ListLimits(), lambda: None)
            assert [each.saved_names for each in content] == [()]
            assert len(content.troubles) == told
