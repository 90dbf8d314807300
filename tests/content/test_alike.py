"""The beginning of many digests: manifests below indexes that share it answer as by a plain scan, today and with `--at`."""

from __future__ import annotations

import os
import time
from pathlib import Path

from catalog.lookup.match import Match
from catalog.lookup.resolve import Asking
from catalog.names.query import parse_query
from tests import writers
from tests.conftest import Catalogue
from tests.content.asking import StillContent
from tests.growth.layouts import Layout, layer
from tests.lookup.asking import Options, differences
from tests.oracle import OracleStore


def alike(number: int, ending: str = "") -> writers.Descriptor:
    """A manifest that no store has, whose digest begins like others."""
    digest = f"{'ab' * 6}{number:02}".ljust(62, "0") + (ending or "00")
    return layer("any") | {"digest": f"sha256:{digest}", "mediaType": writers.MANIFEST_TYPE}


def test_the_beginning_of_many_digests(catalogue: Catalogue, tmp_path: Path) -> None:
    stores = []
    for name in ("one", "two"):
        made = Layout(str(tmp_path / name))
        inner = made.index(alike(1), alike(2), alike(2, "ff"))
        outer = made.index(alike(3), inner, alike(1))
        lost = made.index(alike(5))
        for number, each in enumerate((outer, outer, inner, made.index(alike(4), name=name), lost, alike(6))):
            made.add(each, f"app:{number}")
        made.done()
        if name == "two":
            os.unlink(f"{made.path}/blobs/{lost['digest'].replace(':', '/')}")
        catalogue.add(made.path, name=name)
        stores.append(OracleStore(name, made.path))
    common = f"sha256:{'ab' * 6}"
    refs = [common, f"@{common}", f"@{common}0", *(alike(number)["digest"][:-2] for number in range(8))]
    options = [Options(), Options(first=True), Options(store="two"), Options(store="two", first=True)]
    assert differences(catalogue, StillContent(stores), refs, str(tmp_path), options) == []
    said = [[row(match) for match in catalogue.matches(ref)] for ref in refs]
    assert all(said[:3])

    time.sleep(0.01)  # times have milliseconds: `at` must be later than all earlier changes, and earlier than the next
    at = time.time_ns() // 1_000_000
    time.sleep(0.01)
    for store in stores:
        writers.write_index(store.path, writers.empty_index())
    catalogue.index()
    assert all(not match.listed for ref in refs for match in catalogue.matches(ref))
    then = catalogue.reader.at(at)
    assert [[row(match) for match in Asking(then, print).matches(parse_query(ref))] for ref in refs] == said


def row(match: Match) -> tuple[str, str, str, str | None]:
    return match.store, match.digest, match.answered, match.tag
