"""An `index.json` that was renamed into place counts at once; one that anybody may still write to does not.

The settling time is ten minutes here, so what is answered within a test did not settle.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.watch.harness import Followed, followed, wait_for
from tests.writers import dump, empty_index, fake_descriptor, make_layout, name_entry, write_index

NEVER_MS = 600_000


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Followed]:
    """A catalog with a daemon that waits for ten minutes, and a store `a` in a root."""
    with followed(tmp_path_factory.mktemp("renamed"), settle_ms=NEVER_MS) as catalog:
        os.mkdir(catalog.path("root"))
        catalog.add_root("root")
        catalog.start("--rescan", "600")
        yield catalog


def text(word: str) -> bytes:
    return dump(empty_index(name_entry(fake_descriptor(word), "tag", "", "t")))


def digest(word: str) -> object:
    return fake_descriptor(word)["digest"]


def replace(store: str, word: str, name: str = "new") -> None:
    Path(f"{store}/{name}").write_bytes(text(word))
    os.replace(f"{store}/{name}", f"{store}/index.json")


def taken(catalog: Followed, store: str) -> object:
    return catalog.ask(f"oci-layout://root/{os.path.basename(store)}:t").digest


def made(catalog: Followed, name: str) -> str:
    """A store that the daemon knows, with nothing in it yet."""
    outside = make_layout(catalog.path(f"outside-{name}"))
    write_index(outside, empty_index())
    store = catalog.path(f"root/{name}")
    os.rename(outside, store)
    wait_for(lambda: any(each["path"] == store for each in catalog.stores().values()))
    return store


def test_renames_count_before_the_settling_time(patient: Followed) -> None:
    store = made(patient, "a")
    for word in ("one", "two", "three"):
        replace(store, word)
        wait_for(lambda word=word: taken(patient, store) == digest(word))  # type: ignore[misc]


def test_what_may_still_be_written_waits(patient: Followed) -> None:
    written, linked, held, plain = (made(patient, name) for name in ("written", "linked", "held", "plain"))
    replace(written, "first")
    with open(f"{written}/index.json", "r+b") as file:
        file.write(text("other"))
    Path(f"{linked}/new").write_bytes(text("first"))
    os.link(f"{linked}/new", patient.path("another-name"))
    os.replace(f"{linked}/new", f"{linked}/index.json")
    with open(f"{held}/new", "wb") as file:
        file.write(text("first"))
        file.flush()
        os.replace(f"{held}/new", f"{held}/index.json")
        for word in ("one", "two", "three"):  # Each takes far longer than any of the others would if it were taken.
            replace(plain, word)
            wait_for(lambda word=word: taken(patient, plain) == digest(word))  # type: ignore[misc]
        for store in (written, linked, held):
            assert taken(patient, store) is None
