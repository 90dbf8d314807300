"""`completion`: what a shell offers at Tab, and that a search of an index finds it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalog.cli import words
from catalog.cli.main import COMMANDS
from catalog.engine.sqlite.brief import SqliteBriefReader
from catalog.lookup.complete import MOST, Completer
from tests import effort, writers
from tests.cli.conftest import Own, Shelf
from tests.cli.program import called, one_error
from tests.cli.shells import Terminal, fish
from tests.conftest import ON_SQLITE
from tests.forking import CLEAN, OCICAT
from tests.lookup.sizes import Sized
from tests.programs import needs


def offered(db: str, *line: str) -> list[str]:
    """Return what `__complete` prints after its mode."""
    return ask(db, *line)[1:]


def ask(db: str, *line: str) -> list[str]:
    result = called("__complete", *line, db=db)
    assert (result.status, result.err) == (0, ""), result
    return result.lines


# --- what is offered


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (("res",), ["resolve"]),
        (("re",), ["remove", "resolve", "report"]),
        (("--d",), ["--db", "--debug"]),
        (("db", "v"), ["vacuum"]),
        (("resolve", "--fi"), ["--first"]),
        (("resolve", "x", "--fr"), ["--fresh"]),
        (("--quiet", "--db", "x", "reso"), ["resolve"]),
        (("stores", "--state", "un"), ["unreadable"]),
        (("stores", "--state=un"), ["--state=unreadable"]),
        (("resolve", "--format", "oci"), ["oci-layout", "oci-archive"]),
        (("query", "--sort", "-si"), ["-size"]),
        (("query", "--platform", "linux/s"), ["linux/s390x"]),
        (("completion", ""), ["bash", "zsh", "fish"]),
        (("report", "dup"), ["duplicates"]),
        (("add", "x", "--naming", "f"), ["fixed="]),
        (("report", "bases", "-p", ""), ["image="]),
        (("report", "-p", "o"), ["older_than="]),
        (("report", "unreferenced", "-p", "older_than=7"), ["older_than=7d"]),
        (("report", "usage", "-p", ""), []),
        (("nosuch", ""), []),
        (("history", "a", ""), []),
        (("query", "--limit", ""), []),
    ],
)
def test_commands_and_options_without_a_catalog(tmp_path: Path, line: tuple[str, ...], expected: list[str]) -> None:
    assert offered(str(tmp_path / "none.db"), *line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (("resolve", "mul"), ["multi:1"]),
        (("resolve", "ctr:"), ["ctr:3.16", "ctr:3.17", "ctr:latest"]),
        (("resolve", "x", "ctr:3"), ["ctr:3.16", "ctr:3.17"]),
        (("query", "docker.io/library/mul"), ["docker.io/library/multi:1"]),
        (("history", "library/mul"), ["library/multi:1"]),
        (("wait", "docker.io/li"), [f"docker.io/library/{each}" for each in ("busybox:3.16", "busybox:3.17", "busybox:latest", "bytes:1", "ctr:3.16", "ctr:3.17", "ctr:latest", "hurt:3.16", "hurt:3.17", "hurt:latest", "multi:1")]),
        (("resolve", ":3"), [":3.16", ":3.17"]),
        (("query", "--tag", "lat"), ["latest"]),
        (("query", "--repository", "b"), ["busybox", "bytes"]),
        (("query", "--repository=ct"), ["--repository=ctr"]),
        (("resolve", "oci-layout://images/mu"), ["oci-layout://images/multi"]),
        (("resolve", "--store", "sol"), ["solo"]),
        (("check", "images/b"), ["images/busybox"]),
        (("index", "images"), ["images", "images/%FF%25%FE", "images/alpine", "images/busybox", "images/ctr", "images/hurt", "images/multi", "images/none", "images/void"]),
        (("resolve", "nosuch"), []),
        (("resolve", "--", "mul"), ["multi:1"]),
        (("resolve", '"mul'), ["multi:1"]),
        (("report", "bases", "-p", "image=mul"), ["image=multi:1"]),
    ],
)  # fmt: skip
def test_what_the_catalog_has(shelf: Shelf, line: tuple[str, ...], expected: list[str]) -> None:
    assert offered(shelf.db, *line) == expected


def test_digests_of_entries_and_of_manifests_below_them(shelf: Shelf) -> None:
    for digest in (shelf.digests["multi", "1"], shelf.digests["multi", "child"]):
        assert offered(shelf.db, "resolve", digest[:20]) == [digest]
        assert offered(shelf.db, "resolve", f"@{digest[:20]}") == [f"@{digest}"]
        assert offered(shelf.db, "query", "--digest", digest[:20]) == [digest]
    manifest = f"{shelf.root}/multi/blobs/sha256/{shelf.digests['multi', 'child'].partition(':')[2]}"
    layer = json.loads(Path(manifest).read_bytes())["layers"][0]["digest"]
    assert offered(shelf.db, "resolve", layer[:20]) == []
    assert offered(shelf.db, "query", "--contains", layer[:20]) == [layer]


def test_the_catalog_is_the_one_that_the_line_names(shelf: Shelf, tmp_path: Path) -> None:
    none = str(tmp_path / "none.db")
    assert offered(none, "resolve", "mul") == []
    assert offered(none, "--db", shelf.db, "resolve", "mul") == ["multi:1"]
    assert offered(none, "resolve", f"--db={shelf.db}", "mul") == ["multi:1"]


def test_the_shell_completes_files_and_directories(shelf: Shelf) -> None:
    assert ask(shelf.db, "contexts", "") == ["files"]
    assert ask(shelf.db, "--db", "") == ["files"]
    assert ask(shelf.db, "resolve", "--config=/e") == ["files"]
    assert ask(shelf.db, "add", "") == ["directories"]
    assert ask(shelf.db, "remove", "./") == ["directories"]


def test_nothing_that_a_shell_would_run_is_offered(cli: Own, tmp_path: Path) -> None:
    """bash inserts a completion unquoted: a tag `$(reboot)` would run at Enter."""
    path = writers.make_layout(str(tmp_path / "layout"))
    names = [
        "$(touch x)",
        "`x`",
        "a b",
        "a;b",
        "a|b",
        "a&b",
        "a>b",
        "a*",
        "a'b",
        'a"b',
        "a\\b",
        "a\x1b[31mb",
        "a\nb",
        "~x",
        "a#b",
        "fine",
    ]
    entries = [writers.fake_descriptor(name) | {"annotations": {writers.REF_NAME: name}} for name in names]
    writers.write_index(path, writers.empty_index(*entries))
    assert cli("add", path).status == 0
    assert offered(cli.db, "resolve", ":") == [":fine"]
    assert offered(cli.db, "query", "--tag", "") == ["fine"]


# --- a catalog that does not answer


def broken(path: Path, shelf: Shelf) -> None:
    path.write_bytes(os.urandom(5000))


def empty(path: Path, shelf: Shelf) -> None:
    path.write_bytes(b"")


def cut(path: Path, shelf: Shelf) -> None:
    path.write_bytes(Path(shelf.db).read_bytes()[:9000])


def newer(path: Path, shelf: Shelf) -> None:
    shutil.copy(shelf.db, path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = '99.0' WHERE key = 'schema'")
    connection.close()


def foreign(path: Path, shelf: Shelf) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()


def directory(path: Path, shelf: Shelf) -> None:
    path.mkdir()


def fifo(path: Path, shelf: Shelf) -> None:
    os.mkfifo(path)


def absent(path: Path, shelf: Shelf) -> None:
    pass


@ON_SQLITE
@pytest.mark.parametrize("make", [broken, empty, cut, newer, foreign, directory, fifo, absent])
def test_a_catalog_that_cannot_answer_completes_nothing_and_prints_nothing(
    shelf: Shelf, tmp_path: Path, make: Callable[[Path, Shelf], None]
) -> None:
    path = tmp_path / "catalog.db"
    make(path, shelf)
    for line in (
        ("resolve", "c"),
        ("resolve", ":"),
        ("resolve", "@sha256:"),
        ("resolve", "--store", ""),
        ("remove", ""),
    ):
        assert ask(str(path), *line) == []
    assert ask("postgresql://somewhere/db", "resolve", "c") == []
    assert offered(str(path), "resol") == ["resolve"]


@ON_SQLITE
def test_a_locked_catalog_is_not_waited_for(shelf: Shelf, tmp_path: Path) -> None:
    """By default, the sqlite3 module would wait five seconds for a lock."""
    path = str(tmp_path / "catalog.db")
    shutil.copy(shelf.db, path)
    reader = SqliteBriefReader(path)
    assert reader._connection.execute("PRAGMA busy_timeout").fetchone()[0] <= 100
    reader.close()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("PRAGMA journal_mode = delete")
    holder.execute("BEGIN EXCLUSIVE")
    assert ask(path, "resolve", "c") == []
    holder.execute("ROLLBACK")
    holder.close()
    assert offered(path, "resolve", "mul") == ["multi:1"]


# --- sizes


ASKED = (
    "",
    "q",
    "quay.io/",
    "quay.io/crowd/",
    "docker.io/",
    "docker.io/library/",
    "everywhere",
    "app-0",
    "crowd:",
    ":",
    ":1",
    "@",
    "sha256:",
    "sha256:0",
    "nosuch",
)


SIZES = (1_000, 10_000) if effort.profile() == "short" else (10_000, 100_000)


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ASKED)
def test_a_completion_costs_the_same_at_any_size(sized: Callable[[int], Sized], prefix: str) -> None:
    """Counted in steps of SQLite's virtual machine: the number of offers may grow to its limit, the cost of each may not."""
    costs = []
    for size in SIZES:
        searches = SqliteBriefReader(sized(size).catalogue.reader.path)
        completer = Completer(searches)
        count = 0

        def step() -> int:
            nonlocal count
            count += 1
            return 0

        searches._connection.set_progress_handler(step, 1)
        offers = completer.references(prefix)
        searches.close()
        assert len(offers) <= MOST + 1
        assert all(text.startswith(prefix) for text, _ in offers)
        costs.append(count)
    assert costs[1] <= 6 * MOST * 60
    assert costs[1] <= costs[0] * 3 + 1000


def test_many_values_are_offered_by_their_common_beginnings(cli: Own, tmp_path: Path) -> None:
    path = writers.make_layout(str(tmp_path / "layout"))
    names = [f"r.example/team{n % 7}/app:{n}" for n in range(1000)] + [f"huge:1.{n}" for n in range(300)] + ["huge:2"]
    entries = [writers.fake_descriptor(name) | {"annotations": {writers.REF_NAME: name}} for name in names]
    writers.write_index(path, writers.empty_index(*entries))
    assert cli("add", path).status == 0
    assert ask(cli.db, "resolve", "") == ["parts", "huge:", *(f"r.example/team{n}/app:" for n in range(7))]
    assert ask(cli.db, "resolve", "hu") == ["parts", "huge:"]
    assert ask(cli.db, "resolve", "huge:") == ["parts", "huge:1", "huge:2"]
    assert ask(cli.db, "resolve", "huge:1") == ["parts", *(f"huge:1.{n}" for n in range(10))]
    assert ask(cli.db, "resolve", "huge:29") == []
    assert ask(cli.db, "resolve", "huge:1.29") == ["words", "huge:1.29", *(f"huge:1.29{n}" for n in range(10))]


# --- the way there


def test_the_frozen_words_are_those_of_click() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "catalog.cli.freeze", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(words.COMMANDS) == list(COMMANDS)


@ON_SQLITE
def test_it_loads_no_more_than_it_needs(shelf: Shelf) -> None:
    script = (
        "import sys; before = set(sys.modules); from catalog.cli import start; start.run(['__complete', 'resolve', 'mul']);"
        "sys.stderr.write(' '.join(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script],
        env=CLEAN | {"OCICAT_DB": shelf.db},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "words\nmulti:1\n"
    loaded = set(done.stderr.split())
    assert not loaded & {
        "click",
        "sqlalchemy",
        "re",
        "typing",
        "json",
        "enum",
        "pathlib",
        "msgspec",
        "alembic",
        "logging",
    }
    assert {each for each in loaded if each.startswith("catalog.")} <= {
        "catalog.cli", "catalog.cli.complete", "catalog.cli.messages", "catalog.cli.output", "catalog.cli.start",
        "catalog.cli.words", "catalog.engine", "catalog.engine.location", "catalog.engine.open", "catalog.engine.sqlite",
        "catalog.engine.sqlite.brief", "catalog.engine.version", "catalog.errors", "catalog.lookup",
        "catalog.lookup.complete", "catalog.engine.sqlite.frozen", "catalog.names", "catalog.names.digest", "catalog.names.escape",
        "catalog.names.pattern", "catalog.names.reference",
    }  # fmt: skip


# --- real shells


@pytest.fixture(params=[pytest.param("bash", marks=needs("bash")), pytest.param("zsh", marks=needs("zsh"))])
def terminal(request: pytest.FixtureRequest, shelf: Shelf, tmp_path: Path) -> Iterator[Terminal]:
    with Terminal(request.param, tmp_path, shelf.db) as opened:
        yield opened


def test_typed_at_a_terminal(terminal: Terminal, shelf: Shelf, tmp_path: Path) -> None:
    digest = shelf.digests["multi", "1"]
    (tmp_path / "Dockerfile.one").touch()
    for line, arguments in (
        ("ocicat reso\tmul\t", ["resolve", "multi:1"]),
        ("ocicat resolve multi:\t", ["resolve", "multi:1"]),
        ("ocicat resolve ctr:\t6", ["resolve", "ctr:6"]),
        ("ocicat resolve ctr:3\t6", ["resolve", "ctr:3.16"]),
        ("ocicat resolve docker.io/library/mul\t", ["resolve", "docker.io/library/multi:1"]),
        ("ocicat resolve :3.1\t7", ["resolve", ":3.17"]),
        (f"ocicat resolve {digest[:20]}\t", ["resolve", digest]),
        (f"ocicat resolve @{digest[:20]}\t", ["resolve", f"@{digest}"]),
        (f"ocicat resolve @\t{digest[7:20]}\t", ["resolve", f"@{digest}"]),
        ("ocicat resolve --fi\tmul\t", ["resolve", "--first", "multi:1"]),
        ("ocicat resolve --store images/mul\tx", ["resolve", "--store", "images/multi", "x"]),
        ("ocicat resolve --store=images/mul\tx", ["resolve", "--store=images/multi", "x"]),
        ("ocicat resolve oci-layout://images/mul\t:1", ["resolve", "oci-layout://images/multi:1"]),
        ('ocicat resolve "mul\t', ["resolve", "multi:1"]),
        ("ocicat contexts Docker\t", ["contexts", "Dockerfile.one"]),
        ("ocicat report bases -p im\tmul\t", ["report", "bases", "-p", "image=multi:1"]),
        ("ocicat nosuch\tx", ["nosuchx"]),
        ("ocicat resolve nosuch\tx", ["resolve", "nosuchx"]),
    ):
        assert terminal.typed(line) == arguments, line


def test_it_lists_what_there_is(terminal: Terminal) -> None:
    terminal.listed("ocicat resolve ctr:3", "3.16", "3.17")


@pytest.mark.parametrize("breaks", ["${COMP_WORDBREAKS//:/}", "${COMP_WORDBREAKS//[:=@]/}", "$COMP_WORDBREAKS/"])
@needs("bash")
def test_bash_with_any_word_breaks(shelf: Shelf, tmp_path: Path, breaks: str) -> None:
    digest = shelf.digests["multi", "1"]
    lines = {
        "ocicat resolve multi:\t": ["resolve", "multi:1"],
        "ocicat resolve docker.io/library/mul\t": ["resolve", "docker.io/library/multi:1"],
        "ocicat resolve --store=images/mul\tx": ["resolve", "--store=images/multi", "x"],
        f"ocicat resolve @{digest[:20]}\t": ["resolve", f"@{digest}"],
    }
    with Terminal("bash", tmp_path, shelf.db, f'COMP_WORDBREAKS="{breaks}"') as opened:
        assert {line: opened.typed(line) for line in lines} == lines


@needs("fish")
def test_fish(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile.one").touch()
    digest = shelf.digests["multi", "1"]
    for line, expected in (
        ("ocicat reso", ["resolve"]),
        ("ocicat resolve mul", ["multi:1"]),
        ("ocicat resolve ctr:", ["ctr:3.16", "ctr:3.17", "ctr:latest"]),
        ("ocicat resolve --store=images/mul", ["--store=images/multi"]),
        ("ocicat resolve --store images/mul", ["images/multi"]),
        (f"ocicat resolve @{digest[:20]}", [f"@{digest}"]),
        ("ocicat contexts Docker", ["Dockerfile.one"]),
        ("ocicat resolve nosuch", []),
        ("ocicat db v", ["vacuum"]),
        ("ocicat report bases -p image=mul", ["image=multi:1"]),
    ):
        assert fish(line, tmp_path, shelf.db) == expected, line


@pytest.mark.parametrize("shell", [pytest.param(shell, marks=needs(shell)) for shell in ("bash", "zsh", "fish")])
def test_the_shell_accepts_the_script(shell: str) -> None:
    done = subprocess.run([OCICAT, "completion", shell], env=CLEAN, capture_output=True, check=True)
    assert done.stderr == b""
    read = subprocess.run([shell, "-n"], input=done.stdout, capture_output=True, check=False)
    assert (read.returncode, read.stderr) == (0, b"")


def test_another_shell_has_status_2(tmp_path: Path) -> None:
    one_error(Own(tmp_path, str(tmp_path / "own.db"))("completion", "tcsh"), 2, "tcsh")
    one_error(Own(tmp_path, str(tmp_path / "own.db"))("completion"), 2, "zsh or fish")
