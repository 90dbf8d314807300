"""What a transaction leaves behind in the process that ran it: a daemon runs one for each change, for months."""

from __future__ import annotations

import gc

from catalog.ingest.moments import Moment
from tests import writers
from tests.conftest import Catalogue, stamp


def moments() -> list[Moment]:
    """The moments that are in memory."""
    return [each for each in gc.get_objects() if type(each) is Moment]


def test_no_moment_outlives_its_transaction(catalogue: Catalogue) -> None:
    """A moment holds a cursor, and that holds the driver's connection: a file or a socket stayed open for each."""
    path = writers.make_layout("layout")
    catalogue.add(path)
    before = moments()
    for tag in ("1", "2", "3"):
        entry = writers.name_entry(writers.fake_descriptor(tag), "tag", "docker.io/library/app", tag)
        writers.write_index(path, writers.empty_index(entry))
        stamp(f"{path}/index.json")
        catalogue.index()
        assert catalogue.query(f":{tag}")
    gc.collect(1)  # only what is new: to go through all that the tests keep takes a second
    if len(moments()) > len(before):
        gc.collect()
    assert len(moments()) == len(before)
