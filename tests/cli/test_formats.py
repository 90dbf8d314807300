"""Formats, the same for every listing: escapes, null, and tables on a terminal (docs/scripts.md)."""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import json
import os
import pty
import subprocess
import unicodedata
from collections.abc import Sequence

import pytest

from catalog.cli import objects as written
from catalog.cli.formats import Objects
from catalog.engine.open import open_reader
from catalog.lookup.resolve import Asking
from catalog.names.escape import escape
from tests import writers
from tests.cli.conftest import NASTY, SHOWN, Own, Shelf, objects
from tests.cli.program import Ran, called, one_error
from tests.conftest import ON_SQLITE
from tests.effort import pairs
from tests.forking import CLEAN, OCICAT

LISTINGS = {
    "query": ("query",),
    "resolve": ("resolve", "ctr:3.16", "bytes:1"),
    "stores": ("stores",),
    "check": ("check",),
    "sql": ("sql", "SELECT store, path, tag, digest, ref_name, image_name, platform FROM images"),
}
COLUMNS = {
    "query": ["store", "name", "tag", "ref_name", "digest", "media_type", "size"],
    "resolve": ["digest"],
    "stores": ["name", "path", "state", "entries", "changed_at"],
    "check": ["store", "kind", "subject", "detail"],
    "sql": ["store", "path", "tag", "digest", "ref_name", "image_name", "platform"],
}


@functools.cache
def _asked(db: str, *arguments: str) -> Ran:
    """Ask once, however many tests need the answer: nothing changes this catalog."""
    return called(*arguments, db=db)


def ask(shelf: Shelf, listing: str, *arguments: str) -> str:
    result = _asked(shelf.db, "--quiet", *LISTINGS[listing], *arguments)
    assert result.status in (0, 1)
    assert result.err == ""
    return result.out


def cells(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.split("\n")[:-1]]


class _Kept(Objects):
    """Keeps the objects."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def objects(self, texts: Sequence[str]) -> None:
        self.texts += texts


def test_all_objects_in_blocks_are_those_that_each_entry_has_by_itself(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ask(shelf, "query", "--format", "jsonl").splitlines()
    alone = ask(shelf, "query", "--format", "jsonl", "--sort", "digest").splitlines()  # each for itself
    assert sorted(lines) == sorted(alone)
    assert {json.loads(line)["store"].partition("/")[2] for line in lines} >= {"alpine", "multi", "none", "hurt"}
    assert ask(shelf, "query", "--format", "jsonl", "--limit", "4").splitlines() == lines[:4]
    monkeypatch.setattr(written, "_BLOCK", 2)  # a store with more entries than a block of 1,000 would be slow to make
    with contextlib.closing(open_reader(shelf.db)) as reader:
        for limit in (None, 0, 1, 2, 3, 7, len(lines)):
            kept = _Kept()
            assert written.write_all(Asking(reader, lambda _: None), limit, kept) == len(kept.texts)
            assert kept.texts == lines[:limit]


def test_the_escapes() -> None:
    assert escape(NASTY) == SHOWN
    assert escape("plain ä 漢 😀") == "plain ä 漢 😀"
    assert escape("\0\x1f\x80\x9f\xad\ufeff\U000e0001\udcff") == r"\x00\x1f\x80\x9f\xad\ufeff\U000e0001\udcff"


@pytest.mark.parametrize("listing", LISTINGS)
def test_a_pipe_gets_tsv_without_a_header(shelf: Shelf, listing: str) -> None:
    text = ask(shelf, listing)
    assert text == ask(shelf, listing, "--format", "tsv")
    assert {len(row) for row in cells(text)} == {len(COLUMNS[listing])}
    assert COLUMNS[listing] not in cells(text)


@pytest.mark.parametrize("listing", LISTINGS)
def test_csv_has_the_same_cells_and_a_header_of_its_own(shelf: Shelf, listing: str) -> None:
    rows = list(csv.reader(io.StringIO(ask(shelf, listing, "--format", "csv"), newline="")))
    header = (
        [] if listing == "resolve" else [COLUMNS[listing]]
    )  # `resolve` promises exactly one line per reference, so no header
    assert rows == header + cells(ask(shelf, listing))


@pytest.mark.parametrize("listing", LISTINGS)
def test_json_is_one_array_and_jsonl_its_elements(shelf: Shelf, listing: str) -> None:
    found = json.loads(ask(shelf, listing, "--format", "json"))
    assert isinstance(found, list)
    assert [json.loads(line) for line in ask(shelf, listing, "--format", "jsonl").splitlines()] == found
    for row, each in zip(cells(ask(shelf, listing)), found, strict=True):
        for column, cell in zip(COLUMNS[listing], row, strict=True):
            value = each[column]
            assert cell == ("" if value is None else escape(str(value))), column


@pytest.mark.parametrize("listing", LISTINGS)
def test_a_template_can_print_every_field(shelf: Shelf, listing: str) -> None:
    columns = COLUMNS[listing]
    by_tsv = ask(shelf, listing)
    assert ask(shelf, listing, "--format", "\\t".join(f"{{{column}}}" for column in columns)) == by_tsv
    assert ask(shelf, listing, "--format", "\t".join(f"{{{column}}}" for column in columns)) == by_tsv
    first = columns[0]
    braces = ask(shelf, listing, "--format", f"{{{{{first}}}}} a\\nb }}}} \\x {{{first}}}").split("\n")
    assert braces[0] == f"{{{first}}} a"
    assert braces[1].startswith("b } \\x ")
    (keys,) = {tuple(each) for each in json.loads(ask(shelf, listing, "--format", "json"))}
    for key in keys:
        assert ask(shelf, listing, "--format", f"{{{key}}}").count("\n") == by_tsv.count("\n")


@ON_SQLITE
@pytest.mark.parametrize(
    ("listing", "bad"),
    pairs(LISTINGS, ["bogus", "", "JSON", "{bogus}", "{", "{}", "{0}", "{digest!r}", "{digest:>10}", "text"]),
)
def test_a_bad_format_has_status_2(shelf: Shelf, listing: str, bad: str) -> None:
    result = shelf.ask("--quiet", *LISTINGS[listing], "--format", bad)
    one_error(result, 2)
    assert result.out == ""


@pytest.mark.parametrize("listing", LISTINGS)
@pytest.mark.parametrize("format_", [None, "tsv", "csv", "json", "jsonl", "table", "{store} {name} {digest}"])
def test_no_control_character_is_printed(shelf: Shelf, listing: str, format_: str | None) -> None:
    if format_ is not None and "{" in format_:
        format_ = "{" + "} {".join(COLUMNS[listing]) + "}"
    text = ask(shelf, listing, *(() if format_ is None else ("--format", format_)))
    allowed = "\n\t" if format_ in (None, "tsv") else "\r\n" if format_ == "csv" else "\n"
    assert not [c for c in text if unicodedata.category(c)[0] in "CZ" and c not in allowed and c != " "]


def test_odd_text_is_the_same_after_json(shelf: Shelf) -> None:
    digest = shelf.digests["odd", ""]
    (found,) = objects(shelf.ask("query", f"@{digest}", "--format", "json"))
    # A name that cannot be a key is kept raw. Only NUL and invalid UTF-8 become U+FFFD.
    assert found["ref_name"] == f"odd{NASTY}"
    assert found["media_type"] == f"application/{NASTY}"
    assert found["artifact_type"] == f"artifact/{NASTY}"
    assert found["path"] == f"{shelf.root}/odd{NASTY}"
    assert found["annotations"] == {writers.REF_NAME: f"odd{NASTY}", f"key{NASTY}": f"value{NASTY}"}
    assert found["platforms"] in (["linux/arm64"], ["linux/arm64/v8"])


def test_objects_inside_a_template_are_json(shelf: Shelf) -> None:
    text = shelf.ask("query", "ctr:3.16", "--format", "{names} {platforms}").out
    assert text.startswith('["docker.io/library/ctr:3.16"] [')
    annotations = shelf.ask("query", f"@{shelf.digests['odd', '']}", "--format", "{annotations}").out
    assert json.loads(annotations)[f"key{NASTY}"] == f"value{NASTY}"
    assert shelf.ask("query", "ctr:3.16", "--format", "{shadowed}").out == "false\n"


# On a terminal


def on_terminal(*arguments: str, db: str) -> tuple[int, str]:
    """Run the program with a terminal as its stdout; return what it wrote there, with the original line ends."""
    leader, follower = pty.openpty()
    try:
        with subprocess.Popen(
            [OCICAT, *arguments], stdout=follower, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
            env=CLEAN | {"OCICAT_DB": db},
        ) as process:  # fmt: skip
            os.close(follower)
            pieces: list[bytes] = []
            while True:
                try:
                    piece = os.read(leader, 65536)
                except OSError:  # the other end is closed
                    break
                if not piece:
                    break
                pieces.append(piece)
            status = process.wait(20)
    finally:
        os.close(leader)
    return status, b"".join(pieces).decode().replace("\r\n", "\n")


@ON_SQLITE
@pytest.mark.parametrize("listing", [each for each in LISTINGS if each not in ("resolve", "query")])
def test_on_a_terminal_a_listing_is_a_table_with_a_header(shelf: Shelf, listing: str) -> None:
    status, text = on_terminal(*LISTINGS[listing], db=shelf.db)
    assert status in (0, 1)
    assert text == ask(shelf, listing, "--format", "table")
    lines = text.split("\n")[:-1]
    assert lines[0].split() == [column.upper() for column in COLUMNS[listing]]
    assert len(lines) == len(cells(ask(shelf, listing))) + 1
    assert all(line.isprintable() and line == line.rstrip() for line in lines)
    # The columns are aligned.
    starts = [lines[0].index(column.upper()) for column in COLUMNS[listing]]
    for line, row in zip(lines[1:], cells(ask(shelf, listing)), strict=True):
        if all(len(cell) <= 80 for cell in row):
            for start, cell in zip(starts, row, strict=True):
                assert line[start : start + len(cell)] == cell


@ON_SQLITE
def test_on_a_terminal_tsv_can_be_requested(shelf: Shelf) -> None:
    _, text = on_terminal("stores", "--format", "tsv", db=shelf.db)
    assert text == ask(shelf, "stores")


@ON_SQLITE
def test_on_a_terminal_resolve_prints_the_digest(shelf: Shelf) -> None:
    assert on_terminal("resolve", "ctr:3.16", db=shelf.db) == (0, shelf.digests["ctr", "3.16"] + "\n")


@ON_SQLITE
def test_on_a_terminal_a_path_is_escaped(shelf: Shelf) -> None:
    status, text = on_terminal("--db", "/x\x1b[31m", "db", "path", db=shelf.db)
    assert (status, text) == (0, "/x\\x1b[31m\n")


@ON_SQLITE
def test_a_long_table_streams_and_keeps_its_columns(shelf: Shelf) -> None:
    statement = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000) SELECT i, 'x' AS x FROM n"
    lines = shelf.ask("sql", statement, "--format", "table").lines
    assert len(lines) == 1001
    assert lines[0] == "I    X"
    assert lines[1] == "1    x"
    assert lines[1000] == "1000  x"  # the widths are those of the first 200 rows


@ON_SQLITE
def test_progress_is_drawn_on_a_terminal_and_nowhere_else(shelf: Shelf, tmp_path: os.PathLike[str]) -> None:
    def errors(*arguments: str) -> bytes:
        leader, follower = pty.openpty()
        with subprocess.Popen(
            [OCICAT, *arguments, "add", f"{shelf.root}/alpine"], stdout=subprocess.DEVNULL, stderr=follower,
            stdin=subprocess.DEVNULL, env=CLEAN | {"OCICAT_DB": f"{tmp_path}/c.db", "TERM": "xterm"},
        ) as process:  # fmt: skip
            os.close(follower)
            assert process.wait(20) == 0
        pieces = b""
        try:
            while piece := os.read(leader, 65536):
                pieces += piece
        except OSError:
            pass
        os.close(leader)
        return pieces

    drawn = errors()
    assert b"indexing" in drawn
    assert b"100%" in drawn
    assert errors("--quiet") == b""


def test_a_table_for_stdin_is_flushed_after_each_answer(shelf: Shelf) -> None:
    with subprocess.Popen(
        [OCICAT, "query", "-", "--format", "table"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=CLEAN | {"OCICAT_DB": shelf.db},
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        for number, tag in enumerate(("3.16", "3.17")):
            process.stdin.write(f"ctr:{tag}\n".encode())
            process.stdin.flush()
            if not number:
                assert process.stdout.readline().split()[0] == b"STORE"
            assert shelf.digests["ctr", tag].encode() in process.stdout.readline()
        process.stdin.close()
        assert process.wait(20) == 0


@ON_SQLITE
@pytest.mark.parametrize("arguments", [("--sort", "bogus"), ("--store", "nope"), ("--digest", "x"), ("--limit", "x")])
def test_wrong_usage_prints_nothing_not_even_a_header(shelf: Shelf, arguments: tuple[str, ...]) -> None:
    result = shelf.ask("query", "--format", "csv", *arguments)
    assert (result.status, result.out) == (2, "")
    empty = shelf.ask("query", "--format", "csv", "--tag", "nope")
    assert (empty.status, empty.lines) == (0, [",".join(COLUMNS["query"]) + "\r"])


@ON_SQLITE
def test_the_error_of_a_bad_format_names_them_all(shelf: Shelf) -> None:
    assert "oci-layout" in one_error(shelf.ask("resolve", "x", "--format", "bogus"), 2, "jsonl", "'{digest}'")
    assert "oci-layout" not in one_error(shelf.ask("query", "x", "--format", "bogus"), 2, "jsonl", "'{store}'")


FORMULAS = ("=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "'=1", " =1", "\uff1d1", "=\u202e1", "\x1b=1")
HARMLESS = ("a=1", "1", "'a", "", "a-1", "sha256:x", "(-1)")


def back(cell: str) -> str:
    """Return the original text of a cell, by the rule in docs/scripts.md."""
    return cell[1:] if cell[:1] == "'" and cell.lstrip(" '")[:1] in "=+-@\uff1d\uff0b\uff0d\uff20" else cell


def test_csv_has_no_formula(cli: Own) -> None:
    layout = writers.make_layout(f"{cli.directory}/formulas")
    entries = [writers.fake_descriptor(text) | {"annotations": {writers.REF_NAME: text}} for text in FORMULAS]
    writers.write_index(layout, writers.empty_index(*entries))
    cli.done("add", layout)
    for arguments in (
        ("query", "--store", "formulas"),
        ("sql", "SELECT ref_name FROM images"),
    ):
        rows = list(csv.DictReader(io.StringIO(cli.done(*arguments, "--format", "csv").out)))
        found = [row["ref_name"] for row in rows]
        assert sorted(map(back, found)) == sorted(escape(text) for text in FORMULAS)
        assert not any(cell.lstrip(" ")[:1] in "=+-@\uff1d" for cell in found)
        assert all(cell.isprintable() for cell in found)


def test_csv_of_sql_is_unchanged_unless_it_is_a_formula(shelf: Shelf) -> None:
    for text in (*FORMULAS, *HARMLESS):
        result = shelf.ask("sql", "SELECT :a AS a, -1 AS b", "-p", f"a={text}", "--format", "csv")
        ((cell, number),) = list(csv.reader(io.StringIO(result.out)))[1:]
        assert back(cell) == escape(text)
        assert cell == escape(text) or text in FORMULAS
        assert number == "-1"
    result = shelf.ask("sql", 'SELECT 1 AS "=1+1"', "--format", "csv")
    assert result.lines[0].rstrip("\r") == "'=1+1"
