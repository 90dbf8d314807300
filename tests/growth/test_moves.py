"""No question of a past takes more than about four times as long for four times as many moves of a name."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from catalog.errors import OcicatError
from catalog.lookup.past import in_stores, spans, spans_of_digest
from catalog.lookup.resolve import Asking
from catalog.names.query import parse_query
from tests import writers
from tests.conftest import Catalogue, file_of, stamp
from tests.growth.counting import FACTOR
from tests.growth.test_reports import costs
from tests.growth.test_walks import SPARE, steps

SIZES = 20, 80
PASTS = ("app:1", ":1", "app*", ":*", "*", "oci-layout://s:1", "@")


def test_the_past_of_a_name_is_linear(tmp_path: Path, new_sqlite_catalogue: Callable[[str], Catalogue]) -> None:
    counted: list[dict[str, int]] = []
    for size in SIZES:
        path = writers.make_layout(str(tmp_path / f"{size}" / "s"))
        catalogue = new_sqlite_catalogue(str(tmp_path / f"{size}"))
        at = 0
        for number in range(size):
            image = writers.fake_descriptor(str(number))
            entry = writers.name_entry(image, "short", "docker.io/library/app", "1")
            writers.write_index(path, writers.empty_index(entry))
            stamp(f"{path}/index.json")
            if number == 0:
                catalogue.add(path)
            else:
                catalogue.index()
            if number == size // 2:
                at = time.time_ns() // 1_000_000
                time.sleep(0.01)

        def ask(ref: str, catalogue: Catalogue = catalogue, at: int = at) -> None:
            asking = Asking(catalogue.reader.at(at), catalogue.lines.append)
            list(asking.matches(parse_query(ref)))
            with contextlib.suppress(OcicatError):
                asking.resolve(parse_query(ref))

        def told(ref: str, catalogue: Catalogue = catalogue, digest: str = str(image["digest"])) -> None:
            """`ocicat history`."""
            if ref == "@":
                assert len(list(spans_of_digest(catalogue.reader, digest))) == 1
                return
            is_wanted = in_stores(catalogue.reader, ("s",))
            found = [span for span in spans(catalogue.reader, parse_query(ref)) if is_wanted(span)]
            assert [span.digest for span in found if span.until is None] == [digest]

        refs = ("app:1", ":1", "oci-layout://s:1", "app*", f"@{image['digest']}", "*")
        connection = file_of(catalogue.reader)
        found = {ref.partition("@")[0] or "@": steps([connection], lambda ref=ref: ask(ref)) for ref in refs}  # type: ignore[misc]
        found |= {f"history {ref}": steps([connection], lambda ref=ref: told(ref)) for ref in PASTS}  # type: ignore[misc]
        counted.append(found | costs(connection))
        assert catalogue.sql("SELECT count(*) FROM history") == [(size,)]
        catalogue.close()
    small, large = counted
    assert {name: (small[name], large[name]) for name in small if large[name] > small[name] * FACTOR + SPARE} == {}
