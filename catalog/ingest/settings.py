"""What an operator may set (docs/settings.md): limits, settling, grace, retention and places. Defaults are docs/resolution.md's."""

from __future__ import annotations

from typing import NamedTuple

from catalog.layout.index import ListLimits
from catalog.names.keys import Naming

_MS_A_DAY = 86_400_000


class Settings(NamedTuple):
    """`limits` bound what is read of an index.json; times are in milliseconds.

    - `settle_ms`: a change counts when the file has stood still for so long (docs/resolution.md).
    - `patience_ms`: for so long a pass waits for files that do not stand still.
    - `held_ms`: so long after its last change a file that somebody keeps open for writing is waited for.
    - `grace_ms`: so long the rows of a store that is gone are kept; a mount may come back.
    - `history_ms`: so long closed spans and snapshots are kept.
    """

    limits: ListLimits = ListLimits()
    settle_ms: int = 250
    patience_ms: int = 5_000
    held_ms: int = 60_000
    grace_ms: int = 7 * _MS_A_DAY
    history_ms: int = 180 * _MS_A_DAY


class StoreSettings(NamedTuple):
    """What `add` was given; None where it was not. An empty text, of those that may be, takes away what there was."""

    name: str | None = None
    naming: Naming | None = None
    prefix: str | None = None
    priority: int | None = None
    shared_blobs: str | None = None
    shared_as: str | None = None
    sparse: bool | None = None

    @property
    def given(self) -> bool:
        """Whether there is anything but a name."""
        return any(value is not None for value in self[1:])


class Place(NamedTuple):
    """A root or store that a configuration names, by its absolute path, and what `add` would be given with it."""

    path: str
    is_root: bool
    settings: StoreSettings
