"""`ocicat status` on a terminal: a page for a person. A pipe gets keys and values."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping

from catalog.cli.times import relative
from catalog.lookup.stores import STATES
from catalog.names.age import in_seconds
from catalog.names.escape import escape
from catalog.names.sizes import counted, human

_LABEL = 10


def page(values: Mapping[str, object], late: str | None, width: int) -> str:
    """Return the page, `width` columns wide; `values` is the object of `status`.

    `late` says why the daemon is late, or that none runs.
    """
    lines: list[str] = []
    for label, text in _lines(values, late):
        pieces = textwrap.wrap(text, max(width - _LABEL, _LABEL), break_on_hyphens=False)
        lines += [f"{label if not number else '':<{_LABEL}}{piece}\n" for number, piece in enumerate(pieces)]
    return "".join(lines)


def _lines(values: Mapping[str, object], late: str | None) -> Iterator[tuple[str, str]]:
    size = values["size_bytes"]
    shown_size = human(size) if isinstance(size, int) else "?"
    yield "Catalog", f"{escape(str(values['catalog']))} ({shown_size}, schema {values['schema']})"
    states = [f"{values[f'stores_{state}']:,} {state}" for state in STATES if values[f"stores_{state}"]]
    yield "Stores", f"{values['stores']:,}" + (f": {', '.join(states)}" if states else ": 'ocicat add PATH' adds one")
    if any(values[f"stores_{state}"] for state in STATES[2:]):
        yield "", "'ocicat stores --state invalid --state unreadable --state missing' lists the stores in trouble"
    yield "Entries", f"{values['entries']:,}"
    if values["daemon"] == "none":
        yield "Daemon", "none runs: start 'ocicat watch', or bring the catalog up to date with 'ocicat index'"
    else:
        yield from _daemon(values, late)
    for store in _listed(values["daemon_put_off"]):
        yield "Put off", escape(f"{store.get('store')}: {store.get('why')} (since {_ago(store.get('since'))})")
    if values["daemon_trouble"]:
        yield "Trouble", escape(str(values["daemon_trouble"]))
    if values["advice"]:
        yield "Advice", escape(str(values["advice"]))


def _daemon(values: Mapping[str, object], late: str | None) -> Iterator[tuple[str, str]]:
    yield "Daemon", f"{values['daemon']} (pid {values['daemon_pid']}, since {_ago(values['daemon_since'])})"
    if late:
        yield "", escape(late)
    yield "", f"last change {_ago(values['daemon_last_event'])}, last sweep {_ago(values['daemon_last_sweep'])}"
    waiting = values["daemon_waiting"]
    if isinstance(waiting, int) and waiting:
        yield "Waiting", f"{counted(waiting, 'store')}, the oldest since {_ago(values['daemon_waiting_since'])}"
    lag = values["daemon_lag_seconds"]
    if isinstance(lag, int | float) and lag:
        yield "Lag", in_seconds(lag)


def _ago(moment: object) -> str:
    return str(relative(moment)) if isinstance(moment, str) else "never"


def _listed(found: object) -> list[dict[str, object]]:
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
