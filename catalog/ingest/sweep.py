"""One pass over roots and stores: stores that changed are read; the others cost a few stats (docs/scripts.md)."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Container, Iterable, Sequence

from catalog.engine.interface import Writer
from catalog.ingest.clock import now_ms
from catalog.ingest.content import GROUP, ContentStage
from catalog.ingest.intake import BULK_ENTRIES, Intake
from catalog.ingest.listener import Report
from catalog.ingest.notice import Notice
from catalog.ingest.registry import Registry, Root
from catalog.ingest.settings import Settings
from catalog.ingest.sharing import forget_gone, removed_layouts
from catalog.ingest.store_state import Store, Summary, unknown_layouts
from catalog.ingest.turns import TurnEnded
from catalog.layout.beneath import Parents
from catalog.layout.discover import Listings
from catalog.names.escape import shown
from catalog.names.paths import is_too_long

__all__ = ["INDEXING", "READING", "Progress", "Summary", "Sweep", "find_new", "register"]

Progress = Callable[[str, int, int], None]
"""A function that is called with the name of the current work (a word or two), the amount done, and the total."""

INDEXING = "indexing"
READING = "reading content"
SEARCHING = "searching directories"
UNKNOWN = 0
"""The total if it is not known."""
_PARTS = 1000  # progress units per store while content is read, because the number of blobs is not known in advance


class Sweep:
    """A pass with `writer`. `report` receives a line for everything that a person should know."""

    def __init__(self, writer: Writer, settings: Settings, report: Report, progress: Progress | None = None) -> None:
        self._writer = writer
        self._settings = settings
        self._report = report
        self._progress = progress or (lambda _what, _done, _total: None)

    def run(
        self,
        roots: Iterable[Root],
        stores: Iterable[Store] | None,
        *,
        full: bool = False,
        content_seconds: float = math.inf,
        deadline: float = math.inf,
    ) -> Summary:
        """Search `roots` for new layouts, then check `stores` and those just found. None means all stores.

        With `full`, read each index.json even if it looks unchanged, and list the blobs of each store. Waits for files that keep changing,
        at most for the patience in the settings. Content is read completely, or for `content_seconds`, or until the monotonic clock
        reaches `deadline`; the rest stays pending.
        """
        with self._writer.snapshot() as connection:
            registry = Registry(connection)
            registered = registry.stores()
            known = registry.left_out().union(s.path for s in registered)
            removed = removed_layouts(connection)
        forget_gone(self._writer, removed)
        searched = itertools.count(1)
        found = find_new(
            self._writer, roots, known, self._report, lambda: self._progress(SEARCHING, next(searched), UNKNOWN)
        )
        if found:
            with self._writer.snapshot() as connection:
                registered = Registry(connection).stores()
        if stores is not None:
            wanted = {s.id for s in stores} | set(found)
            registered = [s for s in registered if s.id in wanted]
        # With little time left, a large store is left for later, because writing it would block other writers.
        intake = Intake(
            self._writer,
            self._settings,
            self._report,
            others_wait=lambda _path, _size: time.monotonic() >= deadline,
            bulk_from=BULK_ENTRIES if deadline == math.inf else math.inf,
        )
        try:
            with Parents() as parents:
                for each in registered:
                    intake.offer(each, full=full, at=parents.find(each.opened))
                    self._progress(INDEXING, intake.done, len(registered))
            intake.commit()
            self._progress(INDEXING, intake.done, len(registered))
            late = self._wait(intake, len(registered), deadline)
        finally:
            self._writer.end_bulk()
        until = min(time.monotonic() + content_seconds, deadline)
        self._read_content({s.id for s in registered}, until, full=full)
        return Summary(len(registered), len(found), intake.changed, late)

    def _wait(self, intake: Intake, total: int, deadline: float) -> int:
        """Wait for the stores that have not settled. Return the number of stores that never did."""
        patience = self._settings.patience_ms / 1000
        intake.look_again()
        late = 0
        while (due := intake.next_due()) is not None:
            for store in intake.give_up(0 if time.monotonic() >= deadline else patience):
                text = f"{shown(store.name)}: its file keeps changing, so its last rows stay ({shown(store.path)})"
                self._report(Notice("unsettled", text, store=store.name, path=store.path))
                late += 1
            left = min(patience, deadline - time.monotonic())
            time.sleep(max(0.0, min(due - time.monotonic(), left)))
            intake.look_again()
            self._progress(INDEXING, intake.done, total)
        return late

    def _read_content(self, store_ids: set[int], until: float, *, full: bool) -> None:
        """Read the content of these stores, whose names are committed."""

        def pause() -> None:
            if time.monotonic() >= until:
                raise TurnEnded

        stage = ContentStage(self._writer, self._settings, pause_in_archive=pause)
        to_read = [store_id for store_id in stage.pending(look=True, even_read=full) if store_id in store_ids]
        number = 0
        while number < len(to_read) and (number == 0 or time.monotonic() < until):
            some = to_read[number : number + GROUP]
            try:
                for done in stage.run(some):
                    part = min(done * _PARTS * len(some) // (stage.known + 1), _PARTS * len(some) - 1)
                    self._progress(READING, number * _PARTS + part, len(to_read) * _PARTS)
                    if done and time.monotonic() >= until:
                        return  # Each pass makes some progress, however little time it has.
            except TurnEnded:
                return  # The time ended in the middle of an archive.
            number += len(some)
            self._progress(READING, number * _PARTS, len(to_read) * _PARTS)
            to_read += stage.woken - set(to_read[number:])
            stage.woken.clear()


def find_new(
    writer: Writer,
    roots: Iterable[Root],
    known: Container[str],
    report: Report,
    on_directory: Callable[[], None] = lambda: None,
    listings: Listings | None = None,
) -> list[int]:
    """Register the layouts below `roots` that are not known yet. Return their ids. For the last two parameters see `discover`.

    `known` are the paths of stores and of removed layouts, which may be slightly out of date. Only other paths are looked up.
    """

    def unreadable(path: str, error: OSError) -> None:
        reason = error.strerror or str(error)
        text = f"{shown(path)}: cannot be searched for layouts: {reason}"
        report(Notice("unsearchable", text, path=path, error=reason))

    paths = {root.path: root.archives for root in roots}
    return register(writer, list(unknown_layouts(paths, known, unreadable, on_directory, listings)), report)


def register(writer: Writer, paths: Sequence[str], report: Report) -> list[int]:
    """Register layouts that were found below a root, unless they are known, were removed, or have too long a path. Return their ids."""
    paths = [path for path in paths if not is_too_long(path)]  # The search has reported paths that are too long.
    if not paths:
        return []
    registered = writer.write(lambda connection: Registry(connection).discovered(paths, now_ms()))
    for each in registered:
        if each.new_name is not None:
            text = f"{shown(each.path)}: its name was taken, so it is called {shown(each.new_name)}"
            report(Notice("name-taken", text, store=each.new_name, path=each.path))
    return [each.id for each in registered]
