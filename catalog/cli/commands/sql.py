"""`ocicat sql`."""

from __future__ import annotations

import sys

import click

from catalog.cli import formats, messages, output
from catalog.cli.limits import Limits
from catalog.cli.main import Globals
from catalog.cli.time_limit import statement_limit
from catalog.engine.location import catalog_path
from catalog.errors import UsageError
from catalog.names.escape import shown
from catalog.names.nearest import did_you_mean
from catalog.reports.gate import start_process, statements_of


@click.command(name="sql")
@click.argument("statement", required=False, metavar="[STATEMENT]")
@click.option(
    "-p", "parameters", multiple=True, metavar="NAME=VALUE", help="Value of :NAME in the statement. Repeatable."
)
@statement_limit
@click.option("--schema", is_flag=True, help="Print the public views and their columns.")
@click.option("--format", "format_", metavar="F", help="table, tsv, csv, json, jsonl or a TEMPLATE.")
@click.pass_obj
def command(
    globals_: Globals,
    statement: str | None,
    parameters: tuple[str, ...],
    timeout: float,
    schema: bool,
    format_: str | None,
) -> int:
    """Run a SQL statement over the public views, read-only. Without STATEMENT, the statement is read from stdin.

    '--schema' describes all views, and 'sql --schema NAME' only one: on a terminal as text, in a pipe as SQL, or with
    --format as one row per column.
    """
    output.limit_pauses(timeout)
    if not schema:
        start_process()
    with Limits(None, timeout) as limits:
        reader = limits.open_reader(catalog_path(globals_.db))
    try:
        if schema:
            _print_views(reader.views(), statement, format_)
            return 0
        values = parameters_of(parameters)
        if statement is None:
            statement = sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
        columns, rows = statements_of(reader, timeout).run(statement, values)
        show = formats.open_format(format_, columns, columns)
        at = {column: place for place, column in enumerate(columns)}
        has_rows = False
        for row in rows:
            has_rows = True
            show.row(lambda column, row=row: row[at[column]])  # type: ignore[misc]  # mypy infers no type for the default
        show.end()
        if not has_rows:
            messages.remark("no rows")
    finally:
        reader.close()
    return 0


def _print_views(views: list[str], name: str | None, format_: str | None) -> None:
    """Print all views, or only the view `name`. Raises UsageError if there is no such view.

    `views` are the statements that create them.
    """
    from catalog.cli.view_page import page, print_columns
    from catalog.db.views import VIEWS

    statements = {text.split()[2]: text for text in views}
    if name is not None and name.lower() not in statements:
        hint = did_you_mean(name, statements)
        raise UsageError(f"there is no view {shown(name)}: {hint}the views are {', '.join(statements)}")
    if name is not None:
        statements = {name.lower(): statements[name.lower()]}
    described = [view for view in sorted(VIEWS, key=lambda view: view.name) if view.name in statements]
    if format_ is not None:
        print_columns(described, format_)
    elif sys.stdout.isatty():
        output.write(page(described))
    else:
        output.write("".join(f"{text};\n\n" for text in statements.values()))


def parameters_of(texts: tuple[str, ...]) -> dict[str, str]:
    """Return the values of `-p NAME=VALUE` options by name. Raises UsageError if one is malformed or given twice."""
    values: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"-p {shown(text)} is not a parameter: write -p NAME=VALUE")
        if name in values:
            raise UsageError(f"-p {name} is given twice: write it once")
        values[name] = value
    return values
