"""What a daemon goes by: settings, intervals, and the places that it is to follow (docs/settings.md)."""

from __future__ import annotations

from typing import NamedTuple

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
