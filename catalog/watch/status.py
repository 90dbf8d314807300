"""The state that a daemon publishes in a file that it keeps locked (`<catalog>.daemon`), and whether the daemon keeps up.

The file of a dead daemon is ignored, because its lock is gone.
"""

from __future__ import annotations

import time

from catalog.engine.locks import DAEMON, read_held
from catalog.engine.open import beside
from catalog.names.age import in_seconds
from catalog.names.escape import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LATE_SECONDS = 60.0
"""A daemon that has published nothing for this long is late (`ocicat status --check`). If a change waits or something fails, the daemon
is late after the time that it publishes as `late_after`, which is a setting."""
_LARGEST = 64 << 10
_SAME_MS = 100  # two times of one event may differ by this much, because both are converted from the monotonic clock
_TRIES = 5
_TRY_SECONDS = 0.005


def encode(values: dict[str, object]) -> bytes:
    """Encode a daemon's state for publishing."""
    import json

    return json.dumps(values).encode() + b"\n"


def read_daemon(path: str) -> dict[str, Any] | None:
    """Return the values that this machine's daemon of the catalog at `path` has published, or None if no daemon runs.

    The dict is empty if it has published nothing yet. Times are milliseconds since 1970, UTC.
    """
    values: object = None
    for _ in range(_TRIES):
        data = read_held(beside(path) + DAEMON, _LARGEST)
        if data is None:
            return None
        import json

        try:
            values = json.loads(data)
            break
        except ValueError:
            time.sleep(_TRY_SECONDS)  # The file is being written at this moment.
    return values if isinstance(values, dict) else {}


def watches_advised(needed: int, allowed: int | None) -> str:
    """Return the sysctl setting for `needed` watches, with room for more.

    If that many are `allowed` already, other programs use them, so the advice is twice that limit.
    """
    number = max(needed * 2, 65536)
    if allowed is not None and number <= allowed:
        number = 2 * allowed
    return f"sysctl fs.inotify.max_user_watches={number}"


def kernel_limit(name: str) -> int | None:
    """Return a limit of inotify, such as `max_user_watches`, or None if the kernel does not report it."""
    try:
        with open(f"/proc/sys/fs/inotify/{name}", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def why_late(values: dict[str, Any]) -> str | None:
    """Return why a daemon is late, or None if it keeps up."""
    now = time.time() * 1000
    beat = values.get("beat")
    if not isinstance(beat, (int, float)) or now - beat > LATE_SECONDS * 1000:
        return "it has given no sign of life for a minute: it hangs, or the machine is overloaded"
    given = values.get("late_after")
    late = given if isinstance(given, (int, float)) else LATE_SECONDS
    since = values.get("trouble_since")
    if isinstance(since, (int, float)) and now - since > late * 1000:
        return f"it has been unable to continue for more than {in_seconds(late)}: {values.get('trouble')}"
    oldest = values.get("oldest_waiting")
    if isinstance(oldest, (int, float)) and now - oldest > late * 1000:
        return f"a change has been waiting for more than {in_seconds(late)}: {_why_waiting(values, oldest)}"
    return None


def _why_waiting(values: dict[str, Any], oldest: float) -> str:
    """Return the name of the store that has waited since `oldest`, and why, or a general reason if that is unknown."""
    put_off = values.get("put_off")
    for each in put_off if isinstance(put_off, list) else []:
        since = each.get("since") if isinstance(each, dict) else None
        if isinstance(since, (int, float)) and abs(since - oldest) <= _SAME_MS:
            return f"{shown(str(each.get('store')))}: {each.get('why')}"
    return "its file keeps changing, or the catalog is locked"
