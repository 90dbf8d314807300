"""SOURCE TARGET PARSER: do the least that the names stage has to do. Prints the seconds of parsing and those of inserting.

SOURCE is a catalog of names, and TARGET the same catalog before the names were read. For each 500 stores or 50,000 entries, PARSER
("msgspec", or "ijson" for a large file) parses their files, and executemany inserts the rows that SOURCE has for them into the same
tables, in one transaction. Reading these rows from SOURCE is not measured, and foreign keys are not checked.
"""

from __future__ import annotations

import gc
import sqlite3
import sys
import time
from collections.abc import Iterator

import ijson  # type: ignore[import-untyped]
import msgspec

BATCH_STORES, BATCH_ENTRIES = 500, 50_000

DICTIONARIES = ("media_type", "annotation_key", "platform")
BY_STORE = {
    "repository": "SELECT * FROM repository WHERE id IN (SELECT repository_id FROM name WHERE store_id BETWEEN ? AND ?)",
    "content": "SELECT * FROM content WHERE id IN (SELECT content_id FROM entry WHERE store_id BETWEEN ? AND ?)",
    "entry": "SELECT * FROM entry WHERE store_id BETWEEN ? AND ? ORDER BY id",
    "name": "SELECT * FROM name WHERE store_id BETWEEN ? AND ? ORDER BY id",
    "entry_annotation": "SELECT entry_annotation.* FROM entry JOIN entry_annotation ON entry_id = entry.id"
    " WHERE store_id BETWEEN ? AND ? ORDER BY entry_id, key_id",
    "snapshot": "SELECT * FROM snapshot WHERE store_id BETWEEN ? AND ?",
}
SET = (
    "state", "error", "state_since", "layout_version", "file_identity", "sha256", "keyed_by", "elements", "entries",
    "generation", "indexed_at", "changed_at", "content_pending", "first_at",
)  # fmt: skip


class Descriptor(msgspec.Struct, gc=False, rename="camel"):
    digest: str
    media_type: str = ""
    size: int = 0
    annotations: dict[str, str] | None = None


class Index(msgspec.Struct, gc=False):
    manifests: list[Descriptor]


def main(source_path: str, target_path: str, parser: str) -> None:
    gc.disable()
    source = sqlite3.connect(f"file:{source_path}?mode=ro", uri=True)
    target = sqlite3.connect(target_path, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
        target.execute(f"PRAGMA {pragma}")
    decode = msgspec.json.Decoder(Index).decode
    parsing = inserting = 0.0
    known: dict[str, set[int]] = {"repository": set(), "content": set()}
    dictionaries = {table: source.execute(f"SELECT * FROM {table}").fetchall() for table in DICTIONARIES}
    for first, last, paths in batches(source):
        began = time.perf_counter()
        for path in paths:
            with open(f"{path}/index.json", "rb") as file:
                if parser == "ijson":
                    for _ in ijson.basic_parse(file):
                        pass
                else:
                    decode(file.read())
        parsing += time.perf_counter() - began
        rows = dictionaries | {
            table: source.execute(text, (first, last)).fetchall() for table, text in BY_STORE.items()
        }
        dictionaries = {}
        for table, seen in known.items():
            rows[table] = [row for row in rows[table] if row[0] not in seen]
            seen.update(row[0] for row in rows[table])
        stores = source.execute(f"SELECT {', '.join(SET)}, id FROM store WHERE id BETWEEN ? AND ?", (first, last))
        stores_now = stores.fetchall()
        began = time.perf_counter()
        target.execute("BEGIN IMMEDIATE")
        for table, some in rows.items():
            if some:
                target.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * len(some[0]))})", some)
        target.executemany(f"UPDATE store SET {', '.join(f'{c} = ?' for c in SET)} WHERE id = ?", stores_now)
        target.execute("COMMIT")
        inserting += time.perf_counter() - began
    began = time.perf_counter()
    target.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    target.close()
    print(parsing, inserting + time.perf_counter() - began)


def batches(source: sqlite3.Connection) -> Iterator[tuple[int, int, list[str]]]:
    """Yield batches of stores: their first and last id, and their paths."""
    paths: list[str] = []
    first = last = entries = 0
    for number, path, more in source.execute("SELECT id, path, entries FROM store ORDER BY id").fetchall():
        first = first or number
        last = number
        paths.append(path)
        entries += more
        if len(paths) >= BATCH_STORES or entries >= BATCH_ENTRIES:
            yield first, last, paths
            first, entries, paths = 0, 0, []
    if paths:
        yield first, last, paths


if __name__ == "__main__":
    main(*sys.argv[1:])
