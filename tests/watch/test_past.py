"""What history keeps of what a daemon saw: settled states alone, and no longer than it is to."""

from __future__ import annotations

import shutil

from catalog.engine.open import open_writer
from tests import writers
from tests.watch.harness import Followed, on_both, wait_for
from tests.writers import (
    WRITE_STYLES,
    dump,
    empty_index,
    fake_descriptor,
    make_layout,
    name_entry,
    read_index,
    write_index,
)

APP = "docker.io/library/app"


def retagged(path: str, tag: str, seed: str) -> tuple[bytes, str]:
    """The layout's index.json with `app:TAG` at an image of `seed`, and its digest."""
    entry = name_entry(fake_descriptor(seed), "canonical", APP, tag)
    return dump(writers.retag_replace(read_index(path), entry)), entry["digest"]


@on_both("catalog", is_long=True)
def test_spans_are_the_states_that_settled(catalog: Followed) -> None:
    """linuxkit takes the name away and gives it back, crane writes an empty index first: neither is a span, nor a gap."""
    path = make_layout(catalog.path("root/a"))
    kept = name_entry(fake_descriptor("kept"), "canonical", APP, "kept")
    write_index(path, empty_index(kept, name_entry(fake_descriptor("0"), "canonical", APP, "moves")))
    catalog.add_root("root")
    catalog.start()
    catalog.settled()
    log = [fake_descriptor("0")["digest"]]
    for number, style in enumerate(sorted(WRITE_STYLES) * 2, 1):
        data, digest = retagged(path, "moves", f"{number}")
        WRITE_STYLES[style](path, data)
        log.append(digest)
        catalog.settled()
    spans = [span for span in catalog.spans() if span[2] == "moves"]
    assert [span[3] for span in spans] == log
    assert [span[5] for span in spans] == [*(span[4] for span in spans[1:]), None]
    assert [span[3] for span in catalog.spans() if span[2] == "kept"] == [kept["digest"]]
    for span in spans:  # and so `--at` answers, at its first moment and its last
        for moment in (span[4], (span[5] or span[4] + 1) - 1):
            at = f"@{moment // 1000}" if moment % 1000 == 0 else stamp(moment)
            assert catalog("resolve", "app:moves", "--at", at).out == span[3] + "\n"


@on_both("catalog")
def test_several_rewrites_in_a_row_are_one_change(catalog: Followed) -> None:
    path = make_layout(catalog.path("root/a"))
    catalog.add_root("root")
    catalog.start()
    for number in range(20):
        data, digest = retagged(path, "t", f"{number}")
        WRITE_STYLES[sorted(WRITE_STYLES)[number % 8]](path, data)
    catalog.settled()
    spans = catalog.spans()
    assert spans[-1][3] == digest
    assert len(spans) <= 3, spans  # one, unless this process was kept waiting in between


@on_both("quick")
def test_the_daemon_prunes(quick: Followed) -> None:
    """As `index` does, when it starts and then every hour."""
    path, gone = make_layout(quick.path("root/a")), make_layout(quick.path("root/gone"))
    for seed in ("old", "new"):
        for each in (path, gone):
            data, _ = retagged(each, "t", seed)
            write_index(each, empty_index())
            writers.write_skopeo(each, data)
        quick.done("index") if quick.roots else quick.add_root("root")
    shutil.rmtree(gone)
    quick.done("index")
    assert len(quick.spans()) == 4
    quick.configure(settle_ms=50, history_days=0, grace_days=0)
    with open_writer(quick.db) as writer, writer.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM meta WHERE key = 'pruned_ms'")
    quick.start()
    wait_for(lambda: len(quick.spans()) == 1, what=quick.spans)
    assert quick.spans()[0][3] == fake_descriptor("new")["digest"]

    def told() -> list[str]:
        return [line for line in quick.log() if "longer than the grace time" in line]

    wait_for(told, what=quick.log)  # it is written after the spans are pruned
    quick.settled()
    assert len(told()) == 1
    assert quick.stop() == 0


def stamp(milliseconds: int) -> str:
    from catalog.names.moment import rfc3339

    return str(rfc3339(milliseconds))
