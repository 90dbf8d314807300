"""`ocicat report` as a command: the list, formats, sizes for people and for pipes, parameters, limits.

tests/reports/test_reports.py compares the contents of the reports with the files on disk.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest

from catalog.reports.definition import Report
from catalog.reports.reports import REPORTS
from tests import writers
from tests.cli.conftest import Own, Shelf
from tests.cli.program import called, on_a_terminal, one_error, ran
from tests.conftest import Catalogue
from tests.reports.sizes import fill


def test_without_a_name_it_lists_them(shelf: Shelf) -> None:
    result = shelf.ask("report")
    assert result.lines == [f"{each.name}\t{each.sentence}" for each in REPORTS]
    assert [each["report"] for each in json.loads(shelf.ask("report", "--format", "json").out)] == [
        each.name for each in REPORTS
    ]
    assert called("report", db="/nowhere/catalog.db").status == 0  # no catalog is needed


@pytest.mark.parametrize("name", [each.name for each in REPORTS])
def test_each_report_runs_in_each_format(shelf: Shelf, name: str) -> None:
    (columns,) = ([column.name for column in each.columns] for each in REPORTS if each.name == name)
    options = ("-p", "older_than=0") if name == "unreferenced" else ()
    tsv, csv, text = (
        shelf.ask("--quiet", "report", name, *options, "--format", each) for each in ("tsv", "csv", "json")
    )
    objects = json.loads(text.out)
    assert (tsv.status, tsv.err) == (0, "")
    assert csv.out.split("\r\n")[0] == ",".join(columns)
    assert all(list(each) == columns for each in objects)
    assert len(tsv.lines) == len(objects) == len(csv.out.split("\r\n")) - 2
    assert all(len(line.split("\t")) == len(columns) for line in tsv.lines)


def test_sizes_are_bytes_except_in_a_table_on_a_terminal(cli: Own) -> None:
    path = writers.make_layout(f"{cli.directory}/large")
    for size in (1, 3 << 20):
        writers.write_blob(path, b"x" * size, "x")
    cli.done("add", path)
    for options in ((), ("--format", "tsv"), ("--format", "table")):
        assert cli("report", "usage", *options).lines[-1].split() == ["large", "2", "3145729", "3145729", "0"]
    row = "large  2      3.0 MiB   3.0 MiB  0 B"
    assert on_a_terminal("report", "usage", db=cli.db) == ["STORE  BLOBS  APPARENT  UNIQUE   SHARED", row]
    assert on_a_terminal("report", "usage", "--format", "table", db=cli.db)[1] == row
    assert on_a_terminal("report", "usage", "--format", "tsv", db=cli.db) == ["large\t2\t3145729\t3145729\t0"]
    assert on_a_terminal("report", "usage", "--format", "{unique}", db=cli.db) == ["3145729"]
    assert json.loads(on_a_terminal("report", "usage", "--format", "jsonl", db=cli.db)[0])["apparent"] == 3145729


def test_store_narrows_the_rows(shelf: Shelf) -> None:
    everything = shelf.ask("report", "usage").lines
    assert shelf.ask("report", "usage", "--store", "solo").lines == [
        line for line in everything if line.startswith("solo\t")
    ]
    some = shelf.ask("report", "usage", "--store", "images/*", "--store", "solo").lines
    assert some == everything
    one_error(shelf.ask("report", "usage", "--store", "nosuch"), 2, "nosuch")
    one_error(shelf.ask("report", "shared", "--store", "solo"), 2, "no column 'store'")


def test_a_parameter_narrows_bases(cli: Own) -> None:
    path = writers.make_layout(f"{cli.directory}/a")
    layers = [writers.write_blob(path, each, writers.LAYER_TYPE) for each in (b"1", b"2")]
    config = writers.write_blob(path, b'{"os":"linux","architecture":"amd64"}', writers.CONFIG_TYPE)
    made = [
        writers.write_blob(
            path,
            writers.dump({"schemaVersion": 2, "config": config, "layers": layers[:number]}),
            writers.MANIFEST_TYPE,
        )
        for number in (1, 2)
    ]
    entries = [writers.name_entry(each, "short", "docker.io/library/x", f"{n}") for n, each in enumerate(made)]
    writers.write_index(path, writers.empty_index(*entries))
    cli.done("add", path)
    names = "docker.io/library/x:0 docker.io/library/x:1\n"
    digest = made[0]["digest"]
    for image in ("", digest, digest[:20], "docker.io/library/x:1", "x:1", ":0", "oci-layout://a/x:1", f"x@{digest}"):
        options = ("-p", f"image={image}") if image else ()
        assert cli("report", "bases", *options, "--format", "{base_name} {image_name}").out == names, image
    one_error(cli("report", "bases", "-p", "image=x:2"), 1, "x:2", "has the tags")
    one_error(cli("report", "bases", "-p", "image=UPPER"), 2, "UPPER")
    one_error(cli("report", "bases", "-p", "image=x:*"), 2, "pattern")
    one_error(cli("report", "bases", "-p", "image="), 2)
    one_error(cli("report", "bases", "-p", "image=oci-layout://nosuch"), 2, "nosuch")


def test_a_parameter_that_is_ambiguous(cli: Own, layout: Callable[..., str]) -> None:
    """As of every command: status 3, unless --store says where to look."""
    cli.done("add", layout("a", "1", style="short"), layout("b", "1", style="short"))
    assert cli("report", "bases", "-p", "image=app:1").status == 3
    assert cli("report", "bases", "-p", "image=app:1", "--store", "a") == (0, "", "")


def test_the_totals(cli: Own, layout: Callable[..., str]) -> None:
    cli.done("add", layout("a", "1", "2"), layout("b", "1"))
    found = json.loads(cli.done("report", "usage", "--format", "json").out)
    (totals,) = json.loads(cli.done("report", "usage", "--totals", "--format", "json").out)
    assert totals == {"rows": 2} | {key: sum(row[key] for row in found) for key in ("apparent", "unique", "shared")}
    assert cli.done("report", "usage", "--totals", "--store", "b", "--format", "{rows}").out == "1\n"
    assert cli.done("report", "duplicates", "--totals").out == "0\n"
    assert json.loads(cli.done("report", "growth", "--totals", "--format", "json").out) == [{"rows": 2}]
    one_error(cli("report", "--totals"), 2, "need the NAME of a report")


def test_a_terminal_is_told_the_totals(cli: Own, layout: Callable[..., str]) -> None:
    cli.done("add", layout("a", "1"))
    said = on_a_terminal("report", "usage", db=cli.db, stderr=subprocess.STDOUT)
    assert said[-1].startswith("ocicat: 1 row, apparent ")
    assert len(on_a_terminal("report", "usage", "--totals", db=cli.db, stderr=subprocess.STDOUT)) == 2


def test_wrong_usage_of_a_report(shelf: Shelf) -> None:
    one_error(shelf.ask("report", "nosuch"), 2, "no report nosuch", "'ocicat report'")
    one_error(shelf.ask("report", "usag"), 2, "no report usag", "did you mean 'usage'?")
    one_error(shelf.ask("report", "bases", "-p", "imag=x"), 2, "did you mean 'image'?")
    one_error(shelf.ask("report", "usage", "-p", "image=x"), 2, "no parameter image", "it takes none")
    one_error(shelf.ask("report", "bases", "-p", "x=y"), 2, "no parameter x", "its parameters are image")
    one_error(shelf.ask("report", "bases", "-p", "x"), 2, "-p NAME=VALUE")
    one_error(shelf.ask("report", "bases", "-p", "image=a", "-p", "image=b"), 2, "-p image is given twice")
    one_error(shelf.ask("report", "unreferenced", "-p", "older_than=7dayz"), 2, "did you mean '7day'?")
    one_error(shelf.ask("report", "usag", "--help"), 2, "did you mean 'usage'?")
    one_error(shelf.ask("help", "report", "usag"), 2, "did you mean 'usage'?")
    one_error(shelf.ask("report", "--store", "solo"), 2, "need the NAME of a report")
    one_error(shelf.ask("report", "usage", "--format", "{nosuch}"), 2, "nosuch")
    one_error(shelf.ask("report", "usage", "--timeout", "0"), 2, "--timeout")
    one_error(called("report", "usage", db="/nowhere/catalog.db"), 4, "/nowhere/catalog.db")


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.name)
def test_the_help_for_a_report_names_its_parameters_and_columns(report: Report) -> None:
    helps = [("report", report.name, "--help"), ("report", "-h", report.name), ("help", "report", report.name)]
    texts = {called(*words, env={"COLUMNS": "100"}).out.strip() for words in helps}
    assert len(texts) == 1
    (text,) = texts
    for each in report.parameters:
        assert f"  -p {each.name}={each.value}  " in text
        assert f"[default: {each.default}]" in " ".join(text.split())
    assert ("This report has none." in text) == (not report.parameters)
    assert all(f"\n  {column.name}  " in text for column in report.columns)


def test_it_ends_at_its_time_limit(catalogue: Catalogue) -> None:
    fill(catalogue, 300)
    assert called("report", "bases", db=catalogue.path).status == 0
    one_error(ran("report", "bases", "--timeout", "0.001", db=catalogue.path), 4, "--timeout")


def test_a_report_does_not_load_sqlalchemy(shelf: Shelf) -> None:
    """A report uses the standard library's sqlite3, like all commands that only read."""
    done = ran("report", "usage", db=shelf.db, env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert done.status == 0
    assert "catalog.reports.reports" in done.err
    assert "sqlalchemy" not in done.err
