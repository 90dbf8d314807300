"""A daemon's configuration: settings, intervals and the places to follow (docs/settings.md). Read again on SIGHUP."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from catalog.engine.interface import Writer
from catalog.errors import UsageError
from catalog.ingest.listener import Report
from catalog.ingest.notice import Notice
from catalog.ingest.places import not_there, now_there, register_places
from catalog.ingest.settings import Place, Settings
from catalog.watch.status import LATE_SECONDS

TEXT, JSON = "text", "json"


class Configuration(NamedTuple):
    """Times are in seconds.

    - `rescan`: between two sweeps.
    - `poll`: between two sweeps without events; None: with events.
    - `silent`: between two looks at directories on file systems that tell of no changes.
    - `reread`: each store is read once in so long although it looks unchanged.
    - `late`: a change that waits for longer is told of, and the daemon is late.
    - `places`: roots and stores to register.
    - `metrics`: where to listen for scrapes (`HOST:PORT`), None for nowhere.
    - `log_format`: TEXT or JSON.
    """

    settings: Settings = Settings()
    rescan: float = 30.0
    poll: float | None = None
    silent: float = 5.0
    reread: float = 86_400.0
    late: float = LATE_SECONDS
    places: tuple[Place, ...] = ()
    metrics: str | None = None
    log_format: str = TEXT

    @property
    def interval(self) -> float:
        """Between two sweeps, whichever way."""
        return self.rescan if self.poll is None else self.poll


Read = Callable[[], Configuration]
"""Reads the configuration; raises UsageError."""


class Configured:
    """`now` is the configuration that holds; `read` reads it. Raises UsageError where the first one is wrong."""

    def __init__(self, read: Read, report: Report) -> None:
        self._read = read
        self._report = report
        self.now = read()
        self._due: list[Place] | None = list(self.now.places)  # None: none
        self._absent: list[Place] = []
        self._is_first = True

    def read_again(self) -> None:
        """Take what the file says now. Where it is wrong, what held before holds on, and a line says so."""
        try:
            found = self._read()
        except UsageError as error:
            self._refuse(error)
            return
        if found.metrics != self.now.metrics:
            text = "the configuration is read again; another address for metrics counts from the next start on"
        else:
            text = "the configuration is read again"
        self.now = found
        self._due = list(found.places)
        self._report(Notice("config", text))

    def look(self) -> None:
        """Notice the places that are there now and were not."""
        if self._due is None and now_there(self._absent):
            self._due = self._absent

    def register(self, writer: Writer) -> None:
        """Register the places that are due. Raises UsageError at the first time, when a wrong one ends the start."""
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
        self._report(Notice("config-refused", f"{error}; what held before holds on", error=str(error)))
