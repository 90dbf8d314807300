"""SIGKILL at random moments under a load of writers: after a restart the catalog catches up with the oracle, and is sound."""

from __future__ import annotations

import os
import random
import signal
import time

from tests.watch.harness import Followed, Load
from tests.writers import empty_index, fake_descriptor, make_layout, name_entry, write_index

KILLS = int(os.environ.get("KILLS", "15"))
STORES = 12

WRITER = """
import os, random, shutil
root, seed = sys.argv[1], int(sys.argv[2])
rng = random.Random(seed)
styles = sorted(WRITE_STYLES)
number = 0
print(flush=True)
while not os.path.exists(f"{root}/../stop"):
    number += 1
    path = f"{root}/{rng.randrange(12) * 2 + seed}"
    style = styles[number % len(styles)]
    if rng.random() < 0.05:
        shutil.rmtree(path, ignore_errors=True)
        continue
    if not os.path.exists(f"{path}/oci-layout"):
        make_layout(path)
    index = read_index(path)
    entry = name_entry(fake_descriptor(f"{seed}-{number}"), "canonical", "docker.io/library/app", f"t{rng.randrange(20)}")
    index = retag_replace(index, entry) if rng.random() < 0.8 else append(index, entry)
    if len(entries_of(index)) > 40:
        index = remove(index, 0)
    write_index(path, index, style)
    time.sleep(0.02)  # leave the daemon some of the machine
"""


def test_killed_at_random_moments_under_load(quick: Followed) -> None:
    rng = random.Random(3)
    for number in range(2 * STORES):
        path = make_layout(quick.path(f"root/{number}"))
        entries = (
            name_entry(fake_descriptor(f"{number}-{each}"), "canonical", "docker.io/library/app", f"t{each}")
            for each in range(20)
        )
        write_index(path, empty_index(*entries))
    quick.configure(settle_ms=10)  # so short that it writes nearly all the time
    quick.add_root("root")
    writers = [Load(WRITER, quick.path("root"), str(seed)) for seed in range(2)]
    try:
        for writer in writers:
            writer.out.readline()
        for kill in range(KILLS):
            early = kill % 4 == 3  # while it starts, too
            quick.start("--rescan", "0.3", ready=not early)
            time.sleep(rng.uniform(0.0, 0.5))
            quick.stop(signal.SIGKILL)
            check(quick)
        with open(quick.path("stop"), "w"):
            pass
        for writer in writers:
            assert writer.end() == 0
    finally:
        for writer in writers:
            writer.kill()
    quick.start()
    quick.settled(below=False)
    check(quick)
    assert quick.stop() == 0
    check(quick)
    quick.done("index")  # and finds nothing to do
    for store, entries, counted in quick.reader.connection.execute(
        "SELECT name, entries, (SELECT count(*) FROM entry WHERE store_id = store.id) FROM store"
    ):
        assert entries == counted, store
    for store, generation, counted in quick.reader.connection.execute(
        "SELECT name, generation, (SELECT count(*) FROM snapshot WHERE store_id = store.id) FROM store"
    ):
        assert generation == counted, store


def check(catalog: Followed) -> None:
    """Nothing is wrong inside, whatever the daemon was at: `db check` runs integrity_check and foreign_key_check."""
    said = catalog("db", "check")
    assert said.status == 0, said
