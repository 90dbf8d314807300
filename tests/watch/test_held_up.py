"""One store must not hold up the others: each kind of hostile store under the daemon, and a good one beside it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.content.layouts import layout, manifest, named, put, write
from tests.ingest.test_long_words import AMD64, WORDS
from tests.watch.harness import Followed, on_both, wait_for


@on_both("catalog")
def test_words_too_long_for_an_index(catalog: Followed) -> None:
    root = catalog.add_root("root")
    good, bad = f"{root}/good", f"{root}/bad"
    for path in (good, bad):
        layout(Path(path))
        write(path, named(manifest(path, AMD64), "app:1"))
    catalog.start()
    image = manifest(bad, AMD64)
    write(bad, *(change(image) for change in WORDS.values()))
    wait_for(lambda: len(json.loads(catalog("check", "--format", "json").out)) >= 5, what=catalog.log)
    other = manifest(good, AMD64, put(good, {"other": 1}) | {"mediaType": "application/x-tar"})
    write(good, named(other, "app:1"))
    wait_for(lambda: catalog.ask("oci-layout://root/good:1").digest == other["digest"], what=catalog.log)
