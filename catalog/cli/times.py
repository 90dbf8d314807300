"""Format times for a terminal: relative or local; with `--utc`, RFC 3339 in UTC as in all other output."""

from __future__ import annotations

import time

from catalog.names.age import ago


class _Chosen:
    is_utc = False


chosen = _Chosen()
"""The value of --utc."""


def relative(moment: object) -> object:
    """Return an RFC 3339 time as an age (`3 weeks ago`). With --utc, or if `moment` is not a string, return it unchanged."""
    return moment if chosen.is_utc or not isinstance(moment, str) else ago(moment, time.time())


def local(moment: object) -> object:
    """Return an RFC 3339 time in the local zone, as `--at` takes it (`2026-01-31 12:00:00.000`).

    With --utc, or if `moment` is not a string, return it unchanged.
    """
    if chosen.is_utc or not isinstance(moment, str):
        return moment
    from datetime import datetime

    try:
        found = datetime.fromisoformat(moment).astimezone()
    except OverflowError:  # within hours of the first or last time that datetime can express
        return moment
    return found.replace(tzinfo=None).isoformat(" ", "milliseconds")
