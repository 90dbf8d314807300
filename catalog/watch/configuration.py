"""The daemon's configuration: settings, intervals, and the places to follow (docs/settings.md). On SIGHUP, it is read again."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from catalog.engine.interface import Writer
from catalog.errors import UsageError
from catalog.ingest.listener import Report
from catalog.ingest.notice import INFO, Notice
from catalog.ingest.places import not_there, now_there, register_places
from catalog.ingest.settings import Place, Settings
from catalog.watch.status import LATE_SECONDS

TEXT, JSON = FORMATS = ("text", "json")
"""The formats of the log."""


class Configuration(NamedTuple):
    """The configuration of a daemon. Times are in seconds.

    - `rescan`: the time between two sweeps.
    - `poll`: the time between two sweeps without events; None means that events are used.
    - `silent`: the time between two checks of directories on file systems without events.
    - `reread`: within this time, each store is read once even if it looks unchanged.
    - `late`: if a change waits longer than this, the daemon reports that and counts as late.
    - `places`: roots and stores to register.
    - `metrics`: the address to listen at for scrapes (`HOST:PORT`); None disables it.
    - `answer`: whether to keep an answerer running (`ocicat answer`).
    - `log_format`: TEXT or JSON.
    - `log_level`: the lowest of LEVELS that is logged.
    """

    settings: Settings = Settings()
    rescan: float = 30.0
    poll: float | None = None
    silent: float = 5.0
    reread: float = 86_400.0
    late: float = LATE_SECONDS
    places: tuple[Place, ...] = ()
    metrics: str | None = None
    answer: bool = False
    log_format: str = TEXT
    log_level: str = INFO

    @property
    def interval(self) -> float:
        """The time between two sweeps, with or without events."""
        return self.rescan if self.poll is None else self.poll


Read = Callable[[], Configuration]
"""A function that reads the configuration. Raises UsageError."""


class Configured:
    """Keeps the current configuration in `now`; `read` reads it. Raises UsageError if the first configuration is wrong."""

    def __init__(self, read: Read, report: Report) -> None:
        self._read = read
        self._report = report
        self.now = read()
        self._due: list[Place] | None = list(self.now.places)  # None means that nothing is due.
        self._absent: list[Place] = []
        self._is_first = True

    def read_again(self) -> None:
        """Read the configuration again. If it is wrong, keep the old one and report that."""
        try:
            found = self._read()
        except UsageError as error:
            self._refuse(error)
            return
        if found.metrics != self.now.metrics:
            text = "the configuration was read again; the new address for metrics takes effect at the next start"
        else:
            text = "the configuration was read again"
        self.now = found
        self._due = list(found.places)
        self._report(Notice("config", text))

    def look(self) -> None:
        """Check whether places that were absent exist now."""
        if self._due is None and now_there(self._absent):
            self._due = self._absent

    def register(self, writer: Writer) -> None:
        """Register the places that are due. A wrong place raises UsageError the first time, and is only reported after that."""
        if self._due is None:
            return
        before = self._absent
        try:
            self._absent = register_places(writer, self._due)
        except UsageError as error:
            if self._is_first:
                raise
            self._refuse(error)
            self._absent = []
        self._due = None
        self._is_first = False
        for place in self._absent:
            if place not in before:
                self._report(not_there(place))

    def _refuse(self, error: UsageError) -> None:
        self._report(Notice("config-refused", f"{error}; the old configuration stays in effect", error=str(error)))
