"""A layout that somebody registers, without reading it yet, while `--fresh` looks: it is waited for all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from catalog.engine.names import Name
from catalog.engine.sqlite.reader import SqliteReader
from catalog.ingest.fresh import make_fresh
from catalog.ingest.registry import Registry
from catalog.lookup.resolve import Asking
from catalog.names.query import parse_query
from tests import writers
from tests.conftest import Catalogue


class Between(SqliteReader):
    """Calls `then` after its statement number `after`; `asked` counts the statements."""

    __slots__ = ("after", "asked", "then")

    def __init__(self, path: str, after: int, then: Callable[[], None]) -> None:
        super().__init__(path)
        self.after, self.then, self.asked = after, then, 0

    def _count(self) -> None:
        self.asked += 1
        if self.asked == self.after:
            self.then()

    def row(self, name: Name, parameters: Mapping[str, object]) -> tuple[Any, ...] | None:
        found = super().row(name, parameters)
        self._count()
        return found

    def rows(self, name: Name, parameters: Mapping[str, object]) -> Iterator[tuple[Any, ...]]:
        found = list(super().rows(name, parameters))
        self._count()
        return iter(found)


@pytest.mark.parametrize("scope", [None, "root/new", "root/n*", "{directory}/root/new"])
def test_what_is_registered_between_two_looks(
    tmp_path: Path, new_sqlite_catalogue: Callable[[str], Catalogue], scope: str | None
) -> None:
    """A daemon registers what it found below a root in one transaction, and reads it in another."""
    after, asked = 1, 1
    while after <= asked:
        directory = tmp_path / str(after)
        (directory / "root").mkdir(parents=True)
        catalogue = new_sqlite_catalogue(str(directory))
        catalogue.add(str(directory / "root"))
        layout = writers.make_layout(str(directory / "root" / "new"))
        entry = writers.name_entry(writers.fake_descriptor("x"), "short", "docker.io/library/app", "v")
        writers.write_index(layout, writers.empty_index(entry))

        def register(catalogue: Catalogue = catalogue, layout: str = layout) -> None:
            with catalogue.writer.transaction() as connection:
                Registry(connection).discovered([layout], 1)

        reader = Between(catalogue.path, after, register)
        query = parse_query("app:v")
        stores = None if scope is None else [scope.format(directory=directory)]
        make_fresh(reader, [query], stores, catalogue.settings, 30)
        asked = reader.asked
        assert Asking(reader, print).resolve(query).digest == entry["digest"], after
        reader.close()
        catalogue.close()
        after += 1
    assert after > 3
