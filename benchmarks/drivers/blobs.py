"""DB: read, hash and parse every blob that the content stage read into DB, store by store. Prints the seconds of processor time."""

from __future__ import annotations

import hashlib
import sqlite3
import sys
import time

from catalog.layout.config import parse_config
from catalog.layout.manifest import parse_manifest

BLOBS = (
    "SELECT store.path, content.digest, content.kind FROM content JOIN store_blob ON store_blob.content_id = content.id"
    " JOIN store ON store.id = store_blob.store_id WHERE content.kind <> 0 ORDER BY store.id"
)


def main(db: str) -> None:
    found = sqlite3.connect(f"file:{db}?mode=ro", uri=True).execute(BLOBS).fetchall()
    blobs = [(f"{path}/blobs/sha256/{digest[7:]}", digest, kind in (1, 2)) for path, digest, kind in found]
    began = time.process_time()
    for path, digest, is_manifest in blobs:
        with open(path, "rb") as file:
            data = file.read()
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            sys.exit(f"{path} is not what its name says")
        parsed: object = parse_manifest(data) if is_manifest else parse_config(data)
        if parsed is None:
            sys.exit(f"{path} is neither a manifest nor a config")
    print(time.process_time() - began)


if __name__ == "__main__":
    main(sys.argv[1])
