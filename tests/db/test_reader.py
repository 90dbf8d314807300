"""A reader of either engine."""

from __future__ import annotations

from catalog.engine.interface import Reader
from catalog.engine.open import open_reader
from tests.conftest import Catalogue


def pruned(reader: Reader) -> str | None:
    row = reader.row("PRUNED", {})
    return None if row is None else row[0]


def test_a_held_state_does_not_change_while_somebody_commits(catalogue: Catalogue) -> None:
    def write(*when: int) -> None:
        with catalogue.writer.transaction() as connection:
            connection.exec_driver_sql("DELETE FROM meta WHERE key = 'pruned_ms'")
            for each in when:
                connection.exec_driver_sql(f"INSERT INTO meta (key, value) VALUES ('pruned_ms', '{each}')")

    reader = open_reader(catalogue.path)
    try:
        write(1)
        reader.hold_state()
        assert pruned(reader) == "1"
        write(2)
        assert pruned(reader) == "1"
        reader.release_state()
        assert pruned(reader) == "2"
    finally:
        reader.close()
        write()
