"""What a daemon says of itself, in the file that it holds locked (`<catalog>.daemon`), and whether it keeps up.

A dead daemon's file is never believed: its lock is gone with it.
"""

from __future__ import annotations

import json
import time
from typing import Any

from catalog.engine.locks import DAEMON, read_held
from catalog.engine.open import beside
from catalog.names.escape import shown

LATE_SECONDS = 60.0
"""A daemon that did not say anything for so long is late (`ocicat status --check`). With a change waiting, or trouble, it is
after the time that it publishes as `late_after`, which is a setting."""
_LARGEST = 64 << 10
_SAME_MS = 100  # two moments that a daemon says at once, both turned from its own clock
_TRIES = 5
_TRY_SECONDS = 0.005


def encode(values: dict[str, object]) -> bytes:
    """A daemon's state as it is published."""
    return json.dumps(values).encode() + b"\n"


def read_daemon(path: str) -> dict[str, Any] | None:
    """What this machine's daemon of the catalog at `path` published, an empty object where it has not yet; None where none lives.

    Times are milliseconds since 1970, UTC.
    """
    values: object = None
    for _ in range(_TRIES):
        data = read_held(beside(path) + DAEMON, _LARGEST)
        if data is None:
            return None
        try:
            values = json.loads(data)
            break
        except ValueError:
            time.sleep(_TRY_SECONDS)  # it is being written at this moment, or not yet
    return values if isinstance(values, dict) else {}


def watches_advised(needed: int, allowed: int | None) -> str:
    """The kernel's setting for `needed` watches, with room for more.

    Where as many are `allowed` already other programs have the rest.
    """
    number = max(needed * 2, 65536)
    if allowed is not None and number <= allowed:
        number = 2 * allowed
    return f"sysctl fs.inotify.max_user_watches={number}"


def why_late(values: dict[str, Any]) -> str | None:
    """Why a daemon counts as late, or None where it keeps up."""
    now = time.time() * 1000
    beat = values.get("beat")
    if not isinstance(beat, (int, float)) or now - beat > LATE_SECONDS * 1000:
        return "it has not said anything for a minute: it hangs, or the machine is overloaded"
    given = values.get("late_after")
    late = given if isinstance(given, (int, float)) else LATE_SECONDS
    since = values.get("trouble_since")
    if isinstance(since, (int, float)) and now - since > late * 1000:
        return f"it has not been able to go on for more than {late:g} seconds: {values.get('trouble')}"
    oldest = values.get("oldest_waiting")
    if isinstance(oldest, (int, float)) and now - oldest > late * 1000:
        return f"a change has been waiting for more than {late:g} seconds: {_why_waiting(values, oldest)}"
    return None


def _why_waiting(values: dict[str, Any], oldest: float) -> str:
    """The store that waits since `oldest`, and why, as far as the daemon said so."""
    put_off = values.get("put_off")
    for each in put_off if isinstance(put_off, list) else []:
        since = each.get("since") if isinstance(each, dict) else None
        if isinstance(since, (int, float)) and abs(since - oldest) <= _SAME_MS:
            return f"{shown(str(each.get('store')))}: {each.get('why')}"
    return "its file does not stand still, or the catalog is locked"
