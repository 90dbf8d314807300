"""A file that is written anew between the look that says it stood still and the reading is not taken: it did not stand still.

The gap is some microseconds, and the whole write has to fall into it. `make stress` has met it; here it is met each time.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from catalog.engine.sqlite.writer import SqliteWriter
from catalog.ingest.clock import now_ms
from catalog.ingest.intake import Intake
from catalog.ingest.registry import Registry
from catalog.ingest.settings import Settings, StoreSettings
from tests.watch.harness import SETTLE_MS
from tests.writers import empty_index, fake_descriptor, make_layout, name_entry, write_index


class Meddling(Settings):
    """Settings during whose look-up another state is written, once; they are looked up in that very gap."""

    path: str

    @property
    def held_ms(self) -> int:
        if self.path in _TO_WRITE:
            write_index(self.path, _index(_TO_WRITE.pop(self.path)), "zot")
        return 60_000


_TO_WRITE: dict[str, str] = {}


def _index(seed: str) -> dict[str, object]:
    return empty_index(name_entry(fake_descriptor(seed), "tag", "", "t"))


def test_it_waits_for_its_own_time(tmp_path: Path) -> None:
    path = make_layout(f"{tmp_path}/a")
    settings = Meddling(settle_ms=SETTLE_MS)
    settings.path = path
    with SqliteWriter(f"{tmp_path}/catalog.db") as writer:
        with writer.transaction() as connection:
            Registry(connection).add_store(path, StoreSettings(), now_ms())
        with writer.snapshot() as connection:
            (store,) = Registry(connection).stores()
        write_index(path, _index("one"))
        intake = Intake(writer, settings, lambda _line: None)
        intake.offer(store)
        assert intake.next_due() is not None
        _stand_still(path)
        _TO_WRITE[path] = "two"
        intake.look_again()
        assert not _TO_WRITE  # it was written
        assert (intake.done, [waiting.path for waiting in intake.waiting]) == (0, [path])
        _stand_still(path)
        while intake.waiting:
            intake.look_again()
        with writer.snapshot() as connection:
            found = connection.exec_driver_sql("SELECT digest FROM images").fetchall()
        assert found == [(fake_descriptor("two")["digest"],)]
        spans = "SELECT count(*) FROM answer_span"
        with writer.snapshot() as connection:
            assert connection.exec_driver_sql(spans).fetchone() == (0,)


def _stand_still(path: str) -> None:
    """Wait until the file's own times say that it has stood still."""
    changed = os.stat(f"{path}/index.json").st_ctime
    while time.time() - changed <= 2 * SETTLE_MS / 1000:
        time.sleep(0.02)
