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
from catalog.errors import UsageError
from catalog.lookup.stores import store_ids
from catalog.names.age import milliseconds, shortest
from catalog.names.escape import shown
from catalog.names.moment import rfc3339
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
@statement_limit
@click.option("--format", "format_", metavar="F", help="table, tsv, csv, json, jsonl or a TEMPLATE.")
@click.pass_obj
def command(
    globals_: Globals,
    name: str | None,
    stores: tuple[str, ...],
    parameters: tuple[str, ...],
    timeout: float,
    format_: str | None,
) -> int:
    """Print the report NAME ('ocicat help reports'). Without NAME, list the reports.

    A table on a terminal shows sizes in KiB, MiB and so on. Everywhere else sizes are in bytes.
    """
    if name is None:
        _list(stores or parameters, format_)
        return 0
    report = _find(name)
    columns = tuple(column.name for column in report.columns)
    values = dict.fromkeys((known for known, _ in report.parameters), "")
    for key, value in map(parameter, parameters):
        if key not in values:
            takes = f"its parameters are {', '.join(values)}" if values else "it takes none"
            raise UsageError(f"the report {name} has no parameter {shown(key)}: {takes}")
        values[key] = _threshold(value) if key == "older_than" else value
    if stores and "store" not in columns:
        raise UsageError(f"the report {name} has no column 'store': leave --store out")
    output.limit_pauses(timeout)
    start_process()
    with contextlib.ExitStack() as stack:
        with Limits(None, timeout) as limits:
            reader = limits.open_reader(catalog_path(globals_.db))
            stack.callback(reader.close)
            wanted = _names(reader, stores) if stores else None
        is_shown = format_ in (None, "table") and sys.stdout.isatty()
        sizes = {column.name for column in report.columns if column.is_size} if is_shown else set()
        ages = {column.name for column in report.columns if column.is_age} if is_shown else set()
        gate = statements_of(reader, timeout)
        if report.left_out:
            _note_unjudged(gate, report.left_out, wanted)
        found, rows = gate.run(report.statement(reader.dialect), values)
        show = formats.open_format(format_, found, found)
        for row in rows:
            cells = dict(zip(found, row, strict=True))
            if wanted is None or cells["store"] in wanted:
                for column in sizes:
                    cells[column] = _human(cells[column])
                for column in ages:
                    cells[column] = _age(cells[column])
                show.row(cells.__getitem__)
        show.end()
    return 0


def _list(refused: tuple[str, ...], format_: str | None) -> None:
    if refused:
        raise UsageError("--store and -p need the NAME of a report: 'ocicat report' lists them")
    show = formats.open_format(format_, ("report", "sentence"), ("report", "sentence"), prose=True)
    for each in REPORTS:
        show.row({"report": each.name, "sentence": each.sentence}.__getitem__)
    show.end()


def _find(name: str) -> Report:
    for each in REPORTS:
        if each.name == name:
            return each
    raise UsageError(f"there is no report {shown(name)}: 'ocicat report' lists them")


def _names(reader: Reader, texts: tuple[str, ...]) -> set[str]:
    ids = store_ids(reader, texts)
    return {row[1] for row in reader.rows("STORES", {}) if row[0] in ids}


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


def _human(size: object) -> object:
    return human(size) if isinstance(size, int) else size
