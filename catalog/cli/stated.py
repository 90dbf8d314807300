"""`ocicat status`. Used both by `start`, without click, and by the click command."""

from __future__ import annotations

import sys

from catalog.cli import formats, messages, output
from catalog.cli.limits import ASK_SECONDS, Limits
from catalog.engine.location import catalog_path
from catalog.engine.open import displayed
from catalog.lookup.stores import STATES
from catalog.names.moment import rfc3339
from catalog.watch.status import kernel_limit, read_daemon, watches_advised, why_late

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.cli.answer import Options
    from catalog.engine.interface import Reader

COLUMNS = ("key", "value")


def run_status(options: Options) -> int:
    """Print the status; return the exit status, which with `--check` is 1 if no daemon runs or it is late."""
    with Limits(options.timeout, ASK_SECONDS) as limits:
        return _status(limits.open_reader(catalog_path(options.db)), options.format, check=options.check)


def _status(reader: Reader, format_: str | None, *, check: bool) -> int:
    """Print the status and close the reader; return the exit status."""
    try:
        values, daemon, late = _values(reader)
    finally:
        reader.close()
    if format_ is None and sys.stdout.isatty():
        from catalog.cli.status_page import page
        from catalog.cli.widths import terminal_width

        output.write(page(values, late, terminal_width() or 80))
        return _checked(daemon, late, check=check)
    if format_ in ("json", "jsonl") or (format_ is not None and "{" in format_):
        keys = tuple(values)
        show = formats.open_format("jsonl" if format_ == "json" else format_, keys, keys)
        show.row(values.__getitem__)
    else:
        show = formats.open_format(format_, COLUMNS, COLUMNS, prose=True)
        for key, value in values.items():
            text = _in_words(value) if isinstance(value, list) else value
            show.row({"key": key, "value": text}.__getitem__)
    show.end()
    return _checked(daemon, late, check=check)


def status_object(reader: Reader) -> dict[str, object]:
    """Return the object that `--format json` prints. Raises CatalogUnavailable."""
    return _values(reader)[0]


def _values(reader: Reader) -> tuple[dict[str, object], dict[str, object] | None, str | None]:
    """Return all values, what the daemon has published (None if no daemon runs), and why it is late or absent (None if it is not)."""
    values = _catalog(reader)
    daemon = read_daemon(reader.path)
    late = "no daemon runs" if daemon is None else why_late(daemon)
    values |= _daemon(daemon, late)
    values |= _limits(values, daemon)
    return values, daemon, late


def _checked(daemon: dict[str, object] | None, late: str | None, *, check: bool) -> int:
    """Return the exit status, and report on stderr why it is not 0."""
    if check and late is not None:
        messages.say(f"{late}: start 'ocicat watch'" if daemon is None else late)
        return 1
    return 0


def _catalog(reader: Reader) -> dict[str, object]:
    row = reader.row("SCHEMA_VERSION", {})
    values: dict[str, object] = {
        "catalog": displayed(reader.path),
        "schema": row[0] if row else None,
        "size_bytes": reader.size_bytes(),
    }
    counts = dict.fromkeys(STATES, 0)
    entries = 0
    for store in reader.rows("STORES", {}):
        counts[store[3]] += 1
        entries += store[6]
    values |= {"stores": sum(counts.values()), "entries": entries}
    return values | {f"stores_{state}": count for state, count in counts.items()}


def _daemon(daemon: dict[str, object] | None, late: str | None) -> dict[str, object]:
    published = daemon or {}

    def moment(key: str) -> str | None:
        found = published.get(key)
        return rfc3339(found) if isinstance(found, int) else None

    return {
        "daemon": "none" if daemon is None else "running" if late is None else "late",
        "daemon_pid": published.get("pid"),
        "daemon_since": moment("since"),
        "daemon_last_event": moment("last_event"),
        "daemon_last_sweep": moment("last_sweep"),
        "daemon_waiting": published.get("waiting"),
        "daemon_waiting_since": moment("oldest_waiting"),
        "daemon_lag_seconds": _lag(published),
        "daemon_put_off": _put_off(published),
        "daemon_trouble": published.get("trouble"),
        "daemon_polling": published.get("polling"),
        "daemon_polled": published.get("polled"),
        "daemon_watched": published.get("watched"),
        "daemon_unwatched": published.get("unwatched"),
    }


def _put_off(published: dict[str, object]) -> list[dict[str, object]] | None:
    """Return the stores whose reading is put off, each with the time and the reason, oldest first; None if there are none."""
    found = published.get("put_off")
    stores: list[dict[str, object]] = []
    for each in found if isinstance(found, list) else []:
        if isinstance(each, dict):
            since = each.get("since")
            when = rfc3339(since) if isinstance(since, int) else None
            stores.append({"store": each.get("store"), "since": when, "why": each.get("why")})
    return stores or None


def _in_words(put_off: list[dict[str, object]]) -> str:
    return "; ".join(f"{each['store']}: {each['why']} (since {each['since']})" for each in put_off)


def _lag(published: dict[str, object]) -> float | None:
    """Return for how many seconds the oldest waiting change had waited at the daemon's last heartbeat.

    None if there is no heartbeat, 0 if nothing waits.
    """
    beat, oldest = published.get("beat"), published.get("oldest_waiting")
    if not isinstance(beat, (int, float)):
        return None
    return round(max(0.0, beat - oldest) / 1000, 3) if isinstance(oldest, (int, float)) else 0.0


def _limits(values: dict[str, object], daemon: dict[str, object] | None) -> dict[str, object]:
    """Return the kernel's limit on watches, how many are needed, and advice if that is more than the limit.

    Only sweeps look at a directory without a watch.
    """
    allowed = kernel_limit("max_user_watches")
    stores = values["stores"]
    needed = max(
        stores if isinstance(stores, int) else 0,
        sum(found for key in ("watched", "unwatched") if isinstance(found := (daemon or {}).get(key), int)),
    )
    advice = None
    if (daemon or {}).get("over_limit") or (allowed is not None and needed > allowed):
        advice = watches_advised(needed, allowed)
    return {"max_user_watches": allowed, "watches_needed": needed, "advice": advice}
