"""docs/cookbook.md: every statement is taken out of the document and run, on the peers' fixtures and on layouts of our own.

On our own layouts, which the suite makes, each question has an answer; the fixtures of ../shared, where they are there, must
not keep one from being answered.
"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests import writers
from tests.cli.program import called
from tests.conftest import Place
from tests.forking import CLEAN, on_path

ROOT = Path(__file__).parent.parent
FIXTURES = ROOT.parent / "shared" / "fixtures"
TEXT = (ROOT / "docs" / "cookbook.md").read_text(encoding="utf-8")
FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
BASE = "docker.io/library/base"
SBOM = "application/spdx+json"


class Question(NamedTuple):
    asked: str
    sql: str


def questions() -> Iterator[Question]:
    for found in re.finditer(r"^([^\n]+(?:\n[^\n]+)*)\n\n```sql\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL):
        yield Question(found[1].replace("\n", " "), found[2])


QUESTIONS = list(questions())


def image(layout: str, *layers: str, labels: dict[str, str] | None = None, **more: Any) -> writers.Descriptor:
    """A manifest of these layers, and nothing else that makes it what it is; `more` are further fields of it."""
    config = writers.platform("linux", "amd64") | {"created": writers.CREATED, "config": {"Labels": labels or {}}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": writers.MANIFEST_TYPE,
        "config": writers.write_blob(layout, writers.dump(config), writers.CONFIG_TYPE),
        "layers": [writers.write_blob(layout, layer.encode(), writers.LAYER_TYPE) for layer in layers],
    } | more
    return writers.write_blob(layout, writers.dump(manifest), writers.MANIFEST_TYPE)


def named(entry: writers.Descriptor, repository: str, tag: str) -> writers.Descriptor:
    return writers.name_entry(entry, "canonical", repository, tag)


APP, EDGE, CHART, GONE, WIN = (f"docker.io/acme/{each}" for each in ("app:1", "app:edge", "chart:1", "gone:1", "win:1"))
ONE, TWO = "own/one", "own/two"
ANSWERS: dict[str, tuple[str, list[object]]] = {
    "Which stores hold": ("store", [ONE, TWO]),
    "Under which names": ("image", [f"{BASE}:1", f"{BASE}:1"]),
    "Which images have this layer": ("image", [APP, EDGE, f"{BASE}:1", f"{BASE}:1"]),
    "Which images are in more": ("image", [f"{BASE}:1"]),
    "Which names mean": ("name", [APP]),
    "Which images carry": ("image", [EDGE]),
    "Which images are the biggest": ("image", []),
    "Which layers take": ("digest", []),  # as many as there is room for
    "How much do two": ("blobs", [15]),
    "Which blobs would": ("blobs", [2]),
    "Which blobs are not needed": ("blobs", [8]),
    "For which stores": ("store", [ONE, "own/torn"]),
    "Which artifact holds": ("store", [ONE, TWO]),
    "Which entries have lost": ("store", [ONE, TWO]),
    "Which tags moved": ("image", [EDGE, GONE]),
    "Which names are new": ("image", [APP, EDGE, CHART, GONE, WIN, f"{BASE}:1", APP, f"{BASE}:1"]),
    "Which names are gone": ("image", [GONE]),
    "Which tags move most": ("image", [EDGE]),
    "Which stores have not changed": ("name", ["own/torn", TWO, ONE]),
    "Which images that still": ("image", [APP, EDGE, WIN, f"{BASE}:1", APP, f"{BASE}:1"]),
    "Which images are built": ("image", [APP, EDGE]),
    "Which images have no": ("image", [CHART]),
    "Which image indexes lack": ("image", [APP]),
    "Which image indexes are sparse": ("platform", ["linux/s390x"]),
    "Which images have foreign": ("is_here", [0]),
    "Which referrers": ("artifact_type", [SBOM]),
    "Which named images": ("name", [APP, EDGE, CHART, WIN, APP]),
    "Which stores cannot": ("state", ["invalid"]),
    "Which blobs were found": ("image", [APP]),
    "How many blobs": ("blobs", [15]),
}
"""By the beginning of a question: a column, and what stands in it for our own layouts; empty: anything."""


class World(NamedTuple):
    db: str
    values: dict[str, str]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, place: Place, engine: str) -> World:
    """Layouts that `fill` makes, and those of other projects."""
    top = str(tmp_path_factory.mktemp("cookbook"))
    db = place(top)
    values = fill(top, [db])
    if FIXTURES.is_dir():
        assert called("add", str(FIXTURES), db=db).status == 0
        for each in ("manifest", "name_lookups", "two_images_manifest"):  # neither oci-layout nor blobs: by hand alone
            path = FIXTURES / "container-libs/image/oci/layout/fixtures" / each
            assert called("add", str(path), db=db).status == 0
    return World(db, values)


def fill(top: str, catalogs: list[str]) -> dict[str, str]:
    """Make layouts below `top` and give each catalog two states of them; return a value for each parameter of the questions.

    There are two stores that share images, one that is torn, what moved, what went, what nobody reaches, and a bad blob.
    """
    one, two, torn = (writers.make_layout(f"{top}/own/{name}") for name in ("one", "two", "torn"))
    base = image(one, "base")
    app = image(one, "base", "app", labels={"vendor": "ACME"})
    old = image(one, "old")
    foreign = {"mediaType": FOREIGN, "digest": f"sha256:{'f' * 64}", "size": 7, "urls": ["https://example.com/layer"]}
    windows = image(one, layers=[foreign])
    here = app | {"platform": writers.platform("linux", "amd64")}
    absent = writers.fake_descriptor("elsewhere") | {"platform": writers.platform("linux", "s390x")}
    sparse = writers.make_index_image(one, [here, absent])
    chart = image(
        one,
        artifactType="application/vnd.example.chart",
        config=writers.write_blob(one, b"{}", "application/x"),
        layers=[
            writers.write_blob(one, b"weights", "application/octet-stream")
            | {"annotations": {"org.opencontainers.image.title": "model.bin"}}
        ],
    )
    sbom = image(one, "sbom", subject=base, artifactType=SBOM)
    shutil.copytree(f"{one}/blobs", f"{two}/blobs", dirs_exist_ok=True)
    only = image(two, "only here")
    steady = [
        named(base, BASE, "1"),
        named(sparse, "docker.io/acme/app", "1"),
        named(windows, "docker.io/acme/win", "1"),
    ]
    steady += [named(chart, "docker.io/acme/chart", "1"), named(chart, "docker.io/acme/gone", "1"), sbom]
    writers.write_index(one, writers.empty_index(*steady, named(old, "docker.io/acme/app", "edge")))
    writers.write_index(two, writers.empty_index(named(base, BASE, "1"), named(old, "docker.io/acme/app", "1"), only))
    for db in catalogs:
        assert called("add", f"{top}/own", db=db).status == 0
    moved = [each for each in steady if "gone" not in str(each)]
    writers.write_index(one, writers.empty_index(*moved, named(app, "docker.io/acme/app", "edge")), "umoci")
    Path(torn, "index.json").write_text("{", encoding="utf-8")
    (bad,) = Path(two).glob(f"blobs/sha256/{layer_of(one, old)}")
    bad.write_bytes(b"bad")
    for db in catalogs:
        assert called("index", db=db).status == 0
        assert called("verify", "own/two", db=db).status == 1
    return {
        "digest": base["digest"],
        "layer": f"sha256:{layer_of(one, base)}",
        "name": f"{BASE}:1",
        "key": "vendor",
        "value": "ACME",
        "since": "2020-01-01",
        "until": "2999-01-01",
        "before": "2025-01-01",
        "platform": "linux/arm64",
        "title": "model.bin",
    }


def layer_of(layout: str, entry: writers.Descriptor) -> str:
    """The hex of the one layer of an image."""
    text = Path(layout, "blobs/sha256", entry["digest"].removeprefix("sha256:")).read_text(encoding="utf-8")
    (layer,) = json.loads(text)["layers"]
    return str(layer["digest"]).removeprefix("sha256:")


def test_there_are_many_and_each_is_a_question() -> None:
    assert len(QUESTIONS) >= 20
    assert len(QUESTIONS) == TEXT.count("```sql\n")
    assert len(ANSWERS) == len(QUESTIONS)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda each: each.asked)
def test_each_question_has_an_answer(world: World, question: Question) -> None:
    wanted = {name: world.values[name] for name in re.findall(r"(?<!:):([a-z]+)", question.sql)}
    given = [text for name, value in wanted.items() for text in ("-p", f"{name}={value}")]
    result = called("sql", *given, "--format", "json", question.sql, db=world.db)
    assert (result.status, result.err) == (0, "")
    rows = json.loads(result.out)
    (column, expected) = next(answer for begin, answer in ANSWERS.items() if question.asked.startswith(begin))
    if question.asked.startswith("Which names are new"):  # in the order in which the stores were read
        rows.sort(key=lambda row: str(row["store"]))
    found = [row[column] for row in rows if "fixtures/" not in str(row)]
    assert found == expected if expected else found, found
    assert called("sql", *given, "--format", "json", question.sql, db=world.db).out == result.out


COMMANDS = dict(re.findall(r"^([^\n]+)\n\n```sh\n(ocicat .*)\n```$", TEXT, re.MULTILINE))
COMMAND_ANSWERS: dict[str, tuple[int, str, set[str]]] = {
    "What are the differences": (1, r"^(\w+) ", {"added", "removed", "moved"}),
    "What did the images": (1, r"^(\w+)\t", {"added"}),
    "Which names has a store lost": (0, r"^removed \S+ (\S+) sha256:", {GONE}),
    "How many other images": (0, r"^(\d+)\tsha256:", {"0", "1"}),
    "Which files would": (0, r"^(\S+)\t\d+\tsha256:", {"unnamed", "unreferenced", "lost-manifest"}),
    "Which blobs does a new": (0, r"^(\w+)\t\d*\t", {"blob", "entry"}),
    "Which blobs that": (0, r"^\d+\t\S+/(own/\w+)/blobs", {TWO}),
}
"""By the beginning of a question: the status, a pattern that each line has, and all that its group finds."""


def test_there_is_an_answer_to_each_command() -> None:
    assert {question for question in COMMANDS for begin in COMMAND_ANSWERS if question.startswith(begin)} == set(
        COMMANDS
    )
    assert len(COMMAND_ANSWERS) == len(COMMANDS) == TEXT.count("```sh\nocicat ")


@pytest.mark.parametrize("question", COMMANDS, ids=lambda each: each.partition(" of ")[0])
def test_each_command_has_an_answer(world: World, place: Place, tmp_path: Path, question: str) -> None:
    """In a shell, as they are printed."""
    db = world.db
    if "plan link" in COMMANDS[question]:  # what else is verified is a matter of other tests
        db = place(str(tmp_path))
        for name in (ONE, TWO):
            layout = writers.make_layout(f"{tmp_path}/{name}")
            writers.write_index(layout, writers.empty_index(image(layout, "base")))
        assert called("add", f"{tmp_path}/own", db=db).status == 0
        assert called("verify", db=db).status == 0
    if "jq" in COMMANDS[question] and shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    given = {"OCICAT_DB": db, "store": ONE, "other": TWO, "image": EDGE}
    path = f"{on_path()}:{CLEAN['PATH']}"
    done = subprocess.run(
        ["sh", "-c", COMMANDS[question]],
        env={**CLEAN, **given, "PATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    status, pattern, expected = next(each for begin, each in COMMAND_ANSWERS.items() if question.startswith(begin))
    found = [re.search(pattern, line) for line in done.stdout.splitlines() if "fixtures/" not in line]
    assert (done.returncode, {None if each is None else each[1] for each in found}) == (status, expected), done


def test_two_catalogs_in_files_are_compared(tmp_path: Path) -> None:
    """The statements for the program sqlite3, run with the same library."""
    mine, theirs = str(tmp_path / "mine.db"), str(tmp_path / "theirs.db")
    for db, tags in ((mine, ("same", "moved", "only")), (theirs, ("same", "moved"))):
        layout = writers.make_layout(f"{db}.d/layout")
        seeds = {tag: image(layout, "base", tag if tag != "moved" else f"moved in {db}") for tag in tags}
        writers.write_index(
            layout, writers.empty_index(*(named(each, "docker.io/acme/app", tag) for tag, each in seeds.items()))
        )
        assert called("add", layout, db=db).status == 0
    found = re.findall(r"^ATTACH 'theirs.db' AS theirs;\n(.*?)^SQL$", TEXT, re.MULTILINE | re.DOTALL)
    assert len(found) == TEXT.count("<<'SQL'\nATTACH")
    connection = sqlite3.connect(mine)
    connection.execute("ATTACH ? AS theirs", (theirs,))
    names, blobs = (connection.execute(statement).fetchall() for statement in found)
    connection.close()
    assert [(name, theirs is None) for name, _, theirs in names] == [
        ("docker.io/acme/app:moved", False),
        ("docker.io/acme/app:only", True),
    ]
    assert blobs[0][0] == 4  # two manifests, two layers: the config and a layer are the same


def test_two_catalogs_anywhere_are_compared(place: Place, tmp_path: Path) -> None:
    """With a file on the one side, and a catalog of each engine on the other."""
    mine, theirs = str(tmp_path / "mine.db"), place(str(tmp_path))
    for db, tag in ((mine, "mine"), (theirs, "theirs")):
        layout = writers.make_layout(f"{tmp_path}/{tag}")
        entries = (named(image(layout, "base", each), "docker.io/acme/app", each) for each in ("same", tag))
        writers.write_index(layout, writers.empty_index(*entries))
        assert called("add", layout, db=db).status == 0
    (script,) = re.findall(r"^```sh\n(names=.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    environment = {**CLEAN, "mine": mine, "theirs": theirs, "PATH": f"{on_path()}:{CLEAN['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)
    changed = [line.split()[:2] for line in done.stdout.splitlines() if line[0] in "<>"]
    assert (done.returncode, done.stderr) == (1, "")
    assert changed == [["<", "docker.io/acme/app:mine"], [">", "docker.io/acme/app:theirs"]]
