"""Every error type of ocicat, each with the exit status that the command line gives it (docs/scripts.md).

    OcicatError
    ├── UsageError            2  the call is wrong
    │   ├── InvalidReference      a text that is no reference, digest or pattern
    │   ├── UnknownStore          a name or path that is not registered
    │   ├── InvalidDockerfile     a text that BuildKit would refuse, or past a limit
    │   └── RefusedSQL            a statement that does more than read the public views
    ├── NotFound              1  nothing answers
    ├── Ambiguous             3  several digests answer
    └── CatalogUnavailable    4  the catalog cannot serve
        ├── CatalogMissing        there is no catalog yet
        ├── CatalogLocked         somebody else writes, past the time limit
        │   └── CatalogConflict       two hosts got in each other's way: the transaction is to be run again
        ├── CatalogUnreachable    its server does not answer, or does not let us in
        ├── CatalogVersion        made by a newer ocicat, or not upgraded
        ├── NoRoom                its disk is full, or fails
        ├── Exhausted             this process has no file descriptors, or no memory, left
        └── NotInTime             content pending, not settled, past a time limit

A message is one line and says what to do next. Nothing here imports anything: this module is on the way of every answer.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class OcicatError(Exception):
    """Base of all errors that ocicat raises on purpose. `status` is the process's exit status."""

    status = 4


class UsageError(OcicatError):
    """The call is wrong: asking again in the same words cannot help."""

    status = 2


class InvalidReference(UsageError, ValueError):
    """A text that is no reference, no digest and no pattern (docs/resolution.md)."""


class UnknownStore(UsageError):
    """A store or root that is not registered."""


class InvalidDockerfile(UsageError):
    """A text that is no Dockerfile as BuildKit reads it, or one past our limits."""


class RefusedSQL(UsageError):
    """A statement that is no SQL, or does more than read the public views."""


class NotFound(OcicatError):
    """Nothing in the catalog answers. `hint` is a second sentence for a person, or empty."""

    status = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.hint = hint


class Ambiguous(OcicatError):
    """Several digests answer. `candidates` are one line each, at most 20; `total` is how many there are."""

    status = 3

    def __init__(self, message: str, candidates: Sequence[str] = (), total: int = 0) -> None:
        super().__init__(message)
        self.candidates = candidates
        self.total = total


class CatalogUnavailable(OcicatError):
    """The catalog cannot serve: corrupt, no permission, no room, or not in time."""


class CatalogMissing(CatalogUnavailable):
    """There is no catalog at the path."""


class CatalogLocked(CatalogUnavailable):
    """Another process holds the catalog past the time limit."""


class CatalogConflict(CatalogLocked):
    """The server undid a transaction since another host's was in its way: run again, it is likely to pass."""


class CatalogUnreachable(CatalogUnavailable):
    """The server that the catalog is on does not answer, or does not let us in."""


class CatalogVersion(CatalogUnavailable):
    """The catalog's schema is newer than this ocicat reads, or waits for an upgrade."""


class NoRoom(CatalogUnavailable):
    """The disk that the catalog is on is full, or fails: it may be written again once that has passed."""


class Exhausted(CatalogUnavailable):
    """No file descriptors, or no memory, are left for this process: what it could not open says nothing of itself."""


class NotInTime(CatalogUnavailable):
    """The answer exists but not yet: content is pending, a file does not stand still, a time limit has passed."""
