"""Run a report for the command line and the API: check its parameters, select its rows by store, and name the stores it leaves out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

from catalog.engine.interface import Reader
from catalog.errors import NotFound, UsageError
from catalog.lookup.advice import last_hint
from catalog.lookup.resolve import Asking
from catalog.names import query as kinds
from catalog.names.age import milliseconds
from catalog.names.escape import shown
from catalog.names.moment import rfc3339
from catalog.names.nearest import did_you_mean
from catalog.names.query import parse_query
from catalog.reports.definition import Report
from catalog.reports.gate import Statements
from catalog.reports.reports import REPORTS


def report_named(name: str) -> Report:
    """Return the report of that name. Raises UsageError if there is no such report."""
    for each in REPORTS:
        if each.name == name:
            return each
    hint = did_you_mean(name, [each.name for each in REPORTS])
    raise UsageError(f"there is no report {shown(name)}: {hint}'ocicat report' lists them")


class AskedReport:
    """A report with its parameters, for all stores or only for those with the ids `stores`.

    `parameters` are as on the command line, ages included. `note` is called with each line that a person should read. Raises
    UsageError for an unknown parameter, for a malformed age, or for `stores` if the report has no column for them and no `image` is
    given; for `image`, also what `resolve` raises.
    """

    def __init__(
        self,
        reader: Reader,
        report: Report,
        parameters: Mapping[str, str],
        stores: frozenset[int] | None,
        note: Callable[[str], None],
    ) -> None:
        self._reader = reader
        self._report = report
        self._note = note
        known = dict.fromkeys((each.name for each in report.parameters), "")
        self._values = known | _given(report, known, parameters)
        has_stores = any(column.name == "store" for column in report.columns)
        if stores is not None and not has_stores and "image" not in parameters:
            raise UsageError(f"the report {report.name} has no column 'store': leave --store out")
        self._wanted: set[str] | None = None
        if stores is not None and has_stores:
            self._wanted = {row[1] for row in reader.rows("STORE_NAMES", {}) if row[0] in stores}
        if "image" in parameters:
            self._values["image"] = _digest_of(reader, self._values["image"], stores, note)

    def run(self, statements: Statements) -> tuple[tuple[str, ...], Iterator[tuple[object, ...]]]:
        """Note the stores that are left out; return the names of the columns and an iterator over the rows. Raises as Statements.run does."""
        if self._report.left_out:
            self._note_unjudged(statements)
        columns, rows = statements.run(self._report.statement(self._reader.dialect), self._values)
        if self._wanted is None:
            return columns, rows
        wanted, place = self._wanted, columns.index("store")
        return columns, (row for row in rows if row[place] in wanted)

    def _note_unjudged(self, statements: Statements) -> None:
        """Note each store that is left out because it cannot be judged which of its blobs are in use, and why."""
        _, rows = statements.run("SELECT store, subject, reason FROM unjudged ORDER BY store", {})
        for store, subject, reason in rows:
            if self._wanted is None or store in self._wanted:
                because = f"{shown(str(subject))} {reason}" if subject else str(reason)
                self._note(f"{shown(str(store))} {self._report.left_out}: {because}")


def _given(report: Report, known: Mapping[str, str], parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the given parameters, with ages as times. Raises UsageError for an unknown parameter or a malformed age."""
    values: dict[str, str] = {}
    for key, value in parameters.items():
        if key not in known:
            takes = f"its parameters are {', '.join(known)}" if known else "it takes none"
            hint = did_you_mean(key, known)
            raise UsageError(f"the report {report.name} has no parameter {shown(key)}: {hint}{takes}")
        values[key] = _threshold(value) if key == "older_than" else value
    return values


def _digest_of(reader: Reader, text: str, stores: frozenset[int] | None, note: Callable[[str], None]) -> str:
    """Return the digest that a reference resolves to. Raises what `resolve` raises, and UsageError for a pattern."""
    query = parse_query(text)
    if query.kind in (kinds.PATTERN, kinds.TAG_PATTERN):
        raise UsageError(f"image={shown(text)} is a pattern: write one name, ':TAG' or digest")
    try:
        return Asking(reader, note, stores=stores).resolve(query).digest
    except NotFound as error:
        if error.hint:
            raise
        raise NotFound(str(error), last_hint(reader, text)) from None


def _threshold(age: str) -> str:
    """Return the time that was `age` ago, in the form that the views use. Raises UsageError if `age` is not an age."""
    return rfc3339(max(0, int(time.time() * 1000) - milliseconds(age, "older_than"))) or ""
