"""DB KEYS: run the statement of a plain `resolve` for each line of KEYS, with the sqlite3 module and nothing else."""

from __future__ import annotations

import sqlite3
import sys

from catalog.engine.sqlite.frozen import STATEMENTS


def main(db: str, keys: str) -> None:
    connection = sqlite3.connect(f"file:{db}?mode=ro", uri=True, isolation_level=None)
    with open(keys, encoding="utf-8") as file:
        names = file.read().split()
    execute = connection.execute
    statement = STATEMENTS["ANSWERS_BY_NAME"]
    for name in names:
        execute(statement, {"name": name}).fetchall()


if __name__ == "__main__":
    main(*sys.argv[1:])
