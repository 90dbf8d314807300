"""`ocicat report`."""

from __future__ import annotations

import contextlib
import sys

import click

from catalog.cli import formats, output
from catalog.cli.commands.sql import parameters_of
from catalog.cli.limits import Limits
from catalog.cli.main import Globals
from catalog.cli.messages import note
from catalog.cli.report_help import ReportCommand
from catalog.cli.time_limit import statement_limit
from catalog.cli.times import relative
from catalog.cli.utc import utc_option
from catalog.engine.location import catalog_path
from catalog.errors import UsageError
from catalog.lookup.stores import store_ids
from catalog.names.sizes import human
from catalog.reports.asking import AskedReport, report_named
from catalog.reports.definition import Report
from catalog.reports.gate import start_process, statements_of
from catalog.reports.reports import REPORTS


@click.command(name="report", cls=ReportCommand)
@click.argument("name", required=False, metavar="[NAME]")
@click.option(
    "--store", "stores", multiple=True, metavar="S", help="Only rows of this store: a name or a glob. Repeatable."
)
@click.option(
    "-p",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of the report ('report NAME --help'). Repeatable.",
)
@click.option("--totals", is_flag=True, help="Print one row instead: the number of rows, and the sum of each size.")
@statement_limit
@utc_option
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

    'ocicat report NAME --help' shows the parameters and the columns of a report.

    A table on a terminal shows sizes in KiB, MiB and so on, and a line on stderr shows the totals. In all other output, sizes
    are in bytes. '-p image=REF' takes whatever 'ocicat resolve' takes; --store then also limits where REF is looked up.
    """
    if name is None:
        _list(stores or parameters or totals, format_)
        return 0
    report = report_named(name)
    output.limit_pauses(timeout)
    start_process()
    with contextlib.ExitStack() as stack:
        with Limits(None, timeout) as limits:
            reader = limits.open_reader(catalog_path(globals_.db))
            stack.callback(reader.close)
            ids = store_ids(reader, stores) if stores else None
            asked = AskedReport(reader, report, parameters_of(parameters), ids, note)
        is_terminal = sys.stdout.isatty()  # a pager may take its place
        is_shown = format_ in (None, "table") and is_terminal
        found, rows = asked.run(statements_of(reader, timeout))
        added = Totals(report)
        fields = added.fields if totals else found
        show = formats.open_format(format_, fields, fields)
        for row in rows:
            cells = dict(zip(found, row, strict=True))
            added.add(cells)
            if not totals:
                show.row((_for_people(report, cells) if is_shown else cells).__getitem__)
        if totals:
            cells = added.cells()
            show.row((_for_people(report, cells) if is_shown else cells).__getitem__)
        show.end()
        if is_terminal and not totals:
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


def _for_people(report: Report, cells: dict[str, object]) -> dict[str, object]:
    """Return the cells of a row for a person to read: sizes in units, and times relative to now."""
    readable = dict(cells)
    for column in report.columns:
        value = cells.get(column.name)
        if column.is_size and isinstance(value, int):
            readable[column.name] = human(value)
        elif column.is_age:
            readable[column.name] = relative(value)
    return readable


class Totals:
    """The number of rows, and the sum of each size column that can be added up."""

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
