"""Long and odd texts in every field of a layout: every command, view, report and page answers, at a cost in proportion to the text."""

from __future__ import annotations

import functools
import itertools
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import urlencode

import pytest

from catalog.db.views import VIEWS
from catalog.ingest.intake import BATCH_BYTES
from catalog.reports.reports import REPORTS
from tests.browse.served import browsing
from tests.cli.conftest import no_settling
from tests.cli.program import Ran, called
from tests.conftest import Catalogue, Place
from tests.effort import is_short, pairs, some
from tests.forking import CLEAN
from tests.growth.counting import cost
from tests.growth.fields import FIELDS, TEXTS, dump, make
from tests.serve.served import serving

LENGTH = 5_000
"""Characters of a text: more than an index of PostgreSQL takes. `make stress` has eight times as many."""

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("query",), ("query", "--json"), ("query", "-f", "csv"), ("query", "*", "-f", "tsv"), ("query", "app:1"), ("query", "--unnamed"),
    ("query", "--label", "*=*"), ("query", "--annotation", "*=*"), ("query", "--platform", "linux/amd64"), ("query", "--media-type", "*"),
    ("query", "--artifact-type", "*"), ("query", "--sort", "name"), ("query", "--sort", "-size", "--json"), ("query", "--at", "now"),
    ("resolve", "app:2"), ("resolve", "app:1", "--first"), ("resolve", "app:1"), ("resolve", "app:2", "--platform", "linux/amd64", "--first"),
    ("find", "a"), ("find", "app"), ("stores",), ("stores", "--json"), ("status",), ("check",), ("check", "--json"), ("history", "app:1"),
    ("changes", "--since", "1d"), ("changes", "--since", "1d", "--json"), ("inspect", "app:1", "--first"), ("inspect", "app:2", "--first", "--json"),
    ("plan", "prune"), ("plan", "prune", "--json", "--unnamed", "--keep-last", "1"), ("plan", "link"), ("plan", "copy", "app:2", "--first", "--to", "./new"),
    ("verify",), ("plan", "link", "--json"), ("contexts", "-", "--first"), ("wait", "app:2"), ("index",), ("index", "--full"), ("db", "check"), ("schema",),
    ("query", "--since", "1d"), ("query", "*", "--count"), ("resolve", "app:2", "--fresh", "--first"), ("history", "app:1", "--json"), ("add", "root"),
)  # fmt: skip
WORDS = (("resolve", ""), ("query", "a"), ("query", "--store", "r"), ("query", "--label", ""))
"""What a shell asks at a Tab."""
QUESTIONS: tuple[tuple[str, ...], ...] = (
    *(
        (
            "report",
            each.name,
            *(("-p", "older_than=9999d") if "older_than" in {parameter.name for parameter in each.parameters} else ()),
        )
        for each in REPORTS
    ),
    *(("sql", f"SELECT * FROM {view.name}") for view in VIEWS),
)


def layouts(directory: str, length: int) -> list[str]:
    """Write a layout per field, with one text after the other; return their names."""
    texts = itertools.cycle(TEXTS.values())
    for field, text in zip(FIELDS, texts, strict=False):
        make(directory, text(length), [field])
    return sorted(os.listdir(directory))


def is_answer(ran: Ran) -> bool:
    """Whether that is how a command ends, and all that it says may be printed."""
    lines = [*ran.out.split("\n"), *ran.err.split("\n")]
    printable = all(line.replace("\t", "").replace("\r", "").isprintable() for line in lines)
    return ran.status in (0, 1, 2, 3) and printable and "Traceback" not in ran.err and "defect" not in ran.err


def test_every_command_view_and_report_answers(
    tmp_path: Path, place: Place, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = layouts(f"{tmp_path}/root", LENGTH)
    db = place(str(tmp_path))
    config = no_settling(tmp_path)

    def ask(*arguments: str) -> Ran:
        return called("--config", config, *arguments, db=db, stdin=b"FROM app:2\n")

    assert ask("add", "root").status == 0
    # How rows are written, as JSON or in columns, is the same whatever engine they come from.
    formatted = set() if engine == "sqlite" or not is_short() else {"--json", "-f"}
    asked = [each for each in (*COMMANDS, *QUESTIONS) if not formatted & {*each}]
    asked.append(("diff", f"root/{names[0]}", f"root/{names[-1]}"))
    ended = {each: ask(*each) for each in asked}
    ended |= {each: called("__complete", *each, db=db) for each in WORDS}
    assert {each: ran._replace(out="") for each, ran in ended.items() if not is_answer(ran)} == {}
    assert {each: ran.status for each, ran in ended.items() if ran.status == 2} == {}
    assert {each: len(ran.err) for each, ran in ended.items() if len(ran.err) > 20_000} == {}
    if engine == "sqlite":
        pages_answer(db, names)
        registry_answers(db, names)


def pages_answer(db: str, names: list[str]) -> None:
    pages = [f"/catalog/{view.name}" for view in VIEWS]
    pages += [f"/catalog/{view.name}{form}" for view, form in pairs(VIEWS, (".json", ".csv"))]
    pages += [f"/-/store?{urlencode({'name': f'root/{name}'})}" for name in some(names[::3], 3)]
    pages += [f"/-/image?{urlencode({'ref': f'oci-layout://root/{name}:1'})}" for name in some(names[1::5], 3)]
    with browsing(db) as site:
        found = {page: site.get(page) for page in ["/", "/-/find?text=a", *pages]}
    assert {page: answer.status for page, answer in found.items() if answer.status not in (200, 404)} == {}
    assert max(len(answer.text) for answer in found.values()) < 9 << 20


def registry_answers(db: str, names: list[str]) -> None:
    stores = [f"/v2/stores.localhost/root/{name}" for name in names]
    asked = [f"{store}{end}" for store in stores for end in ("/tags/list", "/manifests/1")]
    asked += [
        "/v2/_catalog",
        "/api/status",
        "/metrics",
        "/api/query",
        "/api/query?ref=*",
        "/api/query?unnamed=true",
        "/api/query?label=*%3D*",
    ]
    asked += [f"/api/{kind}?ref={ref}" for kind in ("resolve", "history", "query") for ref in ("app:1", "app:2")]
    with serving(db) as registry:
        found = {path: registry.get(path) for path in asked}
    assert {path: reply.status for path, reply in found.items() if reply.status not in (200, 404, 409)} == {}
    heads = "".join(f"{name}{value}" for reply in found.values() for name, value in reply.headers.items())
    assert heads.isprintable()
    assert max(len(reply.body) for reply in found.values()) < 9 << 20


LINES, BYTES = 4, 60
"""The most lines of Python, and bytes of memory, that a byte of a text may cost, as JSON has it."""


def costs(directory: str, catalogue: Catalogue, text: str) -> dict[str, tuple[int, int]]:
    """Return the lines that run, and the most memory in bytes, while a layout is read with `text` in each field."""
    make(directory, text)
    make(f"{directory}/first", "a", ["media type"])
    catalogue.add(f"{directory}/first")  # imports what reading needs
    counted = {}
    for field in FIELDS:
        path = f"{directory}/{field.replace(' ', '-')}"
        catalogue.add(path, index=False)
        tracemalloc.start()
        lines = cost(functools.partial(catalogue.index, path))
        counted[field] = lines, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return counted


def steep(
    directory: str, new: Callable[[str], Catalogue], texts: Iterable[str], length: int
) -> dict[str, dict[str, tuple[int, int]]]:
    """Return what a byte costs in the texts and fields where that is too much."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for text in texts:
        os.makedirs(f"{directory}/{text}")
        catalogue = new(f"{directory}/{text}")
        written = TEXTS[text](length)
        size = len(dump(written))
        for field, (lines, memory) in costs(f"{directory}/{text}/layouts", catalogue, written).items():
            if lines > LINES * size or memory > BYTES * size:
                found.setdefault(text, {})[field] = lines // size, memory // size
        catalogue.close()
    return found


def test_a_text_costs_little_per_byte(tmp_path: Path, new_sqlite_catalogue: Callable[[str], Catalogue]) -> None:
    """In whatever field it is. `make stress` tries all texts."""
    assert steep(f"{tmp_path}/texts", new_sqlite_catalogue, ("directories",), 2 * LENGTH) == {}


def test_many_stores_with_a_long_text_are_not_kept_in_memory_together(tmp_path: Path, place: Place) -> None:
    size, count = 1_000_000, 3 * BATCH_BYTES // 1_000_000
    for number in range(count):
        make(f"{tmp_path}/root/{number}", f"{number}" + "a" * size, ["annotation value"])
    code = (
        "import sys, pathlib; from catalog.cli import start; status = start.run(sys.argv[1:]);"
        "print(status, pathlib.Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"
    )
    asked = ["--db", place(str(tmp_path)), "add", f"{tmp_path}/root"]
    done = subprocess.run([sys.executable, "-c", code, *asked], env=CLEAN, capture_output=True, text=True, check=True)
    status, kib = map(int, done.stdout.split())
    assert status == 0
    assert kib < 140 << 10  # 60 MiB without these stores, a little more with psycopg
