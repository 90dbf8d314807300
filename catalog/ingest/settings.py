"""What an operator may set (docs/settings.md): limits, settling, grace and retention. Defaults are docs/resolution.md's."""

from __future__ import annotations

from typing import NamedTuple

from catalog.layout.index import Limits

_MS_A_DAY = 86_400_000


class Settings(NamedTuple):
    """`limits` bound what is read of an index.json; times are in milliseconds.

    - `settle_ms`: a change counts when the file has stood still for so long (docs/resolution.md).
    - `patience_ms`: for so long a pass waits for files that do not stand still.
    - `held_ms`: so long after its last change a file that somebody keeps open for writing is waited for.
    - `grace_ms`: so long the rows of a store that is gone are kept; a mount may come back.
    - `history_ms`: so long closed spans and snapshots are kept.
    """

    limits: Limits = Limits()
    settle_ms: int = 250
    patience_ms: int = 5_000
    held_ms: int = 60_000
    grace_ms: int = 7 * _MS_A_DAY
    history_ms: int = 180 * _MS_A_DAY
