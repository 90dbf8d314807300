"""The views of the contents of digests, compared row by row with the files on disk (disk.py)."""

from __future__ import annotations

import os
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests import writers
from tests.conftest import Catalogue, stamp
from tests.effort import examples
from tests.reports import worlds
from tests.reports.conftest import FIXTURES, World
from tests.reports.disk import NAMES, Disk, Row


def same(found: Iterable[Row], expected: Iterable[Row]) -> None:
    """Check that both have the same rows, each the same number of times."""
    left, right = Counter(found), Counter(expected)
    assert sorted((left - right).elements(), key=repr) == sorted((right - left).elements(), key=repr)


def test_stores_hold_their_entries(world: World) -> None:
    same(
        world.catalogue.sql("SELECT name, path, entries, pending FROM stores"),
        ((each.name, each.path, len(each.entries), 0) for each in world.disk.layouts),
    )


def test_images_and_unnamed_describe_what_an_entry_reaches(world: World) -> None:
    expected = world.disk.reached_columns()
    for view in ("images", "unnamed"):
        for store, digest, *row in world.catalogue.sql(
            f"SELECT store, digest, total_size, platforms, created FROM {view}"
        ):
            assert tuple(row) == expected[store, digest], (store, digest)
    unnamed = Counter(world.catalogue.sql("SELECT store, digest FROM unnamed"))
    expected_unnamed = Counter(
        (layout.name, entry["digest"])
        for layout in world.disk.layouts
        for entry in layout.entries
        if not {*NAMES} & set(entry.get("annotations") or {})
    )
    assert unnamed == expected_unnamed
    assert {(s, d) for s, d in world.catalogue.sql("SELECT store, digest FROM images")} | set(unnamed) >= {
        (layout.name, digest) for layout in world.disk.layouts for digest in layout.digests
    } - set(unnamed)


def test_manifests(world: World) -> None:
    columns = (
        "digest, kind, media_type, artifact_type, size, config, config_type, config_size, subject, platform, created,"
        " layers, layers_size, listed"
    )
    same(world.catalogue.sql(f"SELECT {columns} FROM manifests"), world.disk.manifest_rows())


def test_a_chain_is_one_list_of_layers(world: World) -> None:
    lists: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for digest, chain in world.catalogue.sql("SELECT digest, chain FROM manifests"):
        layers = tuple(each["digest"] for each in world.disk.layers(digest))
        assert (chain is None) == (not layers)
        if chain is not None:
            lists[chain].add(layers)
    for manifest, position, chain in world.catalogue.sql("SELECT manifest, position, chain FROM layers"):
        lists[chain].add(tuple(each["digest"] for each in world.disk.layers(manifest)[: position + 1]))
    assert all(len(each) == 1 for each in lists.values())
    assert len({next(iter(each)) for each in lists.values()}) == len(lists)


def test_platforms(world: World) -> None:
    columns = "image_index, position, digest, platform, media_type, size"
    same(world.catalogue.sql(f"SELECT {columns} FROM platforms"), world.disk.platform_rows())


def test_layers(world: World) -> None:
    columns = "manifest, position, digest, media_type, size, title, is_foreign"
    same(world.catalogue.sql(f"SELECT {columns} FROM layers"), world.disk.layer_rows())


def test_blobs(world: World) -> None:
    same(world.catalogue.sql("SELECT * FROM blobs"), world.disk.blob_rows())


def test_labels(world: World) -> None:
    same(world.catalogue.sql("SELECT * FROM labels"), world.disk.label_rows())


def test_annotations(world: World) -> None:
    same(
        world.catalogue.sql("SELECT store, digest, key, value, origin, beginning FROM annotations"),
        world.disk.annotation_rows(),
    )


def test_referrers(world: World) -> None:
    same(world.catalogue.sql("SELECT subject, referrer, how, artifact_type FROM referrers"), world.disk.referrer_rows())


def test_problems_list_what_is_missing(world: World) -> None:
    def detail(role: str, manifest: str | None, position: int | None) -> str:
        place = "config" if role == "config" else f"layers[{position}]"
        return "the manifest of an entry" if manifest is None else f"{place} of {manifest}"

    same(
        world.catalogue.sql("SELECT store, subject, detail FROM problems WHERE kind = 'missing-blob'"),
        ((store, digest, detail(*how)) for store, digest, *how in world.disk.missing_rows()),
    )


def test_history_and_snapshots_after_one_look(world: World) -> None:
    """Each store has had one change, and the current answers have no end."""
    same(
        world.catalogue.sql("SELECT store, name, tag, digest FROM history WHERE until IS NULL"),
        world.catalogue.sql("SELECT store, name, tag, digest FROM images WHERE NOT shadowed AND tag IS NOT NULL"),
    )
    same(
        world.catalogue.sql("SELECT store, generation, entries, added, removed FROM snapshots"),
        ((each.name, 1, len(each.entries), len(each.entries), 0) for each in world.disk.layouts),
    )


COMPARED = (
    test_stores_hold_their_entries,
    test_images_and_unnamed_describe_what_an_entry_reaches,
    test_manifests,
    test_a_chain_is_one_list_of_layers,
    test_platforms,
    test_layers,
    test_blobs,
    test_labels,
    test_annotations,
    test_referrers,
    test_problems_list_what_is_missing,
)


@pytest.mark.parametrize("seed", range(examples(6)))
def test_the_views_follow_the_layouts(seed: int, catalogue: Catalogue, tmp_path: Path) -> None:
    """Entries and blobs go, and a store vanishes and comes back: each view shows the present state."""
    rng = random.Random(1000 + seed)
    paths = worlds.at_random(str(tmp_path), rng)
    for path in paths.values():
        stamp(f"{path}/index.json")
        catalogue.add(path)
    catalogue.index()
    disk = Disk(paths)
    for _ in range(3):
        for path in paths.values():
            entries = writers.read_index(path)["manifests"]
            writers.write_index(path, writers.empty_index(*rng.sample(entries, rng.randint(0, len(entries)))))
            stamp(f"{path}/index.json")
            for name in sorted(os.listdir(f"{path}/blobs/sha256")):
                if rng.random() < 0.15:
                    worlds.lose(path, f"sha256:{name}")
        away, path = rng.choice(list(paths.items()))
        os.rename(path, tmp_path / "elsewhere")
        catalogue.index()
        rest = {name: path for name, path in paths.items() if name != away}
        disk = Disk(rest, disk)
        for compare in COMPARED[1:]:
            compare(World(disk, catalogue))
        os.rename(tmp_path / "elsewhere", path)
        catalogue.index()
        disk = Disk(paths, disk)
        for compare in COMPARED:
            compare(World(disk, catalogue))


def test_a_missing_store_is_not_in_the_views(catalogue: Catalogue, tmp_path: Path) -> None:
    paths = worlds.by_hand(str(tmp_path))
    for path in paths.values():
        catalogue.add(path)
    catalogue.index()
    disk = Disk(paths)
    for away, path in paths.items():
        os.rename(path, tmp_path / "elsewhere")
        catalogue.index()
        rest = Disk({name: path for name, path in paths.items() if name != away}, disk)
        for compare in COMPARED[1:]:
            compare(World(rest, catalogue))
        os.rename(tmp_path / "elsewhere", path)


def test_problems_list_blobs_without_usable_content(catalogue: Catalogue, tmp_path: Path) -> None:
    path = worlds.by_hand(str(tmp_path))["hurt"]
    catalogue.add(path)
    bad, text, corrupt = (writers.entries_of(writers.read_index(path))[number]["digest"] for number in (1, 4, 6))
    problems = "SELECT kind, subject FROM problems WHERE store = 'hurt' AND kind <> 'missing-blob'"
    always = [("digest-differs", corrupt), ("unusable-content", bad)]  # the text never claimed to be JSON
    assert sorted(catalogue.sql(problems)) == always
    with catalogue.writer.transaction() as connection:
        connection.exec_driver_sql("UPDATE store_blob SET is_good = (size <> 6), verified_at = 1767225600123")
    found = catalogue.sql("SELECT digest, is_good, verified_at FROM blobs WHERE size = 6")
    assert found == [(text, 0, "2026-01-01T00:00:00.123Z")]
    assert sorted(catalogue.sql(problems)) == sorted([("digest-differs", text), *always])
    with catalogue.writer.transaction() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO problem (store_id, stage, kind, subject, detail) VALUES (1, 1, 'digest-differs', '{text}', 'read')"
        )
    assert sorted(catalogue.sql(problems)) == sorted([("digest-differs", text), *always])


# --- what the README.md of the fixtures says ----------------------------------------------------------------------------


@pytest.fixture
def of_fixtures(world_of: Callable[[str | int], World]) -> World:
    return world_of("fixtures")


LIBS = "container-libs/image/oci/layout/fixtures"
GGCR = "ggcr/pkg/v1/layout/testdata"


def test_the_tree_of_the_fixture(of_fixtures: World) -> None:
    """The tree in info.txt of delete_image_multiple_images: references, and below them manifests with a config and layers."""
    store = f"{LIBS}/delete_image_multiple_images"
    sql = of_fixtures.catalogue.sql
    drawn: set[tuple[str, ...]] = set()
    reference = platform = manifest = config = ""
    for line in (FIXTURES / store / "info.txt").read_text().splitlines():
        words = line.strip("│├└─ \xa0").split()
        if not words or "references" in line or words[0] in ("This", "index.json"):
            continue
        if words[0] == "manifest:":
            manifest = words[1]
        elif words[0] == "config:":
            config = words[1]
        elif words[0] == "layers:":
            drawn.add((reference, platform, manifest, config, words[1]))
        elif words[0] != "index:":
            reference, platform = (reference, words[0]) if "/" in words[0] else (words[0], "")
    assert len(drawn) == 10
    found = sql(
        "SELECT images.tag, '', manifests.digest, manifests.config, layers.digest FROM images"
        " JOIN manifests ON manifests.digest = images.digest JOIN layers ON layers.manifest = manifests.digest"
        " WHERE images.store = ? UNION ALL"
        " SELECT images.tag, platforms.platform, manifests.digest, manifests.config, layers.digest FROM images"
        " JOIN platforms ON platforms.image_index = images.digest JOIN manifests ON manifests.digest = platforms.digest"
        " JOIN layers ON layers.manifest = manifests.digest WHERE images.store = ?",
        store,
        store,
    )
    plain = [tuple(cell.removeprefix("sha256:").replace("linux/amd64", "linux/am64") for cell in row) for row in found]
    assert sorted(plain) == sorted(drawn)
    assert sql("SELECT count(*), count(CASE WHEN reachable THEN 1 END) FROM blobs WHERE store = ?", store) == [(19, 19)]


def test_the_one_unreferenced_blob(of_fixtures: World) -> None:
    ((digest,),) = of_fixtures.catalogue.sql(
        "SELECT digest FROM blobs WHERE store = ? AND NOT reachable", f"{GGCR}/test_gc_index"
    )
    assert digest.startswith("sha256:492b89b9")


def test_a_corrupt_layout_lacks_every_blob(of_fixtures: World) -> None:
    store = "olareg/testdata/corrupt"
    (layout,) = (each for each in of_fixtures.disk.layouts if each.name == store)
    assert len(layout.entries) == 23
    found = of_fixtures.catalogue.sql("SELECT kind, subject FROM problems WHERE store = ?", store)
    same(found, (("missing-blob", digest) for digest in layout.digests))


def test_unknown_media_types_and_sparse_indexes_are_no_problem(of_fixtures: World) -> None:
    for store in (f"{GGCR}/test_index", "oras-go/content/oci/testdata/hello-world", f"{GGCR}/test_index_media_type"):
        assert of_fixtures.catalogue.sql("SELECT * FROM problems WHERE store = ?", store) == []
    kinds = of_fixtures.catalogue.sql("SELECT DISTINCT kind FROM problems")
    assert kinds == [("missing-blob",)]
