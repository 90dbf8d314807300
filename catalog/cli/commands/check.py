"""`ocicat check`."""

from __future__ import annotations

import contextlib

import click

from catalog.cli import formats
from catalog.cli.limits import Limits
from catalog.cli.main import Globals
from catalog.cli.messages import remark
from catalog.cli.time_limit import statement_limit
from catalog.db.view import HERE, STORE_NAME
from catalog.engine.location import catalog_path
from catalog.lookup.stores import store_ids
from catalog.names.sizes import counted
from catalog.reports.gate import start_process, statements_of

COLUMNS = ("store", "kind", "subject", "detail")
_PROBLEMS = (
    "SELECT store.id, problems.store, problems.kind, problems.subject, problems.detail"
    " FROM problems JOIN store ON {name} = problems.store ORDER BY {order}store.priority, problems.store, kind, subject, detail"
)
_STATEMENTS = {
    "sqlite": _PROBLEMS.format(name="store.name", order=""),
    "postgresql": _PROBLEMS.format(name=STORE_NAME, order=f"(store.host_id = {HERE}) IS TRUE DESC, "),
}


@click.command(name="check")
@click.argument("names", nargs=-1, metavar="[STORE]...")
@statement_limit
@click.option("--format", "format_", metavar="F", help="table, tsv, csv, json, jsonl or a TEMPLATE.")
@click.pass_obj
def command(globals_: Globals, names: tuple[str, ...], timeout: float, format_: str | None) -> int:
    """List the problems of all stores, or of the given ones ('ocicat help problems').

    The exit status is 1 if there is a problem.
    """
    start_process()
    with contextlib.ExitStack() as stack:
        with Limits(None, timeout) as limits:
            reader = limits.open_reader(catalog_path(globals_.db))
            stack.callback(reader.close)
            wanted = store_ids(reader, names) if names else None
        show = formats.open_format(format_, COLUMNS, COLUMNS, prose=True)
        found = 0
        for row in statements_of(reader, timeout).run_ours(_STATEMENTS[reader.dialect]):
            if wanted is None or row[0] in wanted:
                found = 1
                show.row(dict(zip(COLUMNS, row[1:], strict=True)).__getitem__)
        show.end()
        if not found:
            stores = reader.rows("STORE_NAMES", {}) if wanted is None else iter(wanted)
            remark(f"no problem in {counted(sum(1 for _ in stores), 'store')}")
    return found
