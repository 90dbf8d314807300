"""What an intake tells whoever runs it, and asks."""

from __future__ import annotations

from collections.abc import Callable

from catalog.ingest.notice import Notice
from catalog.ingest.store_state import Store
from catalog.layout.files import FileState

Report = Callable[[str], None]
"""Takes a line for a person to read; the line may be a Notice."""


class Listener:
    """Receives everything that an intake does. This one ignores it."""

    def committed(self, seconds: float, lags: list[float]) -> None:
        """Reading and writing a transaction took `seconds`.

        `lags` has an item for each store that changed in it and had been read before: the seconds since its file changed.
        """

    def looked(self, store: Store, file: FileState | None) -> None:
        """The `index.json` of `store` was looked at; `file` is None if there is no file to read."""

    def shares(self, store: Store) -> bool:  # noqa: ARG002
        """Return whether other stores have the same `index.json`, so that a change of one is a change of all."""
        return False

    def heard(self, notice: Notice) -> None:
        """Something happened that is not a problem."""

    def may_read_sooner(self, store: Store, file: FileState, age: float) -> float | None:  # noqa: ARG002
        """Return in how many seconds to look at `store` again because its `file` may count before it has settled, 0 if it counts now.

        It last changed `age` seconds ago. None if it has to settle.
        """
        return None

    def is_held(self, store: Store, file: FileState) -> bool | None:  # noqa: ARG002
        """Return whether somebody has the `index.json` of `store` open for writing; None if events do not tell."""
        return None
