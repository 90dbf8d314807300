"""Nothing in a store is trusted: not its digests, not its links, not its numbers, not its text."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from catalog.db.schema import metadata
from catalog.engine.open import is_url
from catalog.layout.blobs_identity import blobs_identity
from catalog.layout.index import ListLimits
from tests import writers
from tests.conftest import AT_ONCE, Catalogue, Said
from tests.content.asking import resolved
from tests.content.layouts import (
    ALPINE,
    INDEX,
    MANIFEST,
    OTHER,
    UNREAD,
    UNUSABLE,
    count,
    digest_of,
    file_of,
    index,
    kind,
    layer,
    layout,
    manifest,
    named,
    on,
    pending,
    problems,
    put,
    put_as,
    write,
)  # fmt: skip

AMD64 = {"os": "linux", "architecture": "amd64"}
ZERO = f"sha256:{'0' * 64}"


# Digests


def test_bytes_that_are_not_what_their_digest_says_are_not_believed(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    image = manifest(path, AMD64)
    outer = index(path, on(image, "linux", "amd64"))
    write(path, named(outer))
    put_as(
        path, outer["digest"], writers.dump({"manifests": [on(outer, "linux", "amd64"), {"digest": ZERO}]})
    )  # a cycle
    catalogue.add(path)
    assert problems(catalogue) == {("s", "digest-differs", outer["digest"])}
    assert listed_problems(catalogue) == [("digest-differs", outer["digest"])]  # and not that it is truncated, too
    # Nothing leads to the image: it is a manifest that no entry lists, which its digest alone finds.
    assert [kind(catalogue, each) for each in (outer, image, ZERO)] == [UNREAD, MANIFEST, None]
    assert pending(catalogue) == []
    assert resolved(catalogue, "alpine:1") == Said(0, outer["digest"], "s")
    for ref in (ZERO, f"alpine@{image['digest']}", f"alpine@{ZERO}"):
        assert resolved(catalogue, ref) == Said(1)
    assert resolved(catalogue, image["digest"]) == Said(0, image["digest"], "s")
    assert resolved(catalogue, "alpine:1", "linux/amd64") == Said(1)


def test_a_good_copy_in_another_store_is_believed(catalogue: Catalogue, tmp_path: Path) -> None:
    """Whichever of the two is read first. The bad copy is reported if it was read first."""
    told: set[tuple[str, str, str]] = set()
    for bad, good in (("a", "b"), ("d", "c")):
        for name in (bad, good):
            path = layout(tmp_path / name)
            image = manifest(path, AMD64 | {"store": bad})
            outer = index(path, image)
            write(path, named(outer, f"{bad}:1"))
        for each in (outer, image):
            size = os.path.getsize(file_of(path, each["digest"]))
            put_as(
                f"{tmp_path}/{bad}", each["digest"], b'{"manifests": []}'.ljust(size)
            )  # else it were a truncated one
        for name in sorted((bad, good)):
            catalogue.add(f"{tmp_path}/{name}")
        told |= {("a", "digest-differs", outer["digest"])} if bad == "a" else set()
        assert [kind(catalogue, each) for each in (outer, image)] == [INDEX, MANIFEST]
        for name in (bad, good):
            assert catalogue.resolve(f"oci-layout://{name}@{image['digest']}") == Said(0, image["digest"], name)
            assert resolved(catalogue, f"oci-layout://{name}/{bad}:1", "linux/amd64") == Said(0, image["digest"], name)
    assert problems(catalogue) == told


def test_two_bad_copies_do_not_keep_each_other_awake(catalogue: Catalogue, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        path = layout(tmp_path / name)
        image = manifest(path, AMD64)
        write(path, named(index(path, image)))
        put_as(path, image["digest"], b"{}")
        catalogue.add(path, index=False)
    catalogue.index()
    assert pending(catalogue) == []
    assert problems(catalogue) == {(name, "digest-differs", image["digest"]) for name in "abc"}
    put_as(f"{tmp_path}/c", image["digest"], b"[]")
    catalogue.index(full=True)
    assert len(problems(catalogue)) == 3
    assert listed_problems(catalogue) == [("digest-differs", image["digest"])] * 3
    assert kind(catalogue, image) == UNREAD


def test_a_blob_that_was_mended_is_read_again(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    image = manifest(path, AMD64)
    good = Path(file_of(path, image["digest"])).read_bytes()
    write(path, named(image))
    put_as(path, image["digest"], b"torn")
    catalogue.add(path)
    assert problems(catalogue) == {("s", "digest-differs", image["digest"])}
    assert listed_problems(catalogue) == [("digest-differs", image["digest"])]
    put_as(path, image["digest"], good)  # in place: no directory tells
    catalogue.index(full=True)
    assert problems(catalogue) == set()
    assert listed_problems(catalogue) == []
    assert resolved(catalogue, "alpine:1", "linux/amd64") == Said(0, image["digest"], "s")


def test_digests_of_algorithms_that_cannot_be_checked(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    image = manifest(path, AMD64)
    data = Path(file_of(path, image["digest"])).read_bytes()
    others = [
        put_as(path, digest, data) for digest in (f"blake3:{'b' * 64}", "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3")
    ]
    write(path, *(named({"digest": digest}, f"alpine:{at}") for at, digest in enumerate(others)))
    catalogue.add(path)
    assert problems(catalogue) == {("s", "unproved-blob", digest) for digest in others}
    assert {kind(catalogue, digest) for digest in others} == {UNREAD}
    assert resolved(catalogue, "alpine:0") == Said(0, others[0], "s")
    assert resolved(catalogue, "alpine:0", "linux/amd64") == Said(1)
    assert set(catalogue.sql("SELECT digest FROM blobs")) >= {(digest,) for digest in others}


def test_names_that_are_no_digests_are_no_blobs(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    write(path, named(manifest(path, AMD64)))
    for name in (
        "sha256/short",
        "sha256/.hidden",
        f"sha256/{'A' * 64}",
        "UPPER/abc",
        ".tmp/abc",
        "sha256/\udcff",
        "file",
    ):
        os.makedirs(os.path.dirname(f"{path}/blobs/{name}"), exist_ok=True)
        Path(f"{path}/blobs/{name}").write_bytes(b"x")
    for number in range(40):
        os.mkdir(f"{path}/blobs/a{number:02}")
    catalogue.add(path)
    assert count(catalogue, "store_blob") == [2]
    assert problems(catalogue) == set()


# Files


def make_special(how: str, file: str) -> None:
    """Something in the place of a blob that is none."""
    os.rename(file, f"{file}.away")
    if how == "link":
        os.symlink(f"{file}.away", file)
    elif how == "fifo":
        os.mkfifo(file)
    elif how == "directory":
        os.mkdir(file)
    else:
        os.symlink("/dev/zero", file)


@pytest.mark.parametrize("how", ["link", "fifo", "directory", "device"])
@pytest.mark.parametrize("what", ["outer", "image", "config"])
def test_links_and_special_files_are_no_blobs(catalogue: Catalogue, tmp_path: Path, how: str, what: str) -> None:
    path = layout(tmp_path / "s")
    config = put(path, AMD64)
    image = manifest(path, config)
    outer = index(path, image)
    write(path, named(outer))
    digest = {"outer": outer, "image": image, "config": config}[what]["digest"]
    make_special(how, file_of(path, digest))
    catalogue.add(path)
    assert count(catalogue, "store_blob") == [2]
    assert resolved(catalogue, image["digest"]) == Said(0, image["digest"], "s")  # listed or not
    assert resolved(catalogue, "alpine:1", "linux/amd64") == Said(1)
    assert problems(catalogue) == {("s", "bad-blob", digest)}
    assert [each for each in listed_problems(catalogue) if each[1] == digest] == [("bad-blob", digest)]
    file = file_of(path, digest)
    os.rmdir(file) if how == "directory" else os.unlink(file)
    os.rename(f"{file}.away", file)
    catalogue.index()
    assert listed_problems(catalogue) == []


def listed_problems(catalogue: Catalogue) -> list[tuple[str, str]]:
    """Kind and subject of what `ocicat check` lists."""
    return sorted(catalogue.sql("SELECT kind, subject FROM problems"))


def test_many_links_are_counted_and_nothing_is_missing(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    entries = [named(manifest(path, AMD64, layer(str(n))), f"alpine:{n}") for n in range(120)]
    write(path, *entries)
    os.rename(f"{path}/blobs/sha256", tmp_path / "away")
    os.mkdir(f"{path}/blobs/sha256")
    for name in os.listdir(tmp_path / "away"):
        os.symlink(tmp_path / "away" / name, f"{path}/blobs/sha256/{name}")
    catalogue.add(path)
    found = listed_problems(catalogue)
    assert [kind for kind, _ in found] == ["bad-blob"] * 101
    assert f"{path}/blobs" in [subject for _, subject in found]
    assert catalogue.sql("SELECT detail FROM problems WHERE subject = ?", f"{path}/blobs")[0][0].startswith("21 more")


@pytest.mark.parametrize("level", ["blobs", "blobs/sha256"])
def test_links_as_directories_lead_nowhere(catalogue: Catalogue, tmp_path: Path, level: str) -> None:
    path = layout(tmp_path / "s")
    write(path, named(manifest(path, AMD64)))
    shutil.move(f"{path}/{level}", tmp_path / "away")
    os.symlink(tmp_path / "away", f"{path}/{level}")
    catalogue.add(path)
    assert count(catalogue, "store_blob", "manifest") == [0, 0]
    assert listed_problems(catalogue) == [("linked", f"{path}/{level}")]
    assert "--shared-blob-dir" in catalogue.sql("SELECT detail FROM problems")[0][0] or level == "blobs/sha256"
    for name in ("blobs", level):
        os.utime(f"{path}/{name}", (1, 1), follow_symlinks=False)
    before = blobs_identity(path)
    (tmp_path / "away" / "x").write_bytes(b"")  # what lies behind is not even looked at
    assert blobs_identity(path) == before


@pytest.mark.parametrize("target", ["a directory", "a file", "nothing"])
@pytest.mark.parametrize("level", ["blobs", "blobs/sha256", "blobs/blake2b"])
def test_what_a_link_leads_to_changes_nothing(catalogue: Catalogue, tmp_path: Path, level: str, target: str) -> None:
    """It is reported as a link, with its own text; its target is never looked at."""
    path = layout(tmp_path / "s")
    write(path, named(manifest(path, AMD64)))
    away = tmp_path / "away"
    if level != "blobs/blake2b":
        shutil.move(f"{path}/{level}", tmp_path / "aside")
    if target == "a directory":
        away.mkdir()
    elif target == "a file":
        away.write_bytes(b"")
    os.symlink("../" * level.count("/") + "../away", f"{path}/{level}")
    catalogue.add(path)
    found = [each for each in listed_problems(catalogue) if each[0] == "linked"]
    assert found == [("linked", f"{path}/{level}")]
    if level == "blobs":
        assert f"--shared-blob-dir {away}" in catalogue.sql("SELECT detail FROM problems WHERE kind = 'linked'")[0][0]


def test_files_where_directories_should_be(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s", named(layer("x")))
    os.rmdir(f"{path}/blobs/sha256")
    Path(f"{path}/blobs/sha256").write_bytes(b"")
    catalogue.add(path)
    os.unlink(f"{path}/blobs/sha256")
    os.rmdir(f"{path}/blobs")
    os.mkfifo(f"{path}/blobs")
    catalogue.index()
    assert count(catalogue, "store_blob") == [0]
    assert pending(catalogue) == []
    assert problems(catalogue) == {("s", "bad-blob", f"{path}/blobs")}


# Numbers


def test_a_manifest_over_the_limit_is_not_read(catalogue: Catalogue, tmp_path: Path) -> None:
    catalogue.settings = AT_ONCE._replace(limits=ListLimits(descriptor_bytes=1000))
    path = layout(tmp_path / "s")
    just = put(path, None, data=writers.dump({"layers": [], "x": ""}).replace(b'""', b'"%b"' % (b"x" * (1000 - 20))))
    over = put(path, None, data=b" " + Path(file_of(path, just["digest"])).read_bytes())
    assert (just["size"], over["size"]) == (1000, 1001)
    write(path, named(just, "alpine:just"), named(over, "alpine:over"))
    catalogue.add(path)
    assert [kind(catalogue, each) for each in (just, over)] == [MANIFEST, UNREAD]
    assert problems(catalogue) == {("s", "large-manifest", over["digest"])}
    catalogue.settings = AT_ONCE
    catalogue.index(full=True)
    assert kind(catalogue, over) == MANIFEST
    assert problems(catalogue) == set()


@pytest.mark.parametrize("begins", [b"\x7fELF", b" {"])
def test_only_a_large_child_that_begins_like_json_leaves_its_store_in_doubt(
    catalogue: Catalogue, tmp_path: Path, begins: bytes
) -> None:
    """It has a media type that may be that of a manifest, and is too large to be read."""
    catalogue.settings = AT_ONCE._replace(limits=ListLimits(descriptor_bytes=1000))
    path = layout(tmp_path / "s")
    child = put(path, None, "application/x-thing", data=begins + b" " * 1000)
    write(path, named(index(path, child)))
    catalogue.add(path)
    for _ in range(2):
        assert kind(catalogue, child) == UNREAD
        assert problems(catalogue) == set()
        assert catalogue.sql("SELECT doubt FROM store") == [(child["digest"] if begins == b" {" else None,)]
        catalogue.index(full=True)


def test_sizes_that_no_column_holds(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    most = (1 << 63) - 1
    image = manifest(path, AMD64, *(layer(f"{n}", size) for n, size in enumerate((most, most, most))))
    odd = manifest(path, AMD64, *(layer(f"{n}", size) for n, size in enumerate((-1, most + 1, 1 << 70, 3))))
    write(path, named(image, "alpine:1"), named(odd, "alpine:2"))
    catalogue.add(path)
    sizes = dict(catalogue.sql("SELECT digest, layers_size FROM manifests"))
    assert sizes == {image["digest"]: most, odd["digest"]: 3}


# Text


def test_text_that_cannot_be_stored(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    data = (
        b'{"os":"linux","architecture":"amd64","created":"2024-01-01T00:00:00Z\\u0000","config":{"Labels":'
        b'{"nul\\u0000key":"nul\\u0000value","half\\ud800":"\\udc00half","bytes\xff":"\xfe","same\\u0000":"1","same\\ud800":"2",'
        b'"number":5,"null":null,"whole":"\\ud83d\\ude00"}}}'
    )
    config = put(path, None, writers.CONFIG_TYPE, data=data)
    image = manifest(path, config, annotations={"a\0": "b\0", "n": 5, "ok": "\udc00"}, artifactType="x\0y")
    write(path, named(image))
    catalogue.add(path)
    assert dict(catalogue.sql("SELECT key, value FROM labels")) == {
        "nul\ufffdkey": "nul\ufffdvalue",
        "half\ufffd": "\ufffdhalf",
        "bytes\ufffd": "\ufffd",
        "same\ufffd": "2",
        "whole": "\U0001f600",
    }
    assert dict(catalogue.sql("SELECT key, value FROM annotations WHERE origin = 'manifest'")) == {
        "a\ufffd": "b\ufffd",
        "ok": "\ufffd",
    }
    assert catalogue.sql("SELECT platform, created, artifact_type FROM manifests") == [
        ("linux/amd64", None, "x\ufffdy")
    ]


@pytest.mark.parametrize(
    "document",
    [
        {"layers": 5, "config": "x"},
        {"manifests": {}, "layers": [None, 5, "x", {}, {"digest": 7}, {"digest": "sha256:../../x"}]},
        {"manifests": [None, [], {"digest": ZERO, "platform": 5}, {"digest": ZERO, "annotations": [1]}], "subject": 5},
        {"manifests": [], "subject": {"digest": "x"}, "annotations": [], "artifactType": {}, "mediaType": []},
        {"config": {"digest": ZERO, "size": -1}, "os": 5, "architecture": [], "created": {}},
        {"os": "linux", "architecture": "amd64", "config": {"Labels": ["x"]}},
        {"os": "linux", "architecture": "amd64", "config": 5, "variant": 7},
        {"os": "", "architecture": ""},
    ],
)
def test_json_of_the_wrong_shape(catalogue: Catalogue, tmp_path: Path, document: dict[str, object]) -> None:
    path = layout(tmp_path / "s")
    odd = put(path, document)
    image = manifest(path, odd)
    write(path, named(odd, "odd:1"), named(image), named(index(path, odd, image), "both:1"))
    catalogue.add(path)
    assert kind(catalogue, odd) not in (UNREAD, UNUSABLE)
    assert pending(catalogue) == []
    assert problems(catalogue) == set()
    for ref in ("odd:1", "alpine:1", "both:1"):
        assert resolved(catalogue, ref).status == 0
        assert resolved(catalogue, ref, "linux/amd64").status in (0, 1)
        assert [match.as_object()["platforms"] for match in catalogue.matches(ref)] in ([[]], [["linux/amd64"]])


def test_a_platform_with_a_slash_is_not_another_one(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    image = manifest(path, {"os": "linux", "architecture": "amd64/v3"})
    write(path, named(image, "one:1"), named(index(path, on(image, "linux/amd64", "v3")), "all:1"))
    catalogue.add(path)
    for ref in ("one:1", "all:1"):
        assert resolved(catalogue, ref, "linux/amd64/v3") == Said(1)


# What is not to be known


def test_secrets_of_a_config_are_nowhere_in_the_catalog(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    secret = "hunter2-0123456789"
    inner = {
        "Env": [f"PASSWORD={secret}"], "Cmd": [secret], "Entrypoint": [secret], "User": secret, "WorkingDir": secret,
        "Volumes": {secret: {}}, "Healthcheck": {"Test": [secret]}, "OnBuild": [secret], "Labels": {"shown": "label-value"},
    }  # fmt: skip
    config = AMD64 | {
        "config": inner, "container_config": inner, "author": secret, "docker_version": secret,
        "history": [{"created_by": f"RUN login {secret}", "comment": secret, "author": secret}],
        "rootfs": {"type": secret, "diff_ids": [secret]}, "moby.buildkit.buildinfo.v1": secret,
    }  # fmt: skip
    image = manifest(path, config)
    tolerant = manifest(path, config | {"created": "odd\0"})
    broken = put(path, None, writers.CONFIG_TYPE, data=writers.dump(config)[:-1])
    schema1 = put(path, {"architecture": "amd64", "history": [{"v1Compatibility": secret}], "fsLayers": [secret]})
    entries = (image, tolerant, manifest(path, broken), broken, schema1, manifest(path, image))
    write(path, *(named(each, f"alpine:{number}") for number, each in enumerate(entries)))
    put_as(path, digest_of(b"other"), writers.dump(config))
    catalogue.add(path)
    assert catalogue.sql("SELECT DISTINCT value FROM labels") == [("label-value",)]
    rows = [str(row) for table in metadata.tables for row in catalogue.sql(f"SELECT * FROM {table}")]
    assert [row for row in rows if "label-value" in row]
    assert not [row for row in rows if secret in row]
    if not is_url(catalogue.path):
        catalogue.writer.checkpoint()
        files = b"".join(Path(f"{catalogue.path}{suffix}").read_bytes() for suffix in ("", "-wal", "-shm"))
        assert b"label-value" in files
        assert secret.encode() not in files


# One store and another


def test_a_stranger_cannot_change_what_a_digest_is(catalogue: Catalogue, tmp_path: Path) -> None:
    """A store that calls another's config a manifest, its index a config, its manifest a layer, with types and sizes."""
    stranger, mine = layout(tmp_path / "a"), layout(tmp_path / "b")
    config = put(mine, AMD64 | {"config": {"Labels": {"k": "v"}}}, writers.CONFIG_TYPE)
    image = manifest(mine, config)
    outer = index(mine, image)
    write(mine, named(outer, f"{ALPINE}:1"))
    for each in (config, image, outer):
        shutil.copy(file_of(mine, each["digest"]), file_of(stranger, each["digest"]))
    lies = [
        named(config | {"mediaType": writers.INDEX_TYPE, "size": 7}, "a:1"),
        named(manifest(stranger, outer | {"size": 9}, image, config), "b:1"),
        named(index(stranger, on(config, "windows", "arm64"), on(image, "windows", "amd64")), "c:1"),
    ]
    write(stranger, *lies)
    catalogue.add(stranger)
    catalogue.add(mine)
    assert [kind(catalogue, each) for each in (config, image, outer)] == [OTHER, MANIFEST, INDEX]
    assert resolved(catalogue, "alpine:1", "linux/amd64") == Said(0, image["digest"], "b")
    assert catalogue.matches("alpine:1")[0].value("platforms") == ["linux/amd64"]
    assert catalogue.sql("SELECT DISTINCT digest, key, value FROM labels") == [(image["digest"], "k", "v")]
    assert catalogue.sql("SELECT size FROM manifests WHERE digest = ?", outer["digest"]) == [(outer["size"],)]
