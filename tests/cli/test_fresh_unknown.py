"""`--fresh` finds changes that no known `index.json` shows: new layouts, settings that were given without indexing, the roots and
stores of a configuration, and blobs that arrive after the `index.json` that names them."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalog.ingest.settings import Place, StoreSettings
from catalog.ingest.unregistered import unregistered
from catalog.names.keys import Naming
from tests import writers
from tests.cli.program import Ran, one_error
from tests.forking import CLEAN, OCICAT
from tests.postgres import Server
from tests.watch.harness import Followed, followed


@pytest.fixture(params=["sqlite", "postgresql"])
def catalog(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Followed]:
    """A root with the layout `a`, and no daemon yet. Nobody is looked for who has a file open (AT_ONCE in tests/conftest.py)."""
    server: Server | None = None if request.param == "sqlite" else request.getfixturevalue("server")
    with followed(tmp_path, None if server is None else server.new_catalog(), settle_ms=20, held_ms=0) as made:
        layout(made.path("root/a"), "a")
        made.add_root("root")
        yield made


daemons = pytest.mark.parametrize("daemon", [False, True], ids=["alone", "daemon"])


def layout(path: str, seed: str, repository: str = "docker.io/library/app", tag: str = "t") -> str:
    """Make a layout with one entry, `app:t`; return the digest and a newline, as `resolve` prints it."""
    entry = writers.name_entry(writers.fake_descriptor(seed), "short", repository, tag)
    writers.write_index(writers.make_layout(path), writers.empty_index(entry))
    return f"{entry['digest']}\n"


@daemons
def test_store_names_a_new_layout_below_a_root(catalog: Followed, daemon: bool) -> None:
    if daemon:
        catalog.start()
    numbers = itertools.count()

    def scopes(name: str) -> list[str]:
        return [f"root/{name}", f"root/{name[:2]}*", "*" + name, catalog.path(f"root/{name}"), f"root/x/../{name}"]

    asks: list[Callable[[str], Ran]] = [
        lambda scope: catalog("resolve", "--fresh", "--store", scope, "app:t"),
        lambda scope: catalog("resolve", "--store", scope, "--fresh", ":t"),
        lambda scope: catalog("query", "--fresh", "--store", scope, "--format", "{digest}"),
        lambda scope: catalog("query", "--fresh", "--store", scope, "--format", "{digest}", "ap*"),
        lambda scope: catalog("query", "--fresh", "--store", scope, "--format", "{digest}", "--tag", "t"),
    ]
    for scope, ask in itertools.zip_longest(range(5), asks):
        name = f"{next(numbers)}-new"
        text = scopes(name)[scope]
        if text.startswith("root/x"):
            text = f"{catalog.directory}/{text}"
        before = ask(text)
        assert before.status == 2, before
        assert "no store is named" in before.err
        new = layout(catalog.path(f"root/{name}"), name)
        assert ask(text).out == new, text


def test_a_glob_matches_a_new_layout(catalog: Followed) -> None:
    """Some of the stores that the glob matches are known already."""
    for number in range(3):
        layout(catalog.path(f"root/deep/{number}"), f"{number}")
        said = catalog("query", "--fresh", "--store", "root/deep/*", "--store", "root/a", "--count")
        assert said.out == f"{number + 2}\n"
    layout(catalog.path("root/deep 2"), "encoded")
    assert catalog("query", "--fresh", "--store", "root/deep%*", "--count").out == "1\n"


def test_a_name_that_is_taken_gets_a_number(catalog: Followed) -> None:
    layout(catalog.path("lone"), "lone")
    catalog.done("add", catalog.path("lone"), "--name", "root/b")
    new = layout(catalog.path("root/b"), "b")
    assert catalog("resolve", "--fresh", "--store", "root/b~?", "app:t").out == new
    catalog.done("add", catalog.path("lone"), "--name", "root/c")
    new = layout(catalog.path("root/c"), "c")
    assert catalog("resolve", "--fresh", "--store", "root/c~2", "app:t").out == new


def test_from_stdin(catalog: Followed) -> None:
    """The store is created before the first reference, and rewritten before the second."""
    layout(catalog.path("root/new"), "zero")
    process = subprocess.Popen(
        [OCICAT, "--db", catalog.db, "--config", catalog.config, "resolve", "--fresh", "--store", "root/n*", "-"],
        env=CLEAN, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    for number in range(2):
        new = layout(catalog.path("root/new"), f"{number}")
        process.stdin.write(b"app:t\n")
        process.stdin.flush()
        assert process.stdout.readline().decode() == new
    new = layout(catalog.path("root/next"), "another one")
    process.stdin.write(b"app:t\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"\n"
    _, said = process.communicate()
    assert process.returncode == 3
    assert new in said.decode()


def test_other_stores_that_are_being_written_cause_no_wait(catalog: Followed) -> None:
    """A new layout elsewhere and a known one are both kept open by writers."""
    configure(catalog)
    layout(catalog.path("root/hot"), "hot")
    with open(catalog.path("root/hot/index.json"), "r+b") as hot, open(catalog.path("root/a/index.json"), "r+b") as a:
        for file in (hot, a):
            file.write(file.read(1))
            file.flush()
        new = layout(catalog.path("root/new"), "new")
        assert catalog("resolve", "--fresh", "--store", "root/n*", "app:t").out == new
        new = layout(catalog.path("root/new-2"), "new 2")
        assert catalog("resolve", "--fresh", "--store", "root/new-2", "app:t").out == new
        new = layout(catalog.path("root/new-3"), "new 3")
        assert catalog("resolve", "--fresh", "oci-layout://root/new-3/app:t").out == new
        new = layout(catalog.path("root/new-4"), "new 4")
        assert catalog("resolve", "--fresh", f"ocidir://{catalog.path('root/new-4')}:t").out == new
        assert "root/hot" not in catalog.stores()


def test_a_store_that_is_late_is_not_an_unknown_one(catalog: Followed) -> None:
    configure(catalog)
    layout(catalog.path("root/hot"), "hot")
    with open(catalog.path("root/hot/index.json"), "r+b") as hot:
        hot.write(hot.read(1))
        hot.flush()
        one_error(catalog("resolve", "--fresh", "--store", "root/hot", "app:t"), 4, "root/hot", "5 seconds")


@daemons
def test_settings_that_were_given_without_indexing(catalog: Followed, daemon: bool) -> None:
    writers.write_index(
        catalog.path("root/a"), writers.empty_index(writers.name_entry(writers.fake_descriptor("a"), "tag", "", "t"))
    )
    new = f"{writers.fake_descriptor('a')['digest']}\n"
    layout(catalog.path("other/b"), "b", "docker.io/library/b")
    catalog.done("index")
    if daemon:
        catalog.start()
    for where, number in itertools.product(("root", "root/a"), range(2)):
        assert catalog("resolve", "--fresh", f"example.com/{number}:t").status == 1
        catalog.done("add", "--no-index", catalog.path(where), "--naming", f"fixed=example.com/{number}")
        assert catalog("resolve", "--fresh", f"example.com/{number}:t").out == new
        catalog.done("add", "--no-index", catalog.path(where), "--naming", "path", "--prefix", f"{number}.example.com")
        assert catalog("resolve", "--fresh", "--store", "root/*", f"{number}.example.com/a:t").out == new
        catalog.done("add", "--no-index", catalog.path(where), "--naming", "annotations", "--prefix", "")
    catalog.done("add", "--no-index", catalog.path("other"))
    assert catalog("resolve", "--fresh", "b:t").status == 0


def configure(catalog: Followed, *places: str) -> None:
    """Write the settings anew, so that a file counts that somebody has open."""
    Path(catalog.config).write_text("\n".join(["watch.settle_ms = 20", *places]))


@daemons
def test_what_the_configuration_names(catalog: Followed, daemon: bool) -> None:
    """The configuration was changed, and the daemon was not reloaded."""
    if daemon:
        catalog.start()
    new = layout(catalog.path("other/b"), "b", "docker.io/library/b")
    lone = layout(catalog.path("lone"), "lone", "docker.io/library/lone")
    root = f'[[roots]]\npath = "{catalog.path("other")}"\n'
    absent = f'[[roots]]\npath = "{catalog.path("absent")}"\n'
    assert catalog("resolve", "--fresh", "b:t").status == 1
    configure(catalog, root, absent)
    assert catalog("resolve", "--fresh", "b:t").out == new
    configure(catalog, root, absent, f'[[stores]]\npath = "{catalog.path("lone")}"\nname = "by/itself"\n')
    assert catalog("resolve", "--fresh", "--store", "by/*", "lone:t").out == lone
    configure(catalog, root, f'[[stores]]\npath = "{catalog.path("lone")}"\nname = "renamed"\n')
    assert catalog.program("resolve", "--fresh", "oci-layout://renamed/lone:t").out == lone
    writers.write_index(
        catalog.path("other/b"), writers.empty_index(writers.name_entry(writers.fake_descriptor("b"), "tag", "", "t"))
    )
    configure(catalog, root + 'naming = "path"\nprefix = "example.com"\n')
    assert catalog("resolve", "--fresh", "example.com/b:t").out == new
    configure(catalog, root + 'name = "root"\n')
    one_error(catalog("resolve", "--fresh", "b:t"), 2, "the name root is taken")


def test_a_path_that_is_registered_as_configured_is_not_registered_again(catalog: Followed) -> None:
    os.makedirs(catalog.path("shared"))
    layout(catalog.path("lone"), "lone")
    os.symlink("lone", catalog.path("link"))
    given = StoreSettings("name", Naming.parse("path"), "example.com", 3, catalog.path("shared"), None, True)
    places = [
        Place(catalog.path("root"), True, given),
        Place(catalog.path("link"), False, given._replace(name="other")),
        Place(catalog.path("root/a"), False, StoreSettings(prefix="", priority=0, sparse=False)),
        Place(catalog.path("lone"), False, StoreSettings()),
        Place(catalog.path("absent"), False, StoreSettings()),
    ]
    assert unregistered(catalog.reader, places) == places[:4]
    keys = f'naming = "path"\nprefix = "example.com"\npriority = 3\nsparse = true\nshared_blob_dir = "{catalog.path("shared")}"'
    configure(
        catalog,
        f'[[roots]]\npath = "{catalog.path("root")}"\nname = "name"\n{keys}\n',
        f'[[stores]]\npath = "{catalog.path("link")}"\nname = "other"\n{keys}\n',
        f'[[stores]]\npath = "{catalog.path("root/a")}"\nprefix = ""\npriority = 0\nsparse = false\n',
        f'[[stores]]\npath = "{catalog.path("lone")}"\n',
    )
    catalog.done("index")
    assert unregistered(catalog.reader, places) == []
    for other in (
        given._replace(name="renamed"), given._replace(naming=Naming.parse("annotations")), given._replace(prefix=""),
        given._replace(priority=0), given._replace(shared_blobs=""), given._replace(sparse=False),
    ):  # fmt: skip
        for place in places[:2]:
            changed = place._replace(settings=other if other.name != "name" else other._replace(name=None))
            assert unregistered(catalog.reader, [changed]) == [changed], other


@daemons
def test_blobs_that_come_after_their_index(catalog: Followed, daemon: bool) -> None:
    """rsync copies a layout like this: in alphabetical order, or the largest files last, each file by a rename."""
    source, there = writers.make_layout(catalog.path("source")), writers.make_layout(catalog.path("root/late"))
    children = [
        writers.make_image(source, arch, arch=arch) | {"platform": writers.platform("linux", arch)}
        for arch in ("amd64", "arm64")
    ]
    entry = writers.name_entry(writers.make_index_image(source, children), "short", "docker.io/library/late", "t")
    writers.write_index(there, writers.empty_index(entry))
    catalog.done("index")
    if daemon:
        catalog.start()
    blobs = sorted(os.listdir(f"{source}/blobs/sha256"))
    wanted = [each["digest"].removeprefix("sha256:") for each in (entry, *children)]
    arm = f"{children[1]['digest']}\n"

    def come(digests: list[str]) -> None:
        for each in digests:
            os.rename(f"{source}/blobs/sha256/{each}", f"{there}/blobs/sha256/{each}")
            blobs.remove(each)

    assert catalog("resolve", "--fresh", arm.strip()).status != 0
    come(wanted[:1])
    assert catalog("resolve", "--fresh", arm.strip()).out == arm
    asked = ("query", "--fresh", "--count", "--contains", arm.strip())
    assert catalog(*asked).out == "1\n"
    strict = ("resolve", "--fresh", "--strict", "--format", "oci-layout", "late:t")
    assert catalog(*strict).status == 1
    come(wanted[1:])
    assert catalog("resolve", "--fresh", "late:t", "--platform", "linux/arm64").out == arm
    assert catalog(*strict).status == 1
    come(list(blobs))
    assert catalog(*strict).status == 0, catalog(*strict)
