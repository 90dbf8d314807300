"""olareg's history in `index.json`, beside what the catalog saw: in `history` and `--at`, and if it is malformed."""

from __future__ import annotations

import itertools
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Own
from tests.conftest import stamp
from tests.effort import examples, some
from tests.writers import dump, empty_index, fake_descriptor, make_layout, name_entry, write_recreate

A, B, C = (fake_descriptor(seed)["digest"] for seed in "abc")
Told = tuple[str | None, str | None, str | None, str]
"""Origin, since, until and digest."""


def at(day: int, hour: int = 0) -> str:
    return f"2024-03-{day:02}T{hour:02}:00:00Z"


def moment(day: int, hour: int = 0) -> str:
    """Return the time as the catalog prints it."""
    return f"2024-03-{day:02}T{hour:02}:00:00.000Z"


def entry(time: str, digest: str | None) -> dict[str, Any]:
    """Return an entry as olareg writes it: the descriptor, or the deletion of the tag."""
    if digest is None:
        return {"time": time, "deleted": True}
    return {"time": time, "descriptor": {"mediaType": "application/x", "digest": digest, "size": 1}}


def write(path: Path, history: Any, **tags: str) -> str:
    """Write a layout whose tags point to these digests, with its own history."""
    if not path.exists():
        make_layout(str(path))
    entries = [
        name_entry({"mediaType": "application/x", "digest": digest, "size": 1}, "tag", "", tag)
        for tag, digest in tags.items()
    ]
    write_recreate(str(path), dump(empty_index(*entries) | {"org.olareg.history": history}))
    stamp(f"{path}/index.json")
    return str(path)


def told(cli: Own, ref: str) -> list[Told]:
    """Return the spans of a name, without the times of spans that the catalog itself saw."""
    found = json.loads(cli.done("history", ref, "--format", "json").out)
    return [
        (None, None, None, span["digest"])
        if span["origin"] is None
        else (span["origin"], span["since"], span["until"], span["digest"])
        for span in found
    ]


def test_the_layouts_history_comes_before_what_was_seen(cli: Own, tmp_path: Path) -> None:
    path = write(tmp_path / "s", {"t": [entry(at(1), A), entry(at(2), B), entry(at(3), C)]}, t=C)
    cli.done("add", path)
    seen = json.loads(cli.done("history", ":t", "--format", "json").out)[-1]["since"]
    assert told(cli, ":t") == [
        ("olareg", moment(1), moment(2), A),
        ("olareg", moment(2), moment(3), B),
        ("olareg", moment(3), seen, C),
        (None, None, None, C),
    ]
    for day, digest in ((1, A), (2, B), (3, C), (20, C)):
        assert cli.done("resolve", ":t", "--at", at(day, 12)).lines == [digest]
        assert cli.done("query", ":t", "--at", at(day, 12), "--format", "{tag} {digest}").lines == [f"t {digest}"]
    assert cli("resolve", ":t", "--at", "2024-02-01T00:00:00Z").status == 1


def test_a_tag_that_was_deleted_and_came_again(cli: Own, tmp_path: Path) -> None:
    path = write(tmp_path / "s", {"t": [entry(at(1), A), entry(at(2), None), entry(at(4), B), entry(at(5), None)]}, u=C)
    cli.done("add", path)
    assert told(cli, ":t") == [("olareg", moment(1), moment(2), A), ("olareg", moment(4), moment(5), B)]
    assert cli("resolve", ":t", "--at", at(3)).status == 1
    assert cli.done("resolve", ":t", "--at", at(4)).lines == [B]
    assert cli("resolve", ":t").status == 1


def test_the_order_counts_more_than_the_times(cli: Own, tmp_path: Path) -> None:
    """If a clock stepped back, an entry counts as no earlier than the one before it."""
    path = write(tmp_path / "s", {"t": [entry(at(5), A), entry(at(3), B), entry(at(6), C), entry(at(7), None)]})
    cli.done("add", path)
    assert told(cli, ":t") == [("olareg", moment(5), moment(6), B), ("olareg", moment(6), moment(7), C)]


def test_the_layouts_history_follows_the_layout(cli: Own, tmp_path: Path) -> None:
    path = write(tmp_path / "s", {"t": [entry(at(1), A), entry(at(2), None)]}, u=C)
    cli.done("add", path)
    write(tmp_path / "s", {"t": [entry(at(1), B), entry(at(2), None)], "w": [entry(at(3), A), entry(at(4), None)]}, u=C)
    cli.done("index")
    assert told(cli, ":t") == [("olareg", moment(1), moment(2), B)]
    assert told(cli, ":w") == [("olareg", moment(3), moment(4), A)]
    write(tmp_path / "s", None, u=C)
    cli.done("index")
    assert [cli("history", ref).status for ref in (":t", ":w")] == [1, 1]
    assert told(cli, ":u") == [(None, None, None, C)]


def test_the_layouts_history_does_not_overrule_the_catalog(cli: Own, tmp_path: Path) -> None:
    """History of the time since the catalog's first look is left out, because the catalog knows that time itself."""
    path = write(tmp_path / "s", {}, t=A)
    cli.done("add", path)
    write(tmp_path / "s", {"t": [entry(at(1), C), entry("2124-01-01T00:00:00Z", B)]}, t=B)
    cli.done("index")
    assert [span[3] for span in told(cli, ":t")] == [C, A, B]
    assert [span[0] for span in told(cli, ":t")] == ["olareg", None, None]


def test_names_are_those_of_the_policy(cli: Own, tmp_path: Path) -> None:
    root = tmp_path / "registry"
    write(root / "team" / "tool", {"1": [entry(at(1), A), entry(at(2), None)]})
    cli.done("add", str(root), "--naming", "path", "--prefix", "registry.example.com")
    assert told(cli, "registry.example.com/team/tool:1") == [("olareg", moment(1), moment(2), A)]
    cli.done("add", str(root), "--naming", "path", "--prefix", "other.example.com")
    cli.done("index")
    assert told(cli, "other.example.com/team/tool:1") == [("olareg", moment(1), moment(2), A)]
    assert cli("history", "registry.example.com/team/tool:1").status == 1


@pytest.mark.parametrize(
    ("history", "kept"),
    [
        ([], 0),
        ("text", 0),
        (7, 0),
        ({"t": "text"}, 0),
        ({"t": [entry(at(1), A), entry("yesterday", B), entry(at(2), None)]}, 1),
        ({"t": [entry(at(1), A), entry(at(2), "sha256:short"), entry(at(3), None)]}, 1),
        ({"t": [entry(at(1), A), {"time": at(2)}, None, 7, entry(at(3), None)]}, 1),
        ({"no tag!": [entry(at(1), A)], "t": [entry(at(1), A), entry(at(2), None)]}, 1),
        ({"t": [{"time": at(1), "descriptor": [A]}, entry(at(1), A), entry(at(3), None)]}, 1),
    ],
)
def test_what_is_unusable_is_left_out_and_a_problem(cli: Own, tmp_path: Path, history: Any, kept: int) -> None:
    path = write(tmp_path / "s", history, u=C)
    cli.done("add", path)
    assert ["s", "bad-history", "org.olareg.history"] in [line.split("\t")[:3] for line in cli("check").lines]
    assert cli.done("resolve", ":u").lines == [C]
    assert (cli("history", ":t").status, len(cli("history", ":t").lines)) == (0 if kept else 1, kept)


def test_an_endless_history_is_cut_and_reported(cli: Own, tmp_path: Path) -> None:
    """Only the newest ten thousand spans of a layout are kept."""
    times = (f"20{year:02}-{month:02}-{day:02}T{hour:02}:00:00Z" for year, month, day, hour in itertools.product(
        range(1, 24), range(1, 13), range(1, 28), (1, 13)))  # fmt: skip
    entries = [entry(time, (A, B)[number % 2]) for number, time in enumerate(times)]
    path = write(tmp_path / "s", {"t": entries}, u=C)
    cli.done("add", path)
    spans = json.loads(cli.done("history", ":t", "--format", "json").out)
    assert len(spans) == 10_000 < len(entries)
    assert spans[0]["since"] == entries[-10_000]["time"].replace("Z", ".000Z")
    assert "bad-history" in [line.split("\t")[1] for line in cli("check").lines]


@pytest.mark.parametrize("seed", range(examples(20)))
def test_any_history_equals_a_plain_walk_through_it(cli: Own, tmp_path: Path, seed: int) -> None:
    """Times rise here, so the answer for a tag at any time is the last entry before it."""
    rng = random.Random(seed)
    history = defaultdict(list)
    for hour in range(60):
        if rng.random() < 0.5:
            history[rng.choice("tuv")].append(entry(at(1 + hour // 24, hour % 24), rng.choice((A, B, C, None))))
    path = write(tmp_path / "s", history)
    cli.done("add", path)
    for hour in some(range(64), 2):
        day, of_day = 1 + hour // 24, hour % 24
        expected = []
        for tag in "tuv":
            before = [each for each in history[tag] if each["time"] <= at(day, of_day)]
            expected.append((before[-1].get("descriptor") or {}).get("digest", "") if before else "")
        asked = cli("resolve", ":t", ":u", ":v", "--at", at(day, of_day))
        assert asked.lines == expected, (hour, asked)
