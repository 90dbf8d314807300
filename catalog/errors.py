"""Every error type of ocicat, each with the exit status that the command line gives it (docs/scripts.md).

    OcicatError
    ├── UsageError            2  the command or call is wrong
    │   ├── InvalidReference      not a reference, digest or pattern
    │   ├── UnknownStore          a name or path that is not registered
    │   ├── InvalidDockerfile     a Dockerfile that BuildKit would refuse, or that exceeds a limit
    │   └── RefusedSQL            not SQL, or a statement that does more than read the public views
    ├── NotFound              1  nothing matches
    ├── Ambiguous             3  several digests match
    ├── Incomplete            4  a blob of an image is in no store, or it is unknown what the image needs
    └── CatalogUnavailable    4  the catalog cannot be used
        ├── CatalogMissing        there is no catalog
        ├── CatalogLocked         another process was writing until the time limit
        │   └── CatalogConflict       the server aborted the transaction because of another host: run it again
        ├── CatalogUnreachable    its server does not answer, or refuses access
        ├── CatalogVersion        made by a newer ocicat, or not upgraded
        ├── NoRoom                its disk is full or failing
        ├── Exhausted             this process has no file descriptors or no memory left
        └── NotInTime             content is pending, a file has not settled, or a time limit has passed

A message is one line and says what to do next. This module imports nothing, because every answer loads it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class OcicatError(Exception):
    """Base of all errors that ocicat raises on purpose. `status` is the process's exit status."""

    status = 4


class UsageError(OcicatError):
    """The command or call is wrong; repeating it cannot help."""

    status = 2


class InvalidReference(UsageError, ValueError):
    """The text is not a reference, digest or pattern (docs/resolution.md)."""


class UnknownStore(UsageError):
    """The store or root is not registered. `is_layout` is true if there is a layout at the given path."""

    def __init__(self, message: str, *, is_layout: bool = False) -> None:
        super().__init__(message)
        self.is_layout = is_layout


class InvalidDockerfile(UsageError):
    """The text is not a Dockerfile that BuildKit accepts, or it exceeds a limit of ocicat."""


class RefusedSQL(UsageError):
    """The statement is not SQL, or does more than read the public views."""


class NotFound(OcicatError):
    """Nothing in the catalog matches. `hint` is advice for a person, or ""."""

    status = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.hint = hint


class Ambiguous(OcicatError):
    """Several digests match. `candidates` lists at most 20 of them, one line each; `total` is their number."""

    status = 3

    def __init__(self, message: str, candidates: Sequence[str] = (), total: int = 0) -> None:
        super().__init__(message)
        self.candidates = candidates
        self.total = total


class Incomplete(OcicatError):
    """A blob that an image needs is in no store, or it is unknown what the image needs."""


class CatalogUnavailable(OcicatError):
    """The catalog cannot be used: it is corrupt, or there is no permission, no room or not enough time."""


class CatalogMissing(CatalogUnavailable):
    """There is no catalog at the path."""


class CatalogLocked(CatalogUnavailable):
    """Another process was writing to the catalog until the time limit."""


class CatalogConflict(CatalogLocked):
    """The server aborted the transaction because of another host's transaction. It will probably succeed if run again."""


class CatalogUnreachable(CatalogUnavailable):
    """The server of the catalog does not answer, or refuses access."""


class CatalogVersion(CatalogUnavailable):
    """The catalog's schema is newer than this ocicat supports, or has to be upgraded first."""


class NoRoom(CatalogUnavailable):
    """The disk of the catalog is full or failing. Writing may succeed once that is resolved."""


class Exhausted(CatalogUnavailable):
    """The process has no file descriptors or no memory left, so the file that it could not open is not to blame."""


class NotInTime(CatalogUnavailable):
    """There is no answer yet: content is pending, a file has not settled, or a time limit has passed."""
