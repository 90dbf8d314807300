"""The interface through which an intake reports to its caller, and asks the caller for decisions and facts."""

from __future__ import annotations

from collections.abc import Callable

from catalog.ingest.notice import Notice
from catalog.ingest.store_state import Store
from catalog.layout.files import FileState

Report = Callable[[str], None]
"""A function that takes a line for a person to read. The line may be a Notice."""


class Listener:
    """Receives reports of everything that an intake does. This base class ignores them."""

    def committed(self, seconds: float, lags: list[float]) -> None:
        """Called after a commit. Reading and writing the transaction took `seconds`.

        `lags` has an item for each store that changed in it and had been read before: the seconds since its file changed.
        """

    def looked(self, store: Store, file: FileState | None) -> None:
        """Called after a check of the `index.json` of `store`. `file` is None if there is no file to read."""

    def shares(self, store: Store) -> bool:  # noqa: ARG002
        """Return whether other stores share the same `index.json` file, so that a change of one is a change of all."""
        return False

    def heard(self, notice: Notice) -> None:
        """Called when something happened that is not a problem."""

    def may_read_sooner(self, store: Store, file: FileState, age: float) -> float | None:  # noqa: ARG002
        """Return after how many seconds to check `store` again because its `file` may count before it has settled.

        The file last changed `age` seconds ago. Returns 0 if it counts now, or None if it has to settle.
        """
        return None

    def is_held(self, store: Store, file: FileState) -> bool | None:  # noqa: ARG002
        """Return whether somebody has the `index.json` of `store` open for writing, or None if events do not show it."""
        return None
