"""What is measured on: layouts of many names, by tests/writers."""

from __future__ import annotations

from typing import NamedTuple

from tests import writers


class Big(NamedTuple):
    """A layout, and the last name in its list: canonical, as every tool can be asked for it."""

    path: str
    names: int
    last: str


def big(path: str, names: int) -> Big:
    """A layout of `names` canonical names, a digest each. The last one has its blobs, so that skopeo can show it."""
    writers.make_layout(path)
    entries = list(writers.big_entries(names - 1, mix=False))
    entries.append(writers.name_entry(writers.make_image(path, "last"), "canonical", "docker.io/library/last", "1.0"))
    writers.write_index(path, writers.empty_index(*entries))
    return Big(path, names, "docker.io/library/last:1.0")


def move_last_tag(layout: Big, number: int) -> None:
    """The last name points to another digest, as skopeo would write it."""
    index = writers.read_index(layout.path)
    index["manifests"][-1] = writers.name_entry(
        writers.make_image(layout.path, f"last-{number}"), "canonical", "docker.io/library/last", "1.0"
    )
    writers.write_index(layout.path, index)
