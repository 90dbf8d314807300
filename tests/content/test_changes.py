"""Blobs that come and go while no index.json changes, and stores that do: what was known of them goes in its time."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from catalog.ingest.content import ContentStage
from catalog.ingest.registry import Registry
from catalog.ingest.settings import Settings
from catalog.layout.blobs_identity import blobs_identity
from tests import writers
from tests.cli.program import called, needs_root, ran_as_nobody, reachable
from tests.conftest import AT_ONCE, Catalogue, Said
from tests.content.asking import resolved
from tests.content.layouts import (
    INDEX,
    MANIFEST,
    TABLES,
    UNREAD,
    count,
    file_of,
    index,
    kind,
    layer,
    layout,
    manifest,
    named,
    on,
    pending,
    put,
    put_as,
    reading,
    take_names,
    write,
)  # fmt: skip
from tests.ingest.invariants import broken
from tests.watch.harness import followed, wait_for

DAY = 86_400_000
AMD64 = {"os": "linux", "architecture": "amd64"}


def old(path: str) -> None:
    """Let the directories of blobs have stood still for long."""
    for name in ("blobs/sha256", "blobs"):
        os.utime(f"{path}/{name}", (1_000_000_000, 1_000_000_000))


def sparse(path: str) -> tuple[writers.Descriptor, writers.Descriptor]:
    """A layout of an index of which a child is not there; index and child."""
    layout(path)
    child = manifest(path, AMD64, layer("x"))
    outer = index(path, child)
    write(path, named(outer))
    os.rename(file_of(path, child["digest"]), f"{path}/child")
    old(path)
    return outer, child


def test_a_sparse_child_that_comes_later(catalogue: Catalogue, tmp_path: Path) -> None:
    path = f"{tmp_path}/s"
    _, child = sparse(path)
    catalogue.add(path)
    assert resolved(catalogue, "alpine:1", "linux/amd64") == Said(1)
    assert catalogue.writes(catalogue.index) == 0  # nothing came
    os.rename(f"{path}/child", file_of(path, child["digest"]))
    catalogue.index()
    assert kind(catalogue, child) == MANIFEST
    assert resolved(catalogue, "alpine:1", "linux/amd64") == Said(0, child["digest"], "s")
    assert pending(catalogue) == []
    old(path)
    catalogue.index()  # the directory had only just changed
    assert catalogue.writes(catalogue.index) == 0


def test_a_directory_of_blobs_that_comes_later(catalogue: Catalogue, tmp_path: Path) -> None:
    """Of whatever algorithm, and `blobs` itself."""
    path = f"{tmp_path}/s"
    outer, _ = sparse(path)
    os.rename(f"{path}/blobs", f"{path}/away")
    catalogue.add(path)
    assert count(catalogue, "store_blob") == [0]
    os.rename(f"{path}/away", f"{path}/blobs")
    catalogue.index()
    assert set(catalogue.sql("SELECT digest FROM blobs")) >= {(outer["digest"],)}
    old(path)
    catalogue.index()
    for algorithm in ("sha512", "blake3", "unheard-of"):
        os.mkdir(f"{path}/blobs/{algorithm}")
        encoded = "e" * (128 if algorithm == "sha512" else 64)
        Path(f"{path}/blobs/{algorithm}/{encoded}").write_bytes(b"x")
        catalogue.index()
        assert (f"{algorithm}:{encoded}",) in catalogue.sql("SELECT digest FROM blobs")


def test_a_blob_that_comes_within_the_tick_of_a_clock(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    ahead = time.time_ns() + 1_500_000_000
    os.utime(f"{path}/blobs/sha256", ns=(ahead, ahead))
    assert blobs_identity(path) != blobs_identity(path)
    old(path)
    assert blobs_identity(path) == blobs_identity(path)


def test_a_store_that_takes_too_much_memory_is_not_read_again(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    write(path, named(manifest(path, AMD64, layer("x"))))
    old(path)
    catalogue.add(path, name="s")
    stage = ContentStage(catalogue.writer, Settings())
    with catalogue.writer.snapshot() as connection:
        (store,) = Registry(connection).stores()
    assert stage.pending(look=True) == []
    stage._give_up(store)  # What a lack of memory leads to. Memory cannot be made to end at this point.
    assert stage.pending(look=True) == []
    assert catalogue.sql("SELECT kind FROM problems WHERE kind = 'unreadable-blob'") == [("unreadable-blob",)]
    put(path, {"another": "blob"})
    assert stage.pending(look=True) == [store.id]


def test_nothing_is_called_unused_in_a_store_that_takes_too_much_memory(catalogue: Catalogue, tmp_path: Path) -> None:
    """What reaches each blob was found before the entry came that needs them."""
    path = layout(tmp_path / "s")
    new = manifest(path, AMD64 | {"seed": "new"}, put(path, "layer", writers.LAYER_TYPE))
    before = manifest(path, AMD64, layer("absent"))
    write(path, named(before))
    catalogue.add(path, name="s")
    assert new["digest"] in {row[0] for row in catalogue.sql("SELECT digest FROM blobs WHERE NOT reachable")}
    missing = catalogue.sql("SELECT digest FROM missing")

    write(path, named(before), named(new, "alpine:2"))
    take_names(catalogue)
    with catalogue.writer.snapshot() as connection:
        (store,) = Registry(connection).stores()
    ContentStage(catalogue.writer, catalogue.settings)._give_up(store)
    unjudged = f"s: {path}/blobs need more memory than there is: give this process more, and run 'ocicat index --full'"
    plan = called("plan", "prune", "--older-than", "0s", "--format", "tsv", db=catalogue.path)
    assert plan.out == ""
    assert unjudged in plan.err
    report = called("report", "unreferenced", "-p", "older_than=0", db=catalogue.path)
    assert report.out == ""
    assert catalogue.sql("SELECT store FROM unjudged") == [("s",)]
    assert catalogue.sql("SELECT * FROM missing") == []
    assert catalogue.sql("SELECT DISTINCT kind FROM problems") == [("unreadable-blob",)]

    catalogue.index(full=True)
    assert catalogue.sql("SELECT digest FROM blobs WHERE NOT reachable") == []
    assert catalogue.sql("SELECT store FROM unjudged") == []
    assert catalogue.sql("SELECT digest FROM missing") == missing != []


def test_blobs_that_go(catalogue: Catalogue, tmp_path: Path) -> None:
    path = f"{tmp_path}/s"
    layout(path)
    config = put(path, AMD64)
    image = manifest(path, config)
    outer = index(path, on(image, "linux", "amd64"))
    write(path, named(outer))
    old(path)
    catalogue.add(path)
    for gone in (config, image, outer):
        assert resolved(catalogue, "alpine:1", "linux/amd64").status == (0 if gone is not outer else 1)
        assert resolved(catalogue, image["digest"]) == Said(0, image["digest"], "s")
        os.unlink(file_of(path, gone["digest"]))
        catalogue.index()
        old(path)
        catalogue.index()
        if gone is config:  # the index says it, and the manifest is there
            assert resolved(catalogue, "alpine:1", "linux/amd64") == Said(0, image["digest"], "s")
    assert resolved(catalogue, image["digest"]) == Said(1)
    assert resolved(catalogue, "alpine:1") == Said(0, outer["digest"], "s")
    catalogue.settings = AT_ONCE._replace(history_ms=DAY)
    catalogue.retire(int(time.time() * 1000) + 2 * DAY)  # until then --at needs them
    assert count(catalogue, *TABLES) == [1, 0, 0, 0, 0, 0, 0, 0]
    assert broken(catalogue, {}) == []


def test_a_store_that_lost_a_blob_and_one_that_has_it(catalogue: Catalogue, tmp_path: Path) -> None:
    for name in ("a", "b"):
        path = layout(tmp_path / name)
        image = manifest(path, AMD64)
        write(path, named(index(path, image)))
        catalogue.add(path)
    os.unlink(file_of(f"{tmp_path}/a", image["digest"]))
    catalogue.index()
    catalogue.retire(int(time.time() * 1000))
    assert kind(catalogue, image) == MANIFEST
    assert catalogue.resolve(f"oci-layout://a@{image['digest']}") == Said(0, image["digest"], "a")  # a's index lists it
    assert resolved(catalogue, "oci-layout://a/alpine:1", "linux/amd64") == Said(1)
    assert resolved(catalogue, "alpine:1", "linux/amd64") == Said(0, image["digest"], "b")


def everything(path: str, store: str) -> list[writers.Descriptor]:
    """A layout with a part in every table: nested indexes, labels, annotations, referrers of each way."""
    layout(path)
    image = manifest(path, AMD64 | {"config": {"Labels": {"k": "v"}}}, layer("shared"), layer(store))
    inner = index(path, image, annotations={"inner": store})
    attestation = manifest(path, {"store": store}, layer("att"), subject=image)
    said = attestation | {"annotations": {"vnd.docker.reference.digest": image["digest"]}}
    outer = index(path, inner, on(said, "unknown", "unknown"))
    return [
        named(outer, f"{store}:1"),
        named(attestation, f"sha256-{image['digest'][7:]}.sig"),
        named(inner, f"sha256-{image['digest'][7:]}"),
    ]


@pytest.mark.parametrize("how", ["removed", "grace", "emptied"])
def test_the_last_store_that_held_it_is_gone(catalogue: Catalogue, tmp_path: Path, how: str) -> None:
    catalogue.settings = AT_ONCE._replace(grace_ms=7 * DAY, history_ms=30 * DAY)
    for name in ("a", "b"):
        path = f"{tmp_path}/{name}"
        write(path, *everything(path, "same" if name == "a" else "other"), *everything(path, "both"))
        catalogue.add(path)
    assert 0 not in count(catalogue, *TABLES)
    before = {table: catalogue.sql(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}
    now = int(time.time() * 1000)
    for left, name in ((1, "a"), (0, "b")):
        path = f"{tmp_path}/{name}"
        if how == "removed":
            catalogue.remove(name)
        else:
            shutil.rmtree(path if how == "grace" else f"{path}/blobs")
            if how == "emptied":
                write(path)
            catalogue.index()
            now += 8 * DAY
        catalogue.retire(now)
        assert broken(catalogue, {}) == []
        catalogue.retire(now + 40 * DAY * (1 - left))
        assert broken(catalogue, {}) == []
        if left:
            kept = {table: catalogue.sql(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}
            assert all(0 < kept[table] <= before[table] for table in TABLES), kept
            assert catalogue.sql("SELECT DISTINCT value FROM annotations WHERE key = 'inner' ORDER BY 1") == [
                ("both",),
                ("other",),
            ]
    assert count(catalogue, *TABLES) == [0] * len(TABLES)


def test_what_history_names_is_kept_until_it_ends(catalogue: Catalogue, tmp_path: Path) -> None:
    catalogue.settings = AT_ONCE._replace(history_ms=30 * DAY)
    path = f"{tmp_path}/s"
    outer, *_ = everything(path, "x")
    write(path, outer)
    catalogue.add(path)
    shutil.rmtree(f"{path}/blobs")
    write(path, named(layer("new"), "x:1"))
    catalogue.index()
    catalogue.retire(int(time.time() * 1000))
    assert catalogue.sql("SELECT digest FROM history WHERE until IS NOT NULL") == [(outer["digest"],)]
    assert kind(catalogue, outer) == INDEX  # as --at answers
    catalogue.retire(int(time.time() * 1000) + 31 * DAY)
    assert catalogue.sql("SELECT digest FROM history WHERE until IS NOT NULL") == []
    assert count(catalogue, *TABLES) == [1, 0, 0, 0, 0, 0, 0, 0]


def test_a_store_that_comes_back_is_read_again(catalogue: Catalogue, tmp_path: Path) -> None:
    """Within the grace time, and after it."""
    catalogue.settings = AT_ONCE._replace(grace_ms=7 * DAY, history_ms=DAY)
    path = f"{tmp_path}/s"
    layout(path)
    image = manifest(path, AMD64)
    write(path, named(index(path, image)))
    catalogue.add(path)
    now = int(time.time() * 1000)
    for later in (1, 8):
        os.rename(path, f"{tmp_path}/away")
        catalogue.index()
        assert resolved(catalogue, image["digest"]) == Said(1)
        assert resolved(catalogue, "alpine:1", "linux/amd64") == Said(1)
        for days in (later, later + 2):  # dropped, and then of no past any more
            catalogue.retire(now + days * DAY)
        assert count(catalogue, "manifest") == [2 if later == 1 else 0]
        os.rename(f"{tmp_path}/away", path)
        catalogue.index()
        assert resolved(catalogue, image["digest"]) == Said(0, image["digest"], "s")
        assert resolved(catalogue, "alpine:1", "linux/amd64") == Said(0, image["digest"], "s")


def test_an_entry_that_goes_while_its_blobs_stay(catalogue: Catalogue, tmp_path: Path) -> None:
    path = f"{tmp_path}/s"
    layout(path)
    image = manifest(path, AMD64)
    outer = index(path, image)
    write(path, named(outer), named(image, "b:1"))
    catalogue.add(path)
    write(path, named(image, "b:1"))
    catalogue.index()
    catalogue.retire(int(time.time() * 1000))
    assert catalogue.query(image["digest"]) == [("s", image["digest"])]
    assert resolved(catalogue, outer["digest"]) == Said(0, outer["digest"], "s")  # its blob lies there, unlisted
    assert resolved(catalogue, f"alpine@{outer['digest']}") == Said(1)
    assert count(catalogue, "store_blob") == [3]


def test_a_store_that_is_removed_while_it_is_read(catalogue: Catalogue, tmp_path: Path) -> None:
    """By another process; its number is another store's by then."""
    for step in range(1, 5):
        path = layout(tmp_path / f"s{step}")
        write(path, named(index(path, manifest(path, AMD64 | {"step": step}))))
        catalogue.add(path, index=False)
        take_names(catalogue)
        steps = reading(catalogue, f"s{step}")
        for _ in range(step):
            next(steps, None)
        catalogue.remove(path)
        other = layout(tmp_path / f"t{step}", named(layer("not there")))
        catalogue.add(other, index=False)
        take_names(catalogue)
        for _ in steps:
            pass
        assert broken(catalogue, {}) == []
        assert pending(catalogue) == [f"t{step}"]
        catalogue.index()
        assert count(catalogue, "store_blob") == [0]
        catalogue.remove(other)


@needs_root
def test_a_directory_that_cannot_be_read_for_a_while(tmp_path: Path) -> None:
    """What is known of it stays; it is read again once it can be."""
    directory = tmp_path / "d"
    directory.mkdir()
    reachable(directory)
    db, path = f"{directory}/c.db", f"{directory}/s"
    layout(path)
    image = manifest(path, AMD64)
    write(path, named(index(path, image)))
    assert called("add", path, db=db).status == 0
    for each in (directory, *directory.iterdir()):
        os.chown(each, 65534, 65534)
    os.chmod(f"{path}/blobs/sha256", 0)
    later = put(path, {"layers": []})
    write(path, named(index(path, image)), named(later, "late:1"))
    assert ran_as_nobody("index", db=db).status == 0
    assert called("resolve", image["digest"], db=db).out == f"{image['digest']}\n"
    checked = called("check", "--format", "{kind} {subject}", db=db)
    assert f"unreadable-blob {path}/blobs/sha256" in checked.lines
    os.chmod(f"{path}/blobs/sha256", 0o755)
    assert ran_as_nobody("index", db=db).status == 0
    assert called("query", "--media-type", later["mediaType"], "--count", db=db).status == 0
    assert "unreadable-blob" not in called("check", db=db).out


def test_the_daemon_notices_a_child_that_comes(tmp_path: Path) -> None:
    """At its next sweep; without an index.json that changes, nothing else tells."""
    with followed(tmp_path, settle_ms=0) as catalog:
        path = catalog.path("s")
        _, child = sparse(path)
        catalog.add_store(path)
        catalog.start()
        assert catalog("resolve", "alpine:1", "--platform", "linux/amd64").status == 1
        os.rename(f"{path}/child", file_of(path, child["digest"]))
        catalog.send(signal.SIGHUP)
        wait_for(lambda: catalog("resolve", "alpine:1", "--platform", "linux/amd64").status == 0, what=catalog.log)
        assert catalog("resolve", "alpine:1", "--platform", "linux/amd64").out == f"{child['digest']}\n"


def test_a_child_that_lies_in_a_store_that_was_read_before(catalogue: Catalogue, tmp_path: Path) -> None:
    """What is known in the end does not depend on the order in which stores are read."""
    first, second = layout(tmp_path / "a"), layout(tmp_path / "b")
    image = manifest(first, AMD64 | {"config": {"Labels": {"k": "v"}}})
    outer = index(second, image)
    write(first, named(outer))
    write(second, named(outer))
    put_as(first, outer["digest"], b"torn")
    catalogue.add(first)
    # Nothing that can be read points to the image: it is known as a manifest that no entry lists.
    assert [kind(catalogue, each) for each in (outer, image)] == [UNREAD, MANIFEST]
    catalogue.add(second)
    assert [kind(catalogue, each) for each in (outer, image)] == [INDEX, MANIFEST]
    assert catalogue.sql("SELECT value FROM labels") == [("v",)]
    assert pending(catalogue) == []
    assert resolved(catalogue, "oci-layout://a/alpine:1", "linux/amd64") == Said(
        1
    )  # its copy of the index is cut short
    assert resolved(catalogue, "oci-layout://b/alpine:1", "linux/amd64") == Said(1)  # the child is not there
