"""The log of a daemon on stderr: lines of text for a person, or one JSON object per line for a program (docs/operations.md)."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from catalog.cli import messages
from catalog.errors import OcicatError
from catalog.ingest.notice import DEBUG, ERROR, INFO, WARNING, Notice
from catalog.watch.configuration import JSON


class Log:
    """Writes lines and notices; it is a `Report`. `json` selects the format."""

    def __init__(self, *, json: bool) -> None:
        self.json = json

    def __call__(self, line: str) -> None:
        level = line.level if isinstance(line, Notice) else WARNING
        if (level == DEBUG and not messages.volume.verbose) or (level == INFO and messages.volume.quiet):
            return
        if not self.json:
            messages.say(line)
            return
        event, fields = (line.event, line.fields) if isinstance(line, Notice) else ("note", {})
        self._write(level, event, line, fields)

    def follow(self, log_format: str) -> None:
        """Switch to the format that a newly read configuration names."""
        self.json = log_format == JSON

    def lost(self, count: int) -> str:
        """Return a line that says that `count` lines were dropped because nothing read the log."""
        notice = Notice("log-lost", f"{count} lines were dropped here because nothing read the log", lines=count)
        return self._line(notice.level, notice.event, notice, notice.fields) if self.json else f"ocicat: {notice}\n"

    def fail(self, error: Exception) -> int:
        """Log why the daemon ends; return the exit status."""
        if isinstance(error, OSError | MemoryError):
            error = messages.out_of(error) or error
        if not self.json:
            return messages.fail(error) if isinstance(error, OcicatError) else messages.defect(error)
        status = error.status if isinstance(error, OcicatError) else messages.INTERNAL
        kind = {} if isinstance(error, OcicatError) else {"defect": type(error).__name__}
        self._write(ERROR, "failed", str(error), {"status": status, **kind})
        messages.trace(error)
        return status

    def _write(self, level: str, event: str, message: str, fields: dict[str, object]) -> None:
        messages.write(self._line(level, event, message, fields))

    @staticmethod
    def _line(level: str, event: str, message: str, fields: dict[str, object]) -> str:
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"time": time, "level": level, "event": event, "message": message, **fields}
        line = {key: _valid(value) for key, value in line.items()}
        # json.dumps escapes everything outside ASCII, so nothing reaches a terminal raw.
        return json.dumps(line, separators=(",", ":"), default=str) + "\n"


def _valid(value: object) -> object:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
