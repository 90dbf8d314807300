"""How a terminal lists entries: name, tag, platforms, the size of the image and its age, in units that people read."""

from __future__ import annotations

from catalog.cli.times import relative
from catalog.names.sizes import human

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from catalog.lookup.match import Match

    Get = Callable[[str], object]

COLUMNS = ("store", "name", "tag", "platforms", "size", "created", "digest")
SPARE = ("store", "digest", "platforms", "created", "size")
"""The columns that a narrow terminal lacks, in the order in which they are dropped."""
_HUB = ("docker.io/library/", "docker.io/")
_MOST_PLATFORMS = 3


def cells(match: Match) -> Get:
    """Return a function from the name of a column to the cell of a match, for `Format.row`."""

    def get(column: str) -> object:
        if column == "name":
            return _name(match)
        if column == "platforms":
            return _platforms(match)
        if column == "size":
            size = match.value("total_size")
            return human(size) if isinstance(size, int) else None
        if column == "created":
            return relative(match.value("created"))
        return match.value(column)

    return get


def _name(match: Match) -> str | None:
    """Return the repository as people write it; without a repository or tag, the raw name of the entry, if it has one."""
    repository = match.repository
    if repository is None:
        return None if match.tag is not None else match.ref_name
    for prefix in _HUB:
        if repository.startswith(prefix):
            return repository[len(prefix) :]
    return repository


def _platforms(match: Match) -> str | None:
    found = match.value("platforms")
    if not isinstance(found, list) or not found:
        return None
    more = f" +{len(found) - _MOST_PLATFORMS}" if len(found) > _MOST_PLATFORMS else ""
    return " ".join(found[:_MOST_PLATFORMS]) + more
