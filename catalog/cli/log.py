"""The log of a daemon on stderr: lines of text for a person, or one JSON object per line for a program (docs/operations.md)."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

from catalog.cli import messages
from catalog.cli.colour import BAD, is_coloured, paint
from catalog.errors import OcicatError
from catalog.ingest.notice import DEBUG, ERROR, INFO, LEVELS, WARNING, Notice
from catalog.names.sizes import counted
from catalog.watch.configuration import JSON, Configuration


class Log:
    """Writes lines and notices; it is a `Report` (catalog.ingest.listener).

    `given_format` and `given_level` are the options of the command line, or None. The level overrides that of the configuration;
    the caller of `follow` puts the format into the configuration.
    """

    def __init__(self, given_format: str | None = None, given_level: str | None = None) -> None:
        short = DEBUG if messages.volume.verbose else WARNING if messages.volume.quiet else None
        self._given_level = given_level or short
        self._json = given_format == JSON
        self._least = LEVELS.index(self._given_level or INFO)
        self._has_started = False

    def __call__(self, line: str) -> None:
        event, fields = (line.event, line.fields) if isinstance(line, Notice) else ("note", {})
        self._has_started = self._has_started or event == "started"
        self._write(line.level if isinstance(line, Notice) else WARNING, event, line, fields)

    def follow(self, configuration: Configuration) -> None:
        """Use the format and the level of a newly read configuration."""
        self._json = configuration.log_format == JSON
        self._least = LEVELS.index(self._given_level or configuration.log_level)

    def lost(self, count: int) -> str:
        """Return a line that says that `count` lines were dropped because nothing read the log."""
        notice = Notice(
            "log-lost",
            f"{counted(count, 'line was', 'lines were')} dropped here because nothing read the log",
            lines=count,
        )
        return self._line(notice.level, notice.event, notice, notice.fields)

    def fail(self, error: Exception) -> int:
        """Log why the daemon ends or cannot start; return the exit status.

        In the text format, a failed start is reported like the error of any other command.
        """
        if isinstance(error, OSError | MemoryError):
            error = messages.out_of(error) or error
        if not self._json and not self._has_started:
            return messages.fail(error) if isinstance(error, OcicatError) else messages.defect(error)
        is_ours = isinstance(error, OcicatError)
        status = error.status if isinstance(error, OcicatError) else messages.INTERNAL
        kind = {} if is_ours else {"defect": type(error).__name__}
        text = str(error) if is_ours or self._json else messages.bug(error)
        self._write(ERROR, "failed", text, {"status": status, **kind})
        messages.trace(error)
        return status

    def _write(self, level: str, event: str, message: str, fields: dict[str, object]) -> None:
        if LEVELS.index(level) >= self._least:
            messages.write(self._line(level, event, message, fields))

    def _line(self, level: str, event: str, message: str, fields: dict[str, object]) -> str:
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if not self._json:
            return f"{time} {_painted(level)} {messages.plain(message)}\n"
        line = {"time": time, "level": level, "event": event, "message": message, **fields}
        line = {key: _valid(value) for key, value in line.items()}
        # json.dumps escapes everything outside ASCII, so nothing reaches a terminal raw.
        return json.dumps(line, separators=(",", ":"), default=str) + "\n"


def _painted(level: str) -> str:
    word = f"{level}:"
    return paint(word, BAD) if level == ERROR and is_coloured(sys.stderr) else word


def _valid(value: object) -> object:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
