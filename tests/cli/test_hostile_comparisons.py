"""What a hostile layout does to `diff`, `changes`, `inspect` and `plan`: nothing raw is printed, and time and memory have limits."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from catalog.lookup.parts import MOST_ROWS, Images
from tests import writers
from tests.cli.conftest import NASTY, Own
from tests.conftest import Catalogue, stamp
from tests.forking import CLEAN, Code
from tests.growth.layouts import Layout, chain

MANY = 200
"""So many entries have one name."""
DEEP = 200
WORD = (4 << 20) - 20_000
"""The size of a word, with room for the rest of a manifest below the limit."""
MEMORY = 256 << 20
"""No command takes more: each word is held a few times, and never all words at once."""
_MEASURED = """
import os, resource, sys
pid = os.fork()
if not pid:
    from catalog.cli.start import main
    main()
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, file=sys.stderr)
sys.exit(status)
"""


class Measured(NamedTuple):
    status: int
    out: str
    err: str
    memory: int


def measured(db: str, *arguments: str) -> Measured:
    """Run the program in a process of its own; `memory` is its peak in bytes, with all modules of ocicat, some 70 MB."""
    done = subprocess.run(
        Code(_MEASURED, *arguments),
        env=CLEAN | {"OCICAT_DB": db}, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    err, _, memory = done.stderr.decode().rstrip("\n").rpartition("\n")
    return Measured(done.returncode, done.stdout.decode(), err, int(memory))


class World(NamedTuple):
    own: Own
    digests: dict[str, str]


@pytest.fixture
def world(cli: Own, tmp_path: Path) -> World:
    """Stores `a` and `b`: both have hostile words; `a` had names and entries that it has lost, and a chain of indexes."""
    digests: dict[str, str] = {}
    for name in "ab":
        made = Layout(f"{tmp_path}/{name}")
        image = made.image(name, layers=3, annotations={"k": "w" * WORD, NASTY: NASTY}, artifactType=f"a/{NASTY}")
        made.add(image, f"word{NASTY}", **{NASTY: NASTY})
        made.add(image, "x" * WORD)
        made.add({**image, "mediaType": "m" * WORD, "artifactType": "m" * WORD}, "type")
        made.add(image, "anno", **{"k" * 1000: "v" * WORD})
        made.add(image, f"docker.io/library/word:{name}")
        made.add({**made.image(f"un{name}"), "platform": {"os": NASTY, "architecture": "p" * WORD}})
        deep = chain(made, made.image(name), DEEP)
        made.add(deep, "deep")
        for number in range(MANY):
            made.add(made.image(f"{name}{number}"), "same")
        digests |= {name: image["digest"], f"deep {name}": deep["digest"], f"same {name}": made.entries[-1]["digest"]}
        made.done()
    cli("--quiet", "add", f"{tmp_path}/a", f"{tmp_path}/b")
    document = json.loads(Path(f"{tmp_path}/a/index.json").read_bytes())
    del document["manifests"][10 : MANY // 2]
    writers.write_recreate(f"{tmp_path}/a/index.json".removesuffix("/index.json"), writers.dump(document))
    stamp(f"{tmp_path}/a/index.json")
    cli("--quiet", "index")
    return World(cli, digests)


def is_printable(text: str) -> bool:
    """Whether text has nothing that steers a terminal; a tab is between the columns."""
    return all(line.replace("\t", "").isprintable() for line in text.split("\n"))


def test_what_is_compared_is_printed_within_limits(world: World, tmp_path: Path) -> None:
    commands: list[tuple[int, tuple[str, ...]]] = [
        (1, ("diff", "a", "b")),
        (1, ("diff", "a", "--since", "1h")),
        (1, ("diff", "[ab]", "b", "--format", "json")),
        (0, ("changes",)),
        (0, ("changes", "--store", "a", "--format", "jsonl")),
        (0, ("changes", "--format", "{store}{name}{tag}{repository}{path}")),
        (0, ("inspect", world.digests["a"])),
        (0, ("inspect", world.digests["a"], "--format", "json", "--limit", "100000")),
        (0, ("inspect", world.digests["deep a"], "--limit", "100000")),
        (0, ("inspect", world.digests["same a"])),
        (3, ("inspect", ":same", "--store", "b")),
        (1, ("plan", "prune", "--older-than", "0s", "--unnamed", "--keep-last", "1", "--keep", "x*")),
        (4, ("plan", "copy", world.digests["b"], "--to", f"{tmp_path}/new", "--format", "json")),
    ]
    wrong = []
    for status, command in commands:
        found = measured(world.own.db, *command)
        if found.status != status or found.memory > MEMORY or not is_printable(found.out + found.err):
            wrong.append((command, found.status, found.memory >> 20, found.err[-300:], found.out[:300]))
    for each in wrong:
        print(*each, sep="\n  ")
    assert wrong == []
    found_changes = [json.loads(line) for line in world.own("changes", "--store", "a", "--format", "jsonl").lines]
    assert sum(row["tag"] == "same" for row in found_changes) <= 2  # one of them answers


def test_an_index_within_itself_has_parts_and_a_page(catalogue: Catalogue, tmp_path: Path) -> None:
    """No digest allows it, unless that is broken. Here the rows say so."""
    made = Layout(f"{tmp_path}/s")
    bottom = made.image(1)
    top = chain(made, bottom, 3)
    made.add(top, "app:1")
    path = made.done()
    catalogue.add(path)
    with catalogue.writer.transaction() as connection:
        connection.exec_driver_sql(
            "INSERT INTO edge (parent_id, role, position, child_id, media_type_id)"
            f" SELECT child_id, 0, 7, (SELECT id FROM content WHERE digest = '{top['digest']}'), media_type_id"
            " FROM edge WHERE role = 0"
        )
    parts = Images(catalogue.reader).of(top["digest"])
    assert parts.blobs is not None
    assert {top["digest"], bottom["digest"]} < set(parts.blobs)
    page = measured(catalogue.path, "inspect", "app:1", "--format", "json")
    assert page.status == 0
    assert json.loads(page.out)["digest"] == top["digest"]
    write(path, made, "app:2")
    catalogue.index()
    assert measured(catalogue.path, "diff", "s", "--since", "1h").status == 1
    for command in (("changes",), ("plan", "prune"), ("plan", "copy", "app:2", "--to", f"{tmp_path}/new")):
        found = measured(catalogue.path, *command)
        assert found.status in (0, 1, 4), found
        assert found.memory < MEMORY


def write(path: str, made: Layout, ref_name: str) -> None:
    writers.write_index(path, writers.empty_index({**made.entries[0], "annotations": {writers.REF_NAME: ref_name}}))
    stamp(f"{path}/index.json")


def test_the_parts_of_an_image_are_read_up_to_a_limit(catalogue: Catalogue, tmp_path: Path) -> None:
    """An image with more descriptors counts as not known, and what it has more is not read."""
    made = Layout(f"{tmp_path}/s")
    layers = [{"digest": f"sha256:{n:064x}", "size": 1, "mediaType": writers.LAYER_TYPE} for n in range(MOST_ROWS + 5)]
    large = made.put({"schemaVersion": 2, "layers": layers}, writers.MANIFEST_TYPE)
    made.add(large, "app:1")
    catalogue.add(made.done())
    parts = Images(catalogue.reader).of(large["digest"])
    assert (parts.platforms, parts.layers, parts.blobs) == (None, None, None)
    found = measured(catalogue.path, "inspect", "app:1", "--format", "json", "--limit", "3")
    assert found.status == 0
    layers_of = json.loads(found.out)["layers"]
    assert (layers_of["total"], len(layers_of["items"])) == (MOST_ROWS, 3)
    assert layers_of["at_least"] is True
    assert os.path.exists(f"{tmp_path}/s")
