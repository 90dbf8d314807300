"""`ocicat changes`."""

from __future__ import annotations

import select
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

import click

from catalog.cli import formats, messages, output
from catalog.cli.limits import LIST_SECONDS, Limits
from catalog.cli.main import Globals
from catalog.cli.time_limit import time_limit
from catalog.cli.utc import utc_option
from catalog.engine.interface import Reader
from catalog.engine.location import catalog_path
from catalog.errors import CatalogUnreachable, UsageError
from catalog.lookup.changes import FIELDS, Change, Followed, from_beginning, from_now, from_time, parsed
from catalog.lookup.past import in_stores
from catalog.names.moment import parse_moment, rfc3339

COLUMNS = ("at", "change", "store", "name", "tag", "old", "new")
_SPARE = ("tag",)
_LOOK_SECONDS = 1.0
"""The time between two checks of whether anybody still reads stdout and whether a signal has come."""
_LAST_SECONDS = 1.0
"""After a signal, how long to wait for a reader to take what was printed."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0  # between two attempts to reach a server


@click.command(name="changes")
@click.option(
    "--since", metavar="TIME", help="Only changes since TIME: a time, an age (2h, 3d) or a day (yesterday, tuesday)."
)
@click.option("--cursor", metavar="C", help="Only changes after the one that has this cursor.")
@click.option(
    "--store",
    "stores",
    multiple=True,
    metavar="S",
    help="Only this store: a current or former name, a path or a glob. Repeatable.",
)
@click.option(
    "--follow", is_flag=True, help="Wait for more changes. Without --since or --cursor, begin with the next one."
)
@time_limit(LIST_SECONDS, ", no limit with --follow")
@utc_option
@click.option(
    "--format",
    "format_",
    metavar="F",
    help="table, tsv, csv, json, jsonl or a TEMPLATE. [default with --follow: jsonl]",
)
@click.pass_obj
def command(
    globals_: Globals,
    since: str | None,
    cursor: str | None,
    stores: tuple[str, ...],
    follow: bool,
    timeout: float | None,
    format_: str | None,
) -> int:
    """List what changed, oldest first: names that were added, removed or moved, with the digest before and after.

    Entries without a name are listed by their digests.

    Each JSON object has a cursor. '--cursor C' continues after that change, and repeats or misses none. If retention has already
    removed changes after the cursor, the command reports it and exits with status 2.

    --follow prints each change as soon as the catalog has it, until SIGINT or SIGTERM, or until nobody reads stdout. The daemon
    and 'ocicat index' bring changes into the catalog.
    """
    if since is not None and cursor is not None:
        raise UsageError("--since and --cursor both say where to begin: leave one out")
    if follow and format_ == "json":
        raise UsageError("with --follow, a JSON array would never end: use --format jsonl")
    path = catalog_path(globals_.db)
    where = parsed(cursor) if cursor is not None else None
    moment = None if since is None else parse_moment(since, time.time_ns() // 1_000_000)
    with Limits(timeout, None if follow else LIST_SECONDS) as limits:
        printing = _Printing(format_ or ("jsonl" if follow else None), stores)
        if follow:
            output.unpaged()
            return _Following(limits, path, printing).run(lambda reader: _beginning(reader, where, moment, follow=True))
        reader = limits.open_reader(path)
        try:
            printing.print(reader, _beginning(reader, where, moment, follow=False))
            printing.show.end()
        finally:
            reader.close()
    if not printing.count and sys.stdout.isatty():
        messages.note("nothing has changed" + ("" if since is None and cursor is None else " since then"))
    return 0


def _beginning(reader: Reader, cursor: Followed | None, since: int | None, *, follow: bool) -> Followed:
    """Return the position to begin at; print a note if that is not the first change, because older ones are no longer kept."""
    if cursor is not None:
        return cursor
    if since is not None:
        return from_time(reader, since)
    if follow:
        return from_now(reader)
    found, kept = from_beginning(reader)
    if kept is not None:
        messages.note(f"changes before {rfc3339(kept)} are no longer kept")
    return found


class _Printing:
    """Prints the changes of some or all stores; `count` is the number printed."""

    def __init__(self, format_: str | None, stores: tuple[str, ...]) -> None:
        self.show = formats.open_format(format_, COLUMNS, FIELDS, spare=_SPARE, times=("at",))
        self.count = 0
        self._stores = stores
        self._is_asked: Callable[[Change], bool] | None = None

    def print(self, reader: Reader, followed: Followed, is_over: Callable[[], bool] = lambda: False) -> None:
        """Print the changes that the catalog has now; stop earlier if `is_over` returns true. Raises UnknownStore and UsageError."""
        if self._stores and self._is_asked is None:
            self._is_asked = in_stores(reader, self._stores)
        for change in followed.changes(reader):
            if self._is_asked is None or self._is_asked(change):
                self.count += 1
                self.show.row(change.value)
            if is_over():
                return


class _Ended(KeyboardInterrupt):
    """After a signal, the command did not end in time: nobody reads the output, or the catalog does not answer.

    Like KeyboardInterrupt, this is raised between any two instructions and passes through every layer (engine.postgres.connect.explain).
    """


class _Following:
    """Prints changes as they come, until a signal comes or nobody reads stdout."""

    def __init__(self, limits: Limits, path: str, printing: _Printing) -> None:
        self._limits = limits
        self._path = path
        self._printing = printing
        self._is_over = False

    def run(self, begin: Callable[[Reader], Followed]) -> int:
        """Print changes until SIGINT or SIGTERM, then return 0. Raises Unread if nobody reads stdout, CatalogUnavailable and UsageError."""
        if messages.process.is_ours:
            signal.signal(signal.SIGALRM, _give_up)
            for each in (signal.SIGINT, signal.SIGTERM):
                signal.signal(each, self._end)
        try:
            self._run(begin)
            output.flush()
            signal.setitimer(signal.ITIMER_REAL, 0)
        except _Ended:
            output.drop()
        return 0

    def _run(self, begin: Callable[[Reader], Followed]) -> None:
        reader: Reader | None = self._limits.open_reader(self._path)
        followed: Followed | None = None
        pause = _SHORTEST_PAUSE
        while not self._is_over:
            try:
                if reader is None:
                    reader = self._limits.open_reader(self._path)
                reader.listen()
                followed = followed or begin(reader)
                self._follow(reader, followed)
            except CatalogUnreachable as error:
                if pause == _SHORTEST_PAUSE and not self._is_over:
                    messages.note(f"{error}; waiting for it to come back")
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            finally:
                if reader is not None:
                    reader.close()
                reader = None

    def _follow(self, reader: Reader, followed: Followed) -> None:
        while not self._is_over:
            self._printing.print(reader, followed, lambda: self._is_over)
            self._printing.show.flush()
            if not _is_read():
                raise output.Unread
            if not self._is_over:
                reader.wait_for_change(_LOOK_SECONDS)

    def _end(self, _signal: int, _frame: FrameType | None) -> None:
        """Finish printing the current change and end, without waiting long for somebody to read it."""
        self._is_over = True
        signal.setitimer(signal.ITIMER_REAL, _LAST_SECONDS, _LAST_SECONDS)


def _give_up(_signal: int, _frame: FrameType | None) -> None:
    raise _Ended


def _is_read() -> bool:
    """Return whether anybody may still read stdout: False for a pipe whose other end is closed."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return not poll.poll(0)
    except (OSError, ValueError):  # not a file, as in tests
        return True
