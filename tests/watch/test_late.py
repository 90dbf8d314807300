"""A store that takes too long is reported once, and `status --check` fails until it is done. The others are followed meanwhile."""

from __future__ import annotations

from tests.watch.harness import Followed, on_both, wait_for
from tests.watch.test_daemon import APP, tag, writer_lock
from tests.writers import dump, empty_index, fake_descriptor, make_layout, name_entry

LATE_SECONDS = 0.5


def told(catalog: Followed, words: str) -> int:
    return sum(words in line for line in catalog.log())


@on_both("catalog", is_long=True)
def test_a_store_that_never_stands_still(catalog: Followed) -> None:
    catalog.configure(settle_ms=50, late_seconds=LATE_SECONDS)
    busy, other = make_layout(catalog.path("root/busy")), make_layout(catalog.path("root/other"))
    catalog.add_root("root")
    before = tag(busy, "1", "before")
    tag(other, "2", "before")
    catalog.start("--rescan", "0.3")
    catalog.settled()
    for times in (1, 2):
        entry = name_entry(fake_descriptor(f"after{times}"), "canonical", APP, "1")
        data = dump(empty_index(entry))
        with open(f"{busy}/index.json", "r+b", buffering=0) as file:  # a writer that hangs in the middle
            file.write(data[:100])
            wait_for(lambda times=times: told(catalog, "is put off") == times, what=catalog.log)  # type: ignore[misc]
            wait_for(
                lambda: catalog("status", "--check").status == 1, what=catalog.state
            )  # It is logged, then published.
            found = catalog("status", "--check")
            assert (found.status, len(found.said)) == (1, 1), found
            assert "a change has been waiting for more than 0.5 seconds: " in found.err
            wait_for(lambda: "root/busy: " in catalog("status", "--check").err, what=catalog.state)
            assert catalog.state()["daemon_waiting_since"] is not None
            wait_for(lambda: catalog.state()["daemon_lag_seconds"] > LATE_SECONDS, what=catalog.state)
            digest = tag(other, "2", f"meanwhile {times}")  # nobody else waits for it
            wait_for(lambda digest=digest: catalog.ask("app:2").digest == digest, what=catalog.log)  # type: ignore[misc]
            assert catalog.ask("app:1").digest == before
            file.write(data[100:])
            file.truncate()
        catalog.settled()
        before = entry["digest"]
        wait_for(lambda: catalog("status", "--check").status == 0, what=catalog.state)
    assert told(catalog, "is put off") == 2
    lines = [line for line in catalog.said() if "is put off" in line]
    why = lines[0].removeprefix("warning: root/busy: is put off, and its last rows stay: ").removesuffix(f" ({busy})")
    assert why in ("its file keeps changing", "somebody has its index.json open for writing")


def test_a_catalog_that_is_locked_for_long(catalog: Followed) -> None:
    catalog.configure(settle_ms=50, late_seconds=LATE_SECONDS)
    store = make_layout(catalog.path("root/a"))
    catalog.add_root("root")
    catalog.start()
    with writer_lock(catalog):
        tag(store, "1", "x")
        wait_for(lambda: catalog("status", "--check").status == 1, what=catalog.log)
        said = catalog("status", "--check")
        assert said.status == 1
        assert "for more than 0.5 seconds" in said.err
    catalog.settled()
    wait_for(lambda: catalog("status", "--check").status == 0, what=catalog.state)
