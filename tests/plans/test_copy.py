"""`ocicat plan copy`: what it lists is copied, and the copy is complete by a scan of its files."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from catalog.engine.interface import Reader
from catalog.lookup.match import Match
from catalog.names.query import parse_query
from catalog.plans.commands import skopeo_commands
from catalog.plans.copy import CopyPlan
from catalog.plans.destination import Destination
from catalog.plans.stores import plan_stores
from tests import writers
from tests.cli.conftest import Own
from tests.cli.program import needs_root, ran_as_nobody, reachable
from tests.conftest import Catalogue
from tests.conftest import file_of as file_of_reader
from tests.content.layouts import file_of, index, layer, layout, manifest, named, put, write
from tests.effort import examples
from tests.growth.counting import FACTOR, SPARE, cost
from tests.growth.test_walks import steps
from tests.programs import needs

Rows = list[dict[str, Any]]
FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"


def plan(cli: Own, *options: str, status: int = 0) -> Rows:
    """The rows of a plan."""
    result = cli("--quiet", "plan", "copy", *options, "--format", "json")
    assert result.status == status, result
    rows: Rows = json.loads(result.out)
    return rows


def digests(rows: Rows) -> list[str]:
    return [row["digest"] for row in rows if row["kind"] == "blob"]


def play(rows: Rows, to: str) -> None:
    """Copy what the rows list, in their order; after each step whatever is there must find all that it refers to there."""
    if not os.path.exists(f"{to}/index.json"):
        os.makedirs(f"{to}/blobs/sha256", exist_ok=True)
        Path(f"{to}/oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        writers.write_index(to, writers.empty_index())
    blobs = [row for row in rows if row["kind"] == "blob"]
    assert rows[: len(blobs)] == blobs, "the entries come last"
    assert len(set(digests(rows))) == len(blobs)
    for row in blobs:
        assert row["path"] == file_of(to, row["digest"])
        assert not os.path.exists(row["path"]), "nothing is copied twice"
        shutil.copyfile(row["source"], row["path"])
        assert os.path.getsize(row["path"]) == row["size"]
        assert_complete(to, row["digest"])
    document = writers.read_index(to)
    for row in rows[len(blobs) :]:
        assert row["path"] == f"{to}/index.json"
        document["manifests"].append(row["descriptor"])
    writers.write_index(to, document)


def parts(path: str, digest: str) -> Iterator[dict[str, Any]]:
    """The descriptors in a manifest that a copy needs."""
    data = Path(file_of(path, digest)).read_bytes()
    assert f"sha256:{hashlib.sha256(data).hexdigest()}" == digest
    if not data.startswith(b"{"):
        return
    document = json.loads(data)
    for key in ("manifests", "layers"):
        yield from document.get(key, ())
    if "config" in document and "digest" in document["config"]:
        yield document["config"]


def assert_complete(path: str, digest: str) -> set[str]:
    """Everything below a digest is there; return it all."""
    found = {digest}
    for part in parts(path, digest):
        if part["mediaType"] != FOREIGN:
            found |= assert_complete(path, part["digest"])
    return found


def shelf(path: str, rng: random.Random) -> list[writers.Descriptor]:
    """A random layout: images that share layers, and indexes of them, named i0, i1…"""
    writers.make_layout(path)
    layers = [put(path, {}, writers.LAYER_TYPE, data=rng.randbytes(rng.randint(1, 60))) for _ in range(6)]
    images: list[writers.Descriptor] = []
    for number in range(8):
        some = rng.sample(layers, rng.randint(1, 4))
        images.append(manifest(path, {"n": number, "os": "linux", "architecture": "amd64"}, *some, *some[:1]))
    for _ in range(3):
        images.append(index(path, *rng.sample(images, 3)))
    entries = [named(image, f"app:i{number}") for number, image in enumerate(images)]
    write(path, *entries)
    return images


@pytest.mark.parametrize("seed", range(examples(4)))
def test_a_copied_layout_is_complete(cli: Own, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    source, to = str(tmp_path / "source"), str(tmp_path / "to")
    images = shelf(source, rng)
    cli.done("add", source)
    is_store = False
    for _ in range(4):
        some = rng.sample(range(len(images)), rng.randint(1, 3))
        before = set(os.listdir(f"{to}/blobs/sha256")) if os.path.exists(to) else set()
        needed = set[str]().union(*(assert_complete(source, images[each]["digest"]) for each in some))
        listed = {each["digest"] for each in writers.read_index(to)["manifests"]} if before else set()
        lacking = {each for each in needed if each[7:] not in before}
        entries = {images[each]["digest"] for each in some} - listed
        asked = (*(f"app:i{each}" for each in some), "--store", "source", "--to")
        rows = plan(cli, *asked, "to" if is_store else to, status=0 if lacking or entries else 1)
        assert set(digests(rows)) == lacking
        assert {row["digest"] for row in rows if row["kind"] == "entry"} == entries
        play(rows, to)
        assert set(os.listdir(f"{to}/blobs/sha256")) == before | {each[7:] for each in needed}
        if not is_store and rng.random() < 0.5:
            cli.done("add", to)
            is_store = True
        if is_store:
            cli.done("index", "--full")
        assert plan(cli, *asked, to, status=1) == []
    for entry in writers.read_index(to)["manifests"]:
        assert_complete(to, entry["digest"])
    cli("add", to)
    assert cli("check").out == ""


@pytest.fixture
def multi(tmp_path: Path, cli: Own) -> dict[str, str]:
    """A store with an index of two platforms, a signature of one image, and a fallback tag for it; the digests."""
    path = writers.make_layout(str(tmp_path / "multi"))
    children = [
        writers.make_image(path, f"m-{arch}", arch=arch) | {"platform": writers.platform("linux", arch)}
        for arch in ("amd64", "arm64")
    ]
    image = index(path, *children)
    subject = {key: children[0][key] for key in ("mediaType", "digest", "size")}
    signature = manifest(path, {"sig": 1}, subject=subject)
    tag = f"{children[0]['digest'].replace(':', '-')}"
    fallback = index(path, signature)
    write(
        path,
        writers.name_entry(image, "containerd", "docker.io/library/multi", "1"),
        writers.name_entry(fallback, "tag", "", tag),
    )
    cli.done("add", path)
    return {
        "image": image["digest"], "amd64": children[0]["digest"], "arm64": children[1]["digest"],
        "signature": signature["digest"], "fallback": fallback["digest"],
    }  # fmt: skip


def test_platforms_and_referrers(cli: Own, multi: dict[str, str], tmp_path: Path) -> None:
    source, to = str(tmp_path / "multi"), str(tmp_path / "to")
    rows = plan(cli, "multi:1", "--to", to, "--platform", "linux/arm64")
    assert set(digests(rows)) == assert_complete(source, multi["arm64"])
    assert rows[-1]["descriptor"]["annotations"][writers.REF_NAME] == "1"
    rows = plan(cli, "multi:1", "--to", to, "--platform", "linux/arm64", "--platform", "linux/amd64")
    assert set(digests(rows)) == assert_complete(source, multi["arm64"]) | assert_complete(source, multi["amd64"])
    assert [row["digest"] for row in rows[-2:]] == [multi["arm64"], multi["amd64"]]
    assert not any("annotations" in row["descriptor"] for row in rows[-2:]), "two images cannot have one name"
    assert plan(cli, "multi:1", "--to", to)[-1]["digest"] == multi["image"]
    rows = plan(cli, "multi:1", "--to", to, "--with-referrers")
    everything = {f"sha256:{each}" for each in os.listdir(f"{source}/blobs/sha256")}
    assert set(digests(rows)) == everything
    order = digests(rows)
    assert order.index(multi["amd64"]) < order.index(multi["signature"]) < order.index(multi["fallback"])
    play(rows, to)
    both = [writers.read_index(each)["manifests"] for each in (source, to)]
    assert both[0] == both[1]
    assert cli("plan", "copy", "multi:1", "--to", to, "--platform", "plan9/mips").status == 1
    assert plan(cli, f"@{multi['arm64']}", "--to", str(tmp_path / "other"))[-1]["digest"] == multi["arm64"]


def test_what_is_not_all_there_fails_by_name(cli: Own, tmp_path: Path) -> None:
    source, other, to = (str(tmp_path / each) for each in ("source", "other", "to"))
    writers.make_layout(source)
    image = writers.make_image(source, "a", layers=2)
    write(source, named(image, "app:1"))
    shutil.copytree(source, other)
    lost = json.loads(Path(file_of(source, image["digest"])).read_bytes())["layers"][1]["digest"]
    cli.done("add", source)
    asked = ("app:1", "--store", "source", "--to", to)
    assert len(digests(plan(cli, *asked))) == 4
    with open(file_of(source, lost), "r+b") as file:
        file.write(b"xxxx")
    cli("verify")
    result = cli("plan", "copy", *asked)
    assert (result.status, result.out) == (4, "")
    assert lost in result.err
    assert "damaged" in result.err
    cli.done("add", other)
    assert cli("plan", "copy", *asked).status == 4, "nobody has hashed the other copy"
    cli("verify")
    (row,) = (row for row in plan(cli, *asked) if row["digest"] == lost)
    assert (row["source"], row["source_store"]) == (file_of(other, lost), "other")
    assert cli("plan", "copy", *asked, "--format", "skopeo").status == 2
    whole = Path(file_of(other, lost)).read_bytes()
    for path in (source, other):
        os.unlink(file_of(path, lost))
    for again in ("before", "after"):
        result = cli("plan", "copy", *asked)
        assert (result.status, result.out) == (4, ""), again
        assert lost in result.err
        cli("index", "--full")
    Path(file_of(source, lost)).write_bytes(whole)
    for path in (source, other):
        os.unlink(file_of(path, image["digest"]))
    cli("index", "--full")
    result = cli("plan", "copy", *asked)
    assert result.status == 4
    assert image["digest"] in result.err


def test_what_need_not_be_copied(cli: Own, tmp_path: Path) -> None:
    """A foreign layer is skipped, unless another image has it as its own; what `data` carries comes with its descriptor."""
    source, to = str(tmp_path / "source"), str(tmp_path / "to")
    writers.make_layout(source)
    blob = put(source, {}, writers.LAYER_TYPE, data=b"bytes")
    first = manifest(source, {"n": 1}, layer("absent") | {"mediaType": FOREIGN}, blob | {"mediaType": FOREIGN})
    second = manifest(source, {"n": 2}, blob)
    data = Path(file_of(source, second["digest"])).read_bytes()
    os.unlink(file_of(source, second["digest"]))
    carried = named(second | {"data": base64.b64encode(data).decode()}, "app:2")
    write(source, named(first, "app:1"), carried)
    cli("add", source)
    assert blob["digest"] not in digests(plan(cli, "app:1", "--to", to))
    rows = plan(cli, "app:1", "app:2", "--to", to)
    assert digests(rows).count(blob["digest"]) == 1
    assert second["digest"] not in digests(rows)
    assert [row["descriptor"] for row in rows if row["digest"] == second["digest"]] == [carried]
    assert cli("plan", "copy", "app:2", "--to", to, "--format", "skopeo").status == 2


def test_what_the_destination_has_is_looked_at(cli: Own, tmp_path: Path) -> None:
    source, to = str(tmp_path / "source"), str(tmp_path / "to")
    writers.make_layout(source)
    image = writers.make_image(source, "a")
    write(source, named(image, "app:1"))
    shutil.copytree(source, to)
    cli.done("add", source)
    cli.done("add", to)
    asked = ("app:1", "--store", "source", "--to", "to")
    assert plan(cli, *asked, status=1) == []
    os.unlink(file_of(to, image["digest"]))
    assert digests(plan(cli, *asked)) == [image["digest"]], "the catalog does not know yet that it is gone"
    Path(file_of(to, image["digest"])).write_bytes(b"torn")
    assert digests(plan(cli, *asked)) == [image["digest"]]
    shutil.copyfile(file_of(source, image["digest"]), file_of(to, image["digest"]))
    assert plan(cli, *asked, status=1) == []
    with open(file_of(to, image["digest"]), "r+b") as file:
        file.write(b"x")
    cli("verify")
    assert digests(plan(cli, *asked)) == [image["digest"]], "known to be bad"


def test_places_that_are_none(cli: Own, multi: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/blobs").symlink_to(tmp_path)
    for to in (
        "nowhere",
        str(tmp_path / "file"),
        str(tmp_path / "linked"),
        str(tmp_path / "file/below"),
        "/" + 5000 * "x",
    ):
        result = cli("plan", "copy", "multi:1", "--to", to)
        assert (result.status, result.out) == (2, ""), result
    assert cli("plan", "copy", "multi:9", "--to", str(tmp_path / "to")).status == 1
    assert cli("plan", "copy", "multi:1").status == 2
    assert cli("plan", "copy", "multi:1", "--to", str(tmp_path / "to"), "--format", "nothing").status == 2


@needs_root
def test_a_destination_whose_list_cannot_be_read_is_not_taken_for_an_empty_one(cli: Own, tmp_path: Path) -> None:
    source, to = str(tmp_path / "source"), layout(tmp_path / "to")
    writers.make_layout(source)
    write(source, named(writers.make_image(source, "a"), "app:1"))
    cli.done("add", source)
    os.rename(f"{to}/index.json", f"{to}/elsewhere")
    assert len(plan(cli, "app:1", "--to", to)) > 1  # without a list, it is an unfinished layout
    os.symlink("elsewhere", f"{to}/index.json")
    refused = cli("plan", "copy", "app:1", "--to", to)
    assert (refused.status, refused.out) == (4, "")
    assert "index.json is a symbolic link" in refused.err
    os.unlink(f"{to}/index.json")
    reachable(tmp_path)
    for each in tmp_path.rglob("*"):
        os.chown(each, 65534, 65534, follow_symlinks=False)
    os.rename(f"{to}/elsewhere", f"{to}/index.json")
    os.chmod(f"{to}/index.json", 0)
    os.chown(tmp_path, 65534, 65534)
    refused = ran_as_nobody("plan", "copy", "app:1", "--to", to, db=cli.db)
    assert (refused.status, refused.out) == (4, "")
    assert "index.json: Permission denied" in refused.err


def rsync(listed: bytes, to: str) -> None:
    """Carry a list out."""
    subprocess.run(["rsync", "-a", "--mkpath", "--files-from=-", "/", f"{to}/"], input=listed, check=True, timeout=60)


@needs("rsync")
@pytest.mark.parametrize("shared", ["", "source", "to", "both"])
def test_rsync_and_shared_directories(cli: Own, tmp_path: Path, shared: str) -> None:
    source, to = str(tmp_path / "so #urce\xff"), str(tmp_path / "to 'x'")
    pool, pool_to = str(tmp_path / "pool"), str(tmp_path / "pool-to")
    writers.make_layout(source)
    image = writers.make_image(source, "a", layers=2)
    write(source, named(image, "app:1"))
    layout(to)
    if shared in ("source", "both"):
        shutil.move(f"{source}/blobs", pool)
        os.makedirs(f"{source}/blobs")
    if shared in ("to", "both"):
        os.makedirs(pool_to)
    cli("add", source, "--name", "source", *(("--shared-blob-dir", pool) if shared in ("source", "both") else ()))
    cli("add", to, "--name", "to", *(("--shared-blob-dir", pool_to) if shared in ("to", "both") else ()))
    asked = ("app:1", "--store", "source", "--to", "to")
    where = pool_to if shared in ("to", "both") else f"{to}/blobs"
    rows = plan(cli, *asked)
    assert [row["path"] for row in rows[:-1]] == [f"{where}/{each.replace(':', '/')}" for each in digests(rows)]
    listed = cli("--quiet", "plan", "copy", *asked, "--format", "rsync")
    rsync(os.fsencode(listed.out), where)
    for row in rows[:-1]:
        assert Path(row["path"]).read_bytes() == Path(row["source"]).read_bytes()
    entries = cli("--quiet", "plan", "copy", *asked, "--format", "entries")
    write(to, *map(json.loads, entries.out.splitlines()))
    cli("index", "--full")
    assert plan(cli, *asked, status=1) == []


@needs("skopeo")
@pytest.mark.parametrize("name", ["to", "to '$x'"])
def test_skopeo(cli: Own, multi: dict[str, str], tmp_path: Path, name: str) -> None:
    to = str(tmp_path / name)
    for options in (("--platform", "linux/arm64"), ()):
        asked = ("multi:1", "--to", to, *options)
        commands = cli("--quiet", "plan", "copy", *asked, "--format", "skopeo")
        assert commands.status == 0, commands
        script = f'skopeo() {{ command skopeo --insecure-policy "$@"; }}\n{commands.out}'
        subprocess.run(["sh", "-ec", script], check=True, timeout=60, stdout=subprocess.DEVNULL)
        assert digests(plan(cli, *asked, status=0)) == []
        want = multi["arm64"] if options else multi["image"]
        assert want in {each["digest"] for each in writers.read_index(to)["manifests"]}
        assert_complete(to, want)
    assert cli("plan", "copy", "multi:1", "--to", str(tmp_path / "a:b"), "--format", "skopeo").status == 2
    assert cli("plan", "copy", "multi:1", "--to", str(tmp_path / "a\nb"), "--format", "skopeo").status == 2
    os.unlink(file_of(to, multi["amd64"]))
    again = cli("--quiet", "plan", "copy", "multi:1", "--to", to, "--format", "skopeo")
    assert len(again.lines) == 1, "an image that lost a blob is copied again"
    refused = ("--with-referrers", "--format", "skopeo")
    assert "does not list" not in cli("plan", "copy", "multi:1", "--to", to, *refused).err
    write(str(tmp_path / "multi"), named({"mediaType": writers.INDEX_TYPE, "digest": multi["image"], "size": 1}, "1"))
    cli("index", "--full")
    assert multi["signature"] in cli("plan", "copy", ":1", "--to", to, *refused).err, "skopeo copies what has an entry"


@pytest.mark.parametrize("is_store", [False, True])
def test_a_plan_is_linear(is_store: bool, tmp_path: Path, new_sqlite_catalogue: Callable[[str], Catalogue]) -> None:
    """In the images that are copied; the others of the store, and what they need, cost nothing."""
    lines, counted = [], []
    for size, spare in ((15, 60), (60, 15)):
        directory = str(tmp_path / f"{size}")
        source = writers.make_layout(f"{directory}/source")
        blob = put(source, {}, writers.LAYER_TYPE, data=b"layer")
        entries = []
        for number in range(size + spare):
            image = manifest(source, {"n": number}, blob)
            signature = manifest(source, {"sig": number}, subject=image)
            entries += [named(index(source, image), f"app:{number}"), named(signature, f"sig:{number}")]
        write(source, *entries)
        if is_store:
            write(writers.make_layout(f"{directory}/to"), *entries)
        catalogue = new_sqlite_catalogue(directory)
        try:
            catalogue.add(source)
            if is_store:
                catalogue.add(f"{directory}/to")
            reader = catalogue.reader
            asking = catalogue.asking(("source",))
            matches = [asking.resolve(parse_query(f"app:{number}")) for number in range(size)]

            def planned(
                reader: Reader = reader, matches: list[Match] = matches, directory: str = directory, size: int = size
            ) -> None:
                stores = plan_stores(reader)
                with (
                    Destination(reader, f"{directory}/to", stores) as to,
                    CopyPlan(reader, stores, to, matches, referrers=True) as plan,
                ):
                    rows = plan.blobs()
                    assert len(rows) == 5 * size + 1
                    assert len(plan.entries) == (0 if is_store else 2 * size)
                    if not is_store:
                        assert len(list(skopeo_commands(plan, rows, to))) == 2 * size

            planned()
            lines.append(cost(planned))
            counted.append(steps([file_of_reader(reader)], planned))
        finally:
            catalogue.close()
    assert lines[1] <= lines[0] * FACTOR + SPARE
    assert counted[1] <= counted[0] * FACTOR + SPARE
