"""Layouts in tar archives answer as the same layouts in directories do, whoever wrote the archive."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests import effort, writers
from tests.cli.conftest import Own, objects
from tests.cli.test_podman_buildah import Tools
from tests.programs import needs

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACKERS: list[tuple[str, Callable[[bytes], bytes]]] = [
    (".tar.gz", gzip.compress),
    (".tar.zst", zstd.compress),
    (".tgz", lambda data: gzip.compress(data[:5000], 1) + gzip.compress(data[5000:], 9)),
]

T = TypeVar("T")
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def made(path: str) -> str:
    """A layout with images, an index image, a signature by tag, an unused blob, an absent layer and a truncated one."""
    writers.make_layout(path)
    one, two = writers.make_image(path, "one"), writers.make_image(path, "two", arch="arm64")
    children = [each | {"platform": writers.platform("linux", arch)} for each, arch in ((one, "amd64"), (two, "arm64"))]
    multi = writers.make_index_image(path, children)
    lone = writers.make_image(path, "three")
    holed = writers.make_image(path, "four")
    with open(f"{path}/blobs/sha256/{holed['digest'][7:]}", "rb") as file:
        layers = json.load(file)["layers"]
    os.unlink(f"{path}/blobs/sha256/{layers[0]['digest'][7:]}")
    writers.write_blob(path, b"nobody needs this", writers.LAYER_TYPE)
    writers.write_blob(
        path,
        b'{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"sha256:' + b"0" * 64 + b'","size":2},"layers":[]}',
        "a/b",
    )
    entries = [
        writers.name_entry(multi, "containerd", "docker.io/acme/app", "1"),
        writers.name_entry(one, "tag", "", "v1"),
        writers.name_entry(lone, "short", "docker.io/library/alpine", "3"),
        writers.name_entry(holed, "canonical", "docker.io/library/alpine", "4"),
        writers.name_entry(writers.make_image(path, "five"), "tag", "", "v1"),
        writers.fake_descriptor("away"),
    ]
    writers.write_index(path, writers.empty_index(*entries))
    return path


def packed(layout: str, target: str, form: str, *, order: str = "sorted", prefix: str = "") -> str:
    """Write a layout into an archive with Python's tarfile, its members in some order."""
    names = [
        os.path.relpath(os.path.join(top, name), layout)
        for top, dirs, files in os.walk(layout)
        for name in (*dirs, *files)
    ]
    names = sorted(names) if order == "sorted" else sorted(names, reverse=True) if order == "reversed" else names
    if order.startswith("random"):
        random.Random(order).shuffle(names)
    with tarfile.open(target, "w", format=FORMATS[form]) as tar:
        for name in names:
            tar.add(f"{layout}/{name}", f"{prefix}{name}", recursive=False)
    return target


def answers(cli: Own, store: str) -> Iterator[tuple[object, Any]]:
    """Everything that commands say about a store, without its name, path and times."""

    def plain(found: Any) -> Any:
        if isinstance(found, list):
            return [plain(each) for each in found]
        if isinstance(found, dict):
            left = ("store", "path", "indexed_at", "since", "until", "host", "verified_at", "stores")
            return {key: plain(value) for key, value in found.items() if key not in left}
        return found

    for arguments in (
        ("query",), ("query", "--platform", "linux/arm64"), ("query", ":v1"), ("query", "alpine:*"), ("query", "acme/app:1"),
        ("query", "--unnamed"), ("query", "--label", "*"), ("query", "--annotation", "*"),
    ):  # fmt: skip
        said = cli(*arguments, "--store", store, "--format", "json")
        yield arguments, (said.status, plain(objects(said)))
    listed = objects(cli("query", "--store", store, "--format", "json"))
    assert listed
    digests = few(cli, [str(each["digest"]) for each in listed])
    for more in ((), ("--platform", "linux/arm64"), ("--platform", "linux/amd64")):
        said = cli("resolve", *digests, "--store", store, *more)
        yield (digests, more), (said.status, said.out, re.sub(rf"\b{re.escape(store)}\b", "", said.err))
    for digest in digests:
        said = cli("query", "--contains", digest, "--store", store, "--format", "json")
        yield ("contains", digest), (said.status, plain(objects(said)))
    said = cli(
        "sql", f"SELECT digest, size, is_good FROM blobs WHERE store = '{store}' ORDER BY digest", "--format", "json"
    )
    yield "blobs", objects(said)
    said = cli(
        "sql",
        f"SELECT kind, subject, detail FROM problems WHERE store = '{store}' ORDER BY 1, 2, 3",
        "--format",
        "json",
    )
    yield "problems", objects(said)
    said = cli("report", "missing", "--format", "json")
    yield "missing", sorted(json.dumps(plain(each), sort_keys=True) for each in objects(said) if each["store"] == store)


def assert_alike(cli: Own, archive: str, directory: str | list[tuple[object, Any]]) -> None:
    """Everything that is said about two stores is the same; `directory` may be what is said about that."""
    wanted = answers(cli, directory) if isinstance(directory, str) else directory
    for (question, here), (_, there) in zip(answers(cli, archive), wanted, strict=True):
        assert here == there, question


def few(cli: Own, values: list[T]) -> list[T]:
    """All of them on SQLite, and the first on a server, which is asked the same whatever an archive looks like."""
    return values if cli.db.startswith("/") else values[:1]


def test_every_order_and_format_of_tarfile(cli: Own, tmp_path: Path) -> None:
    layout = made(str(tmp_path / "d"))
    cli.done("add", layout)
    wanted = list(answers(cli, "d"))
    orders = ("sorted", "reversed", *(f"random{n}" for n in range(4)))
    tried = effort.some([(form, order) for form in FORMATS for order in orders], 5)
    for number, (form, order) in enumerate(few(cli, tried)):
        name = f"a{number}"
        path = packed(layout, str(tmp_path / f"{name}.tar"), form, order=order, prefix=("", "./")[number % 2])
        cli.done("add", path, "--name", name)
        assert_alike(cli, name, wanted)


@needs("tar", "bsdtar")
def test_the_formats_of_gnu_tar_and_bsdtar(cli: Own, tmp_path: Path) -> None:
    layout = made(str(tmp_path / "d"))
    cli.done("add", layout)
    wanted = list(answers(cli, "d"))
    programs = [
        ("tar", "--format=v7"),
        ("tar", "--format=oldgnu"),
        ("tar", "--format=gnu"),
        ("tar", "--format=ustar"),
        ("tar", "--format=posix"),
        ("tar", "--format=gnu", "--sparse", "--blocking-factor=1"),
        ("bsdtar", "--format=ustar"),
        ("bsdtar", "--format=pax"),
        ("bsdtar", "--format=gnutar"),
        ("bsdtar", "--format=v7"),
    ]
    for number, words in enumerate(few(cli, programs)):
        path = str(tmp_path / f"t{number}.tar")
        subprocess.run([*words, "-cf", path, "-C", layout, "."], check=True)
        cli.done("add", path, "--name", f"t{number}")
        assert_alike(cli, f"t{number}", wanted)


@needs("tar")
def test_hard_links_updates_and_long_names(cli: Own, tmp_path: Path) -> None:
    """`tar --append` adds a second index.json, which counts; a hard link has the bytes of the member that it names."""
    layout = made(str(tmp_path / "d"))
    path = str(tmp_path / "a.tar")
    index = Path(f"{layout}/index.json").read_bytes()
    Path(f"{layout}/index.json").write_text('{"schemaVersion":2,"manifests":[]}')
    deep = Path(layout) / ("x" * 90) / ("y" * 90)
    deep.mkdir(parents=True)
    first = min(os.listdir(f"{layout}/blobs/sha256"))
    os.link(f"{layout}/blobs/sha256/{first}", deep / "first")
    names = ["x" * 90, "blobs", "index.json", "oci-layout"]
    subprocess.run(["tar", "-cf", path, "-C", layout, *names], check=True)
    Path(f"{layout}/index.json").write_bytes(index)
    subprocess.run(["tar", "-rf", path, "-C", layout, "./index.json"], check=True)
    shutil.rmtree(Path(layout) / ("x" * 90))
    cli.done("add", layout, path)
    assert_alike(cli, "a.tar", "d")


@needs("skopeo", "podman", "buildah", "umoci", "tar")
def test_archives_by_skopeo_podman_buildah_and_umoci(cli: Own, tmp_path: Path) -> None:
    layout = str(tmp_path / "source")
    writers.make_layout(layout)
    image = writers.make_image(layout, "one")
    writers.write_index(layout, writers.empty_index(writers.name_entry(image, "tag", "", "v1")))
    subprocess.run(
        ["skopeo", "copy", "-q", f"oci:{layout}:v1", f"oci-archive:{tmp_path}/skopeo.tar:acme/app:1"], check=True
    )
    with tempfile.TemporaryDirectory(prefix="run") as run:  # podman allows at most 50 characters
        tools = Tools(tmp_path / "storage", run)
        (tmp_path / "storage").mkdir()
        tools.image("one", "text", "--os", "linux", "--arch", "amd64", "--label", "a=b")
        tools("buildah", "push", "one", f"oci-archive:{tmp_path}/buildah.tar:acme/app:2")
        tools("podman", "save", "-q", "--format", "oci-archive", "-o", str(tmp_path / "podman.tar"), "one")
    subprocess.run(["umoci", "init", "--layout", str(tmp_path / "umoci")], check=True)
    subprocess.run(["umoci", "new", "--image", f"{tmp_path}/umoci:v2"], check=True)
    subprocess.run(["tar", "-cf", str(tmp_path / "umoci.tar"), "-C", str(tmp_path / "umoci"), "."], check=True)
    for name in ("skopeo", "buildah", "podman", "umoci"):
        unpacked = tmp_path / f"{name}-unpacked"
        unpacked.mkdir()
        subprocess.run(["tar", "-xf", str(tmp_path / f"{name}.tar"), "-C", str(unpacked)], check=True)
        cli.done("add", str(tmp_path / f"{name}.tar"), str(unpacked))
        wanted = list(answers(cli, unpacked.name))
        assert_alike(cli, f"{name}.tar", wanted)
        asked = f"oci-archive:{tmp_path}/{name}.tar"
        raw = subprocess.run(["skopeo", "inspect", "--raw", asked], check=True, capture_output=True).stdout
        manifest = cli.done("resolve", asked).out.strip()
        assert manifest == "sha256:" + hashlib.sha256(raw).hexdigest()
        assert cli.done("resolve", manifest, "--store", f"{name}.tar", "--format", "oci-archive").out == f"{asked}\n"
        for suffix, pack in few(cli, PACKERS[:2]):
            inflated = Path(tmp_path / f"{name}.tar").read_bytes()
            Path(tmp_path / f"{name}{suffix}").write_bytes(pack(inflated))
            cli.done("add", str(tmp_path / f"{name}{suffix}"))
            assert_alike(cli, f"{name}{suffix}", wanted)


def test_questions_in_every_form(cli: Own, tmp_path: Path) -> None:
    layout = made(str(tmp_path / "d"))
    path = packed(layout, str(tmp_path / "a.tar"), "pax")
    cli.done("add", path)
    first = writers.read_index(layout)["manifests"]
    wanted = first[1]["digest"]
    for form in (
        f"oci-archive:{path}:v1",
        f"oci:{path}:v1",
        f"ocidir://{path}:v1",
        "oci-layout://a.tar:v1",
        f"oci-layout://{path}:v1",
        f"oci-archive:{path}:@1",
    ):
        assert cli.done("resolve", form).out.strip() == wanted, form
    assert cli("resolve", f"oci-archive:{path}").status == 3
    assert cli.done("resolve", f"oci-archive:{path}:v1", "--format", "oci-archive").out == f"oci-archive:{path}:v1\n"
    refused = cli("resolve", f"oci-archive:{path}:v1", "--format", "oci-layout")
    assert refused.status == 2
    assert "--format oci-archive" in refused.err
    five = first[4]["digest"]
    refused = cli("resolve", five, "--format", "oci-archive")
    assert refused.status == 2
    assert "no ref.name of its own" in refused.err
    cli.done("add", layout)
    refused = cli("resolve", "acme/app:1", "--store", "d", "--format", "oci-archive")
    assert "is a directory" in refused.err
    for text in (f"docker-archive:{path}", f"docker-archive:{path}:acme/app:1", "docker-archive:a.tar"):
        refused = cli("resolve", text)
        assert refused.status == 2
        assert "write oci-archive:PATH" in refused.err
    assert cli("resolve", "oci-archive:").status == 2


def test_what_is_not_an_archive_of_a_layout_is_refused(cli: Own, tmp_path: Path) -> None:
    file = tmp_path / "a.tar"
    for data, why in (
        (b"", "without an end"), (b"text", "cut off"), (b"x" * 2000, "not a tar archive"), (b"\xff" * 2000, "not a tar archive"), (bytes(2000), "neither oci-layout"),
        (gzip.compress(os.urandom(2000)), "not a tar archive"), (lzma.compress(os.urandom(2000)), "compressed with xz"),
        (gzip.compress(bytes(2000)), "neither oci-layout"), (gzip.compress(os.urandom(2000))[:-9], "cut off"),
    ):  # fmt: skip
        file.write_bytes(data)
        said = cli("add", str(file))
        assert said.status == 2
        assert why in said.err
    with tarfile.open(file, "w") as tar:
        tar.addfile(tarfile.TarInfo("manifest.json"))
    assert "docker save before 25" in cli("add", str(file)).err
    assert "leave it out" in cli("add", packed(made(str(tmp_path / "d")), str(file), "gnu"), "--archives").err


def test_a_torn_archive_keeps_its_last_answers(cli: Own, tmp_path: Path) -> None:
    layout = made(str(tmp_path / "d"))
    path = packed(layout, str(tmp_path / "a.tar"), "gnu")
    cli.done("add", path)
    whole = Path(path).read_bytes()
    wanted = cli.done("resolve", "acme/app:1").out
    count = len(objects(cli("sql", "SELECT digest FROM blobs", "--format", "json")))
    for data in (
        whole[:700],
        whole[:-12_000],
        whole[: len(whole) // 2],
        b"",
        b"x" * 5000,
        whole[:1500] + b"y" + whole[1501:],
    ):
        Path(path).write_bytes(data)
        cli("index")
        assert cli.stores()["a.tar"]["state"] == "invalid", len(data)
        said = cli("resolve", "acme/app:1")
        assert (said.status, said.out) == (0, wanted)
        assert "has been invalid since" in said.err
        assert cli("resolve", "acme/app:1", "--strict").status != 0
        assert len(objects(cli("sql", "SELECT digest FROM blobs", "--format", "json"))) == count
        said = cli("index")
        assert (said.status, said.err) == (0, "")
    Path(path).write_bytes(whole)
    assert cli("resolve", "acme/app:1", "--fresh").out == wanted
    assert cli.stores()["a.tar"]["state"] == "ok"
    os.unlink(path)
    cli("index")
    assert cli.stores()["a.tar"]["state"] == "missing"
    shutil.copytree(layout, path)  # A directory in its place is the layout now.
    cli("index")
    assert (cli.stores()["a.tar"]["state"], cli.stores()["a.tar"]["archive"]) == ("ok", False)


def test_changes_are_seen_with_fresh(cli: Own, tmp_path: Path) -> None:
    layout = made(str(tmp_path / "d"))
    path = packed(layout, str(tmp_path / "a.tar"), "gnu")
    cli.done("add", path)
    for seed in ("x", "y"):
        new = writers.name_entry(writers.make_image(layout, seed), "tag", "", "new")
        writers.write_index(layout, writers.append(writers.read_index(layout), new))
        if seed == "x":
            packed(layout, f"{path}.part", "pax")
            os.replace(f"{path}.part", path)
        else:
            with tarfile.open(path, "a") as tar:
                for name in ("index.json", *(f"blobs/sha256/{each}" for each in os.listdir(f"{layout}/blobs/sha256"))):
                    tar.add(f"{layout}/{name}", f"./{name}")
        assert cli("query", "--fresh", new["digest"], "--format", "{digest}").out.strip() == new["digest"]
    cli.done("add", layout)
    assert_alike(cli, "a.tar", "d")


def test_archives_below_a_root(cli: Own, tmp_path: Path) -> None:
    root = tmp_path / "r"
    layout = made(str(root / "d"))
    path = packed(layout, str(root / "a.tar"), "gnu")
    with tarfile.open(root / "other.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("readme"), io.BytesIO())
    (root / "torn.tar").write_bytes(Path(path).read_bytes()[:3000])
    (root / ".hidden.tar").write_bytes(Path(path).read_bytes())
    os.symlink("a.tar", root / "link.tar")
    cli.done("add", str(root))
    assert set(cli.stores()) == {"r/d"}
    cli.done("add", str(root), "--archives")
    assert set(cli.stores()) == {"r/d", "r/a.tar"}
    assert_alike(cli, "r/a.tar", "r/d")
    (root / "sub").mkdir()
    new = packed(layout, str(root / "sub/b.tar"), "pax")
    assert cli("resolve", f"oci-archive:{new}:v1", "--fresh").status == 0
    assert set(cli.stores()) == {"r/d", "r/a.tar", "r/sub/b.tar"}
    cli.done("add", str(root / "sub"), "--no-archives", "--name", "sub")
    packed(layout, str(root / "sub/c.tar"), "pax")
    assert cli("index").status == 0
    assert "sub/c.tar" not in cli.stores()
    cli.done("remove", "r/a.tar")
    assert cli("index").status == 0
    assert "r/a.tar" not in cli.stores()
    assert cli("index").err == ""


def test_nothing_in_an_archive_is_called_unused_or_put_into_a_plan(cli: Own, tmp_path: Path) -> None:
    layout = made(str(tmp_path / "d"))
    path = packed(layout, str(tmp_path / "a.tar"), "gnu")
    before = Path(path).read_bytes()
    cli.done("add", path, layout)
    assert cli("verify").status in (0, 1)
    for words in (("report", "unreferenced", "-p", "older_than=0s"), ("report", "orphans")):
        for row in objects(cli(*words, "--format", "json")):
            assert row.get("store") != "a.tar", words
    said = cli("plan", "prune", "--older-than", "0s", "--format", "json")
    assert path not in said.out
    assert path in said.err or "a.tar" in said.err
    assert path not in cli("plan", "link", "--format", "json").out
    target = writers.make_layout(str(tmp_path / "to"))
    copied = cli("plan", "copy", target, "acme/app:1", "--store", "a.tar", "--format", "json")
    assert path not in copied.out
    assert cli("plan", "copy", path, "acme/app:1").status != 0
    assert cli.stores()["a.tar"]["unjudged"] is not None
    assert Path(path).read_bytes() == before


def test_verify_reads_the_members(cli: Own, tmp_path: Path) -> None:
    layout = str(tmp_path / "d")
    writers.make_layout(layout)
    image = writers.make_image(layout, "one")
    writers.write_index(layout, writers.empty_index(writers.name_entry(image, "tag", "", "v1")))
    path = packed(layout, str(tmp_path / "a.tar"), "gnu")
    cli.done("add", path)
    said = cli("verify", "--format", "json")
    assert said.status == 0, said
    with open(path, "r+b") as file:
        data = file.read()
        at = data.index(b"schemaVersion", data.index(image["digest"][7:].encode()))
        file.seek(at)
        file.write(b"SchemaVersion")
    said = cli("verify")
    assert said.status == 1
    assert image["digest"] in said.out
    assert "digest-differs" in said.out


def test_contexts_leave_archives_out_and_say_so(cli: Own, tmp_path: Path) -> None:
    layout = made(str(tmp_path / "d"))
    cli.done("add", packed(layout, str(tmp_path / "a.tar"), "gnu"))
    (tmp_path / "Dockerfile").write_text("FROM alpine:3\n")
    said = cli("contexts", str(tmp_path / "Dockerfile"))
    assert "tar archive, which buildx cannot read" in said.err
    assert said.out == ""
    cli.done("add", layout)
    said = cli("contexts", str(tmp_path / "Dockerfile"))
    assert said.status == 0
    assert layout in said.out


@pytest.mark.parametrize("setting", [True, False])
def test_archives_in_a_configuration(cli: Own, tmp_path: Path, setting: bool) -> None:
    layout = made(str(tmp_path / "r/d"))
    packed(layout, str(tmp_path / "r/a.tar"), "gnu")
    alone = packed(layout, str(tmp_path / "alone.tar"), "gnu")
    with open(cli.config, "a") as file:
        file.write(
            f'[[roots]]\npath = "{tmp_path}/r"\narchives = {str(setting).lower()}\n[[stores]]\npath = "{alone}"\n'
        )
    assert cli("resolve", "--fresh", "--first", "acme/app:1").status == 0
    assert set(cli.stores()) == {"r/d", "alone.tar", *(["r/a.tar"] if setting else [])}
    with open(cli.config, "a") as file:
        file.write("archives = true\n")
    assert "has no key archives" in cli("index").err
