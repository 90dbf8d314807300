"""One pass over roots and stores: what changed since is read, the rest is a stat (docs/scripts.md)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Container, Iterable, Sequence

from catalog.engine.interface import Writer
from catalog.ingest.content import GROUP, ContentStage
from catalog.ingest.intake import Intake, Report, now_ms, unsettled
from catalog.ingest.notice import Notice
from catalog.ingest.registry import Registry, Root
from catalog.ingest.settings import Settings
from catalog.ingest.store_state import Store, Summary, unknown_layouts
from catalog.layout.beneath import Parents
from catalog.layout.discover import Listings
from catalog.names.escape import shown
from catalog.names.paths import is_too_long

__all__ = ["INDEXING", "READING", "Progress", "Summary", "Sweep", "find_new", "register"]

Progress = Callable[[str, int, int], None]
"""Told of what is done (a word or two), how much of it, and of how much."""

INDEXING = "indexing"
READING = "reading content"
_PARTS = 1000  # of a store whose content is read: how many blobs it has shows only on the way


class Sweep:
    """A pass with `writer`. `report` gets one line for each thing worth a person's notice."""

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
        """Look for new layouts below `roots`, then at `stores` (None: every one, those just found included).

        `full` reads each index.json although it looks unchanged, and lists the blobs of each store. Files that do not stand
        still are waited for, as long as the settings' patience. Content is read to its end, or for `content_seconds`, or
        until the monotonic clock is at `deadline`: then the rest stays pending.
        """
        with self._writer.snapshot() as connection:
            registry = Registry(connection)
            registered = registry.stores()
            known = registry.left_out().union(s.path for s in registered)
        found = find_new(self._writer, roots, known, self._report)
        if found:
            with self._writer.snapshot() as connection:
                registered = Registry(connection).stores()
        if stores is not None:
            wanted = {s.id for s in stores} | set(found)
            registered = [s for s in registered if s.id in wanted]
        # Who has little time leaves a large store half read, rather than have others wait for its lock.
        intake = Intake(
            self._writer, self._settings, self._report, others_wait=lambda _path, _size: time.monotonic() >= deadline
        )
        with Parents() as parents:
            for each in registered:
                intake.offer(each, full=full, at=parents.find(each.opened))
                self._progress(INDEXING, intake.done, len(registered))
        intake.commit()
        self._progress(INDEXING, intake.done, len(registered))
        intake.look_again()
        late = 0
        while (due := intake.next_due()) is not None:
            given_up = intake.give_up(0 if time.monotonic() >= deadline else self._settings.patience_ms / 1000)
            unsettled(given_up, self._report)
            late += len(given_up)
            left = min(self._settings.patience_ms / 1000, deadline - time.monotonic())
            time.sleep(max(0.0, min(due - time.monotonic(), left)))
            intake.look_again()
            self._progress(INDEXING, intake.done, len(registered))
        until = min(time.monotonic() + content_seconds, deadline)
        self._read_content({s.id for s in registered}, until, full=full)
        return Summary(len(registered), len(found), intake.changed, late)

    def _read_content(self, store_ids: set[int], until: float, *, full: bool) -> None:
        """Read what the digests of these stores are, after their names are committed."""
        stage = ContentStage(self._writer, self._settings)
        to_read = [store_id for store_id in stage.pending(look=True, even_read=full) if store_id in store_ids]
        number = 0
        while number < len(to_read) and (number == 0 or time.monotonic() < until):
            some = to_read[number : number + GROUP]
            for done in stage.run(some):
                part = min(done * _PARTS * len(some) // (stage.known + 1), _PARTS * len(some) - 1)
                self._progress(READING, number * _PARTS + part, len(to_read) * _PARTS)
                if done and time.monotonic() >= until:
                    return  # each pass gets on, however little time it has
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
    """Register the layouts below `roots` that are not known yet; returns their ids. The last two are as in `discover`.

    `known` are paths of stores, and of what was left out, as of some moment before: whatever is not among them is asked for.
    """

    def unreadable(path: str, error: OSError) -> None:
        reason = error.strerror or str(error)
        text = f"{shown(path)}: cannot be searched for layouts: {reason}"
        report(Notice("unsearchable", text, path=path, error=reason))

    tops = (root.path for root in roots)
    return register(writer, list(unknown_layouts(tops, known, unreadable, on_directory, listings)), report)


def register(writer: Writer, paths: Sequence[str], report: Report) -> list[int]:
    """Register these layouts, found below a root, unless they are known, left out, or their paths too long; returns their ids."""
    paths = [path for path in paths if not is_too_long(path)]  # those are told by the search
    if not paths:
        return []
    registered = writer.write(lambda connection: Registry(connection).discovered(paths, now_ms()))
    for _, path, name in registered:
        if name is not None:
            text = f"{shown(path)}: its name was taken, it is called {shown(name)}"
            report(Notice("name-taken", text, store=name, path=path))
    return [store_id for store_id, _, _ in registered]
