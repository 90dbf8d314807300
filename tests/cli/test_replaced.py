"""If a catalog is replaced or deleted while it is open, an error says so, and the old file gives no more answers."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog import Catalog
from catalog.errors import CatalogUnavailable
from tests.cli.program import called
from tests.forking import CLEAN, OCICAT
from tests.writers import empty_index, fake_descriptor, make_layout, name_entry, write_index


@pytest.fixture
def db(tmp_path: Path) -> str:
    layout = make_layout(str(tmp_path / "a"))
    write_index(layout, empty_index(name_entry(fake_descriptor("a"), "canonical", "docker.io/acme/app", "1")))
    path = str(tmp_path / "c.db")
    assert called("add", layout, db=path).status == 0
    return path


def replace(db: str) -> None:
    shutil.copyfile(db, db + ".new")
    os.replace(db + ".new", db)


def delete(db: str) -> None:
    for end in ("", "-wal", "-shm"):
        os.unlink(db + end)


HARM: dict[str, Callable[[str], None]] = {"replaced": replace, "deleted": delete}


@pytest.mark.parametrize("how", HARM)
@pytest.mark.parametrize("command", ["resolve", "query"])
def test_references_from_stdin_are_not_answered_from_the_old_file(db: str, command: str, how: str) -> None:
    process = subprocess.Popen(
        [OCICAT, "--db", db, command, "-"],
        env=CLEAN, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"acme/app:1\n")
    process.stdin.flush()
    assert b"sha256:" in process.stdout.readline()
    HARM[how](db)
    out, err = process.communicate(b"acme/app:1\n", timeout=60)
    assert (process.returncode, out) == (4, b"")
    assert b"deleted or replaced" in err


@pytest.mark.parametrize("how", HARM)
def test_wait_ends(db: str, how: str) -> None:
    process = subprocess.Popen(
        [OCICAT, "--db", db, "wait", "acme/app:2", "--timeout", "60"], env=CLEAN, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    process.stderr.readline()  # the note that no daemon runs: the catalog is open
    HARM[how](db)
    assert process.wait(30) == 4
    assert b"deleted or replaced" in process.stderr.read()
    process.stderr.close()


@pytest.mark.parametrize("how", HARM)
def test_the_python_api_raises_an_error(db: str, how: str) -> None:
    with Catalog.open(db) as catalog:
        assert catalog.resolve("acme/app:1").digest.startswith("sha256:")
        HARM[how](db)
        with pytest.raises(CatalogUnavailable, match="deleted or replaced"):
            catalog.resolve("acme/app:1")
        with pytest.raises(CatalogUnavailable, match="deleted or replaced"):
            catalog.query("acme/app:1")
