"""Rules give entries up: what they keep is whole, and what goes was needed by nothing that they keep.

The layouts are generated as documents, and a second reading of the rules, written from docs/cleaning.md, says which entries
stay and what these need.
"""

from __future__ import annotations

import itertools
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import writers
from tests.cli.conftest import Own
from tests.content.layouts import file_of
from tests.effort import examples
from tests.plans.played import AT_ONCE, digests, planned, play

SECONDS = 1_600_000_000
REPOSITORIES = ("docker.io/library/app", "quay.io/team/tool")


class Garden:
    """A layout of images, indexes and referrers of every kind. Each manifest has a time of its own."""

    def __init__(self, path: str, rng: random.Random) -> None:
        self.path = writers.make_layout(path)
        self.rng = rng
        self.documents: dict[str, Any] = {}
        self.entries: list[dict[str, Any]] = []
        self.followers: set[int] = set()  # entries that are about another, by their place
        self.about: dict[str, set[str]] = {}  # what says of itself, or is said, to be about a digest
        ticks = itertools.count(rng.randint(0, 1000))
        shared = [self.layer() for _ in range(3)]
        for number in range(rng.randint(3, 8)):
            image = self.image(shared)
            if rng.random() < 0.3:
                image = self.put({"schemaVersion": 2, "manifests": [image, self.image(shared)]}, writers.INDEX_TYPE)
            style = rng.choice(("tag", "canonical", "containerd", "none", "short"))
            entry = writers.name_entry(image, style, rng.choice(REPOSITORIES), f"v{number}")
            self.entries.append(entry)
            if rng.random() < 0.2:
                again = writers.name_entry(image, "canonical", rng.choice(REPOSITORIES), f"also-{number}")
                self.entries.append(again)
            self.refer(image)
        for digest in self.documents:
            at = SECONDS + next(ticks)
            os.utime(file_of(self.path, digest), (at, at))
        writers.write_index(self.path, writers.empty_index(*self.entries))

    def put(self, document: Any, media_type: str) -> dict[str, Any]:
        found = writers.write_blob(self.path, writers.dump(document), media_type)
        self.documents[str(found["digest"])] = document
        return found

    def layer(self) -> dict[str, Any]:
        return writers.write_blob(self.path, self.rng.randbytes(20), writers.LAYER_TYPE)

    def image(self, shared: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        config = writers.write_blob(
            self.path, writers.dump({"os": "linux", "n": self.rng.random()}), writers.CONFIG_TYPE
        )
        layers = [self.layer(), *self.rng.sample(shared, self.rng.randint(0, len(shared)))]
        document = {"schemaVersion": 2, "mediaType": writers.MANIFEST_TYPE, "config": config, "layers": layers, **more}
        return self.put(document, writers.MANIFEST_TYPE)

    def refer(self, image: dict[str, Any]) -> None:
        """Add a referrer of an image in one of the ways that tools use, or none."""
        subject = {key: image[key] for key in ("mediaType", "digest", "size")}
        encoded = image["digest"].replace(":", "-")
        kind = self.rng.choice(("none", "unlisted", "cosign", "fallback", "buildkit", "listed"))
        if kind == "none":
            return
        signature = self.image([], **({"subject": subject} if kind in ("unlisted", "fallback", "listed") else {}))
        self.about.setdefault(image["digest"], set()).add(signature["digest"])
        if kind == "unlisted":
            return
        if kind == "cosign":
            entry = writers.name_entry(signature, "tag", "", f"{encoded}.sig")
        elif kind == "fallback":
            listing = self.put({"schemaVersion": 2, "manifests": [signature]}, writers.INDEX_TYPE)
            self.about[image["digest"]].add(listing["digest"])
            entry = writers.name_entry(listing, "tag", "", encoded)
        elif kind == "buildkit":
            entry = {**signature, "annotations": {"vnd.docker.reference.digest": image["digest"]}}
        else:
            entry = writers.name_entry(signature, "tag", "", f"sig-{self.rng.random()}")
        self.followers.add(len(self.entries))
        self.entries.append(entry)

    def names(self, entry: dict[str, Any]) -> tuple[str | None, str | None]:
        """Repository and tag of an entry, as its annotations spell them."""
        annotations = entry.get("annotations", {})
        name = annotations.get("io.containerd.image.name") or annotations.get(writers.REF_NAME)
        if name is None:
            return None, None
        if ":" not in name:
            return "", name
        repository, _, tag = name.rpartition(":")
        return {"app": REPOSITORIES[0]}.get(repository, repository), tag

    def kept(self, keep_last: int | None, keep: str, *, unnamed: bool) -> list[dict[str, Any]]:
        """The entries that the rules keep: read from docs/cleaning.md, not from the code."""
        time = {digest: os.stat(file_of(self.path, digest)).st_mtime for digest in self.documents}
        own = [entry for place, entry in enumerate(self.entries) if place not in self.followers]
        gone = []
        for entry in own:
            repository, tag = self.names(entry)
            peers = {each["digest"] for each in own if self.names(each)[0] == repository}
            newer = [each for each in peers if time[each] > time[entry["digest"]]]
            if tag is None:
                gone += [entry] if unnamed else []
            elif keep_last is not None and len(newer) >= keep_last and not (keep and tag.startswith(keep)):
                gone.append(entry)
        stay = [entry for entry in own if entry not in gone]
        needed = self.closure({entry["digest"] for entry in stay})
        lost = self.closure({entry["digest"] for entry in gone})
        about = [self.entries[place] for place in self.followers]
        return stay + [each for each in about if each["digest"] in needed or each["digest"] not in lost]

    def closure(self, start: set[str]) -> set[str]:
        """What these digests need, and what is about any of it."""
        needed: set[str] = set()
        todo = list(start)
        while todo:
            digest = todo.pop()
            if digest in needed:
                continue
            needed.add(digest)
            document = self.documents.get(digest, {})
            parts = [*document.get("manifests", ()), *document.get("layers", ()), document.get("config")]
            todo += [part["digest"] for part in parts if part] + list(self.about.get(digest, ()))
        return needed


@pytest.mark.parametrize("seed", range(examples(12)))
def test_what_the_rules_keep_is_whole(seed: int, cli: Own, tmp_path: Path) -> None:
    rng = random.Random(seed)
    garden = Garden(str(tmp_path / "garden"), rng)
    cli("--quiet", "add", garden.path)
    keep_last, unnamed = rng.choice((None, 1, 2, 3)), rng.random() < 0.5
    keep = rng.choice(("", "v1", "v", "also-"))
    options = [*(["--keep-last", str(keep_last)] if keep_last else []), *(["--unnamed"] if unnamed else [])]
    options += ["--keep", f"{keep}*"] if keep else []
    stay = garden.kept(keep_last, keep, unnamed=unnamed)
    needed = garden.closure({entry["digest"] for entry in stay})
    there = {f"sha256:{name}" for name in os.listdir(f"{garden.path}/blobs/sha256")}
    goes = there - needed

    result = cli("plan", "prune", *AT_ONCE, *options, "--format", "json")
    rows = json.loads(result.out)
    assert digests(rows) == goes
    assert result.status == (0 if goes or len(stay) < len(garden.entries) else 1)
    given_up = {entry["digest"] for entry in garden.entries if entry not in stay}
    in_index = garden.closure({entry["digest"] for entry in garden.entries})
    for row in rows:
        if row["digest"] in in_index:
            assert row["why"] in ("superseded", "unnamed")
            assert row["entry"] in given_up
        else:
            assert (row["why"], row["entry"]) == ("unreferenced", None)

    # What docs/cleaning.md says to do: remove the entries, then plan anew, and remove what is listed.
    listed = cli("--quiet", "plan", "prune", *AT_ONCE, *options, "--format", "entries").lines
    by_digest = {line.split("\t")[4] for line in listed}
    assert len(listed) == len(garden.entries) - len(stay)
    assert by_digest == given_up
    writers.write_index(garden.path, writers.empty_index(*stay))
    cli.done("index")
    assert digests(planned(cli, status=0 if goes else 1)) == goes
    play(cli)
    assert {f"sha256:{name}" for name in os.listdir(f"{garden.path}/blobs/sha256")} == needed
    cli.done("index")
    assert cli.done("check").out == ""


def test_the_newest_images_of_a_repository_stay(cli: Own, tmp_path: Path) -> None:
    path = writers.make_layout(str(tmp_path / "store"))
    entries = []
    for number in range(6):
        image = writers.make_image(path, f"n{number}")
        at = SECONDS + (number if number < 5 else 3)
        os.utime(file_of(path, str(image["digest"])), (at, at))
        entries.append(writers.name_entry(image, "canonical", REPOSITORIES[0], f"t{number}"))
    entries.append(writers.name_entry(entries[4], "canonical", REPOSITORIES[0], "latest"))
    writers.write_index(path, writers.empty_index(*entries))
    cli.done("add", path)

    def names(*options: str) -> set[str]:
        listed = cli("--quiet", "plan", "prune", *AT_ONCE, *options, "--format", "entries").lines
        return {line.split("\t")[2].rpartition(":")[2] for line in listed}

    assert names("--keep-last", "1") == {"t0", "t1", "t2", "t3", "t5"}, "two tags of one image count once"
    assert names("--keep-last", "2") == {"t0", "t1", "t2"}, "what is as new as the last of those kept stays"
    assert names("--keep-last", "1", "--keep", "t[01]") == {"t2", "t3", "t5"}
    assert names("--keep-last", "1", "--keep", "app:t*") == set()
    assert names("--keep-last", "1", "--keep", "docker.io/library/*:t5", "--keep", ":t0") == {"t1", "t2", "t3"}
    assert names() == names("--keep", "t1") == set(), "--keep alone gives nothing up"


def test_a_name_that_was_moved_lately_is_new(cli: Own, tmp_path: Path) -> None:
    path = writers.make_layout(str(tmp_path / "store"))
    images = [writers.make_image(path, f"n{number}") for number in range(3)]
    for number, image in enumerate(images):
        os.utime(file_of(path, str(image["digest"])), (SECONDS + number,) * 2)

    def write(*places: int) -> None:
        named = [writers.name_entry(images[place], "tag", "", f"t{number}") for number, place in enumerate(places)]
        writers.write_index(path, writers.empty_index(*named))

    write(1, 1, 2)
    cli.done("add", path)
    write(0, 1, 2)  # t0 goes back to the oldest image
    cli.done("index")
    listed = cli("--quiet", "plan", "prune", *AT_ONCE, "--keep-last", "1", "--format", "entries").lines
    assert [line.split("\t")[2] for line in listed] == [":t1", ":t2"]


def test_only_what_lost_its_name_is_untagged(cli: Own, tmp_path: Path) -> None:
    path = writers.make_layout(str(tmp_path / "store"))
    old, new, never = (writers.make_image(path, seed) for seed in ("old", "new", "never"))
    writers.write_index(path, writers.empty_index(writers.name_entry(old, "tag", "", "1"), never))
    cli.done("add", path)
    writers.write_index(path, writers.empty_index(old, never, writers.name_entry(new, "tag", "", "1")))
    cli.done("index")
    rows = planned(cli, "--untagged-since", "0")
    assert {row["entry"] for row in rows} == {old["digest"]}
    assert {row["why"] for row in rows} == {"unnamed"}
    assert planned(cli, "--untagged-since", "1h", status=1) == []
    assert {row["entry"] for row in planned(cli, "--unnamed")} == {old["digest"], never["digest"]}
    writers.write_index(path, writers.empty_index(old, writers.name_entry(old, "tag", "", "again"), never))
    cli.done("index")
    assert old["digest"] not in digests(planned(cli, "--untagged-since", "0"))


def test_a_keep_that_protects_nothing_is_named(cli: Own, layout: Callable[..., str]) -> None:
    """It is probably misspelt, and what it should protect is in the plan."""
    cli("--quiet", "add", layout("one", "v1", "v2"), layout("two", "w1"))
    rule = ("plan", "prune", "--unnamed", "--keep", "v*", "--keep", "x\x1b*", "--keep", "*w*")
    (line,) = [line for line in cli(*rule).said if "--keep" in line]
    assert line == r"ocicat: no name or tag in any store matches --keep x\x1b*"
    (line,) = [
        line for line in cli("plan", "prune", "one", "--keep-last", "9", "--keep", "w1").said if "--keep" in line
    ]
    assert line == "ocicat: no name or tag in these stores matches --keep w1"
    (line,) = [line for line in cli("plan", "prune", "--keep", "v1").said if "--keep" in line]
    assert line.startswith("ocicat: --keep changes nothing without a rule")
    assert not any("--keep" in line for line in cli("plan", "prune", "--keep-last", "1", "--keep", "*").said)
