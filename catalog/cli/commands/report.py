"""`ocicat report`."""

from __future__ import annotations

import contextlib
import sys
import time
from datetime import datetime

import click

from catalog.cli import formats, output
from catalog.cli.commands.sql import parameter
from catalog.cli.limits import Limits
from catalog.cli.main import Globals
from catalog.cli.messages import note
from catalog.cli.time_limit import statement_limit
from catalog.engine.interface import Reader
from catalog.engine.location import catalog_path
from catalog.errors import NotFound, UsageError
from catalog.lookup.resolve import Asking
from catalog.lookup.stores import store_ids
from catalog.names import query as kinds
from catalog.names.age import milliseconds, shortest
from catalog.names.escape import shown
from catalog.names.moment import rfc3339
from catalog.names.nearest import did_you_mean
from catalog.names.query import parse_query
from catalog.names.sizes import human
from catalog.reports.definition import Report
from catalog.reports.gate import Statements, start_process, statements_of
from catalog.reports.reports import REPORTS


@click.command(name="report")
@click.argument("name", required=False, metavar="[NAME]")
@click.option(
    "--store", "stores", multiple=True, metavar="S", help="Only rows of this store: a name or a glob. Repeatable."
)
@click.option("-p", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter of the report. Repeatable.")
@click.option("--totals", is_flag=True, help="Print one row instead: the number of rows, and the sum of each size.")
@statement_limit
@click.option("--format", "format_", metavar="F", help="table, tsv, csv, json, jsonl or a TEMPLATE.")
@click.pass_obj
def command(
    globals_: Globals,
    name: str | None,
    stores: tuple[str, ...],
    parameters: tuple[str, ...],
    totals: bool,
    timeout: float,
    format_: str | None,
) -> int:
    """Print the report NAME ('ocicat help reports'). Without NAME, list the reports.

    A table on a terminal shows sizes in KiB, MiB and so on, and a line on stderr shows the totals. Everywhere else sizes are
    in bytes. '-p image=REF' takes whatever 'ocicat resolve' takes; --store then also limits where REF is looked up.
    """
    if name is None:
        _list(stores or parameters or totals, format_)
        return 0
    report = _find(name)
    columns = tuple(column.name for column in report.columns)
    given = _given(report, parameters)
    if stores and "store" not in columns and "image" not in given:
        raise UsageError(f"the report {name} has no column 'store': leave --store out")
    output.limit_pauses(timeout)
    start_process()
    with contextlib.ExitStack() as stack:
        with Limits(None, timeout) as limits:
            reader = limits.open_reader(catalog_path(globals_.db))
            stack.callback(reader.close)
            ids = store_ids(reader, stores) if stores else None
            wanted = None if ids is None or "store" not in columns else _names(reader, ids)
            if "image" in given:
                given["image"] = _digest_of(reader, given["image"], ids)
        is_shown = format_ in (None, "table") and sys.stdout.isatty()
        gate = statements_of(reader, timeout)
        if report.left_out:
            _note_unjudged(gate, report.left_out, wanted)
        found, rows = gate.run(report.statement(reader.dialect), {**_nothing(report), **given})
        added = Totals(report)
        fields = added.fields if totals else found
        show = formats.open_format(format_, fields, fields)
        for row in rows:
            cells = dict(zip(found, row, strict=True))
            if wanted is None or cells["store"] in wanted:
                added.add(cells)
                if not totals:
                    show.row((_for_people(report, cells) if is_shown else cells).__getitem__)
        if totals:
            cells = added.cells()
            show.row((_for_people(report, cells) if is_shown else cells).__getitem__)
        show.end()
        if sys.stdout.isatty() and not totals:
            output.flush()
            note(added.sentence())
    return 0


def _list(refused: object, format_: str | None) -> None:
    if refused:
        raise UsageError("--store, -p and --totals need the NAME of a report: 'ocicat report' lists them")
    show = formats.open_format(format_, ("report", "sentence"), ("report", "sentence"), prose=True)
    for each in REPORTS:
        show.row({"report": each.name, "sentence": each.sentence}.__getitem__)
    show.end()


def _find(name: str) -> Report:
    for each in REPORTS:
        if each.name == name:
            return each
    hint = did_you_mean(name, [each.name for each in REPORTS])
    raise UsageError(f"there is no report {shown(name)}: {hint}'ocicat report' lists them")


def _given(report: Report, parameters: tuple[str, ...]) -> dict[str, str]:
    """Return the given parameters, with ages as times. Raises UsageError for unknown ones."""
    known = _nothing(report)
    values: dict[str, str] = {}
    for key, value in map(parameter, parameters):
        if key not in known:
            takes = f"its parameters are {', '.join(known)}" if known else "it takes none"
            raise UsageError(
                f"the report {report.name} has no parameter {shown(key)}: {did_you_mean(key, known)}{takes}"
            )
        values[key] = _threshold(value) if key == "older_than" else value
    return values


def _nothing(report: Report) -> dict[str, str]:
    return dict.fromkeys((known for known, _ in report.parameters), "")


def _digest_of(reader: Reader, text: str, stores: frozenset[int] | None) -> str:
    """Return the digest that a reference resolves to. Raises NotFound, Ambiguous, UsageError."""
    query = parse_query(text)
    if query.kind in (kinds.PATTERN, kinds.TAG_PATTERN):
        raise UsageError(f"image={shown(text)} is a pattern: write one name, ':TAG' or digest")
    try:
        return Asking(reader, note, stores=stores).resolve(query).digest
    except NotFound as error:
        if error.hint:
            raise
        raise NotFound(
            str(error), "run 'ocicat index' to read what has changed, or 'ocicat query' to list all entries"
        ) from None


def _names(reader: Reader, ids: frozenset[int]) -> set[str]:
    return {row[1] for row in reader.rows("STORE_NAMES", {}) if row[0] in ids}


def _note_unjudged(gate: Statements, left_out: str, wanted: set[str] | None) -> None:
    """Name on stderr each store that the report leaves out because its use of blobs cannot be judged, and why."""
    _, rows = gate.run("SELECT store, subject, reason FROM unjudged ORDER BY store", {})
    for store, subject, reason in rows:
        if wanted is None or store in wanted:
            because = f"{shown(str(subject))} {reason}" if subject else str(reason)
            note(f"{shown(str(store))} {left_out}: {because}")


def _threshold(age: str) -> str:
    """Return the time that was `age` ago, in the form that the views use. Raises UsageError if `age` is not an age."""
    return rfc3339(max(0, int(time.time() * 1000) - milliseconds(age, "older_than"))) or ""


def _age(moment: object) -> object:
    """Return the age of a time in its largest whole unit, such as "3d", for a person to read."""
    if not isinstance(moment, str):
        return moment
    return shortest(int(time.time() - datetime.fromisoformat(moment).timestamp()))


def _for_people(report: Report, cells: dict[str, object]) -> dict[str, object]:
    """Return the cells of a row for a person to read: sizes in units, times as ages."""
    readable = dict(cells)
    for column in report.columns:
        value = cells.get(column.name)
        if column.is_size and isinstance(value, int):
            readable[column.name] = human(value)
        elif column.is_age:
            readable[column.name] = _age(value)
    return readable


class Totals:
    """The number of rows, and the sum of each column of sizes that adds up."""

    def __init__(self, report: Report) -> None:
        self._rows = 0
        self._sizes = {column.name: 0 for column in report.columns if column.is_size and column.adds_up}
        self.fields = ("rows", *self._sizes)

    def add(self, cells: dict[str, object]) -> None:
        """Count a row. An unknown size adds nothing."""
        self._rows += 1
        for name in self._sizes:
            size = cells[name]
            self._sizes[name] += size if isinstance(size, int) else 0

    def cells(self) -> dict[str, object]:
        """Return the totals by field."""
        return {"rows": self._rows, **self._sizes}

    def sentence(self) -> str:
        """Return the totals as a sentence."""
        sizes = "".join(f", {name} {human(size)}" for name, size in self._sizes.items())
        return f"{self._rows} row{'' if self._rows == 1 else 's'}{sizes}"
