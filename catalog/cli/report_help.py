"""`ocicat report NAME --help`: what the report is about, its parameters and columns, and the options of the command."""

from __future__ import annotations

import click

from catalog.cli.help_format import HelpContext
from catalog.reports.asking import report_named
from catalog.reports.definition import Report
from catalog.reports.reports import REPORTS

_NAMES = {report.name: report for report in REPORTS}
_ASKED = "ocicat.report"


class ReportCommand(click.Command):
    """The command `report`. Its help is about one report if the command line names one, else it lists them all."""

    context_class = HelpContext

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Remember which report the command line names, because click handles --help before it reads the arguments.

        Raises UsageError if --help is given for a report that does not exist.
        """
        named = next((text for text in args if text in _NAMES), None)
        if named is not None:
            self.choose(ctx, named)
        elif args and not args[0].startswith("-") and {"-h", "--help"} & set(args):
            report_named(args[0])
        return super().parse_args(ctx, args)

    @staticmethod
    def choose(ctx: click.Context, name: str) -> bool:
        """Make the help of `ctx` describe the report `name`; return whether there is such a report."""
        ctx.meta[_ASKED] = _NAMES.get(name)
        return name in _NAMES

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return the words after the name of the command in the usage line: the report, if one was named."""
        report = ctx.meta.get(_ASKED)
        return super().collect_usage_pieces(ctx) if report is None else [report.name, "[OPTIONS]"]

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sentence about the report, or the text about the command if no report was named."""
        report = ctx.meta.get(_ASKED)
        if report is None:
            super().format_help_text(ctx, formatter)
            return
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(f"{report.name}: {report.sentence}.")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the report's parameters and columns, then the options; or the options, then the reports."""
        report = ctx.meta.get(_ASKED)
        if report is not None:
            _write(report, formatter)
        super().format_options(ctx, formatter)
        if report is None:
            with formatter.section("Reports"):
                formatter.write_dl([(each.name, f"{each.sentence}.") for each in REPORTS])


def _write(report: Report, formatter: click.HelpFormatter) -> None:
    with formatter.section("Parameters"):
        if not report.parameters:
            formatter.write_text("This report has none.")
        else:
            formatter.write_dl(
                [
                    (f"-p {each.name}={each.value}", f"{each.documentation} [default: {each.default}]")
                    for each in report.parameters
                ],
            )
    with formatter.section("Columns"):
        formatter.write_dl([(each.name, each.documentation) for each in report.columns])
