"""`--at`: what the catalog answered at a time (docs/scripts.md). tests/stress/overtime.py compares it over many changes."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from catalog.engine.open import open_writer
from tests.cli.conftest import Own, retag, tagged
from tests.cli.program import one_error
from tests.conftest import Place
from tests.forking import CLEAN, Code
from tests.writers import empty_index, fake_descriptor, read_index, write_index

Layout = Callable[..., str]


class Stood(NamedTuple):
    """A catalog with a past, and since when `app:1` pointed to which digest."""

    cli: Own
    past: list[tuple[str, str]]


@pytest.fixture(scope="module")
def stood(tmp_path_factory: pytest.TempPathFactory, place: Place) -> Stood:
    """What several tests only read."""
    directory = tmp_path_factory.mktemp("past")
    cli = Own(directory, place(str(directory)))
    return Stood(cli, make_past(cli))


@pytest.fixture
def past(cli: Own) -> list[tuple[str, str]]:
    return make_past(cli)


def make_past(cli: Own) -> list[tuple[str, str]]:
    """Let `app:1` point to three images in turn, in the store `one`; return since when, and their digests."""
    path = tagged(Path(cli.directory), "one", "1", "2", style="short")
    cli.done("add", path)
    for seed in ("b", "c"):
        index = read_index(path)
        index["manifests"][0] |= {"digest": fake_descriptor(seed)["digest"]}
        write_index(path, index)
        cli.done("index")
    spans = json.loads(cli.done("history", "app:1", "--format", "json").out)
    return [(span["since"], span["digest"]) for span in spans]


def test_a_moment_within_each_span(stood: Stood) -> None:
    """At the moment of a change the new answer applies, and a millisecond earlier the old one."""
    cli, past = stood
    for number, (since, digest) in enumerate(past):
        assert cli.done("resolve", "app:1", "--at", since).out == digest + "\n"
        before = datetime.fromisoformat(since) - timedelta(milliseconds=1)
        if number:
            assert cli.done("resolve", "app:1", "--at", before.isoformat()).out == past[number - 1][1] + "\n"
        else:
            assert cli("resolve", "app:1", "--at", before.isoformat()).status == 1
    assert cli.done("resolve", "app:1", "--at", "2999-01-01").out == past[-1][1] + "\n"


def test_a_time_before_the_first_change(stood: Stood) -> None:
    cli = stood.cli
    one_error(cli("resolve", "app:1", "--at", "2001-01-01T00:00:00Z"), 1, "2001-01-01T00:00:00")
    one_error(cli("query", "app:1", "--at", "1000w"), 1)
    assert cli.done("--quiet", "query", "--at", "2001-01-01", "--format", "json").out == "[]\n"


def test_times_beyond_all_dates(stood: Stood) -> None:
    cli, past = stood
    one_error(cli("resolve", "app:1", "--at", "9999999999999999999w"), 1, "0001-01-01T00:00:00.000Z")
    assert cli.done("resolve", "app:1", "--at", "@99999999999999999999").out == past[-1][1] + "\n"


def test_fields_that_the_past_lacks_are_null(stood: Stood) -> None:
    cli, past = stood
    (found,) = json.loads(cli.done("query", "app:1", "--at", past[0][0], "--format", "json").out)
    (now,) = json.loads(cli.done("query", "app:1", "--format", "json").out)
    assert list(found) == list(now)
    held = {key for key, value in found.items() if value is not None}
    assert held == {"store", "path", "name", "names", "repository", "tag", "digest", "fallback", "ref_name", "media_type",
                    "size", "listed", "shadowed"}  # fmt: skip
    assert (found["name"], found["names"], found["digest"]) == (now["name"], now["names"], past[0][1])


def test_several_references_at_once(stood: Stood) -> None:
    """Each reference is answered, and an entry that matches two of them is listed once."""
    cli, past = stood
    assert len(cli.done("query", "app:1", "app:2", "--at", "0s").lines) == 2
    assert len(cli.done("query", "app:2", "app:1", ":1", "app:*", "--at", "0s").lines) == 2
    lines = cli.done("resolve", "app:1", "app:2", "--at", past[1][0]).lines
    assert (len(lines), lines[0]) == (2, past[1][1])
    some = cli("resolve", "app:1", "app:9", "app:2", "--at", past[1][0])
    assert (some.status, [bool(line) for line in some.lines]) == (1, [True, False, True])
    assert len(cli.done("query", "--at", "0s").lines) == 2


@pytest.mark.parametrize(
    "filters",
    [("--digest", "sha256:" + "0" * 64), ("--media-type", "x/y"), ("--unnamed",), ("--platform", "linux/amd64"),
     ("--label", "a"), ("--annotation", "a=b"), ("--artifact-type", "x/y"), ("--contains", "sha256:" + "0" * 64),
     ("--referrers-of", "sha256:" + "0" * 64), ("--since", "1h")],
)  # fmt: skip
def test_other_filters_have_status_2(stood: Stood, filters: tuple[str, ...]) -> None:
    cli = stood.cli
    one_error(cli("query", "app:1", "--at", "0s", *filters), 2)


def test_filters_by_name_tag_and_store(cli: Own, past: list[tuple[str, str]], layout: Layout) -> None:
    cli.done("add", layout("two", "1", style="short"))
    assert len(cli.done("query", "--at", "0s", "--tag", "1").lines) == 2
    assert len(cli.done("query", "--at", "0s", "--repository", "app").lines) == 3
    assert len(cli.done("query", "--at", "0s", "--repository", "app", "--store", "one").lines) == 2
    assert cli.done("query", "--at", "0s", "--count").out == "3\n"
    assert len(cli.done("query", "--at", "0s", "--limit", "1", "--sort", "digest").lines) == 1
    assert cli("resolve", "app:1", "--at", "0s").status == 3
    assert (
        cli.done("resolve", "app:1", "--at", "0s", "--store", "two").lines
        == cli.done("resolve", "app:1", "--store", "two").lines
    )
    assert cli.done("resolve", "app:1", "--at", past[0][0]).out == past[0][1] + "\n"  # `two` was not there yet
    assert cli.done("resolve", "app:1", "--at", "0s", "--first").out == past[-1][1] + "\n"


@pytest.mark.parametrize(
    "ref", ["app@{}", "{}", "{:.20}", "app:1@{}", "oci-layout://one@{}", "oci-layout://one:1", "oci:{path}:app:1",
            "ocidir://{path}:1"]
)  # fmt: skip
def test_every_form_asks_the_past(stood: Stood, ref: str) -> None:
    cli, past = stood
    for since, digest in past:
        asked = ref.format(digest, path=Path(cli.directory) / "one")
        assert cli.done("resolve", asked, "--at", since).out == digest + "\n"
        assert len(cli.done("query", asked, "--at", since).lines) == 1
    if "{}" in ref or "{:" in ref:
        one_error(cli("resolve", ref.format(past[0][1]), "--at", past[1][0]), 1)


def test_an_entry_by_its_number_has_no_past(stood: Stood) -> None:
    cli, past = stood
    for command in ("query", "resolve"):
        one_error(cli(command, f"oci:{Path(cli.directory)}/one:@0", "--at", past[0][0]), 2, "oci:PATH:REF")


@pytest.mark.parametrize("text", ["someday", "", "2026-13-01", "12:00", "-5m", "5", "5y", "@", "@x", "9" * 5000 + "d"])
def test_an_invalid_time_has_status_2(stood: Stood, text: str) -> None:
    cli = stood.cli
    one_error(cli("query", f"--at={text}", "app:1"), 2)


def test_a_store_that_is_gone_still_answers_for_the_past(cli: Own, past: list[tuple[str, str]], tmp_path: Path) -> None:
    (tmp_path / "one").rename(tmp_path / "away")
    cli("index")
    assert cli("resolve", "app:1").status == 1
    assert cli.done("resolve", "app:1", "--at", past[0][0]).out == past[0][1] + "\n"


def test_the_tag_of_a_layout(cli: Own, past: list[tuple[str, str]], layout: Layout) -> None:
    path = layout("bare", "latest", "x")
    cli.done("add", path)
    old = cli.done("resolve", "oci-layout://bare").out
    moment = json.loads(cli.done("history", "oci-layout://bare", "--format", "json").out)[0]["since"]
    retag(path, "latest", "new")
    cli.done("index")
    assert cli.done("resolve", "oci-layout://bare", "--at", moment).out == old
    assert cli.done("resolve", "oci-layout://bare", "--at", "0s").out != old
    write_index(path, empty_index(read_index(path)["manifests"][0]))
    cli.done("index")
    alone = cli("resolve", "oci-layout://bare:none", "--at", "0s")
    assert (alone.status, alone.lines) == (0, [read_index(path)["manifests"][0]["digest"]])  # buildx's rule
    one_error(cli("resolve", "oci-layout://bare:none", "--at", moment), 1)  # there were two then


_WITH_ANOTHER_CLOCK = """
import sys, time
by, real_ns, real = int(sys.argv.pop(1)), time.time_ns, time.time
time.time_ns, time.time = (lambda: real_ns() + by * 10**9), (lambda: real() + by)
from catalog.cli.start import run
sys.exit(run(sys.argv[1:]))
"""
YEAR = 365 * 86_400


def with_another_clock(cli: Own, by: int) -> Callable[[str], object]:
    """Return a function that runs a command while the clock is wrong by `seconds`."""

    def run(*arguments: str) -> object:
        program = Code(_WITH_ANOTHER_CLOCK, str(by), "--db", cli.db, "--config", cli.config, *arguments)
        return subprocess.run(program, env=CLEAN, check=True, timeout=60)

    return run


def now() -> str:
    """Return the present time for `--at`, more than a tick of the clock after all earlier changes and before all later ones."""
    time.sleep(0.02)
    found = datetime.now(UTC).isoformat()
    time.sleep(0.02)
    return found


@pytest.mark.parametrize("by", [YEAR, -YEAR])
def test_a_clock_that_was_wrong_for_one_change_affects_no_other(cli: Own, layout: Layout, by: int) -> None:
    path = layout("one", "1", style="short")
    cli.done("add", path)
    answers = [(now(), cli.done("resolve", "app:1").out)]
    for number in range(4):
        retag(path, "app:1", f"image {number}")
        if number == 1:
            with_another_clock(cli, by)("index")
        else:
            cli.done("index")
        answers.append((now(), cli.done("resolve", "app:1").out))
        assert cli.done("resolve", "app:1", "--at", "0s").out == answers[-1][1]
    assert len({out for _, out in answers}) == len(answers)
    for at, out in answers:
        assert cli.done("resolve", "app:1", "--at", at).out == out


@pytest.mark.parametrize("by", [YEAR, -YEAR])
def test_query_since_goes_by_the_order_of_changes(cli: Own, layout: Layout, by: int) -> None:
    """A change while the clock was a year ahead or behind is found by the times around it, and by no other."""
    path = layout("one", "1", "2", "3", style="short")
    cli.done("add", path)

    def found(since: str) -> list[str]:
        return cli.done("query", "--since", since, "--format", "{name}").out.split()

    beginning = now()
    for number in range(1, 4):
        before = now()
        retag(path, f"app:{number}", f"image {number}")
        (with_another_clock(cli, by) if number == 2 else cli)("index")
        assert found(before) == [f"docker.io/library/app:{number}"]
        assert found(now()) == []
    assert len(found(beginning)) == len(found("2d")) == 3


def test_the_history_in_a_layout_does_not_change_past_answers(cli: Own, layout: Layout) -> None:
    """The layout's own history counts only for times before the first moment of the catalog."""
    path = layout("one", "1")
    cli.done("add", path)
    moment = now()
    assert cli("resolve", ":told").status == 1
    digest = fake_descriptor("told")["digest"]
    told = [{"time": each, "descriptor": {"digest": digest, "size": 1}} for each in ("2020-01-01T00:00:00Z",)]
    write_index(path, read_index(path) | {"org.olareg.history": {"told": told}})
    other = layout("other", "1")
    write_index(other, read_index(other) | {"org.olareg.history": {"told": told}})
    cli.done("index")
    cli.done("add", other)
    for ref in (":told", "oci-layout://one:told", ":tol*"):
        assert cli("resolve", ref, "--at", moment).status == cli("resolve", ref, "--at", "0s").status
    one_error(cli("resolve", ":told", "--at", moment), 1)
    assert cli.done("resolve", ":told", "--at", "2021-01-01").out == digest + "\n"
    assert {each["origin"] for each in json.loads(cli.done("history", ":told", "--format", "json").out)} == {"olareg"}


def test_a_store_that_was_removed_renamed_or_missing(cli: Own, layout: Layout, tmp_path: Path) -> None:
    """The store answers as it did then, with the name and the priority that it had then."""
    one, two = layout("one", "1", style="short"), layout("two", "1", style="short")
    retag(two, "app:1", "another")
    cli.done("add", one, two)
    asked: list[tuple[str, tuple[str, ...], tuple[int, str]]] = []

    def ask() -> None:
        for options in (("app:1",), ("app:1", "--first"), ("app:1", "--store", "one"), ("app:1", "--store", "new")):
            at = now()
            found = cli("resolve", *options)
            asked.append((at, options, (found.status, found.out)))

    ask()
    cli.done("add", two, "--priority", "-1")
    ask()
    cli.done("add", one, "--name", "new")
    ask()
    (tmp_path / "one").rename(tmp_path / "away")
    cli("index")
    ask()
    (tmp_path / "away").rename(tmp_path / "one")
    cli.done("index")
    ask()
    cli.done("remove", "new", "two")
    ask()
    cli.done("add", one)
    ask()
    assert {status for _, _, (status, _) in asked} == {0, 1, 2, 3}
    for at, options, found in asked:
        then = cli("resolve", *options, "--at", at)
        assert (then.status, then.out) == found, (at, options)


def test_a_time_whose_changes_are_forgotten_is_refused(cli: Own, layout: Layout) -> None:
    """What retention has kept would only be half an answer. The message says how far back the past is kept."""
    path = layout("one", "1", style="short")
    cli.done("add", path)
    layout("two", "1", style="short")
    asked = [now()]
    for number in range(3):
        retag(path, "app:1", f"image {number}")
        cli.done("index")
        asked.append(now())
    with open(cli.config, "a") as file:
        file.write("[retention]\nhistory_days = 0\n")
    with open_writer(cli.db) as writer, writer.transaction() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = '0' WHERE key = 'pruned_ms'")
    cli.done("index")
    for command in ("query", "resolve"):
        one_error(cli(command, "app:1", "--at", asked[1]), 2, "retention.history_days")
    assert cli.done("resolve", "app:1", "--at", asked[-1]).out == cli.done("resolve", "app:1").out
    one_error(cli("resolve", "app:1", "--at", "2001-01-01T00:00:00Z"), 1)
