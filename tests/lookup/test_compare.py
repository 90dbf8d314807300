"""`ocicat diff`: what differs is what two plain scans say; and what an image has that another has not."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.engine.interface import Reader
from catalog.lookup.compare import Difference, Side, differences, side
from catalog.lookup.parts import Images, only_in, total
from tests import writers
from tests.conftest import Catalogue, stamp
from tests.effort import examples
from tests.lookup.test_differential import SHM
from tests.lookup.test_past_steps import counted
from tests.lookup.turns import Key, Scanned, Turn, Turns

New = Callable[[str], Catalogue]
Row = tuple[Key, bool, str | None, str | None]
NOTHING = Scanned({}, frozenset())


def rightly(old: Sequence[Scanned], new: Sequence[Scanned]) -> set[Row]:
    """What differs between two sets of scans: name, whether it is shadowed, and both digests."""
    rows: set[Row] = set()
    for key in {key for scan in (*old, *new) for key in scan.answers}:
        was, now = ({scan.answers[key] for scan in scans if key in scan.answers} for scans in (old, new))
        gone, come = sorted(was - now), sorted(now - was)
        for place in range(max(len(gone), len(come))):
            one, other = (some[place] if place < len(some) else None for some in (gone, come))
            rows.add((key, False, one, other))
    for here, there, is_old in ((old, new, True), (new, old, False)):
        held = {pair for scan in there for pair in (*scan.others, *scan.answers.items())}
        for key, digest in {pair for scan in here for pair in scan.others} - held:
            rows.add((key, key[1] is not None, digest if is_old else None, None if is_old else digest))
    return rows


def rows_of(found: Sequence[Difference]) -> set[Row]:
    assert len({(row.order) for row in found}) == len(found)
    assert [row.order for row in found] == sorted(row.order for row in found)
    return {(row.key, row.shadowed, row.old, row.new) for row in found}


def asked(reader: Reader, text: str, *, was_there: bool = True) -> Side:
    found = side(reader, text, lambda _: None)
    assert (found is not None) == was_there
    return found or Side(reader, frozenset(), lambda _: None)


def test_what_differs_is_what_two_scans_say(new_catalogue: New, engine: str) -> None:
    """Of two stores, of two sets of stores, and of stores at two times."""

    @settings(max_examples=examples(25 if engine == "sqlite" else 5))
    @given(draw=st.data())
    def compare(draw: st.DataObject) -> None:
        with tempfile.TemporaryDirectory(dir=SHM) as made:
            directory, before = os.path.realpath(made), os.getcwd()
            os.chdir(directory)
            catalogue = new_catalogue(directory)
            try:
                turns = Turns(catalogue, directory)
                turns.begin(draw)
                for _ in range(4):
                    turns.turn(draw)
                _compare(catalogue, turns.turns)
            finally:
                catalogue.close()
                os.chdir(before)

    compare()


def _compare(catalogue: Catalogue, turns: list[Turn]) -> None:
    images, globs = Images(catalogue.reader), {"a": "a", "b": "b", "c": "c", "[ab]": "ab", "*": "abc"}
    now = {text: asked(catalogue.reader, text) for text in globs}
    for one in globs:
        for other in globs:
            found = differences(images, now[one], now[other])
            scans = [[turns[-1].stores[name] for name in globs[text]] for text in (one, other)]
            assert rows_of(found) == rightly(*scans), (one, other)
    for text in ("a", "*"):
        thens = [asked(catalogue.reader.at(turn.at), text) for turn in turns]
        for at, old in enumerate(thens):
            for to, new in enumerate([*thens, now[text]]):
                scans = [[turns[min(n, len(turns) - 1)].stores[name] for name in globs[text]] for n in (at, to)]
                assert rows_of(differences(images, old, new)) == rightly(*scans), (text, at, to)


def test_which_stores_have_what(catalogue: Catalogue, tmp_path: Path) -> None:
    for name, seeds in (("a", "x"), ("b", "y"), ("c", "xz")):
        entries = [writers.name_entry(writers.fake_descriptor(seed), "tag", "", "1") for seed in seeds]
        write(f"{tmp_path}/{name}", *entries)
        catalogue.add(f"{tmp_path}/{name}", priority=-1 if name == "c" else 0)
    x, y, z = (str(writers.fake_descriptor(seed)["digest"]) for seed in "xyz")
    one, other = asked(catalogue.reader, "[ac]"), asked(catalogue.reader, "b")
    found = [
        (row.shadowed, row.old, row.old_stores, row.new, row.new_stores)
        for row in differences(Images(catalogue.reader), one, other)
    ]
    assert found == [(False, x, ["c", "a"], y, ["b"]), (True, z, ["c"], None, [])]


def test_no_such_store(catalogue: Catalogue) -> None:
    assert side(catalogue.reader, "nosuch", lambda _: None) is None
    assert side(catalogue.reader, "nosuch*", lambda _: None) is None


def test_what_is_told_of_a_store_that_is_not_well(catalogue: Catalogue, tmp_path: Path) -> None:
    lines: list[str] = []
    write(f"{tmp_path}/a", writers.name_entry(writers.fake_descriptor("x"), "tag", "", "1"))
    catalogue.add(f"{tmp_path}/a")
    Path(f"{tmp_path}/a/index.json").write_text("{")
    stamp(f"{tmp_path}/a/index.json")
    catalogue.index()
    found = side(catalogue.reader, "a", lines.append)
    assert found is not None
    assert len(found.answers) == 1
    assert [line.split(" since ")[0] for line in lines] == ["store a has been invalid"]


def write(path: str, *entries: writers.Descriptor) -> None:
    if not os.path.exists(path):
        writers.make_layout(path)
    writers.write_index(path, writers.empty_index(*entries))
    for name in ("index.json", "blobs/sha256"):
        stamp(f"{path}/{name}")


# --- what an image is made of -----------------------------------------------------------------------------------


def size(path: str, *digests: str) -> int:
    return sum(os.path.getsize(f"{path}/blobs/{digest.replace(':', '/')}") for digest in digests)


def manifest_of(path: str, descriptor: writers.Descriptor) -> dict[str, list[str]]:
    """The digests of the config and of the layers of a manifest."""
    import json

    found = json.loads(Path(f"{path}/blobs/{descriptor['digest'].replace(':', '/')}").read_bytes())
    return {"config": [found["config"]["digest"]], "layers": [layer["digest"] for layer in found["layers"]]}


@pytest.fixture
def two(catalogue: Catalogue, tmp_path: Path) -> tuple[str, list[writers.Descriptor], writers.Descriptor]:
    """A layout with an image for amd64 of two layers, one for arm64 of three, and an index of both."""
    path = writers.make_layout(f"{tmp_path}/s")
    both = [
        writers.make_image(path, arch, arch=arch, layers=layers) | {"platform": writers.platform("linux", arch)}
        for arch, layers in (("amd64", 2), ("arm64", 3))
    ]
    index = writers.make_index_image(path, both)
    bare = {key: value for key, value in both[0].items() if key != "platform"}
    write(path, writers.name_entry(bare, "tag", "", "1"), writers.name_entry(index, "tag", "", "2"))
    catalogue.add(path)
    return path, both, index


def test_the_parts_of_an_image_and_of_an_index(
    catalogue: Catalogue, two: tuple[str, list[writers.Descriptor], writers.Descriptor]
) -> None:
    path, both, index = two
    images = Images(catalogue.reader)
    one = images.of(both[0]["digest"])
    parts = [manifest_of(path, each) for each in both]
    assert sorted(one.platforms or ()) == ["linux/amd64"]
    assert list(one.layers or ()) == parts[0]["layers"]
    assert total(one.blobs) == size(path, both[0]["digest"], *parts[0]["config"], *parts[0]["layers"])
    all_ = images.of(index["digest"])
    assert sorted(all_.platforms or ()) == ["linux/amd64", "linux/arm64"]
    assert set(all_.layers or ()) == {*parts[0]["layers"], *parts[1]["layers"]}
    gained = [index["digest"], both[1]["digest"], *parts[1]["config"], *parts[1]["layers"]]
    assert total(only_in(all_.blobs, one.blobs)) == size(path, *gained)
    assert only_in(one.blobs, all_.blobs) == {}


def test_what_is_not_known_is_null_and_never_0(
    catalogue: Catalogue, two: tuple[str, list[writers.Descriptor], writers.Descriptor]
) -> None:
    """The layers and the size of a manifest that is in no store are unknown. Its platform is known from its index."""
    path, both, index = two
    absent = writers.fake_descriptor("absent") | {"platform": writers.platform("linux", "riscv64")}
    wider = writers.make_index_image(path, [*both, absent])
    write(path, writers.name_entry(wider, "tag", "", "3"), writers.name_entry(absent, "tag", "", "4"))
    catalogue.index()
    images = Images(catalogue.reader)
    found = images.of(wider["digest"])
    assert sorted(found.platforms or ()) == ["linux/amd64", "linux/arm64", "linux/riscv64"]
    assert (found.layers, found.blobs) == (None, None)
    for digest in (absent["digest"], "sha256:" + "0" * 64):
        nothing = images.of(digest)
        assert (nothing.platforms, nothing.layers, nothing.blobs) == (None, None, None)
    row = Difference(images, (None, "3"), (index["digest"], ["s"]), (wider["digest"], ["s"]))
    assert [row.value(field) for field in ("platforms_gained", "layers_gained", "bytes_gained", "bytes_lost")] == [
        ["linux/riscv64"], None, None, None,
    ]  # fmt: skip


def test_a_size_that_nobody_says_is_null(catalogue: Catalogue) -> None:
    assert total({"a": 1, "b": None}) is None
    assert total({}) == 0
    assert total(None) is None
    assert only_in({"a": 1}, None) is None


def test_its_cost_is_in_proportion_to_the_stores_that_are_asked(
    tmp_path: Path, new_sqlite_catalogue: Callable[[str], Catalogue]
) -> None:
    """Twice the entries take twice the steps, and other stores take none: now, and at a time of the past."""
    steps: list[list[int]] = []
    for entries, others in ((200, 1), (400, 1), (400, 20)):
        directory = f"{tmp_path}/{entries}-{others}"
        os.makedirs(directory)
        catalogue = new_sqlite_catalogue(directory)
        for name in ("a", "b", *(f"other{n}" for n in range(others))):
            write(f"{directory}/{name}", *(named(f"{n}", n) for n in range(entries)))
            catalogue.add(f"{directory}/{name}", index=False)
        catalogue.index()
        at = catalogue.sql("SELECT max(at) FROM moment")[0][0]
        write(f"{directory}/b", *(named(f"{n or 'new'}", n) for n in range(entries)))
        catalogue.index()
        found: list[int] = []
        for readers in ([catalogue.reader] * 2, [catalogue.reader.at(at), catalogue.reader]):
            with counted(catalogue.reader) as counter:
                sides = [asked(reader, name) for reader, name in zip(readers, "bb" if found else "ab", strict=True)]
                assert len(differences(Images(catalogue.reader), *sides)) == 1
            found.append(counter.steps)
        steps.append(found)
    for small, large, crowded in zip(*steps, strict=True):
        assert large <= 2.2 * small + 20, steps
        assert crowded <= 1.1 * large + 20, steps


def named(seed: str, number: int) -> writers.Descriptor:
    return writers.name_entry(writers.fake_descriptor(seed), "canonical", "docker.io/library/app", f"{number}")
