"""`history`: what a name pointed to, and when (docs/scripts.md)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from catalog.engine.open import open_writer
from catalog.names.moment import parse_moment
from tests import writers
from tests.cli.conftest import Own, retag, tagged
from tests.cli.program import one_error
from tests.cli.test_at import YEAR, with_another_clock
from tests.conftest import Place
from tests.stress.overtime import now_ms
from tests.writers import WRITE_STYLES, dump, empty_index, fake_descriptor, name_entry, read_index, write_index

Layout = Callable[..., str]


def objects(cli: Own, *arguments: str) -> list[dict[str, str | None]]:
    found: list[dict[str, str | None]] = json.loads(cli.done("history", *arguments, "--format", "json").out)
    return found


def digest(seed: str) -> str:
    found: str = fake_descriptor(seed)["digest"]
    return found


def first(path: str) -> str:
    """Return the digest of the layout's first entry."""
    found: str = read_index(path)["manifests"][0]["digest"]
    return found


class Stood(NamedTuple):
    """A catalog with the history that `make_moved` makes, and what that returns."""

    cli: Own
    moved: tuple[str, list[str]]


@pytest.fixture(scope="module")
def stood(tmp_path_factory: pytest.TempPathFactory, place: Place) -> Stood:
    """What several tests only read."""
    directory = tmp_path_factory.mktemp("moved")
    cli = Own(directory, place(str(directory)))
    return Stood(cli, make_moved(cli))


@pytest.fixture
def moved(cli: Own) -> tuple[str, list[str]]:
    return make_moved(cli)


def make_moved(cli: Own) -> tuple[str, list[str]]:
    """Add a layout `app` below a root, whose tag 1 points to three images in turn; return its path and their digests."""
    path = tagged(Path(cli.directory), "images/app", "1", "2", style="containerd")
    cli.done("add", str(Path(path).parent))
    digests = [first(path)]
    for seed in ("b", "c"):
        index = read_index(path)
        index["manifests"][0] |= {"digest": digest(seed)}
        write_index(path, index)
        cli.done("index")
        digests.append(digest(seed))
    return path, digests


def test_since_leaves_out_what_ended_before(cli: Own, moved: tuple[str, list[str]]) -> None:
    spans = objects(cli, "app:1")
    for number, span in enumerate(spans):
        assert objects(cli, "app:1", "--since", str(span["since"])) == spans[number:]
    assert objects(cli, "app:1", "--since", "1h") == spans
    assert objects(cli, "app:1", "--since", "now") == spans[-1:]
    Path(moved[0]).parent.rename(f"{cli.directory}/away")
    cli("index")
    one_error(cli("history", "app:1", "--since", "now"), 1, "app:1 pointed to nothing since 20", "leave out --since")
    one_error(cli("history", "app:1", "--since", "noon"), 2, "noon is not a time")


def test_spans_follow_one_another_without_a_gap(stood: Stood) -> None:
    cli, moved = stood
    found = objects(cli, "app:1")
    assert [span["digest"] for span in found] == moved[1]
    assert [span["until"] for span in found] == [*(span["since"] for span in found[1:]), None]
    assert all(span["since"] < span["until"] for span in found[:-1])  # type: ignore[operator]
    assert {(span["store"], span["name"], span["tag"]) for span in found} == {
        ("images/app", "docker.io/library/app:1", "1")
    }
    assert list(found[0])[:8] == ["since", "until", "store", "path", "name", "repository", "tag", "digest"]


def test_the_columns_of_tsv(stood: Stood) -> None:
    cli, moved = stood
    rows = [line.split("\t") for line in cli.done("history", "app:1").lines]
    found = objects(cli, "app:1")
    assert rows == [[span[key] or "" for key in ("since", "until", "store", "name", "digest")] for span in found]
    assert cli.done("history", "app:1", "--format", "{digest}").lines == moved[1]
    assert len(cli.done("history", "app:1", "--format", "jsonl").lines) == 3
    assert cli.done("history", "app:1", "--format", "csv").lines[0].rstrip() == "since,until,store,name,digest"


def test_times_are_of_one_width_and_sort_as_text(stood: Stood) -> None:
    cli = stood.cli
    times = [span["since"] for span in objects(cli, "app:1")]
    assert times == sorted(times)  # type: ignore[type-var]
    assert {len(str(each)) for each in times} == {24}
    assert all(parse_moment(str(each), 0) for each in times)


@pytest.mark.parametrize(
    "ref",
    ["app:1", "docker.io/library/app:1", ":1", "app:[1]", "ap*:1", ":?", "oci-layout://images/app:1",
     "oci-layout://images/app/app:1"],
)  # fmt: skip
def test_forms_that_history_answers(stood: Stood, ref: str) -> None:
    cli, moved = stood
    found = [span["digest"] for span in objects(cli, ref) if span["tag"] == "1"]
    assert found == moved[1]


def test_a_digest_gives_the_names_that_pointed_to_it(stood: Stood) -> None:
    cli, moved = stood
    (span,) = objects(cli, moved[1][0])
    assert (span["name"], span["until"] is None) == ("docker.io/library/app:1", False)


def test_a_pattern_gives_the_oldest_first_whatever_it_matched_by(cli: Own, layout: Layout) -> None:
    cli.done("add", layout("one", "1", style="canonical", repository="docker.io/library/app"))
    cli.done("add", layout("two", "1", style="canonical", repository="app.example.com/x"))
    cli.done("add", layout("three", "1", style="canonical", repository="docker.io/app/x"))
    assert [span["store"] for span in objects(cli, "app*")] == ["one", "two", "three"]


def test_a_name_without_history_has_status_1(stood: Stood) -> None:
    cli = stood.cli
    for ref in ("app:none", ":none", "none*", digest("none")):
        one_error(cli("history", ref), 1, "no history")
    assert cli("history", "app:none", "--format", "json").out == "[]\n"


@pytest.mark.parametrize(
    "ref",
    ["app@sha256:" + "0" * 64, "app:1@sha256:" + "0" * 64, "oci:images/app:1", "ocidir://images/app:1",
     "oci-layout://images/app@sha256:" + "0" * 64, "UPPER", "", "oci-layout://nowhere:1"],
)  # fmt: skip
def test_forms_without_history_have_status_2(stood: Stood, ref: str) -> None:
    cli = stood.cli
    one_error(cli("history", ref), 2)


def test_the_store_narrows(cli: Own, moved: tuple[str, list[str]], layout: Layout) -> None:
    cli.done("add", layout("other", "1", style="containerd"))
    assert len(objects(cli, "app:1")) == 4
    assert len(objects(cli, "app:1", "--store", "images/*")) == 3
    assert [span["store"] for span in objects(cli, ":1", "--store", "other")] == ["other"]
    one_error(cli("history", "app:1", "--store", "none"), 2)


def test_a_span_continues_when_another_entry_has_the_same_digest(cli: Own, layout: Layout) -> None:
    path = layout("app", "1", style="tag")
    cli.done("add", path)
    first = objects(cli, ":1")
    entry = read_index(path)["manifests"][0]
    for change in (
        [entry, entry],  # twice
        [entry | {"size": 5}],  # another entry altogether
        [fake_descriptor("unnamed"), name_entry(entry, "canonical", "docker.io/library/app", "1"), entry],
    ):
        write_index(path, empty_index(*change))
        cli.done("index")
        assert objects(cli, "oci-layout://app:1")[:1] == first


def test_a_name_that_goes_and_comes_back_has_two_spans(cli: Own, layout: Layout) -> None:
    path = layout("app", "1", style="tag")
    cli.done("add", path)
    index, was = read_index(path), first(path)
    states: list[list[dict[str, object]]] = [[], index["manifests"]]
    for entries in states:
        write_index(path, empty_index(*entries))
        cli.done("index")
    found = objects(cli, ":1")
    assert [span["digest"] for span in found] == [was, was]
    assert str(found[0]["until"]) < str(found[1]["since"])


def test_a_shadowed_entry_has_no_span(cli: Own, layout: Layout) -> None:
    path = layout("app", "1", style="tag")
    cli.done("add", path)
    index, was = read_index(path), first(path)
    write_index(path, writers.append(index, name_entry(fake_descriptor("second"), "tag", "", "1")))
    cli.done("index")
    assert [span["digest"] for span in objects(cli, ":1")] == [was]
    write_index(path, writers.remove(read_index(path), 0))
    cli.done("index")
    assert [span["digest"] for span in objects(cli, ":1")] == [was, digest("second")]


@pytest.mark.parametrize("style", sorted(WRITE_STYLES))
def test_spans_across_every_style_of_writing(cli: Own, layout: Layout, style: str) -> None:
    path = layout("app", "1", style="short")
    cli.done("add", path)
    was = first(path)
    for step in range(3):
        entry = name_entry(fake_descriptor(f"{step}"), "short", "docker.io/library/app", "1")
        WRITE_STYLES[style](path, dump(writers.retag_replace(read_index(path), entry)))
        cli.done("index")
    assert [span["digest"] for span in objects(cli, "app:1")] == [was, *(digest(f"{n}") for n in range(3))]


def test_a_store_that_is_gone_keeps_its_past(cli: Own, layout: Layout) -> None:
    path = layout("app", "1")
    cli.done("add", path)
    Path(path).rename(path + "-away")
    cli("index")
    assert cli("resolve", "oci-layout://app:1").status == 1
    assert len(objects(cli, ":1")) == 1
    Path(path + "-away").rename(path)
    cli.done("index")
    first, second = objects(cli, ":1")
    assert str(first["until"]) < str(second["since"])
    assert second["until"] is None


def test_a_store_that_was_renamed_or_removed_has_its_names_of_then(cli: Own, layout: Layout) -> None:
    """As with `--at`, the store appears under each name while it had that name, and not while it was missing."""
    path = layout("app", "1")
    cli.done("add", path)
    cli.done("add", path, "--name", "new")
    cli.done("remove", "new")
    cli.done("add", path)
    found = objects(cli, ":1")
    assert [span["store"] for span in found] == ["app", "new", "app"]
    assert found[0]["until"] == found[1]["since"]
    assert str(found[1]["until"]) <= str(found[2]["since"])
    assert found[2]["until"] is None
    for span in found:
        for when in (str(span["since"]), str(span["until"] or span["since"])):
            (answer,) = json.loads(cli("query", ":1", "--at", when, "--format", "json").out) or ({"store": None},)
            inside = when == span["since"]
            assert (answer["store"] == span["store"]) == inside, (span, answer)
    for store in ("new", "n?w"):
        assert [span["store"] for span in objects(cli, ":1", "--store", store)] == ["new"]
    assert objects(cli, "oci-layout://new:1") == objects(cli, ":1", "--store", "new")
    assert objects(cli, "oci-layout://app:1") == objects(cli, ":1", "--store", "app")
    assert objects(cli, f"oci-layout://{path}:1") == found
    cli.done("remove", "app")
    assert [span["digest"] for span in objects(cli, ":1")] == [first(path)] * 3
    assert [span["store"] for span in objects(cli, "oci-layout://app:1")] == ["app", "app"]


@pytest.mark.parametrize("by", [YEAR, -YEAR])
def test_a_clock_that_was_wrong_for_one_change(cli: Own, layout: Layout, by: int) -> None:
    """The span keeps its place between its neighbours: in the command before the next change, and afterwards in the view too."""
    path = layout("one", "1", style="short")
    cli.done("add", path)
    for number in range(3):
        retag(path, "app:1", f"image {number}")
        (cli.done if number != 1 else with_another_clock(cli, by))("index")
        found = objects(cli, "app:1")
        assert len(found) == number + 2
        assert [span["until"] for span in found] == [*(span["since"] for span in found[1:]), None]
        times = [parse_moment(str(span["since"]), 0) for span in found]
        assert times == sorted(times)
        assert now_ms() - 600_000 < times[0] <= times[-1] <= now_ms()
    viewed = json.loads(cli.done("sql", "SELECT since, until FROM history ORDER BY since", "--format", "json").out)
    assert viewed == [{key: span[key] for key in ("since", "until")} for span in found]


def test_retention(cli: Own, layout: Layout, tmp_path: Path) -> None:
    """`history_days` drops spans that have ended, never a current one. Retention runs once a day."""
    path = layout("app", "1")
    cli.done("add", path)
    retag(path, "1", "b")
    cli.done("index")  # this was the pruning of the day
    assert len(objects(cli, ":1")) == 2
    with open(cli.config, "a") as file:
        file.write("[retention]\nhistory_days = 0\n")
    cli.done("index")
    assert len(objects(cli, ":1")) == 2
    forget_pruning(cli)
    cli.done("index")
    assert [span["digest"] for span in objects(cli, ":1")] == [digest("b")]


def test_a_store_that_stays_away_loses_its_rows_after_the_grace_time(cli: Own, layout: Layout) -> None:
    path = layout("images/app", "1")
    cli.done("add", str(Path(path).parent))
    Path(path).rename(path + "-away".replace("-", "."))
    Path(path + ".away").rename(Path(cli.directory) / "away")
    cli("index")
    assert cli.stores()["images/app"]["state"] == "missing"
    assert cli.stores()["images/app"]["entries"] == 1
    with open(cli.config, "a") as file:
        file.write("[retention]\ngrace_days = 0\n")
    said = cli("index")
    assert (said.status, "grace time" in said.err) == (0, True), said
    assert cli.stores()["images/app"]["entries"] == 0
    (span,) = objects(cli, ":1")
    assert span["until"] is not None  # its name ended then: history keeps it
    with open(cli.config, "a") as file:
        file.write("history_days = 0\n")
    forget_pruning(cli)
    cli("index")
    assert cli.stores() == {}
    one_error(cli("history", ":1"), 1)


def forget_pruning(cli: Own) -> None:
    """Make the catalog believe that retention last ran a day ago."""
    with open_writer(cli.db) as writer, writer.transaction() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = '0' WHERE key = 'pruned_ms'")
