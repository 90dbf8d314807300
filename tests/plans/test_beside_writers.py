"""Plans and comparisons that are made while real programs write: what was written a moment ago is never planned."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import writers
from tests.cli.conftest import Own
from tests.cli.test_podman_buildah import Tools
from tests.conftest import ON_SQLITE
from tests.content.layouts import file_of
from tests.plans.played import paths
from tests.programs import needs

CACHE_CONFIG = "application/vnd.buildkit.cacheconfig.v0"
ROUNDS = 4
MOMENT = "2s"
"""What was changed within so long is not planned."""


_ENVIRONMENT = dict(os.environ)  # a copy, because commands change this process's while threads start programs
SECONDS = 120.0


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, check=False, timeout=SECONDS, env=_ENVIRONMENT)
    assert done.returncode == 0, done


def umoci(target: str) -> None:
    """Each `umoci config` leaves the config and manifest that it replaces, and works in a `.umoci-…` directory."""
    for number in range(3 * ROUNDS):
        run("umoci", "config", "--image", f"{target}:t{number % 2}", "--config.label", f"n={number}")


def pushed(tools: Tools, program: str) -> Callable[[str], None]:
    """Pushes of two images by turns, to two names by turns."""

    def write(target: str) -> None:
        for number in range(ROUNDS):
            tools(program, "push", "--quiet", f"localhost/{program}-{number % 2}", f"oci:{target}:t{number // 2 % 2}")

    return write


def buildkit(target: str) -> None:
    """What `--cache-to type=local` writes: blobs by way of `ingest/`, an index of layers, and `index.json` at last."""
    for number in range(3 * ROUNDS):
        layers = [ingested(target, f"layer {number} {each}".encode(), writers.LAYER_TYPE) for each in range(3)]
        config = ingested(target, writers.dump({"layers": [], "records": [], "n": number}), CACHE_CONFIG)
        document = {"schemaVersion": 2, "mediaType": writers.INDEX_TYPE, "manifests": [*layers, config]}
        index = ingested(target, writers.dump(document), writers.INDEX_TYPE)
        listed = {**index, "annotations": {writers.REF_NAME: "cache"}}
        writers.write_index(target, writers.empty_index(listed), style="buildkit")


def ingested(target: str, data: bytes, media_type: str) -> writers.Descriptor:
    os.makedirs(f"{target}/ingest/one/blobs/sha256", exist_ok=True)
    written = writers.write_blob(f"{target}/ingest/one", data, media_type)
    name = str(written["digest"]).replace(":", "/", 1)
    os.rename(f"{target}/ingest/one/blobs/{name}", f"{target}/blobs/{name}")
    return written


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    with tempfile.TemporaryDirectory(prefix="run") as runroot:  # podman allows at most 50 characters
        yield Tools(tmp_path / "storage", runroot)


@ON_SQLITE
@needs("buildah", "podman", "umoci")
def test_what_was_written_a_moment_ago_is_not_planned(cli: Own, tools: Tools, tmp_path: Path) -> None:
    """Each writer has a layout with garbage from before. Of all that is planned only that garbage is removed."""
    for program in ("podman", "buildah"):
        for number in range(2):
            tools.image(f"{program}-{number}", f"{program} {number}")
    write = {"umoci": umoci, "podman": pushed(tools, "podman"), "buildah": pushed(tools, "buildah"), "cache": buildkit}
    targets = {name: str(tmp_path / name) for name in write}
    old: dict[str, set[str]] = {}
    for name, target in targets.items():
        writers.make_layout(target)
        writers.make_image(target, f"garbage {name}", layers=2)
        old[name] = {f"{target}/blobs/sha256/{each}" for each in os.listdir(f"{target}/blobs/sha256")}
        writers.write_index(target, writers.empty_index())
    for number in range(2):
        run("umoci", "new", "--image", f"{targets['umoci']}:t{number}")
    cli("--quiet", "add", *targets.values())
    with ThreadPoolExecutor(len(write)) as pool:
        writing = [pool.submit(write[name], target) for name, target in targets.items()]
        deadline = time.monotonic() + SECONDS
        while True:
            assert time.monotonic() < deadline, "the garbage was not planned"
            is_over = all(each.done() for each in writing)
            cli("--quiet", "index")
            listed = cli("--quiet", "plan", "prune", "--older-than", MOMENT, "--format", "paths0")
            assert listed.status in (0, 1, 4), listed
            for path in set(paths(listed)) & set().union(*old.values()):
                os.unlink(path)
            for command in (("diff", "umoci", "podman"), ("diff", "umoci", "--since", "1s"), ("changes",)):
                result = cli("--quiet", *command, "--format", "jsonl")
                assert result.status in (0, 1), result
                assert all(json.loads(line)["change"] in ("added", "removed", "moved") for line in result.lines)
            if is_over and not any(os.path.exists(each) for some in old.values() for each in some):
                break
        for each in writing:
            each.result()
    for target in targets.values():
        is_whole(target)
    cli("--quiet", "index")
    assert cli("--quiet", "check").out == ""
    said = [json.loads(line) for line in cli("changes", "--format", "jsonl").lines]
    names = {(row["store"], row["tag"]): row["new"] for row in said if row["new"] is not None}
    for name, target in targets.items():
        for entry in writers.entries_of(writers.read_index(target)):
            tag = (entry.get("annotations") or {}).get(writers.REF_NAME)
            assert tag is None or names[name, tag] == entry["digest"]


def is_whole(path: str) -> None:
    """Check that a layout has all that its entries need."""
    todo = [str(entry["digest"]) for entry in writers.entries_of(writers.read_index(path))]
    assert todo
    while todo:
        data = Path(file_of(path, todo.pop())).read_bytes()
        document = json.loads(data) if data.startswith(b"{") else {}
        parts = [*(document.get("manifests") or []), *(document.get("layers") or []), document.get("config")]
        todo += [part["digest"] for part in parts if part and "digest" in part]
