"""Which change comes first where many are offered, counted in stores that are looked at before it."""

from __future__ import annotations

import os
from pathlib import Path

from catalog.ingest.intake import Intake
from catalog.ingest.store_state import Store
from catalog.layout.files import FileState
from catalog.layout.index import stat_index
from catalog.watch.hints import Hints, OverflowHint, StoreHint
from catalog.watch.offers import Offers
from catalog.watch.registered import Registered
from catalog.watch.service import Service
from tests import writers
from tests.conftest import Catalogue
from tests.content.layouts import layout
from tests.watch.hostile import change

SHARED = 40


class Watched(Service):
    """Records which stores are looked at, and changes the good store when the first one is."""

    def __init__(self, path: str, good: str, hints: Hints) -> None:
        super().__init__(path, lambda line: self.lines.append(str(line)))
        self.lines: list[str] = []
        self.seen: list[str] = []
        self.good, self.hints, self.digest = good, hints, ""

    def looked(self, store: Store, file: FileState | None) -> None:
        super().looked(store, file)
        self.seen.append(os.path.basename(store.path))
        if len(self.seen) == 1:
            self.digest = change(self.good, 7)
            self.hints.take(StoreHint(self.good))

    def is_held(self, store: Store, file: FileState) -> bool | None:  # noqa: ARG002
        return False  # as events would tell


def test_a_small_change_that_comes_while_many_stores_of_one_file_are_offered_is_written_before_them(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    good, first = layout(tmp_path / "root/good"), layout(tmp_path / "root/s00")
    change(good, 1)
    change(first, 2)
    shared = [first]
    for number in range(1, SHARED):
        shared.append(layout(tmp_path / f"root/s{number:02}"))
        os.unlink(f"{shared[-1]}/index.json")
        os.link(f"{first}/index.json", f"{shared[-1]}/index.json")
    catalogue.add(str(tmp_path / "root"))
    hints, registered = Hints(), Registered()
    service = Watched(catalogue.path, good, hints)
    offers = Offers(hints, registered, service, lambda: None, first_seconds=0)
    intake = Intake(catalogue.writer, catalogue.settings, service.lines.append, service)
    registered.read(catalogue.writer)
    for path, store in registered.stores.items():
        service.inodes.saw(path, stat_index(store.opened))
    Path(f"{first}/index.json").write_bytes(writers.dump(writers.empty_index(writers.fake_descriptor("3"))))
    offers.offer(catalogue.writer, intake, set(shared))
    assert service.seen[1] == "good"
    entries = "SELECT s.name FROM store s JOIN snapshot n ON n.store_id = s.id WHERE n.generation > 1 ORDER BY n.id"
    names = [row[0] for row in catalogue.reader.select(entries, {})]
    assert names.index("root/good") <= 1


def beside(catalogue: Catalogue, good: str) -> tuple[Hints, Watched, Offers, Intake]:
    """What a daemon has that knows the stores of the catalog, of which `good` is watched."""
    hints, registered = Hints(), Registered()
    service = Watched(catalogue.path, good, hints)
    offers = Offers(hints, registered, service, lambda: None)
    intake = Intake(catalogue.writer, catalogue.settings, service.lines.append, service)
    registered.read(catalogue.writer)
    return hints, service, offers, intake


def test_a_store_that_seldom_changes_does_not_wait_for_many_that_always_do(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    hot = [layout(tmp_path / f"root/hot{number}") for number in range(10)]
    for number, path in enumerate(hot):
        change(path, number)
    good = layout(tmp_path / "root/good", *map(writers.fake_descriptor, "abc"))  # larger than each of them
    catalogue.add(str(tmp_path / "root"))
    _, service, offers, intake = beside(catalogue, good)
    for _ in range(2):
        offers.offer(catalogue.writer, intake, set(hot))
    service.seen.clear()
    offers.offer(catalogue.writer, intake, {good, *hot})
    assert service.seen[0] == "good"


def test_a_change_whose_event_is_late_is_hinted_during_a_turn(catalogue: Catalogue, tmp_path: Path) -> None:
    good = layout(tmp_path / "root/good")
    catalogue.add(str(tmp_path / "root"))
    hints, _, offers, intake = beside(catalogue, good)
    change(good, 1)
    offers.hint_late(intake)
    assert hints.peek() == (set(), set())  # Its event comes, as far as is known.
    hints.take(OverflowHint())
    offers.hint_late(intake)
    assert hints.peek() == ({good}, set())
