"""A digest is read once for the whole catalog, and a reading that was killed continues where it was."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from catalog.db.views import VIEWS
from catalog.ingest import blob_reading, content, listing
from tests import writers
from tests.cli.conftest import no_settling
from tests.cli.program import called
from tests.conftest import Catalogue
from tests.content.layouts import digest_of, file_of, index, layer, layout, manifest, named, on, put, put_as, write
from tests.effort import examples
from tests.forking import CLEAN, Code

AMD64 = {"os": "linux", "architecture": "amd64"}

_COUNTED = """
import re, sys
opened = []
is_blob = re.compile(r"(?:[0-9a-f]{64}|[0-9a-f]{128})").fullmatch
def hook(event, arguments):
    if event == "open":
        path = arguments[0]
        name = path.decode() if isinstance(path, bytes) else str(path)
        if is_blob(name.rpartition("/")[2]):
            opened.append(name.rpartition("/")[2])
sys.addaudithook(hook)
from catalog.cli import start
status = start.run(sys.argv[1:])
sys.stdout.flush()
print("\\n".join(opened))
sys.exit(status)
"""

# Kills itself at the Nth call of any function, once the program is loaded.
_KILLED = """
import os, signal, sys
import catalog.cli.commands.index, catalog.db.migrate, alembic.command, sqlalchemy.dialects.sqlite
from catalog.cli import start
left = int(sys.argv[1])
def count(frame, event, argument):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
sys.setprofile(count)
status = start.run(sys.argv[2:])
sys.setprofile(None)
print(left)
sys.exit(status)
"""


def opened(db: str, config: str, *arguments: str) -> Counter[str]:
    """How often each blob was opened by a run of the program."""
    command = Code(_COUNTED, "--config", config, "--db", db, *arguments)
    done = subprocess.run(command, capture_output=True, env=CLEAN, check=True, text=True)
    return Counter(f"sha256:{line}" for line in done.stdout.split())


def test_one_digest_in_many_stores_is_read_once(tmp_path: Path) -> None:
    db, config = f"{tmp_path}/c.db", no_settling(tmp_path)
    wanted: set[str] = set()
    for name in ("r/a", "r/b", "r/c", "r/d", "r/e"):
        path = layout(tmp_path / name)
        config_blob = put(path, AMD64, writers.CONFIG_TYPE)
        layers = [writers.write_blob(path, f"layer {n}".encode(), writers.LAYER_TYPE) for n in range(3)]
        image = manifest(path, config_blob, *layers)
        own = manifest(path, config_blob, *layers, annotations={"store": name})
        outer = index(path, image, own, image)
        write(path, named(outer), named(outer, "b:1"), named(image, "c:1"), named(own, "d:1"))
        wanted |= {each["digest"] for each in (config_blob, image, own, outer)}
    assert opened(db, config, "add", f"{tmp_path}/r") == Counter(wanted)
    for arguments in (("index",), ("index", "--full")):
        assert opened(db, config, *arguments) == Counter()
    path = layout(tmp_path / "r" / "f")
    for digest in wanted:
        shutil.copy(file_of(f"{tmp_path}/r/a", digest), file_of(path, digest)) if Path(
            file_of(f"{tmp_path}/r/a", digest)
        ).exists() else None
    new = manifest(path, AMD64 | {"new": 1})
    write(path, named(image), named(new, "new:1"))
    assert sum(opened(db, config, "index").values()) == 2  # the new manifest and its config
    called("remove", "r/f", db=db)
    assert opened(db, config, "add", path) == Counter()  # still known


def world(directory: Path) -> str:
    """A root of stores that share images, each with indexes, referrers, labels, and one with blobs that are no good."""
    root = directory / "r"
    for number in range(12):
        path = layout(root / f"s{number:02}")
        shared = manifest(path, AMD64 | {"config": {"Labels": {"k": "shared"}}}, layer("base"))
        own = manifest(
            path, AMD64 | {"n": number, "config": {"Labels": {"n": f"{number}"}}}, layer("base"), layer(f"{number}")
        )
        other = manifest(path, {"os": "linux", "architecture": "arm64", "n": number // 2})
        signature = manifest(path, {"of": number}, subject=own, artifactType="application/x-signature")
        inner = index(path, on(own, "linux", "amd64"), other, annotations={"n": f"{number}"})
        outer = index(path, inner, shared, signature | {"annotations": {"vnd.docker.reference.digest": own["digest"]}})
        entries = [named(outer, f"app{number}:1", note="x"), named(shared, "shared:1"), named(other, "other:1")]
        write(path, *entries, named(signature, f"sha256-{own['digest'][7:]}.sig"), {"digest": layer("none")["digest"]})
        if number % 4 == 1:
            put_as(path, other["digest"], b"{}")
            put_as(path, digest_of(b"unreferenced"), b"unreferenced")
    return str(root)


TIMES = {"since", "until", "at", "took_ms", "state_since", "indexed_at", "changed_at", "verified_at"}


def views(db: str) -> dict[str, list[str]]:
    """The rows of every public view, sorted, without the times at which things were seen."""
    connection = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
    try:
        found = {}
        for view in VIEWS:
            columns = ", ".join(f'"{name}"' for name, *_ in view.columns if name not in TIMES)
            found[view.name] = sorted(map(repr, connection.execute(f"SELECT {columns} FROM {view.name}")))
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        return found
    finally:
        connection.close()


KILLS = examples(24)


def killed(moment: int, config: str, db: str) -> int | None:
    """Run `ocicat index` until it is killed at a moment; how many calls it had left where it ended before."""
    command = Code(_KILLED, str(moment), "--config", config, "--db", db, "index")
    done = subprocess.run(command, capture_output=True, env=CLEAN, check=False, text=True)
    if done.returncode == -signal.SIGKILL:
        return None
    assert done.returncode == 0, done
    return int(done.stdout.split()[-1])


def test_killed_at_any_moment_it_ends_in_the_same_catalog(tmp_path: Path) -> None:
    config = no_settling(tmp_path)
    root = world(tmp_path)
    registered = f"{tmp_path}/registered.db"
    assert called("--config", config, "add", root, "--no-index", db=registered).status == 0
    undisturbed, disturbed = f"{tmp_path}/undisturbed.db", f"{tmp_path}/disturbed.db"
    shutil.copy(registered, undisturbed)
    whole = 10**9
    left = killed(whole, config, undisturbed)
    assert left is not None
    calls = whole - left
    wanted = views(undisturbed)
    assert all(wanted[name] for name in ("labels", "referrers", "platforms", "layers", "blobs", "unnamed", "problems"))
    rng = random.Random(4)
    kills = rounds = 0
    while kills < KILLS:
        shutil.copy(registered, disturbed)
        rounds += 1
        # Moments that leave something done, so that those that follow lie anywhere between the begin and the end.
        while killed(rng.randrange(calls // 8, calls), config, disturbed) is None:
            kills += 1
        assert views(disturbed) == wanted
    assert rounds < KILLS


@pytest.mark.parametrize("step", range(5))
def test_a_reading_that_was_left_opens_only_the_rest(tmp_path: Path, step: int) -> None:
    """Counted: what was committed before is not read again."""
    config = no_settling(tmp_path)
    db = f"{tmp_path}/c.db"
    path = layout(tmp_path / "s")
    blobs = [put(path, AMD64, writers.CONFIG_TYPE)]
    blobs.append(manifest(path, blobs[0]))
    for _ in range(3):
        blobs.append(index(path, blobs[-1]))
    write(path, named(blobs[-1]))
    assert called("--config", config, "add", path, "--no-index", db=db).status == 0
    left_after(db, step)
    rest = [blob["digest"] for blob in blobs[: len(blobs) - step]]
    assert opened(db, config, "index") == Counter(rest)


def left_after(db: str, steps: int) -> None:
    """Read names, and this many levels of content."""
    from catalog.engine.sqlite.writer import SqliteWriter
    from catalog.ingest.settings import Settings
    from catalog.ingest.sweep import Sweep

    with SqliteWriter(db) as writer:
        for _ in range(steps):
            Sweep(writer, Settings(settle_ms=0), print).run([], None, content_seconds=0)


@pytest.mark.parametrize(("stores", "entries", "blobs"), [(1, 1, 500), (2, 2_000, 3), (5, 11, 1), (32, 2_000, 7)])
def test_however_many_stores_are_read_together_the_views_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stores: int, entries: int, blobs: int
) -> None:
    """The parameters are the most stores and entries in a group, and the most blobs per transaction."""
    config = no_settling(tmp_path)
    root = world(tmp_path)
    usual, other = f"{tmp_path}/usual.db", f"{tmp_path}/other.db"
    assert called("--config", config, "add", root, db=usual).status == 0
    # Limits alone are replaced: to reach them as they are takes thousands of stores and blobs.
    monkeypatch.setattr(content, "GROUP", stores)
    monkeypatch.setattr(content, "GROUP_ENTRIES", entries)
    monkeypatch.setattr(blob_reading, "BATCH", blobs)
    monkeypatch.setattr(listing, "LISTED", blobs)
    assert called("--config", config, "add", root, db=other).status == 0
    assert views(other) == views(usual)
    assert views(other)["problems"]


def test_a_good_copy_in_the_same_group_is_read_though_the_first_is_bad(tmp_path: Path) -> None:
    """The bad copy is reported whether it was read or not, because its size differs from that of the verified one."""
    for bad, good in (("a", "b"), ("b", "a")):
        config, root, db = no_settling(tmp_path), tmp_path / bad, f"{tmp_path}/{bad}.db"
        for name in (bad, good):
            path = layout(root / name)
            image = manifest(path, AMD64)
            write(path, named(image))
            if name == bad:
                put_as(path, image["digest"], b"{}")
        assert called("--config", config, "add", str(root), db=db).status == 0
        found = called("resolve", "alpine:1", "--platform", "linux/amd64", "--store", f"{bad}/{good}", db=db)
        assert found.out == f"{image['digest']}\n"
        told = [line.split("\t")[:2] for line in called("check", db=db).lines]
        assert told == [[f"{bad}/{bad}", "digest-differs"]]


def test_a_bad_copy_stays_a_problem_while_another_store_has_a_good_one(catalogue: Catalogue, tmp_path: Path) -> None:
    """It need not be read any more, but it is as bad as before. Its size is right, so only its bytes say so."""
    bad, good = layout(tmp_path / "bad"), layout(tmp_path / "good")
    for path in (bad, good):
        image = manifest(path, AMD64)
        write(path, named(image))
    put_as(bad, image["digest"], b"{" + b" " * (image["size"] - 2) + b"}")
    told = "SELECT store FROM problems WHERE kind = 'digest-differs' AND subject = ?"
    for path in (bad, good):
        catalogue.add(path)
        catalogue.index()
        assert catalogue.sql(told, image["digest"]) == [("bad",)]
    for number in range(2):
        put(bad, {"more": number})
        catalogue.index()
        assert catalogue.sql(told, image["digest"]) == [("bad",)]
    put_as(bad, image["digest"], Path(file_of(good, image["digest"])).read_bytes())
    put(bad, {"more": 2})
    catalogue.index()
    assert catalogue.sql(told, image["digest"]) == []


def test_a_blob_that_nothing_points_to_and_that_is_no_json_is_looked_at_once(tmp_path: Path) -> None:
    config, db, path = no_settling(tmp_path), f"{tmp_path}/catalog.db", layout(tmp_path / "s")
    write(path, named(manifest(path, AMD64)))
    stray = writers.write_blob(path, b"a layer that an interrupted pull left here", writers.LAYER_TYPE)["digest"]
    assert opened(db, config, "add", path)[stray] == 1
    for number in range(2):
        put(path, {"more": number})
        assert opened(db, config, "index")[stray] == 0
