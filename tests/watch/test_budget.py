"""What one hostile store may cost a good one: every kind under the daemon at once, and that reading content is done in pieces.

How long it takes at full size is measured by `python -m tests.watch.budget` (docs/performance.md).
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from catalog.ingest.content import ContentStage
from catalog.ingest.listing import LISTED, list_blobs
from catalog.ingest.registry import Registry
from catalog.ingest.turns import TurnEnded
from catalog.layout.blobs import BlobDirectories
from catalog.watch.contents import Contents
from tests import writers
from tests.cli.program import Ran
from tests.conftest import Catalogue
from tests.content.layouts import TABLES, count, index, layout, manifest, named, pending, put, take_names, write
from tests.ingest.test_long_words import AMD64
from tests.watch.harness import Followed, Load, on_both, wait_for
from tests.watch.hostile import KINDS, change

SIZE = 0.02
"""Of the hostile stores: what counts here is that each kind is there."""


@contextlib.contextmanager
def beside(root: str, wanted: Callable[[str], bool]) -> Iterator[dict[str, str]]:
    """Hostile stores of these kinds below `root`, and their owners at work; the names of the stores by kind."""
    loads: list[Load] = []
    names = {kind: f"k{number}" for number, kind in enumerate(KINDS) if wanted(kind)}
    try:
        for kind, name in names.items():
            KINDS[kind].make(f"{root}/.{name}", SIZE)
            os.rename(f"{root}/.{name}", f"{root}/{name}")
            if KINDS[kind].load:
                loads.append(Load(KINDS[kind].load, f"{root}/{name}", str(SIZE)))
        for load in loads:
            load.out.readline()
        yield {kind: f"root/{name}" for kind, name in names.items()}
    finally:
        for load in loads:
            load.kill()


@on_both("catalog", is_long=True)
def test_beside_one_hostile_store_of_each_kind_a_good_one_is_followed(catalog: Followed) -> None:
    root = catalog.add_root("root")
    good = layout(f"{root}/good")
    catalog.start("--rescan", "1")
    with beside(root, lambda kind: "storm" not in kind or kind == "storm of directories") as names:
        for number in range(2):
            digest = change(good, 2 * number)
            wait_for(lambda digest=digest: catalog.ask("oci-layout://root/good:1").digest == digest, what=catalog.log)  # type: ignore[misc]
            digest = change(good, 2 * number + 1)
            said: list[Ran] = []

            def answers(digest: str = digest, said: list[Ran] = said) -> bool:
                said.append(catalog.program("resolve", "--fresh", "oci-layout://root/good:1"))
                assert said[-1].status in (0, 4)  # a machine that is at its limit may not be in time
                return said[-1].out.strip() == digest

            wait_for(answers, what=lambda said=said: [said, *catalog.log()])  # type: ignore[misc]
        told: dict[str, str] = {}

        def is_told() -> bool:
            told.update({each["store"]: each["why"] for each in catalog.state()["daemon_put_off"] or ()})
            return names["rewritten without end"] in told

        wait_for(is_told, what=lambda: [told, *catalog.log()])
        assert all(told.values())
    bad = [names[kind] for kind in ("nested objects", "nested arrays", "8 TB index.json")]
    wait_for(
        lambda: [catalog.stores().get(name, {}).get("state") for name in bad] == ["invalid"] * len(bad),
        what=catalog.log,
    )
    assert catalog.stores()["root/good"]["state"] == "ok"
    assert catalog.daemon is not None
    assert catalog.daemon.poll() is None


def stores(catalogue: Catalogue) -> dict[str, Any]:
    with catalogue.writer.snapshot() as connection:
        return {store.name: store for store in Registry(connection).stores()}


def test_many_blobs_come_in_pieces(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "many")
    for number in range(LISTED + 1):
        os.close(os.open(f"{path}/blobs/sha256/{number:064x}", os.O_WRONLY | os.O_CREAT))
    catalogue.add(path, index=False)
    take_names(catalogue)
    store = stores(catalogue)["many"]
    seen = [0]
    for gone in (False, True):
        if gone:
            for number in range(LISTED):
                os.unlink(f"{path}/blobs/sha256/{number:064x}")
            put(path, {})
        with BlobDirectories(store.opened) as blobs:
            for _ in list_blobs(catalogue.writer, [(store, blobs)]):
                seen.extend(count(catalogue, "store_blob"))
        steps = [abs(after - before) for before, after in itertools.pairwise(seen)]
        assert max(steps) * 4 < LISTED, gone
    assert seen[-1] == 2


def test_a_small_store_does_not_wait_for_the_content_of_a_large_one(catalogue: Catalogue, tmp_path: Path) -> None:
    large, small = layout(tmp_path / "large"), layout(tmp_path / "small")
    write(large, named(index(large, *(manifest(large, AMD64 | {"n": n}) for n in range(2)))))
    catalogue.add(large, index=False)
    take_names(catalogue)
    contents = Contents(catalogue.writer, lambda: catalogue.settings, slice_seconds=0)
    assert contents.step(0)  # it has begun
    write(small, named(manifest(small, AMD64)))
    catalogue.add(small, index=False)
    take_names(catalogue)
    assert pending(catalogue) == ["large", "small"]
    assert [each.store.name for each in contents.put_off(-1)] == ["large"]
    order: list[str] = []
    while contents.step(1):
        order += [name for name in ("large", "small") if name not in (*order, *pending(catalogue))]
    assert pending(catalogue) == []
    assert order == ["small", "large"]
    assert contents.put_off(-1) == []


def test_small_stores_are_read_together(catalogue: Catalogue, tmp_path: Path) -> None:
    """No step is more than one transaction, and many stores take few steps, unless one of them takes long."""
    steps: dict[float, int] = {}
    for number, seconds in enumerate((60.0, 0.0)):
        for name in range(12):
            path = layout(tmp_path / f"{number}-{name}")
            write(path, named(manifest(path, AMD64 | {"n": f"{number}-{name}"})))
            catalogue.add(path, index=False)
        take_names(catalogue)
        contents = Contents(catalogue.writer, lambda: catalogue.settings, slice_seconds=seconds)
        steps[seconds] = sum(1 for _ in iter(lambda contents=contents, number=number: contents.step(number), False))  # type: ignore[misc]
        assert pending(catalogue) == []
    assert steps[60.0] < 12 < steps[0.0]


def test_what_was_undone_is_done_again_and_nothing_else(catalogue: Catalogue, tmp_path: Path) -> None:
    """A turn that ends costs its own transaction; what was read before stays, and the end is the same."""
    path = layout(tmp_path / "s")
    images = [manifest(path, AMD64 | {"n": n}, put(path, {"layer": n})) for n in range(3)]
    write(path, named(index(path, *images)))
    catalogue.add(path)
    expected = count(catalogue, *TABLES)
    copied = layout(tmp_path / "t")
    images = [manifest(copied, AMD64 | {"m": n}, put(copied, {"layer": f"m{n}"})) for n in range(3)]
    write(copied, named(index(copied, *images)))
    catalogue.add(copied, index=False)
    take_names(catalogue)
    calls = ended = 0

    def pause() -> None:
        nonlocal calls, ended
        calls += 1
        if calls in (1, 3, 6, 10, 15):
            ended += 1
            raise TurnEnded

    read = list(ContentStage(catalogue.writer, catalogue.settings, pause=pause).run([stores(catalogue)["t"].id]))
    assert ended >= 1
    assert read == sorted(read)
    assert pending(catalogue) == []
    assert [2 * before - after for before, after in zip(expected, count(catalogue, *TABLES), strict=True)] == [0] * len(
        TABLES
    )
    assert writers.read_index(copied)["manifests"]
