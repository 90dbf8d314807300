"""What there is to say of a pass or of a daemon: a line for a person, and for a program what happened.

A `Notice` is its line, so whoever takes lines (`Report`) takes it as well; a log that knows more of it reads the rest.
docs/operations.md has a row for each of EVENTS, with the same level.
"""

from __future__ import annotations

from typing import Self

from catalog.names.paths import encode_path

DEBUG, INFO, WARNING, ERROR = "debug", "info", "warning", "error"

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
    "note": WARNING,
}
"""Every event, with its level. A name never changes its meaning; new ones may come."""


class Notice(str):
    """The line `text` of an event of EVENTS. `fields` are its particulars: strings, numbers, None.

    `path` is one as the system gives it: in the fields it stands as the catalog prints it.
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
        """How much it matters: "debug", "info", "warning" or "error"."""
        return EVENTS[self.event]
