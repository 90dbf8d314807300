"""Every report, compared with an answer computed here from the files on disk. Sizes add up to the byte."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import pytest

from catalog.engine.open import open_reader
from catalog.reports.gate import statements_of
from catalog.reports.reports import REPORTS
from tests import writers
from tests.cli.program import called
from tests.conftest import Catalogue, stamp
from tests.effort import some
from tests.reports import worlds
from tests.reports.conftest import World
from tests.reports.disk import NAMES, Disk, Row

ACME = worlds.ACME


def report(catalogue: Catalogue, name: str, *options: str) -> list[dict[str, Any]]:
    """Return the rows that `ocicat report` prints."""
    result = called("--quiet", "report", name, "--format", "jsonl", *options, db=catalogue.path)
    assert (result.status, result.err) == (0, ""), result
    return [json.loads(line) for line in result.lines]


def rows(catalogue: Catalogue, name: str, columns: str, *options: str) -> list[Row]:
    return [tuple(each[column] for column in columns.split()) for each in report(catalogue, name, *options)]


def same(found: Iterable[Row], expected: Iterable[Row]) -> None:
    assert sorted(found, key=repr) == sorted(expected, key=repr)


def full_name(entry: dict[str, Any]) -> str | None:
    """Return the canonical name of an entry, as far as the layouts of these tests need it."""
    ref_name, image_name = ((entry.get("annotations") or {}).get(key) for key in NAMES)
    name: str | None = image_name or ref_name
    if name is None or ":" not in name:
        return None
    return name if "/" in name else f"docker.io/library/{name}"


def answering(disk: Disk) -> Iterator[tuple[str, str, str]]:
    """Return the store, full name and digest of the first entry with each name."""
    for layout in disk.layouts:
        first: dict[str, str] = {}
        for entry in layout.entries:
            if name := full_name(entry):
                first.setdefault(name, entry["digest"])
        yield from ((layout.name, name, digest) for name, digest in first.items())


def test_every_report_documents_the_columns_it_has(world_of: Callable[[str], World]) -> None:
    """They are the same in every world."""
    world = world_of("by hand")
    assert len({each.name for each in REPORTS}) == len(REPORTS) == 13
    for each in REPORTS:
        parameters = dict.fromkeys((parameter.name for parameter in each.parameters), "")
        with contextlib.closing(open_reader(world.catalogue.path)) as reader:
            columns, rows_ = statements_of(reader).run(each.statement(reader.dialect), parameters)
            collections.deque(
                rows_, maxlen=0
            )  # an answer that is not read to its end costs the process of the statement
        assert columns == tuple(column.name for column in each.columns)
        assert all(column.documentation for column in each.columns)


def test_usage(world: World) -> None:
    holders = Counter(digest for layout in world.disk.layouts for digest in layout.blobs)
    expected = []
    for layout in world.disk.layouts:
        unique = sum(size for digest, size in layout.blobs.items() if holders[digest] == 1)
        apparent = sum(layout.blobs.values())
        expected.append((layout.name, len(layout.blobs), apparent, unique, apparent - unique))
    same(rows(world.catalogue, "usage", "store blobs apparent unique shared"), expected)


def test_duplicates(world: World) -> None:
    expected = []
    for layout in world.disk.layouts:
        first: dict[str, str] = {}
        for entry in layout.entries:
            name = (entry.get("annotations") or {}).get(NAMES[0])
            if name and name in first:
                expected.append((layout.name, entry["digest"], first[name]))
            elif name:
                first[name] = entry["digest"]
    same(rows(world.catalogue, "duplicates", "store digest answers"), expected)


def test_drift(world: World) -> None:
    digests = defaultdict(set)
    for _, name, digest in answering(world.disk):
        digests[name].add(digest)
    expected = [(name, store, digest) for store, name, digest in answering(world.disk) if len(digests[name]) > 1]
    same(rows(world.catalogue, "drift", "name store digest"), expected)


def test_shared(world: World) -> None:
    disk = world.disk
    holders = Counter(digest for layout in disk.layouts for digest in layout.blobs)
    sizes = {digest: size for layout in disk.layouts for digest, size in layout.blobs.items()}
    held = {digest for digest, _ in disk.held()}
    layers = {layer["digest"] for each in held for layer in disk.layers(each)}
    configs = {config for each in held for config in disk.config(each)}
    expected = [
        (
            digest,
            next(
                kind
                for kind, of_kind in (("layer", layers), ("manifest", held), ("config", configs), ("other", holders))
                if digest in of_kind
            ),
            count,
            sizes[digest],
            sizes[digest] * (count - 1),
        )
        for digest, count in holders.items()
        if count > 1
    ]
    same(rows(world.catalogue, "shared", "digest kind stores size saves"), expected)


def test_unreferenced(world: World) -> None:
    expected = [
        (layout.name, digest, size)
        for layout in world.disk.layouts
        for digest, size in layout.blobs.items()
        if world.disk.is_judged(layout) and digest not in world.disk.in_use(layout)
    ]
    same(rows(world.catalogue, "unreferenced", "store digest size", "-p", "older_than=0"), expected)
    same(
        world.catalogue.sql("SELECT store, digest, size FROM blobs WHERE NOT reachable"),
        expected,
    )


def test_missing(world: World) -> None:
    disk = world.disk
    claimed: dict[tuple[str, str | None], int] = {}
    for layout in disk.layouts:
        for entry in layout.entries:
            claimed[entry["digest"], None] = entry["size"]
    for digest, document in disk.held():
        for part in [document.get("config"), *(document.get("layers") or [])]:
            if part:
                claimed[part["digest"], digest] = part["size"]
    expected = {
        (store, digest, role, manifest, claimed[digest, manifest])
        for store, digest, role, manifest, _ in disk.missing_rows()
    }
    same(rows(world.catalogue, "missing", "store digest role manifest size"), expected)


def test_complete(world: World) -> None:
    """Names come from the view `images`, which tests/reports/test_views.py checks."""
    disk = world.disk
    names: dict[tuple[str, str], set[str]] = defaultdict(set)
    for store, name, tag, digest in world.catalogue.sql(
        "SELECT store, name, tag, digest FROM images WHERE NOT shadowed"
    ):
        names[store, digest].add(name or f":{tag}")

    def name_of(store: str, digest: str) -> str | None:
        above = [each for each, _ in disk.held() if digest in disk.children(each)]
        own = names.get((store, digest), set())
        return min(own or set().union(*(names.get((store, each), set()) for each in above)), default=None)

    expected = []
    for layout in disk.layouts:
        for image in layout.blobs:
            platform = disk.platform(image) or min(
                (name for _, _, child, name, *_ in disk.platform_rows() if child == image and name), default=None
            )
            if disk.is_complete(layout, image) and platform != "unknown/unknown":
                size = layout.blobs[image] + sum(disk.needed(image).values())
                expected.append((layout.name, name_of(layout.name, image), platform, image, size))
    columns = "store name platform digest size"
    same(rows(world.catalogue, "complete", columns), expected)
    for asked in sorted({digest for layout in disk.layouts for digest in layout.digests & set(disk.manifests)})[:5]:
        wanted = {asked}
        while below := {child for each in wanted for child in disk.children(each)} - wanted:
            wanted |= below
        found = rows(world.catalogue, "complete", "store digest", "-p", f"image={asked}")
        same(found, ((store, image) for store, _, _, image, _ in expected if image in wanted))


def test_orphans(world: World) -> None:
    blobs = {digest for layout in world.disk.layouts for digest in layout.blobs}
    expected = [
        (layout.name, referrer, subject, how, kind, layout.blobs[referrer])
        for subject, referrer, how, kind in world.disk.referrer_rows()
        for layout in world.disk.layouts
        if subject not in blobs and referrer in layout.blobs
    ]
    same(rows(world.catalogue, "orphans", "store referrer subject how artifact_type size"), expected)


@pytest.mark.slow
def test_bases(world: World) -> None:
    disk = world.disk
    layers = {digest: [each["digest"] for each in disk.layers(digest)] for digest, _ in disk.held()}
    pairs = {
        (base, image)
        for base, image in permutations(layers, 2)
        if layers[base] and layers[image][: len(layers[base])] == layers[base] != layers[image]
    }
    names: dict[str, set[str]] = defaultdict(set)
    for _, name, digest in answering(disk):
        names[digest].add(name)

    def name_of(digest: str) -> str | None:
        above = [each for each, _ in disk.held() if digest in disk.children(each)]
        return min(names[digest] or set().union(*(names[each] for each in above)), default=None)

    def row(base: str, image: str) -> Row:
        size = sum(each["size"] for each in disk.layers(base))
        return base, name_of(base), image, name_of(image), len(layers[base]), size

    columns = "base base_name image image_name layers size"
    same(rows(world.catalogue, "bases", columns), (row(*pair) for pair in pairs))
    everything = sorted({each["digest"] for layout in disk.layouts for each in layout.entries} | {*layers})
    named = sorted({each for some in names.values() for each in some})
    # To prepare this report takes SQLite a tenth of a second.
    for asked in [*world.some(some(everything[:10], 2)), *world.some(some(named[:5], 2)), "nothing"]:
        named_so = {digest for digest in names if asked in names[digest]}
        if len(named_so) > 1 or asked == "nothing":  # as `resolve` answers: ambiguous, or not found
            result = called("report", "bases", "-p", f"image={asked}", db=world.catalogue.path)
            assert result.status == (3 if named_so else 1), result
            continue
        wanted = named_so or {asked}
        while below := {child for each in wanted for child in disk.children(each)} - wanted:
            wanted |= below
        expected = [row(*pair) for pair in pairs if wanted & {*pair}]
        same(rows(world.catalogue, "bases", columns, "-p", f"image={asked}"), expected)


def test_platforms(world: World) -> None:
    layouts = {layout.name: layout for layout in world.disk.layouts}
    of_repository: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for store, name, digest in answering(world.disk):
        for each in world.disk.platforms(layouts[store], digest):
            of_repository[name.rpartition(":")[0]][each].add(name)
    expected = [
        (store, name, lacking, len(names))
        for store, name, digest in answering(world.disk)
        for lacking, names in of_repository[name.rpartition(":")[0]].items()
        if (has := world.disk.platforms(layouts[store], digest)) and lacking not in has
    ]
    same(rows(world.catalogue, "platforms", "store name lacks others"), expected)


def test_churn_and_growth_match_the_changes_made(catalogue: Catalogue, tmp_path: Path) -> None:
    """Entries come, go and move for a while, and the test keeps its own record of this."""
    rng = random.Random(7)
    paths = [writers.make_layout(str(tmp_path / name)) for name in ("a", "b")]
    for path in paths:
        stamp(f"{path}/index.json")
        catalogue.add(path)
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    said: dict[tuple[str, str], list[str | None]] = defaultdict(list)
    changes, added, removed = Counter[str](), Counter[str](), Counter[str]()
    standing: dict[str, dict[str, str]] = {path: {} for path in paths}
    for _ in range(40):
        path = rng.choice(paths)
        old = dict(standing[path])
        for tag in rng.sample("12345", 2):
            name = f"{ACME}/{tag}:t"
            if rng.random() < 0.3:
                standing[path].pop(name, None)
            else:
                standing[path][name] = writers.fake_descriptor(rng.choice("xyz"))["digest"]
        if standing[path] == old:
            continue
        entries = [
            worlds.named({"mediaType": writers.MANIFEST_TYPE, "digest": digest, "size": 400}, name)
            for name, digest in sorted(standing[path].items())
        ]
        writers.write_index(path, writers.empty_index(*entries))
        stamp(f"{path}/index.json")
        catalogue.index()
        store = os.path.basename(path)
        changes[store] += 1
        added[store] += len(standing[path].items() - old.items())
        removed[store] += len(old.items() - standing[path].items())
        for name in {*old, *standing[path]}:
            if old.get(name) != standing[path].get(name):
                said[store, name].append(standing[path].get(name))
    expected = []
    for (store, name), answers in said.items():
        digests = [each for each in answers if each]
        if len(digests) > 1:
            expected.append((store, name, "t", len(digests) - 1, len({*digests})))
    assert len(expected) > 5
    found = report(catalogue, "churn")
    same((tuple(each[key] for key in ("store", "name", "tag", "moves", "digests")) for each in found), expected)
    assert [each["moves"] for each in found] == sorted((row[3] for row in expected), reverse=True)
    for each in found:
        ((last,),) = catalogue.sql(
            "SELECT max(since) FROM history WHERE store = ? AND name = ?", each["store"], each["name"]
        )
        assert each["last"] == last
    growth = report(catalogue, "growth")
    assert {each["day"] for each in growth} <= {day, f"{datetime.now(UTC):%Y-%m-%d}"}
    for path in paths:
        store = os.path.basename(path)
        of_store = [each for each in growth if each["store"] == store]
        assert sum(each["changes"] for each in of_store) == changes[store] + 1  # the first look is one
        assert sum(each["added"] for each in of_store) == added[store]
        assert sum(each["removed"] for each in of_store) == removed[store]
        assert of_store[-1]["entries"] == len(standing[path])
        assert of_store[-1]["size"] == os.path.getsize(f"{path}/index.json")


def test_growth_is_reported_by_day(catalogue: Catalogue, tmp_path: Path) -> None:
    path = writers.make_layout(str(tmp_path / "a"))
    for number in range(1, 5):
        writers.write_index(path, writers.empty_index(*writers.big_entries(number)))
        stamp(f"{path}/index.json")
        catalogue.add(path)
    with catalogue.writer.transaction() as connection:
        # Two changes on each of two days, the second day a year later.
        connection.exec_driver_sql("UPDATE snapshot SET at = 1767225599998 + generation WHERE generation <= 2")
        connection.exec_driver_sql("UPDATE snapshot SET at = 1798761600000 + generation WHERE generation > 2")
    found = rows(catalogue, "growth", "day store changes added removed entries")
    assert found == [
        ("2025-12-31", "a", 1, 1, 0, 1),
        ("2026-01-01", "a", 1, 1, 0, 2),
        ("2027-01-01", "a", 2, 2, 0, 4),
    ]


def test_usage_and_shared_add_up_to_the_disk_usage_with_hard_links(catalogue: Catalogue, tmp_path: Path) -> None:
    """The files are linked as `shared` says, and the disk usage afterwards is counted by inode."""
    paths = [*worlds.by_hand(str(tmp_path / "hand")).values()]
    paths += worlds.at_random(str(tmp_path / "random"), random.Random(99)).values()
    for path in paths:
        catalogue.add(path)
    usage, shared = report(catalogue, "usage"), report(catalogue, "shared")
    assert sum(each["apparent"] for each in usage) == on_disk(paths)
    assert {each["store"]: each["apparent"] for each in usage} == {
        os.path.basename(path): on_disk([path]) for path in paths
    }
    assert shared
    for each in shared:
        files = [f"{path}/blobs/{each['digest'].replace(':', '/')}" for path in paths]
        there = [file for file in files if os.path.exists(file)]
        assert len(there) == each["stores"]
        before = on_disk(paths)
        for file in there[1:]:
            os.unlink(file)
            os.link(there[0], file)
        assert before - on_disk(paths) == each["saves"]
    assert on_disk(paths) == sum(each["apparent"] for each in usage) - sum(each["saves"] for each in shared)
    for left in range(len(paths)):
        # The unique bytes of a store are what deleting it frees.
        gone = paths[:left] + paths[left + 1 :]
        unique = next(each["unique"] for each in usage if each["store"] == os.path.basename(paths[left]))
        assert on_disk(paths) - on_disk(gone) == unique


def on_disk(paths: Iterable[str]) -> int:
    """Return the bytes of the blobs of these layouts, counting each file once however often it is linked, like `du`."""
    inodes: dict[int, int] = {}
    for path in paths:
        for each in Path(path, "blobs").rglob("*"):
            if each.is_file():
                inodes[each.stat().st_ino] = each.stat().st_size
    return sum(inodes.values())


def test_a_store_that_is_still_being_read_is_left_out(catalogue: Catalogue, tmp_path: Path) -> None:
    path = worlds.by_hand(str(tmp_path / "hand"))["hurt"]
    catalogue.add(path)
    assert report(catalogue, "missing")
    with catalogue.writer.transaction() as connection:
        connection.exec_driver_sql("UPDATE store SET content_pending = true")
    assert report(catalogue, "missing") == report(catalogue, "unreferenced") == []
    assert catalogue.sql("SELECT * FROM problems WHERE kind = 'missing-blob'") == []


def test_a_store_that_is_gone_is_left_out(catalogue: Catalogue, tmp_path: Path) -> None:
    paths = worlds.by_hand(str(tmp_path / "hand"))
    lost = writers.make_layout(str(tmp_path / "hand" / "lost"))
    worlds.image(lost, ["root"], seed="lost")
    writers.write_index(lost, writers.empty_index(worlds.named(worlds.image(lost, ["root"]), "1")))
    for path in [*paths.values(), lost]:
        catalogue.add(path)
    names = [each.name for each in REPORTS if each.name not in ("churn", "growth")]
    options: dict[str, tuple[str, ...]] = dict.fromkeys(names, ())
    options["unreferenced"] = ("-p", "older_than=0")
    assert [name for name in options if not report(catalogue, name, *options[name])] == []
    os.rename(tmp_path / "hand", tmp_path / "away")
    catalogue.index()
    assert {name: rows for name in options if (rows := report(catalogue, name, *options[name]))} == {}


def test_shared_bytes_of_pairs_of_stores(catalogue: Catalogue, tmp_path: Path) -> None:
    """`unique` of a store and `shared` of a pair, if only pairs share blobs."""
    paths = worlds.at_random(str(tmp_path), random.Random(3))
    for first, second in combinations(paths.values(), 2):
        for each in (first, second):
            catalogue.add(each)
        usage = {each["store"]: each["shared"] for each in report(catalogue, "usage")}
        blobs = [{**Disk({"s": path}).layouts[0].blobs} for path in (first, second)]
        common = sum(size for digest, size in blobs[0].items() if digest in blobs[1])
        assert [*usage.values()] == [common, common]
        for each in (first, second):
            catalogue.remove(os.path.basename(each))
