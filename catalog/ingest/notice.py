"""Reports of a pass or a daemon: a line for people, with an event and fields for programs.

A `Notice` is a str, so every function that takes lines (`Report`) takes it too. A structured log uses its event and fields.
docs/operations.md has a row for each of EVENTS, with the same level.
"""

from __future__ import annotations

from typing import Self

from catalog.names.paths import encode_path

DEBUG, INFO, WARNING, ERROR = "debug", "info", "warning", "error"
LEVELS = (DEBUG, INFO, WARNING, ERROR)
"""The levels, the lowest first."""

EVENTS = {
    "started": INFO,
    "stopped": INFO,
    "failed": ERROR,
    "listening": INFO,
    "config": INFO,
    "config-refused": ERROR,
    "not-there": WARNING,
    "polling": WARNING,
    "silent": INFO,
    "unwatched": WARNING,
    "overflow": WARNING,
    "swept": DEBUG,
    "store-changed": DEBUG,
    "store-state": WARNING,
    "store-recovered": INFO,
    "store-dropped": INFO,
    "name-taken": WARNING,
    "unsearchable": WARNING,
    "unsettled": WARNING,
    "waiting": WARNING,
    "resumed": INFO,
    "log-lost": WARNING,
    "answerer": INFO,
    "answerer-ended": WARNING,
    "note": WARNING,
}
"""Every event with its level. The meaning of an event never changes; new ones may be added."""


class Notice(str):
    """The line `text` about an event in EVENTS, with `fields` that are strings, numbers or None.

    Pass `path` as the operating system has it; the field contains it as ocicat prints it.
    """

    __slots__ = ("event", "fields")
    event: str
    fields: dict[str, object]

    def __new__(cls, event: str, text: str, **fields: object) -> Self:
        made = super().__new__(cls, text)
        path = fields.get("path")
        made.event = event
        made.fields = fields | ({"path": encode_path(path)[0]} if isinstance(path, str) else {})
        return made

    @property
    def level(self) -> str:
        """The level of the event: "debug", "info", "warning" or "error"."""
        return EVENTS[self.event]
