"""One store must not hold up the others: each kind of hostile store under the daemon, and a good one beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests import writers
from tests.content.layouts import layout, manifest, named, put, write
from tests.ingest.test_long_words import AMD64, WORDS
from tests.watch.harness import Followed, Load, on_both, wait_for
from tests.watch.hostile import rewriting

LITTLE = 300 << 20
"""Bytes of address space in which a daemon lives, and not many more."""


@on_both("catalog")
def test_words_too_long_for_an_index(catalog: Followed) -> None:
    root = catalog.add_root("root")
    good, bad = f"{root}/good", f"{root}/bad"
    for path in (good, bad):
        layout(Path(path))
        write(path, named(manifest(path, AMD64), "app:1"))
    catalog.start()
    image = manifest(bad, AMD64)
    write(bad, *(change(image) for change in WORDS.values()))
    wait_for(lambda: len(json.loads(catalog("check", "--format", "json").out)) >= 5, what=catalog.log)
    other = manifest(good, AMD64, put(good, {"other": 1}) | {"mediaType": "application/x-tar"})
    write(good, named(other, "app:1"))
    wait_for(lambda: catalog.ask("oci-layout://root/good:1").digest == other["digest"], what=catalog.log)


HOT = rewriting(1, "0.3 + number % 3")
"""Its pauses are shorter, and longer, than the time in which the list stands still and is read."""


def changed(catalog: Followed, good: str, number: int) -> None:
    """Let a good store change, and wait until the catalog says so."""
    other = manifest(good, AMD64 | {"number": number})
    write(good, named(other, "app:1"))
    wait_for(lambda: catalog.ask("oci-layout://root/good:1").digest == other["digest"], what=catalog.log)


@on_both("catalog", is_long=True)
def test_an_owner_who_rewrites_a_large_list_all_the_time(catalog: Followed) -> None:
    """It takes a minute to write, and is put off, which `status` tells; the good store is followed, and `--fresh` answers."""
    root = catalog.add_root("root")
    good, hot = layout(Path(f"{root}/good")), layout(Path(f"{root}/hot"))
    catalog.start()
    changed(catalog, good, 0)
    load = Load(HOT, hot, "60000")
    try:
        for _ in range(4):  # ready, and written three times
            load.out.readline()
        for number in range(1, 5):
            changed(catalog, good, number)
            other = manifest(good, AMD64 | {"fresh": number})
            write(good, named(other, "app:1"))
            said = catalog.done("resolve", "--fresh", "oci-layout://root/good:1")
            assert said.out.strip() == other["digest"]
        state: dict[str, Any] = {}

        def told() -> bool:
            state.update(catalog.state())
            return any(each["store"] == "root/hot" for each in state["daemon_put_off"] or ())

        wait_for(told, what=lambda: [str(state)])
        put_off = next(each for each in state["daemon_put_off"] if each["store"] == "root/hot")
        assert put_off["why"]
        assert put_off["since"]
        wait_for(
            lambda: any(
                "root/hot: " in line
                for line in catalog.done("status").out.splitlines()
                if line.startswith("daemon_put_off")
            )
        )
        assert catalog.daemon is not None
        assert catalog.daemon.poll() is None
    finally:
        load.kill()


@on_both("catalog", is_long=True)
def test_a_large_store_comes_in_once_others_are_quiet(catalog: Followed) -> None:
    root = catalog.add_root("root")
    good, large = layout(Path(f"{root}/good")), layout(Path(f"{root}/large"))
    catalog.start()
    entries = [
        {"digest": f"sha256:{n:064x}", "annotations": {"org.opencontainers.image.ref.name": f"t{n}", "n": "x" * 99}}
        for n in range(25_000)
    ]
    write(large, *entries)
    for number in range(2):
        changed(catalog, good, number)
    wait_for(lambda: catalog.stores()["root/large"]["entries"] == 25_000, what=catalog.log)
    assert catalog.ask("oci-layout://root/large:t24999").digest == entries[-1]["digest"]
    wait_for(lambda: catalog.state()["daemon_put_off"] is None, what=catalog.log)


def test_a_store_that_needs_more_memory_than_there_is(catalog: Followed) -> None:
    """It is a problem of its own, and stays one after a restart; a good store is followed, and `--fresh` answers."""
    root = catalog.add_root("root")
    good, large = layout(Path(f"{root}/good")), layout(Path(f"{root}/large"))
    changed_before = manifest(good, AMD64)
    write(good, named(changed_before, "app:1"))
    Path(f"{large}/index.json").write_bytes(
        writers.dump(
            {
                "manifests": [
                    {"digest": f"sha256:{n:064x}", "annotations": {f"{n}.{k}": "" for k in range(4)}}
                    for n in range(150_000)
                ]
            }
        )
    )
    for number in range(2):
        catalog.start(before=["prlimit", f"--as={LITTLE}"])
        wait_for(lambda: "more memory" in (catalog.stores()["root/large"]["error"] or ""), what=catalog.log)
        changed(catalog, good, number)
        assert catalog.program("resolve", "--fresh", "oci-layout://root/good:1").status == 0
        assert catalog.stop() == 0, catalog.log()
    told = json.loads(catalog("check", "--format", "json").out)
    assert ("root/large", "invalid") in [(each["store"], each["kind"]) for each in told]
    write(large, named(manifest(large, AMD64), "app:1"))
    catalog.done("index")
    assert catalog.stores()["root/large"]["state"] == "ok"
