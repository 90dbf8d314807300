"""An answer loads only the modules in this list. Each module costs every user time."""

from __future__ import annotations

import functools
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests import writers
from tests.cli.conftest import Own, Shelf
from tests.conftest import ON_SQLITE, stamp
from tests.forking import CLEAN, OCICAT

pytestmark = pytest.mark.whole_start

OURS = {
    "__future__",  # what annotations cost: 0.1 ms
    "catalog", "catalog.cli", "catalog.cli.answer", "catalog.cli.limits", "catalog.cli.messages", "catalog.cli.output",
    "catalog.cli.start",
    "catalog.cli.formats", "catalog.cli.queried",  # of query
    "catalog.cli.resolved",  # of resolve
    "catalog.cli.image_places",  # of --format oci-layout
    "catalog.cli.lines",  # where everything is listed
    "catalog.cli.table",  # where one is asked for
    "catalog.cli.widths",  # where there is a table
    "catalog.engine", "catalog.engine.location", "catalog.engine.neighbours", "catalog.engine.open",
    "catalog.engine.sqlite", "catalog.engine.sqlite.failures", "catalog.engine.sqlite.frozen",
    "catalog.engine.sqlite.reader", "catalog.errors",
    "catalog.lookup", "catalog.lookup.find", "catalog.lookup.match", "catalog.lookup.resolve",
    "catalog.lookup.stores", "catalog.names.paths",  # where a store is named
    "catalog.cli.found", "catalog.lookup.search",  # of find
    "catalog.lookup.advice",  # if nothing is found, or too much
    "catalog.lookup.listing", "catalog.names.moment",  # of query
    "catalog.lookup.filters", "catalog.names.platform",  # of --tag and --platform
    "catalog.engine.moments", "catalog.engine.boot", "catalog.db", "catalog.db.labels",  # of --at
    "catalog.lookup.below", "catalog.lookup.content",  # where a digest may stand below an entry
    "catalog.names", "catalog.names.digest", "catalog.names.escape", "catalog.names.limits",
    "catalog.names.pattern", "catalog.names.query", "catalog.names.reference",
}  # fmt: skip

SQLITE3 = {
    # What `import sqlite3` brings with it, on each Python that is supported.
    "sqlite3", "sqlite3.dbapi2", "_sqlite3", "datetime", "_datetime", "time", "collections", "collections.abc",
    "_collections", "_collections_abc", "itertools", "keyword", "operator", "_operator", "reprlib", "functools",
    "_functools", "types", "_weakref", "weakref", "_weakrefset", "heapq", "_heapq", "_pydatetime", "math", "warnings",
}  # fmt: skip

PAST = {"bisect", "_bisect", "copy", "copyreg", "encodings.ascii"}
"""What a question about the past needs of the standard library."""

LATE = {"resource"}
"""Modules that an answer loads only if it takes longer than a moment, to limit its memory."""

HEAVY = (
    "sqlalchemy", "alembic", "click", "watchdog", "msgspec", "ijson", "re", "typing", "json", "enum", "dataclasses",
    "pathlib", "argparse", "logging", "inspect", "contextlib", "threading", "subprocess", "socket", "shutil", "tempfile",
    "urllib", "importlib.metadata", "traceback", "random", "hashlib", "decimal", "fcntl", "string",
)  # fmt: skip

_SCRIPT = """
import sys
before = set(sys.modules)
sys.argv[0] = "ocicat"
import os
from catalog.cli import start
status = start.run(sys.argv[1:])
sys.stdout.flush()
sys.stderr.write("\\n".join(sorted(set(sys.modules) - before)))
os._exit(status)
"""


def loaded(shelf: Shelf, *arguments: str) -> set[str]:
    """Return the modules that a run loads in addition to those of a bare interpreter."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", _SCRIPT, "--db", shelf.db, *arguments],
        capture_output=True, stdin=subprocess.DEVNULL, env=CLEAN, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done
    return {line for line in done.stderr.decode().splitlines() if not line.startswith("ocicat: ")} - LATE


@functools.cache
def loaded_for(db: str, *arguments: str) -> set[str]:
    """Return what `loaded` returns for a catalog that no test changes."""
    return loaded(Shelf(db, "", "", {}), *arguments)


FORMS = (
    ("resolve", "ctr:3.16"), ("resolve", ":nope"), ("resolve", "@sha256:00000000"), ("query", "ctr:3.16"), ("query", "ctr:3.16", "--store", "images/ctr"),
    ("find", "ctr", "3.16"), ("query",), ("query", "-"), ("resolve", "ctr:3.16", "--format", "oci-layout"), ("resolve", "ctr:3.16", "--format", "{store}"),
    ("resolve", "oci-layout://images/ctr:3.16"), ("query", "ctr:3.16", "--format", "table"), ("query", "--tag", "3.16"),
    ("query", "ctr:3.16", "--count", "--limit", "1", "--quiet"), ("resolve", "multi:1", "--platform", "arm64"),
    ("resolve", "ctr:3.16", "--at", "now"),
)  # fmt: skip


@ON_SQLITE
@pytest.mark.parametrize("arguments", FORMS)
def test_a_plain_answer_loads_only_these(shelf: Shelf, arguments: tuple[str, ...]) -> None:
    found = loaded_for(shelf.db, *arguments)
    assert found - OURS - SQLITE3 - (PAST if "--at" in arguments else set()) == set()
    assert not found & set(HEAVY)


@ON_SQLITE
def test_the_list_names_only_modules_that_are_loaded(shelf: Shelf) -> None:
    found = set().union(*(loaded_for(shelf.db, *arguments) for arguments in FORMS))
    assert {name for name in OURS if name not in found} == set()


def test_no_answer_loads_a_module_of_the_other_engine(shelf: Shelf) -> None:
    other = "sqlite" if "://" in shelf.db else "postgres"
    found = loaded(shelf, "resolve", "ctr:3.16")
    assert not {name for name in found if name.startswith(f"catalog.engine.{other}")}


@ON_SQLITE
def test_a_check_of_the_daemon_loads_neither_click_nor_sqlalchemy(shelf: Shelf) -> None:
    found = loaded(shelf, "status", "--check")
    assert "catalog.cli.stated" in found
    assert not found & (set(HEAVY) - {"contextlib", "fcntl"})


@ON_SQLITE
def test_a_fresh_answer_loads_little_more_if_nothing_changed(shelf: Shelf) -> None:
    """Beside busy owners of stores a process gets little time, and loading these takes most of it."""
    assert not loaded(shelf, "resolve", "--fresh", "ctr:3.16") & {
        "click",
        "sqlalchemy",
        "msgspec",
        "tomllib",
        "inspect",
        "difflib",
    }


@ON_SQLITE
def test_json_is_loaded_only_for_json(shelf: Shelf) -> None:
    found = loaded(shelf, "resolve", "ctr:3.16", "--format", "json")
    assert "json" in found
    assert not found & {"click", "sqlalchemy", "typing", "pathlib", "dataclasses"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("query", "ctr:3.*"),
        ("query", "--limit", "1"),
        ("stores",),
        ("diff", "solo", "solo"),
        ("check",),
        ("sql", "select 1"),
        ("db", "path"),
    ],
)
def test_no_command_that_only_reads_loads_sqlalchemy(shelf: Shelf, arguments: tuple[str, ...]) -> None:
    found = loaded(shelf, *arguments)
    assert not {name for name in found if name.partition(".")[0] in ("alembic", "watchdog", "msgspec", "ijson")}
    if arguments[0] != "db":
        assert not {name for name in found if name.partition(".")[0] == "sqlalchemy"}


def test_the_help_loads_no_command() -> None:
    script = _SCRIPT.replace("sys.argv[1:]", "['--help']")
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, env=CLEAN, timeout=60, check=True)
    found = done.stderr.decode().splitlines()
    assert "click" in found
    assert not [name for name in found if name.startswith(("catalog.cli.commands.", "sqlalchemy"))]


def test_the_package_itself_loads_nothing() -> None:
    script = "import sys; before = set(sys.modules); import catalog; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, env=CLEAN, timeout=60, check=True)
    found = eval(done.stdout)
    assert not set(found) & {
        "sqlite3",
        "re",
        "json",
        "typing",
        "catalog.cli",
        "catalog.db",
        "catalog.engine",
        "catalog.lookup",
        "sqlalchemy",
    }


@ON_SQLITE
def test_the_launcher_adds_nothing(shelf: Shelf) -> None:
    """The installed program loads only catalog.cli.lean besides, which leaves this question to `start` (-X importtime)."""
    done = subprocess.run(
        [sys.executable, "-I", "-X", "importtime", OCICAT, "--db", shelf.db, "resolve", "ctr:3.16", "--first"],
        capture_output=True, env=CLEAN, timeout=60, check=True,
    )  # fmt: skip
    names = {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()}
    bare = subprocess.run(
        [sys.executable, "-I", "-X", "importtime", "-c", "pass"], capture_output=True, env=CLEAN, timeout=60, check=True
    )
    before = {line.rpartition("|")[2].strip() for line in bare.stderr.decode().splitlines()}
    assert names - before - OURS - SQLITE3 - LATE == {"catalog.cli.lean"}


def test_an_index_without_changes_loads_neither_sqlalchemy_nor_click(shelf: Shelf, tmp_path: Path) -> None:
    """Loading them takes longer than looking at 10,000 stores (docs/performance.md)."""
    path = writers.make_layout(str(tmp_path / "layout"))
    for directory in (f"{path}/blobs", f"{path}/blobs/sha256"):
        stamp(directory)
    own = shelf._replace(db=str(tmp_path / "catalog.db"))
    for arguments in (("add", path), ("index",)):
        assert own.ask(*arguments).status == 0
    found = loaded(own, "index")
    assert not {name.partition(".")[0] for name in found} & (
        set(HEAVY) - {"re", "typing", "enum", "fcntl", "contextlib"}
    )
    assert "catalog.ingest.unchanged" in found
    writers.write_index(path, writers.empty_index(writers.fake_descriptor("new")))
    assert "sqlalchemy" in loaded(own, "index")


@ON_SQLITE
def test_an_entry_takes_no_memory_that_is_given_back_for_the_next_one(cli: Own) -> None:
    """Each statement about an image has temporary tables. Pages that the kernel gives anew cost more than the statement."""
    path = writers.make_layout(f"{cli.directory}/images")
    images = [writers.make_index_image(path, [writers.make_image(path, f"{number}")]) for number in range(80)]
    writers.write_index(path, writers.empty_index(*images))
    cli.done("add", path)

    def faults(*words: str) -> int:
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
        arguments = [OCICAT, "--db", cli.db, "query", "--format", "jsonl", *words]
        found = subprocess.run(arguments, capture_output=True, env=CLEAN, timeout=60, check=True).stdout
        assert found.count(b'"total_size":null') == 0
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt - before

    assert faults() - faults("--limit", "40") <= 5 * 40
