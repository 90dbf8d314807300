"""Hostile layouts, end to end: each gets a state and a message, keeps its last good rows, and does not affect other stores."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import writers
from tests.cli.conftest import no_settling
from tests.cli.program import Ran, called, common_directory, needs_root, ran, ran_as_nobody
from tests.effort import some

Spoil = Callable[[Path], object]


def text(content: str | bytes) -> Spoil:
    data = content.encode() if isinstance(content, str) else content
    return lambda layout: (layout / "index.json").write_bytes(data)


def instead(make: Callable[[Path], object]) -> Spoil:
    """Put something else in the place of index.json."""

    def spoil(layout: Path) -> None:
        (layout / "index.json").unlink()
        make(layout / "index.json")

    return spoil


def sparse(layout: Path) -> None:
    with open(layout / "index.json", "r+b") as file:
        file.truncate(5 << 30)


def sock(path: Path) -> None:
    before = os.getcwd()
    os.chdir(path.parent)  # the path of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


DIGEST = f"sha256:{'a' * 64}"


def entry(fields: str = '"size":1') -> str:
    """Return an element with DIGEST and these additional fields."""
    return f'{{"mediaType":"m","digest":"{DIGEST}",{fields}}}'


def named(key: str, value: str) -> str:
    return entry(f'"annotations":{{"{key}":"{value}"}}')


def elements(*texts: str) -> Spoil:
    return text(f'{{"schemaVersion":2,"manifests":[{",".join(texts)}]}}'.encode("utf-8", "surrogateescape"))


INVALID: dict[str, tuple[Spoil, str]] = {
    "empty": (text(""), "empty"),
    "white space": (text(" \n"), "white space"),
    "torn": (text('{"schemaVersion": 2, "manifests": [{"digest": "sha256:'), "torn"),
    "not JSON": (text("hello"), "not JSON"),
    "single quotes": (text("{'manifests': []}"), "JSON"),
    "NaN": (text('{"manifests": [], "x": NaN}'), "JSON"),
    "comma": (text('{"manifests": [],}'), "JSON"),
    "byte order mark": (text(b"\xef\xbb\xbf{}"), "byte order mark"),
    "UTF-16": (text('{"manifests": []}'.encode("utf-16")), "JSON"),
    "array": (text("[]"), "array"),
    "string": (text('"x"'), "string"),
    "null": (text("null"), "null"),
    "manifests a string": (text('{"manifests": "x"}'), "manifests"),
    "manifests an object": (text('{"manifests": {}}'), "manifests"),
    "trailing garbage": (text('{"manifests": []} x'), "trailing"),
    "two values": (text('{"manifests": []}{"manifests": []}'), "trailing"),
    "old tail": (text('{"manifests": []}]}'), "trailing"),
    "deep arrays": (text('{"manifests": ' + "[" * 200_000), "nested too deep"),
    "deep objects": (text('{"x": ' + '{"x":' * 200_000), "nested too deep"),
    "deep and whole": (text('{"x": ' + "[" * 200_000 + "]" * 200_000 + ', "manifests": []}'), "nested too deep"),
    "sparse gigabytes": (sparse, "limit"),
    "zeros": (text(b"\0" * 1_000_000), "JSON"),
    "FIFO": (instead(os.mkfifo), "FIFO"),
    "directory": (instead(os.mkdir), "directory"),
    "socket": (instead(sock), "socket"),
    "link to /dev/zero": (instead(lambda path: os.symlink("/dev/zero", path)), "symbolic link"),
    "link to /etc/passwd": (instead(lambda path: os.symlink("/etc/passwd", path)), "symbolic link"),
    "link to itself": (instead(lambda path: os.symlink("index.json", path)), "symbolic link"),
    "dangling link": (instead(lambda path: os.symlink("nowhere", path)), "symbolic link"),
    "gone": (instead(lambda _: None), "no index.json"),
}

USABLE: dict[str, tuple[Spoil, int, tuple[str, ...]]] = {
    # `check` reports what is strange, and the rest is used: the number of entries, and the kinds of the problems.
    "traversal": (elements('{"digest": "sha256:../../../etc/passwd"}', entry()), 1, ("bad-descriptor",)),
    "odd digests": (
        elements('{"digest":1}', '{"digest":""}', "{}", "null", "[]", '"x"', entry()),
        1,
        ("bad-descriptor",),
    ),
    "deep element": (elements(entry(), f'{{"x": {"[" * 5000}{"]" * 5000}}}'), 1, ("bad-descriptor",)),
    "NUL in names": (elements(named(writers.REF_NAME, r"a\u0000b")), 1, ("unusable-name",)),
    "controls in names": (elements(named(writers.IMAGE_NAME, r"\u001b[31m\u009b\u202e")), 1, ("unusable-name",)),
    "no UTF-8 in names": (elements(named(writers.REF_NAME, "a\udcff\udcfeb")), 1, ("unusable-name",)),
    "half a surrogate": (elements(named(writers.REF_NAME, r"a\ud800b")), 1, ("unusable-name",)),
    "a name without end": (elements(named(writers.REF_NAME, "x" * 1_000_000)), 1, ("long-name",)),
    "an enormous element": (elements(entry(), f'{{"x": "{"x" * (5 << 20)}"}}'), 1, ("bad-descriptor",)),
    "an invalid size": (elements(entry('"size":1e400')), 1, ("descriptor-field",)),
    "a size beyond all": (elements(entry(f'"size":{"9" * 5000}')), 1, ("descriptor-field",)),
    "manifests null": (text('{"manifests": null}'), 0, ()),
    "manifests twice": (text(f'{{"manifests": [{{"digest": "x"}}], "manifests": [{entry()}]}}'), 1, ("odd-json",)),
    "an empty object": (text("{}"), 0, ("not-an-index",)),
}


class Zoo(NamedTuple):
    """A root full of layouts that went bad after they were indexed, and what the program printed about them."""

    root: Path
    db: str
    config: str
    pass_: Ran
    digests: dict[str, str]

    def stores(self, db: str = "") -> dict[str, dict[str, object]]:
        found = json.loads(called("stores", "--format", "json", db=db or self.db).out)
        return {str(each["name"]).removeprefix("zoo/"): each for each in found}

    def problems(self, db: str = "") -> list[dict[str, str]]:
        result = called("check", "--format", "json", db=db or self.db)
        assert result.status == 1
        found: list[dict[str, str]] = json.loads(result.out)
        return found


def place(name: str) -> str:
    return name.replace(" ", "-").replace("/", "_")


def make(path: Path) -> str:
    writers.make_layout(str(path))
    good = writers.name_entry(writers.make_image(str(path), path.name), "tag", "", "good")
    writers.write_index(str(path), writers.empty_index(good))
    digest: str = good["digest"]
    return digest


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    base = tmp_path_factory.mktemp("hostile")
    root = base / "zoo"
    digests = {name: make(root / place(name)) for name in ("good", *INVALID, *USABLE)}
    made = Zoo(root, str(base / "c.db"), no_settling(base), Ran(0, "", ""), digests)
    assert ran("--config", made.config, "add", str(root), db=made.db) == (0, "", "")
    for name, (spoil, *_) in (INVALID | USABLE).items():
        spoil(root / place(name))
    os.symlink("..", root / "up")
    os.symlink("loop", root / "loop")
    return made._replace(pass_=ran("--config", made.config, "index", db=made.db))


def test_the_pass_succeeds_with_a_line_for_each(zoo: Zoo) -> None:
    assert (zoo.pass_.status, zoo.pass_.out) == (0, "")
    assert len(zoo.pass_.said) == len(INVALID)
    assert all(line.startswith("ocicat: zoo/") and line.isprintable() for line in zoo.pass_.said)


def test_all_other_stores_are_unaffected(zoo: Zoo) -> None:
    stores = zoo.stores()
    assert set(stores) == {"good", *map(place, INVALID), *map(place, USABLE)}
    assert stores["good"]["state"] == "ok"
    result = called("resolve", "oci-layout://zoo/good:good", db=zoo.db)
    assert (result.status, result.err) == (0, "")


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_one_has_a_state_a_message_and_its_last_rows(zoo: Zoo, name: str) -> None:
    store = zoo.stores()[place(name)]
    assert store["state"] == "invalid"
    assert INVALID[name][1] in str(store["error"])
    assert str(store["error"]).isprintable()
    assert len(str(store["error"])) < 300
    assert store["entries"] == 1
    (problem,) = [each for each in zoo.problems() if each["store"] == f"zoo/{place(name)}"]
    kind = "linked" if "link" in name else "invalid"
    assert (problem["kind"], problem["detail"]) == (kind, store["error"])
    result = called("resolve", f"oci-layout://zoo/{place(name)}:good", db=zoo.db)
    assert result.status == 0
    assert result.out.strip() == zoo.digests[name]
    assert len(result.said) == 1
    assert "has been invalid since" in result.said[0]
    assert called("resolve", "--strict", f"oci-layout://zoo/{place(name)}:good", db=zoo.db).status == 1


@pytest.mark.parametrize("name", USABLE)
def test_usable_entries_are_used_and_the_rest_is_reported(zoo: Zoo, name: str) -> None:
    _, entries, kinds = USABLE[name]
    store = zoo.stores()[place(name)]
    assert (store["state"], store["error"], store["entries"]) == ("ok" if entries else "empty", None, entries)
    found = [each for each in zoo.problems() if each["store"] == f"zoo/{place(name)}"]
    assert {each["kind"] for each in found} - {"missing-blob"} == set(kinds)  # it has no blobs, which is reported too
    assert all(each["detail"].isprintable() or json.dumps(each["detail"]) for each in found)
    assert all(len(each["detail"]) < 400 for each in found)
    if entries:
        result = called("query", f"@{DIGEST}", "--store", f"zoo/{place(name)}", "--format", "tsv", db=zoo.db)
        assert result.status == 0
        assert len(result.lines) == 1
        assert result.lines[0].replace("\t", "").isprintable()


def test_layouts_that_are_invalid_at_the_first_look(zoo: Zoo, tmp_path: Path) -> None:
    db = str(tmp_path / "c.db")
    result = ran("--config", zoo.config, "add", str(zoo.root), db=db)
    assert (result.status, result.out) == (0, "")
    assert len(result.said) == len(INVALID)
    stores = zoo.stores(db)
    assert {name for name, each in stores.items() if each["state"] == "invalid"} == set(map(place, INVALID))
    assert all(each["entries"] == 0 for each in stores.values() if each["state"] == "invalid")
    assert {each["kind"] for each in zoo.problems(db)} >= {"invalid", "bad-descriptor", "unusable-name", "long-name"}


def test_an_invalid_layout_added_by_itself_is_registered(zoo: Zoo, tmp_path: Path) -> None:
    db = str(tmp_path / "c.db")
    for name in ("torn", "FIFO", "link-to-_dev_zero"):
        result = ran("--config", zoo.config, "add", str(zoo.root / name), db=db)
        assert result.status == 0
        assert len(result.said) == 1
        assert result.said[0].startswith(f"ocicat: {name}: invalid: ")


def test_repaired_layouts_are_ok_again(zoo: Zoo, tmp_path: Path) -> None:
    db = str(tmp_path / "c.db")
    root = tmp_path / "zoo"
    digests = {name: make(root / place(name)) for name in ("torn", "FIFO", "directory")}
    assert called("--config", zoo.config, "add", str(root), db=db).status == 0
    for name in digests:
        INVALID[name][0](root / place(name))
    assert len(called("--config", zoo.config, "index", db=db).said) == 3
    for name in digests:
        path = root / place(name) / "index.json"
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        make(root / place(name))
    assert called("--config", zoo.config, "index", db=db) == (0, "", "")
    assert {each["state"] for each in zoo.stores(db).values()} == {"ok"}
    assert called("check", db=db) == (0, "", "")


def test_a_store_that_becomes_a_link_is_missing_and_not_followed(zoo: Zoo, tmp_path: Path) -> None:
    db = str(tmp_path / "c.db")
    root = tmp_path / "zoo"
    make(root / "a")
    make(tmp_path / "elsewhere")
    assert called("--config", zoo.config, "add", str(root), db=db).status == 0
    shutil.rmtree(root / "a")
    os.symlink(tmp_path / "elsewhere", root / "a")
    result = called("--config", zoo.config, "index", db=db)
    assert result.status == 0
    assert zoo.stores(db)["a"]["state"] == "missing"
    assert "symbolic link" in str(zoo.stores(db)["a"]["error"])
    assert called("resolve", ":good", db=db).status == 1


def test_paths_of_any_bytes(zoo: Zoo, tmp_path: Path) -> None:
    """Every byte that a file name may contain, and a path of nearly the greatest length."""
    db = str(tmp_path / "c.db")
    root = tmp_path / "zoo"
    names = [bytes([number]) for number in range(1, 256) if number not in b"./"] + [
        b"\xff" * 255,
        "ä漢😀".encode(),
        b"a\\b",
        b"%41",
    ]
    for number, name in enumerate(names):
        path = os.fsdecode(
            os.fsencode(root) + b"/" + b"x" + name if len(name) < 255 else os.fsencode(root) + b"/" + name
        )
        writers.make_layout(path)
        named_entry = writers.name_entry(writers.fake_descriptor(str(number)), "tag", "", f"t{number}")
        writers.write_index(path, writers.empty_index(named_entry))
    long = str(root) + ("/" + "d" * 200) * 6
    writers.make_layout(long)
    result = ran("--config", zoo.config, "add", str(root), db=db)
    assert result.status == 0, result
    assert all(line.isprintable() for line in result.said)
    found = zoo.stores(db)
    assert len(found) == len(names) + 1
    assert {each["state"] for each in found.values()} == {"ok", "empty"}
    numbers = range(0, len(names), 7)
    answers = json.loads(called("resolve", *(f":t{number}" for number in numbers), "--format", "json", db=db).out)
    digests = [writers.fake_descriptor(str(number))["digest"] for number in numbers]
    assert [answer["digest"] for answer in answers] == digests
    below = [f"oci-layout://{answer['store']}:t{number}" for number, answer in zip(numbers, answers, strict=True)]
    again = called("resolve", *below, db=db)
    assert (again.status, again.lines) == (0, digests)
    for answer in some(answers):
        assert called("query", "--store", answer["store"], "--count", db=db).out == "1\n"
    for store in list(found)[::25]:
        assert called("remove", f"zoo/{store}", db=db).status == 0, store
    assert called("--config", zoo.config, "index", db=db).status == 0
    assert called("db", "check", db=db) == (0, "", "")


@needs_root
def test_without_permission_a_store_is_unreadable_and_keeps_its_answers() -> None:
    with common_directory() as base:
        config = no_settling(base)
        (base / "settings.toml").chmod(0o644)
        root = base / "zoo"
        for name in ("file", "directory", "good"):
            make(root / name)
        (base / "lib").mkdir()
        (base / "lib").chmod(0o777)
        db = str(base / "lib" / "c.db")
        assert ran_as_nobody("--config", config, "add", str(root), db=db) == (0, "", "")
        (root / "file" / "index.json").chmod(0)
        (root / "directory").chmod(0)
        result = ran_as_nobody("--config", config, "index", db=db)
        assert (result.status, result.out) == (0, "")
        assert any(
            line.startswith("ocicat: zoo/file: unreadable: ") and "Permission denied" in line for line in result.said
        )
        assert any("zoo/directory" in line for line in result.said)
        states = {each["name"]: each["state"] for each in json.loads(called("stores", "--format", "json", db=db).out)}
        assert states == {"zoo/directory": "unreadable", "zoo/file": "unreadable", "zoo/good": "ok"}
        problems = {
            (each["store"], each["kind"]) for each in json.loads(called("check", "--format", "json", db=db).out)
        }
        assert problems >= {("zoo/directory", "unreadable"), ("zoo/file", "unreadable")}
        assert "zoo/good" not in {store for store, _ in problems}
        assert called("query", ":good", db=db).status == 0
        assert len(called("query", ":good", db=db).lines) == 3
