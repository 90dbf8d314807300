"""What a plan looks at on the disk: what was written a moment ago, or has changed since it was indexed, is never planned."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

from tests import writers
from tests.cli.conftest import Own
from tests.conftest import ON_SQLITE
from tests.content.layouts import digest_of, file_of
from tests.plans.played import AT_ONCE, digests, paths, planned, play, unjudged
from tests.programs import needs


@pytest.fixture
def store(cli: Own, tmp_path: Path) -> str:
    """A store with an image, and with one that nothing lists."""
    path = writers.make_layout(str(tmp_path / "store"))
    kept = writers.make_image(path, "kept")
    writers.make_image(path, "garbage")
    writers.write_index(path, writers.empty_index(writers.name_entry(kept, "tag", "", "1")))
    cli.done("add", path)
    return path


def reason(cli: Own, *options: str) -> str:
    """Why nothing is planned for the one store."""
    result = cli("plan", "prune", *AT_ONCE, *options)
    assert (result.status, result.out) == (1, "")
    (why,) = unjudged(result).values()
    return why


def test_what_is_young_stays_by_ctime_too(cli: Own, store: str) -> None:
    garbage = digests(planned(cli))
    assert len(garbage) == 3
    for digest in garbage:
        os.utime(file_of(store, digest), (1, 1))
    cli("index", "--full")
    assert digests(planned(cli)) == garbage
    result = cli("plan", "prune")
    assert (result.status, result.out) == (1, ""), "the inode was changed a moment ago"
    assert "nothing to remove: everything is in use, or was changed within the last 24h" in result.err


def test_a_change_of_index_json(cli: Own, store: str) -> None:
    image = next(iter(digests(planned(cli))))
    entries = writers.entries_of(writers.read_index(store))
    writers.write_index(store, writers.empty_index(*entries, {"digest": image, "size": 1, "mediaType": "x"}))
    assert reason(cli) == "index.json has changed since it was indexed: run 'ocicat index'"
    assert cli("plan", "prune", *AT_ONCE, "--strict").status == 4
    os.unlink(f"{store}/index.json")
    assert "run 'ocicat index'" in reason(cli)


def test_blobs_that_came(cli: Own, store: str) -> None:
    """One may be a manifest that is about something else: nobody has read it yet."""
    writers.make_image(store, "new")
    assert reason(cli) == "3 blobs have been written since it was indexed: run 'ocicat index'"
    cli.done("index")
    assert len(planned(cli)) == 6


def test_blobs_that_changed_or_went(cli: Own, store: str) -> None:
    rows = planned(cli)
    manifest = next(row for row in rows if row["why"] == "lost-manifest")
    one, two = (row for row in rows if row is not manifest)
    os.utime(one["path"], (5, 5))
    assert digests(planned(cli)) == {manifest["digest"], two["digest"]}
    os.truncate(two["path"], 1)
    assert digests(planned(cli)) == {manifest["digest"]}
    os.rename(two["path"], f"{store}/aside")
    os.symlink(f"{store}/aside", two["path"])
    assert digests(planned(cli)) == {manifest["digest"]}
    os.utime(manifest["path"], (5, 5))
    assert planned(cli, status=1) == []


def test_what_a_changed_manifest_needs_stays(cli: Own, store: str) -> None:
    manifest = next(row for row in planned(cli) if row["why"] == "lost-manifest")
    os.utime(manifest["path"], (5, 5))
    assert planned(cli, status=1) == []


def test_a_large_blob_that_was_completed_in_place(cli: Own, store: str) -> None:
    """It was no JSON when it was looked at: what it is now nobody has read."""
    document = writers.dump({"schemaVersion": 2, "layers": [], "subject": {"digest": "x"}})
    file = file_of(store, digest_of(document))
    Path(file).write_bytes(b"\0" * len(document))
    cli("--quiet", "index")
    assert len(planned(cli)) == 4
    Path(file).write_bytes(document)
    os.utime(file, (5, 5))
    assert "has changed since it was indexed: run 'ocicat index --full'" in reason(cli)


def test_a_new_manifest_keeps_what_it_needs(cli: Own, store: str) -> None:
    """A copy writes config and layers, or finds old ones there, then the manifest, and only then the entry."""
    rows = planned(cli)
    for row in rows:
        os.utime(row["path"], (1, 1))
    cli("index", "--full")
    old = "1s"
    deadline = threading.Event()
    while len(planned_at(cli, old)) < 3:  # until the inodes are a second old
        assert not deadline.wait(0.2)
    manifest = next(row["path"] for row in rows if row["why"] == "lost-manifest")
    os.utime(manifest)
    cli("index", "--full")
    assert planned_at(cli, "1h") == []
    assert len(planned(cli)) == 3


def planned_at(cli: Own, age: str) -> list[dict[str, object]]:
    result = cli("plan", "prune", "--older-than", age, "--format", "json")
    rows: list[dict[str, object]] = json.loads(result.out)
    return rows


def test_content_that_is_pending(cli: Own, store: str, tmp_path: Path) -> None:
    assert store
    other = writers.make_layout(str(tmp_path / "other"))
    writers.write_index(other, writers.empty_index(writers.make_image(other, "other")))
    cli.done("add", other, "--no-index")
    result = cli("plan", "prune", *AT_ONCE, "--format", "json")
    assert set(unjudged(result)) == {"other"}
    assert len(json.loads(result.out)) == 3, "the others are planned"


def test_leftovers(cli: Own, store: str) -> None:
    play(cli)
    cli.done("index")
    made = (
        "oci-put-blob123", ".umoci-abc/blob-1", "ingest/" + "a" * 64 + "/data", "ingest/" + "a" * 64 + "/ref", "index.json.lock",
    )  # fmt: skip
    others = (
        "README", "ingest2/x/data", "ingest/b/notes", ".umoci-layout/index.json", ".umoci-deep/below/file", "oci-put-blob-dir/x",
        "ingest/file",
    )  # fmt: skip
    for name in (*made, *others):
        os.makedirs(os.path.dirname(f"{store}/{name}"), exist_ok=True)
        Path(store, name).write_bytes(b"12345")
    os.symlink("README", f"{store}/oci-put-blob-link")
    rows = planned(cli)
    assert {row["path"] for row in rows} == {f"{store}/{name}" for name in made}
    assert {(row["why"], row["size"], row["digest"]) for row in rows} == {("leftover", 5, None)}
    assert "a program is still writing to" in cli("plan", "prune").err
    assert play(cli) == {f"{store}/{name}" for name in made}


def test_a_store_whose_name_looks_like_a_leftover(cli: Own, tmp_path: Path) -> None:
    """A registry root may be a layout, and hold one called `ingest`."""
    top = writers.make_layout(str(tmp_path / "root"))
    writers.write_index(top, writers.empty_index())
    for name in ("ingest", ".umoci-x", "ingest/data"):
        path = writers.make_layout(f"{top}/{name}")
        writers.write_index(path, writers.empty_index(writers.make_image(path, name)))
    cli("--quiet", "add", top)
    assert planned(cli, status=1) == []


def test_paths_of_any_bytes(cli: Own, tmp_path: Path) -> None:
    name = b"new\nline\xff\x1b[31m"
    path = os.fsdecode(os.path.join(os.fsencode(tmp_path), name))
    writers.make_layout(path)
    writers.make_image(path, "garbage")
    writers.write_index(path, writers.empty_index())
    cli("--quiet", "add", str(tmp_path))
    result = cli("plan", "prune", *AT_ONCE)
    assert result.status == 0
    assert len(result.lines) == 3
    assert all(text.isprintable() for line in result.lines for text in line.split("\t"))
    whole = subprocess.run(
        [cli_program(), "plan", "prune", *AT_ONCE, "--format", "paths0"],
        capture_output=True, check=False, env={**os.environ, "OCICAT_DB": cli.db},
    )  # fmt: skip
    found = whole.stdout.split(b"\0")
    assert [each for each in found if each] == [each for each in found if os.path.exists(each)]
    subprocess.run(["xargs", "-0", "rm", "--"], input=whole.stdout, check=True)
    assert os.listdir(os.path.join(path, "blobs", "sha256")) == []


def cli_program() -> str:
    from tests.forking import OCICAT

    return OCICAT


def test_formats_and_statuses(cli: Own, store: str) -> None:
    head = cli("plan", "prune", *AT_ONCE, "--format", "csv").lines[0]
    assert head.rstrip("\r") == "store,path,digest,size,age,why,name"
    (line, *_) = cli("plan", "prune", *AT_ONCE, "--format", "{store} {why} {entry}").lines
    assert line.startswith("store ")
    assert "3 blobs, " in cli("plan", "prune", *AT_ONCE).err
    assert cli("--quiet", "plan", "prune", *AT_ONCE).err == ""
    for wrong in (
        ("--older-than", "soon"),
        ("--untagged-since", "-1h"),
        ("--keep-last", "0"),
        ("nowhere",),
        ("--format", "x"),
    ):
        assert cli("plan", "prune", *wrong).status == 2, wrong
    assert cli("plan").status == 2
    (entry,) = writers.entries_of(writers.read_index(store))
    assert play(cli)
    assert not paths(cli("plan", "prune", *AT_ONCE, "--format", "paths0"))
    assert os.path.exists(file_of(store, str(entry["digest"])))


@ON_SQLITE
@needs("skopeo", "umoci", "podman")
def test_real_writers(cli: Own, tmp_path: Path) -> None:
    """Images are overwritten and deleted by real tools; what is planned goes, and each of them still reads what is left."""
    source, target = str(tmp_path / "source"), str(tmp_path / "target")
    run("umoci", "init", "--layout", source)
    for number in range(4):
        run("umoci", "new", "--image", f"{source}:{number}")
        run("umoci", "config", "--image", f"{source}:{number}", "--config.label", f"n={number}")
    for number, tag in enumerate(("a", "b", "a", "c")):
        run("skopeo", "copy", "--insecure-policy", f"oci:{source}:{number}", f"oci:{target}:{tag}")
    run("umoci", "rm", "--image", f"{target}:b")
    cli("--quiet", "add", source, target)
    assert play(cli, "source"), "umoci config leaves the manifests that it replaces"
    play(cli, "target", "--unnamed")
    cli("--quiet", "index")
    for path, tags in ((source, "0123"), (target, "ac")):
        for tag in tags:
            run(
                "skopeo",
                "copy",
                "--insecure-policy",
                f"oci:{path}:{tag}",
                f"dir:{tmp_path}/{os.path.basename(path)}-{tag}",
            )
            run("umoci", "stat", "--image", f"{path}:{tag}")
    with tempfile.TemporaryDirectory(prefix="run") as runroot:  # podman allows at most 50 characters
        storage = ["--root", str(tmp_path / "root"), "--runroot", runroot, "--storage-driver", "vfs"]
        run("podman", *storage, "pull", "--quiet", f"oci:{target}:c")


@ON_SQLITE
@needs("skopeo")
def test_beside_writers(cli: Own, tmp_path: Path) -> None:
    """skopeo copies and deletes without an end while plans are made and carried out: what is listed then is whole."""
    source = writers.make_layout(str(tmp_path / "source"))
    entries = [writers.name_entry(writers.make_image(source, f"i{n}", layers=3), "tag", "", f"t{n}") for n in range(3)]
    writers.write_index(source, writers.empty_index(*entries))
    target = str(tmp_path / "target")
    run("skopeo", "copy", "--insecure-policy", f"oci:{source}:t0", f"oci:{target}:t0")
    writers.make_image(target, "garbage")
    cli("--quiet", "add", target)
    over = threading.Event()
    environment = dict(os.environ)  # a copy, because commands change this process's while the thread starts others

    def write() -> None:
        for number in itertools.count():
            if over.is_set():
                return
            run(
                "skopeo",
                "copy",
                "--insecure-policy",
                f"oci:{source}:t{number % 3}",
                f"oci:{target}:t{number % 2}",
                env=environment,
            )

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(12):
            cli("--quiet", "index")
            for path in paths(cli("--quiet", "plan", "prune", "--older-than", "1h", "--format", "paths0")):
                os.unlink(path)
    finally:
        over.set()
        writer.join()
    for entry in writers.entries_of(writers.read_index(target)):
        manifest = json.loads(Path(file_of(target, str(entry["digest"]))).read_bytes())
        for part in (manifest["config"], *manifest["layers"]):
            assert os.path.exists(file_of(target, part["digest"]))


def run(*command: str, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, capture_output=True, check=False, timeout=120, env=env)
    assert done.returncode == 0, done
