"""DB: run the content stage over every store that waits for it, in this process. Prints the seconds of processor time."""

from __future__ import annotations

import sys
import time

from catalog.engine.sqlite.writer import SqliteWriter
from catalog.ingest.content import ContentStage
from catalog.ingest.settings import Settings


def main(db: str) -> None:
    writer = SqliteWriter(db)
    began = time.process_time()
    stage = ContentStage(writer, Settings())
    for _ in stage.run(stage.pending()):
        pass
    writer.close()
    print(time.process_time() - began)


if __name__ == "__main__":
    main(sys.argv[1])
