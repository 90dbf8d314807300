"""Tables on a pseudo-terminal of a known width: they fit, name the columns that they leave out, and are safe; and colour.

test_formats.py tests what holds at any width. The width of a character is computed here independently, from Unicode's table.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
import threading
import unicodedata

import pytest

from catalog.cli.widths import short
from tests import writers
from tests.cli.conftest import Own, Shelf
from tests.cli.program import called, drained, ran
from tests.conftest import ON_SQLITE
from tests.effort import pairs
from tests.forking import CLEAN, OCICAT

PAINT = re.compile(r"\x1b\[(?:1|31|0)m")
LISTINGS = {
    "query": ("query",),
    "stores": ("stores",),
    "check": ("check",),
    "status": ("status",),
    "history": ("history", ":*"),
    "reports": ("report",),
    "usage": ("report", "usage"),
    "sql": ("sql", "SELECT store, path, digest, since FROM images"),
    "wide": ("sql", "SELECT '漢字かな' || store AS one, path || '한글' AS two, 'e\u0301\u0301' AS three FROM images"),
}

OTHERS = {
    "changes": ("changes", "--since", "1d"),
    "diff": ("diff", "images/ctr", "images/multi"),
    "columns": ("sql", "--schema"),
    "images": ("sql", "SELECT * FROM images"),
}


class Seen:
    """What the program wrote to stdout and stderr, each a terminal of its own, and its exit status."""

    def __init__(self, *arguments: str, db: str, columns: int, env: dict[str, str] | None = None) -> None:
        out, their_out = terminal(columns)
        err, their_err = terminal(columns)
        with subprocess.Popen(
            [OCICAT, *arguments], stdin=subprocess.DEVNULL, stdout=their_out, stderr=their_err,
            env=CLEAN | {"OCICAT_DB": db} | (env or {}),
        ) as process:  # fmt: skip
            os.close(their_out)
            os.close(their_err)
            pieces: list[str] = []
            reader = threading.Thread(target=lambda: pieces.append(drained(err)))
            reader.start()
            self.out = drained(out)
            reader.join()
            (self.err,) = pieces
            self.status = process.wait(20)

    @property
    def lines(self) -> list[str]:
        return self.out.split("\n")[:-1]


def terminal(columns: int) -> tuple[int, int]:
    leader, follower = pty.openpty()
    fcntl.ioctl(leader, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    return leader, follower


def places(text: str) -> int:
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in ("W", "F") else 1 for c in text
    )


EVERY = [*LISTINGS, *OTHERS]


@pytest.mark.parametrize(("listing", "columns"), [*((each, 40) for each in EVERY), *pairs(EVERY, [80, 132, 200])])
def test_a_table_is_no_wider_than_the_terminal(shelf: Shelf, listing: str, columns: int) -> None:
    seen = Seen(*(LISTINGS | OTHERS)[listing], db=shelf.db, columns=columns)
    assert seen.status in (0, 1)
    assert len(seen.lines) > 1
    assert max(map(places, seen.lines)) <= columns
    assert all(line.isprintable() for line in seen.lines)


# A terminal shows sizes in units, and other columns of entries.
@pytest.mark.parametrize("listing", [each for each in LISTINGS if each not in ("usage", "query", "status")])
def test_a_table_is_complete_if_there_is_room(shelf: Shelf, listing: str) -> None:
    in_utc = ("--utc",) if listing in ("stores", "history") else ()  # a pipe always gets times in UTC
    seen = Seen("--quiet", *LISTINGS[listing], *in_utc, db=shelf.db, columns=1000)
    assert seen.err == ""
    piped = shelf.ask("--quiet", *LISTINGS[listing], "--format", "table").out
    assert re.sub(" +", " ", seen.out) == re.sub(" +", " ", piped)  # without a terminal a column is at most 80 wide


def test_a_table_in_a_pipe_is_complete_at_any_width(shelf: Shelf) -> None:
    whole = shelf.ask("query", "--format", "table")
    assert ran("query", "--format", "table", db=shelf.db, env={"COLUMNS": "40"}) == whole


def test_a_shortened_digest_is_still_a_reference(shelf: Shelf) -> None:
    seen = Seen("query", "ctr:3.16", db=shelf.db, columns=80)
    (short,) = re.findall(r"sha256:[0-9a-f]+", seen.out)
    assert len(short) == len("sha256:") + 12
    assert called("resolve", short, db=shelf.db).out == shelf.digests["ctr", "3.16"] + "\n"


def test_columns_that_are_left_out_are_named(shelf: Shelf) -> None:
    seen = Seen("query", "ctr:3.16", db=shelf.db, columns=40)
    assert seen.lines[0].split() == ["NAME", "TAG", "SIZE", "CREATED"]
    assert " ".join(seen.err.split()) == (
        "ocicat: no room for store, digest, platforms: use a wider terminal or another --format to see everything"
    )
    assert Seen("--quiet", "query", "ctr:3.16", db=shelf.db, columns=40).err == ""
    assert Seen("stores", db=shelf.db, columns=60).lines[0].split() == ["NAME", "STATE", "ENTRIES"]


@pytest.mark.parametrize("command", ["query", "find"])
def test_a_terminal_shows_what_people_ask_about_an_image(shelf: Shelf, command: str) -> None:
    seen = Seen(command, "ctr:3.16" if command == "query" else "ctr 3.16", db=shelf.db, columns=160)
    assert seen.lines[0].split() == ["STORE", "NAME", "TAG", "PLATFORMS", "SIZE", "CREATED", "DIGEST"]
    assert re.match(
        r"images/ctr +ctr +3\.16 +linux/amd64 +[0-9.]+ (B|KiB) +\d+ (year|month|week|day|hour)s? ago +sha256:",
        seen.lines[1],
    )
    in_utc = Seen(command, "--utc", "ctr:3.16" if command == "query" else "ctr 3.16", db=shelf.db, columns=200)
    assert re.search(r"  20\d\d-\d\d-\d\dT[0-9:.]+Z  ", in_utc.lines[1])
    (piped,) = shelf.ask("query", "ctr:3.16").out.splitlines()
    assert piped.split("\t")[:4] == ["images/ctr", "docker.io/library/ctr:3.16", "3.16", "3.16"]


AGE = r"\d+ (second|minute|hour|day)s? ago"
HERE = r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}(?=\s|$|\))"
UTC = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z"


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (("stores",), AGE),
        (("history", "ctr:3.16"), HERE),
        (("changes",), HERE),
        (("inspect", "images/ctr:3.16"), HERE),
        (("report", "drift"), AGE),
    ],
)
def test_times_are_for_people_on_a_terminal_alone(shelf: Shelf, arguments: tuple[str, ...], shown: str) -> None:
    arguments = tuple(text.replace("images/ctr", "oci-layout://images/ctr") for text in arguments)
    seen = Seen(*arguments, db=shelf.db, columns=400).out
    assert re.search(shown, seen)
    assert not re.search(UTC, seen)
    in_utc = Seen(*arguments, "--utc", db=shelf.db, columns=400).out
    assert re.search(UTC, in_utc)
    assert not re.search(shown, in_utc)
    piped = shelf.ask("--quiet", *arguments)
    assert piped.out == shelf.ask("--quiet", *arguments, "--utc").out
    assert not re.search(f"{AGE}|{HERE}", piped.out)


def test_a_time_of_the_history_can_be_asked_about(shelf: Shelf) -> None:
    """In the zone of the user, who pastes it."""
    env = {"TZ": "Asia/Kolkata"}
    (since,) = re.findall(HERE, Seen("history", "multi:1", db=shelf.db, columns=400, env=env).out)
    assert ran("resolve", "multi:1", "--at", since, db=shelf.db, env=env).out == f"{shelf.digests['multi', '1']}\n"


def test_a_cell_is_cut_in_the_middle_with_a_mark(shelf: Shelf) -> None:
    statement = f"SELECT '{'a' * 50}b{'c' * 50}' AS long, 'short' AS short"
    assert Seen("sql", statement, db=shelf.db, columns=40).lines[1] == f"{'a' * 16}…{'c' * 16}  short"


def test_prose_is_wrapped_and_nothing_is_lost(shelf: Shelf) -> None:
    wide, narrow = (Seen("report", db=shelf.db, columns=columns) for columns in (1000, 60))
    assert narrow.out.split() == wide.out.split()
    assert len(narrow.lines) > len(wide.lines)
    assert all(line.startswith(" " * wide.lines[0].index("SENTENCE")) for line in narrow.lines if line[0] == " ")


def test_columns_are_aligned_although_characters_are_wide(shelf: Shelf) -> None:
    statement = "SELECT '漢字' AS a, 1 AS b UNION ALL SELECT 'abcdef', 2 UNION ALL SELECT 'e\u0301\u0301\u0301', 3"
    for columns in (20, 1000):
        lines = Seen("sql", statement, db=shelf.db, columns=columns).lines
        assert [places(line[: line.index(end)]) for line, end in zip(lines, "B123", strict=True)] == [8] * 4


@ON_SQLITE
def test_a_cell_of_marks_without_width_is_cut(shelf: Shelf) -> None:
    statement = (
        "SELECT 'x' || replace(hex(zeroblob(5000)), '00', '\u0301') AS marks, 'y' AS y, printf('%.90c', 'z') AS z"
    )
    seen = Seen("sql", statement, db=shelf.db, columns=60)
    assert max(map(len, seen.lines)) < 300


def test_rows_that_have_no_room_are_printed_upright(shelf: Shelf) -> None:
    statement = "SELECT " + ", ".join(f"'{'v' * 12}' AS c{number}" for number in range(20))
    numbers = ", ".join(f"'{number}'" for number in range(20))
    seen = Seen("sql", f"{statement} UNION ALL SELECT {numbers}", db=shelf.db, columns=60)
    labels = [f"C{number}" for number in range(20)]
    rows = [line.split() for line in seen.lines]
    assert rows[:20] == [[label, "v" * 12] for label in labels]
    assert rows[20:] == [[], *([label, str(number)] for number, label in enumerate(labels))]
    (line,) = [line for line in Seen("history", "ctr:3.16", db=shelf.db, columns=40).lines if line.startswith("NAME")]
    assert line == "NAME    docker.io/library/ctr:3.16"


def test_what_is_too_long_for_an_upright_row_is_wrapped_below_itself(shelf: Shelf) -> None:
    statement = "SELECT " + ", ".join(f"'{'v' * 50}' AS c{number}" for number in range(20))
    lines = Seen("sql", statement, db=shelf.db, columns=40).lines
    assert lines[:2] == [f"C0   {'v' * 35}", f"     {'v' * 15}"]
    assert (
        Seen("sql", statement, db=shelf.db, columns=8).lines[:3] == ["C0", *["  vvvvvv"] * 2][:1] + ["  " + "v" * 8] * 2
    )


def test_the_views_are_described_for_a_person_and_for_programs(shelf: Shelf) -> None:
    lines = Seen("sql", "--schema", "unjudged", db=shelf.db, columns=80).lines
    assert lines[0] == "unjudged"
    assert "CREATE VIEW" not in "".join(lines)
    (row,) = [
        each for each in json.loads(shelf.ask("sql", "--schema", "unjudged", "--json").out) if each["column"] == "store"
    ]
    assert row == {"view": "unjudged", "column": "store", "description": "name of the store"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("query", "--tag", "no-such-tag"), "no entry matches: 'ocicat query' lists all entries"),
        (("query", "--referrers-of", "ctr:3.16"), "no referrer matches"),
        (("sql", "SELECT 1 FROM images WHERE 0 = 1"), "no rows"),
        (("stores", "--state", "missing"), "no store is missing"),
    ],
)
def test_a_terminal_is_told_that_nothing_was_found(shelf: Shelf, arguments: tuple[str, ...], told: str) -> None:
    seen = Seen(*arguments, db=shelf.db, columns=80)
    assert (seen.status, seen.out, seen.err) == (0, "", f"ocicat: {told}\n")
    piped = shelf.ask(*arguments)
    assert (piped.status, piped.out, piped.err) == (0, "", "")
    assert Seen("--quiet", *arguments, db=shelf.db, columns=80).err == ""


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_tag_without_a_name_is_shown_where_there_is_no_room_for_tags(shelf: Shelf, columns: int) -> None:
    changes = [json.loads(line) for line in shelf.ask("changes", "--since", "1d", "--format", "jsonl").lines]
    tagged = [each["tag"] for each in changes if each["name"] is None and each["tag"] is not None]
    tags = {f":{tag}" for tag in tagged if tag.isascii() and len(tag) < 8 and tag.isprintable()}
    seen = Seen("changes", "--since", "1d", db=shelf.db, columns=columns)
    assert tags
    assert tags <= set(seen.out.split())
    assert max(map(places, seen.lines)) < max(columns + 1, 100)


@ON_SQLITE
def test_a_late_row_that_is_too_wide_is_cut_to_the_columns(shelf: Shelf) -> None:
    statement = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300) SELECT iif(i = 290, printf('%.90c', 'z'), 'narrow one') AS a, i FROM n"
    lines = Seen("sql", statement, db=shelf.db, columns=60).lines
    assert lines[289:292] == ["narrow one  289", "zzzzz…zzzz  290", "narrow one  291"]


def test_columns_of_the_environment_has_precedence(shelf: Shelf) -> None:
    narrow = Seen("stores", db=shelf.db, columns=60).out
    assert Seen("stores", db=shelf.db, columns=200, env={"COLUMNS": "60"}).out == narrow
    for nonsense in ("0", "x", "-5", "", "²"):
        assert Seen("stores", db=shelf.db, columns=60, env={"COLUMNS": nonsense}).out == narrow


@pytest.mark.parametrize("columns", [40, 80])
def test_a_progress_bar_stays_on_its_line(cli: Own, columns: int) -> None:
    root = f"{cli.directory}/images"
    for number in range(30):
        layout = writers.make_layout(f"{root}/{number}")
        entry = writers.make_image(layout, f"image {number}", layers=5)
        writers.write_index(layout, writers.empty_index(writers.name_entry(entry, "tag", "", "1")))
    for arguments in (("add", root), ("verify", "--full")):
        seen = Seen("--config", cli.config, *arguments, db=cli.db, columns=columns, env={"TERM": "xterm"})
        assert seen.status == 0
        drawn = re.sub(r"\x1b\[\??[0-9;]*[A-Za-z]", "", seen.err)
        assert "100%" in drawn
        assert "KiB of" in drawn or arguments[0] == "add" or columns == 40
        assert max(len(line) for line in re.split(r"[\r\n]", drawn)) <= columns


# Colour


@pytest.fixture
def torn(cli: Own) -> Own:
    """A catalog with one store that is ok and one that is not."""
    good, bad = (writers.make_layout(f"{cli.directory}/{name}") for name in ("good", "torn"))
    with open(f"{bad}/index.json", "w", encoding="utf-8") as file:
        file.write("{")
    assert cli("add", good, bad).status == 0
    return cli


def test_a_terminal_with_colour_gets_coloured_headers_and_bad_states(torn: Own) -> None:
    seen = Seen("stores", "--utc", db=torn.db, columns=200, env={"TERM": "xterm"})
    assert seen.lines[0].startswith("\x1b[1mNAME")
    assert "\x1b[31minvalid\x1b[0m" in seen.out
    assert seen.out.count("\x1b[31m") == 1
    assert PAINT.sub("", seen.out) == Seen("stores", "--utc", db=torn.db, columns=200).out
    wrong = Seen("stores", "--state", "x", db=torn.db, columns=200, env={"TERM": "xterm"})
    assert wrong.err.startswith("ocicat: \x1b[31merror:\x1b[0m ")


@pytest.mark.parametrize("env", [{"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": ""}, {}])
def test_there_is_no_colour_if_it_is_unwanted_or_impossible(torn: Own, env: dict[str, str]) -> None:
    assert "\x1b" not in Seen("stores", db=torn.db, columns=200, env=env).out
    assert "\x1b" not in Seen("stores", "--state", "x", db=torn.db, columns=200, env=env).err


def test_an_empty_no_color_is_ignored_and_a_pipe_has_no_colour(torn: Own) -> None:
    assert "\x1b[1m" in Seen("stores", db=torn.db, columns=200, env={"TERM": "xterm", "NO_COLOR": ""}).out
    for arguments in (("stores", "--format", "table"), ("stores", "--state", "x")):
        piped = ran(*arguments, db=torn.db, env={"TERM": "xterm"})
        assert "\x1b" not in piped.out + piped.err


@pytest.mark.parametrize("listing", ["query", "stores", "check"])
def test_text_from_a_layout_has_no_control_character_with_colour_either(shelf: Shelf, listing: str) -> None:
    for columns in (60, 200):
        seen = Seen(*LISTINGS[listing], db=shelf.db, columns=columns, env={"TERM": "xterm"})
        assert all(PAINT.sub("", line).isprintable() for line in seen.lines)


SAID = {
    "not found": ("query", "nosuch"),
    "several": ("resolve", "busybox:1.0"),
    "unknown": ("query", "--stor", "x"),
    "no room": ("stores",),
    "nothing": ("find", "nowhere", "ctr"),
    "wrong": ("sql", "SELECT nosuch FROM images"),
    "long": ("resolve", f"{'x' * 60}:1"),
}


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("name", SAID)
def test_notes_and_errors_are_broken_between_words(shelf: Shelf, name: str, columns: int) -> None:
    """A terminal would break them inside words. The text is that of a pipe, and a longer word stays whole."""
    seen = Seen(*SAID[name], db=shelf.db, columns=columns)
    lines = plain(seen.err).splitlines()
    assert lines or name == "no room"
    for line in lines:
        assert len(line) <= columns or len(line.split()) == 1, line
    if name != "no room":  # a pipe has room for everything
        said = shelf.ask(*SAID[name]).err
        assert [short(word) for word in plain(seen.err).split()] == [short(word) for word in said.split()]


def plain(text: str) -> str:
    return PAINT.sub("", text)


def test_a_quoted_command_stays_on_one_line_if_it_fits(shelf: Shelf) -> None:
    seen = Seen("query", "nosuch", db=shelf.db, columns=40)
    assert any("'ocicat index'" in line for line in seen.err.splitlines())
    assert any("'ocicat add PATH'" in line for line in seen.err.splitlines())


def test_a_pipe_for_stdout_leaves_the_width_of_stderr(shelf: Shelf) -> None:
    leader, follower = terminal(40)
    with subprocess.Popen(
        [OCICAT, "query", "nosuch"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=follower,
        env=CLEAN | {"OCICAT_DB": shelf.db},
    ):  # fmt: skip
        os.close(follower)
        lines = drained(leader).splitlines()
    assert len(lines) > 1
    assert max(len(plain(line)) for line in lines) <= 40
