"""The settings of an operator (docs/settings.md): limits, settling, grace, retention and places. docs/resolution.md has the defaults."""

from __future__ import annotations

from typing import NamedTuple

from catalog.layout.list_limits import ListLimits
from catalog.names.keys import Naming

_MS_A_DAY = 86_400_000


class Settings(NamedTuple):
    """The settings of passes and of the daemon. Times are in milliseconds.

    - `limits`: the limits for reading an index.json.
    - `settle_ms`: a change counts when the file has not changed for this long (docs/resolution.md).
    - `patience_ms`: how long a pass waits for files that keep changing.
    - `held_ms`: how long after its last change a file is not read if somebody has it open for writing.
    - `grace_ms`: how long the rows of a missing store are kept, because a file system may be mounted again.
    - `history_ms`: how long ended spans and snapshots are kept.
    """

    limits: ListLimits = ListLimits()
    settle_ms: int = 250
    patience_ms: int = 5_000
    held_ms: int = 60_000
    grace_ms: int = 7 * _MS_A_DAY
    history_ms: int = 180 * _MS_A_DAY


class StoreSettings(NamedTuple):
    """The options given to `add`. An option that was not given is None. An empty string removes a setting that may be empty."""

    name: str | None = None
    naming: Naming | None = None
    prefix: str | None = None
    priority: int | None = None
    shared_blobs: str | None = None
    shared_as: str | None = None
    sparse: bool | None = None

    @property
    def given(self) -> bool:
        """Whether any option except the name was given."""
        return any(value is not None for value in self[1:])


class Place(NamedTuple):
    """A root or store in a configuration: its absolute path, and its settings, like the options of `add`.

    `archives` determines whether layouts in archives below a root are stores; None if it is not set.
    """

    path: str
    is_root: bool
    settings: StoreSettings
    archives: bool | None = None
