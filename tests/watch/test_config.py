"""The configuration: what a file may say, that `index` and `watch` register what it names, and that SIGHUP reads it again."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalog.cli.config import load
from catalog.errors import UsageError
from catalog.names.keys import Naming
from catalog.watch.status import read_daemon
from tests.cli.program import called, one_error, ran
from tests.watch.harness import Followed, wait_for
from tests.watch.test_daemon import tag
from tests.writers import make_layout

SETTLE = "[watch]\nsettle_ms = 50\n"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    """Writes a file and gives its path; each DIR in it becomes the test's directory."""

    def write(text: str) -> str:
        path = tmp_path / "settings.toml"
        path.write_text(text.replace("DIR", str(tmp_path)))
        return str(path)

    return write


# What a file may say


def test_all_that_a_file_can_say(write: Callable[[str], str], tmp_path: Path) -> None:
    found = load(
        write(
            """
            [limits]
            index_bytes = 1000
            [watch]
            settle_ms = 1
            rescan_seconds = 0.5
            poll_seconds = 2
            silent_seconds = 3
            reread_seconds = 60
            late_seconds = 4
            metrics = ":9418"
            [log]
            format = "json"
            level = "warning"
            [retention]
            grace_days = 0.5
            [[roots]]
            path = "DIR/x/../root"
            naming = "path"
            prefix = "registry.example.com"
            priority = -1
            shared_blob_dir = "DIR/blobs"
            shared_as = "farm"
            sparse = true
            [[stores]]
            path = "DIR/store"
            name = "s"
            naming = "fixed=team/app"
            shared_blob_dir = ""
            """
        )
    )
    assert found.settings.limits.index_bytes == 1000
    assert (found.settings.settle_ms, found.settings.grace_ms) == (1, 43_200_000)
    assert (found.rescan, found.poll, found.silent, found.late, found.interval) == (0.5, 2, 3, 4, 2)
    assert found.reread == 60
    assert (found.metrics, found.log_format, found.log_level) == (":9418", "json", "warning")
    root, store = found.places
    assert (root.path, root.is_root) == (f"{tmp_path}/root", True)
    assert root.settings == (None, Naming("path"), "registry.example.com", -1, f"{tmp_path}/blobs", "farm", True)
    assert (store.path, store.is_root) == (f"{tmp_path}/store", False)
    assert store.settings == ("s", Naming("fixed", "docker.io/team/app"), None, None, "", None, None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[watch", "is not valid TOML"),
        ("\xff", "is not valid TOML"),
        ("settle_ms = 5", "settle_ms is not in a section"),
        (
            "[watch]\nsettel_ms = 5",
            "there is no setting watch.settel_ms (line 2): did you mean 'watch.settle_ms'? 'ocicat help settings' lists them all",
        ),
        ("[watch]\nsettle_ms = -1", "watch.settle_ms (line 2) must be a number from 0 to "),
        ("[watch]\nsettle_ms = true", "watch.settle_ms (line 2) must be a number from 0 to "),
        ("[watch]\nrescan_seconds = 0", "watch.rescan_seconds (line 2) must be a number from 0.05 to 86400"),
        ("[watch]\npoll_seconds = nan", "watch.poll_seconds (line 2) must be a number"),
        ("[watch]\nmetrics = 9418", "watch.metrics (line 2) must be a string"),
        ('[log]\nformat = "xml"', 'log.format (line 2) must be "text" or "json"'),
        (
            '[log]\nlevel = "warn"',
            'log.level (line 2) must be "debug", "info", "warning" or "error": did you mean \'warning\'?',
        ),
        ('roots = "/srv"', "roots must be a list of tables: write [[roots]]"),
        ('roots = ["/srv"]', "[[roots]] must be a table with the keys path, name, "),
        ("[[roots]]", "the path of [[roots]] must be an absolute path"),
        ('[[roots]]\npath = "srv"', "the path of [[roots]] must be an absolute path"),
        ("[[roots]]\npath = 5", "path of [[roots]] must be a string"),
        ('[[roots]]\npath = "/a\\u0000b"', "must be an absolute path"),
        (
            '[[stores]]\npath = "/a"\nnames = "x"',
            "[[stores]] has no key names (line 3): did you mean 'name'? its keys are path, name, naming",
        ),
        ('[[stores]]\npath = "/a"\nname = "a:b"', "[[stores]] /a: invalid name 'a:b'"),
        ('[[stores]]\npath = "/a"\nnaming = "x"', "[[stores]] /a: unknown naming policy 'x'"),
        (
            '[[stores]]\npath = "/a"\nprefix = "r.example.com"',
            'prefix of [[stores]] /a needs naming = "path" or "path:tag"',
        ),
        ('[[roots]]\npath = "/a"\nnaming = "path"\nprefix = "a b"', "prefix of [[roots]] /a is not a registry"),
        ('[[roots]]\npath = "/a"\npriority = 1.5', "priority of [[roots]] /a must be a whole number from "),
        (
            '[[roots]]\npath = "/a"\nshared_blob_dir = "b"',
            "the shared_blob_dir of [[roots]] /a must be an absolute path",
        ),
        ('[[roots]]\npath = "/a"\nsparse = 1', "sparse of [[roots]] /a must be true or false"),
        ('[[roots]]\npath = "/a"\n[[roots]]\npath = "/b"\nsparse = 1', "(line 5): sparse of [[roots]] /b must be"),
        ('[[roots]]\npath = "/a/"\n[[stores]]\n# again\npath = "/a"', "(line 5): /a is listed twice"),
        ('[[roots]]\npath = "/a/"\n[[stores]]\npath = "/a"', "/a is listed twice"),
        ("a = " + "[" * 9000, "is not "),
        ("a" + ".a" * 1_500_000 + " = 1", "is nested too deeply"),
        ("[a" + ".a" * 1_500_000 + "]", "is nested too deeply"),
        ("[watch]\nsettle_ms = " + "9" * 5000, "a number has too many digits"),
        # What takes time in proportion to the square of the length would take minutes with these too.
        ("[watch]\nsettle_ms = 0x" + "f" * 300_000, "watch.settle_ms (line 2) must be a number"),
        ("[watch]\n" + "a" * 300_000 + " = 1", "there is no setting watch.aaa"),
        ("a" * 300_000 + " = 1", "is not in a section"),
        ('[[roots]]\npath = "/a"\nname = "' + "a/" * 150_000 + 'a"', "[[roots]] /a: the name a/a"),
        ("#" * (4 << 20) + "\n", "is larger than 4 MiB"),
    ],
    ids=lambda given: given[:40],
)
def test_what_is_wrong_is_said_in_a_line(write: Callable[[str], str], text: str, says: str, tmp_path: Path) -> None:
    path = write(text)
    if text == "\xff":
        Path(path).write_bytes(b"\xff")
    with pytest.raises(UsageError) as caught:
        load(path)
    assert says in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    for command in ("watch", "index"):
        one_error(called("--config", path, command, db=f"{tmp_path}/catalog.db"), 2, path)


@pytest.mark.parametrize("text", ["nan", "inf", "0.01", "86401", "x", "9" * 5000])
def test_an_interval_has_limits(text: str, tmp_path: Path) -> None:
    for option in ("--rescan", "--poll"):
        one_error(called("watch", option, text, db=f"{tmp_path}/catalog.db"), 2, option, "seconds")


# index


def test_index_registers_what_the_file_names(write: Callable[[str], str], tmp_path: Path) -> None:
    db = f"{tmp_path}/catalog.db"
    tag(make_layout(f"{tmp_path}/root/team/tool"), "1", "x")
    tag(make_layout(f"{tmp_path}/lone"), "2", "y")
    os.symlink(f"{tmp_path}/lone", f"{tmp_path}/link")
    places = (
        '[[roots]]\npath = "DIR/root"\nnaming = "path"\nprefix = "r.example.com"\n'
        '[[stores]]\npath = "DIR/link"\nname = "base"\npriority = 3\n'
    )
    config = write(SETTLE + places)
    for _ in range(2):
        done = ran("index", db=db, env={"OCICAT_CONFIG": config})
        assert (done.status, done.err) == (0, "")
        assert called("stores", "--format", "{name} {path} {naming} {priority}", db=db).lines == [
            f"root/team/tool {tmp_path}/root/team/tool path 0",
            f"base {tmp_path}/link annotations 3",
        ]
    assert called("resolve", "app:1", "app:2", db=db).status == 0

    # What is not named any more stays; what was forgotten and is named comes back.
    config = write(SETTLE + '[[stores]]\npath = "DIR/link"\n')
    assert called("remove", "base", db=db).status == 0
    assert called("--config", config, "index", db=db).status == 0
    assert called("stores", "--format", "{name}", db=db).lines == ["link", "root/team/tool"]


def test_index_says_what_is_not_there_and_goes_on(write: Callable[[str], str], tmp_path: Path) -> None:
    db = f"{tmp_path}/catalog.db"
    make_layout(f"{tmp_path}/one/a")
    config = write(
        SETTLE + '[[roots]]\npath = "DIR/one"\n[[roots]]\npath = "DIR/two"\n[[stores]]\npath = "DIR/c.tar"\n'
    )
    done = called("--config", config, "index", db=db)
    assert (done.status, done.err.splitlines()) == (
        0,
        [
            f"ocicat: {tmp_path}/two is not a directory now: it will be registered when it is",
            f"ocicat: {tmp_path}/c.tar is not a directory or an archive now: it will be registered when it is",
        ],
    )
    shutil.make_archive(f"{tmp_path}/c", "tar", make_layout(f"{tmp_path}/three"))
    assert called("stores", "--format", "{name}", db=db).lines == ["one/a"]
    make_layout(f"{tmp_path}/two/b")
    assert called("--config", config, "index", db=db).err == ""
    assert called("stores", "--format", "{name}", db=db).lines == ["c.tar", "one/a", "two/b"]


def test_a_name_that_is_taken_registers_nothing(write: Callable[[str], str], tmp_path: Path) -> None:
    db = f"{tmp_path}/catalog.db"
    for name in ("x/base", "y/base", "z"):
        make_layout(f"{tmp_path}/{name}")
    config = write(SETTLE + "".join(f'[[stores]]\npath = "DIR/{name}"\n' for name in ("z", "x/base", "y/base")))
    for command in ("index", "watch"):
        one_error(ran("--config", config, command, db=db), 2, f"{tmp_path}/y/base", "the name base is taken")
    assert called("stores", db=db).out == ""


# watch


def configure(quick: Followed, text: str, *, settle: str = SETTLE) -> None:
    """Write the file; each DIR in it is the test's directory."""
    Path(quick.config).write_text(settle + text.replace("DIR", quick.directory))


def said_of(quick: Followed) -> dict[str, Any]:
    """What the daemon says of itself, without a process to ask for it."""
    return read_daemon(quick.db) or {}


def told(quick: Followed, *words: str) -> list[str]:
    return [line for line in quick.log() if all(word in line for word in words)]


def test_watch_follows_what_the_file_names_and_makes_the_catalog(quick: Followed) -> None:
    store = make_layout(quick.path("root/a"))
    lone = make_layout(quick.path("lone"))
    configure(quick, '[[roots]]\npath = "DIR/root"\n[[stores]]\npath = "DIR/lone"\n')
    quick.roots[quick.path("root")] = "root"
    quick.lone[lone] = "lone"
    quick.start("--rescan", "3600")
    for step in range(2):
        tag(store, "1", f"x{step}")
        tag(lone, "2", f"y{step}")
        make_layout(quick.path(f"root/new{step}"))
        quick.settled()


def test_a_place_that_comes_later(quick: Followed) -> None:
    configure(quick, '[[roots]]\npath = "DIR/mnt/root"\n')
    quick.start("--rescan", "3600")
    wait_for(lambda: told(quick, "mnt/root is not a directory now"))
    tag(make_layout(quick.path("mnt/root/a")), "1", "x")
    quick.roots[quick.path("mnt/root")] = "root"
    quick.settled()
    quick.send(signal.SIGHUP)
    wait_for(lambda: told(quick, "configuration was read again"))
    assert len(told(quick, "is not a directory")) == 1, quick.log()


def test_sighup_reads_the_file_again(quick: Followed) -> None:
    a, b = make_layout(quick.path("one/a")), make_layout(quick.path("two/b"))
    configure(quick, '[[roots]]\npath = "DIR/one"\n')
    quick.roots[quick.path("one")] = "one"
    quick.start("--rescan", "3600")
    tag(a, "1", "x")
    quick.settled()
    configure(quick, '[[roots]]\npath = "DIR/one"\npriority = 7\n[[roots]]\npath = "DIR/two"\n')
    quick.roots[quick.path("two")] = "two"
    quick.send(signal.SIGHUP)
    quick.settled()
    tag(b, "2", "y")
    quick.settled()
    wait_for(lambda: quick.done("stores", "--format", "{name} {priority}").lines == ["two/b 0", "one/a 7"])
    # The settling time too: from now on nothing is taken.
    configure(quick, "", settle="[watch]\nsettle_ms = 3600000\n")
    quick.send(signal.SIGHUP)
    wait_for(lambda: len(told(quick, "configuration was read again")) == 2)
    tag(a, "3", "z")
    wait_for(lambda: said_of(quick)["waiting"] == 1)
    assert quick.ask("app:3").status == 1
    configure(quick, "")
    quick.send(signal.SIGHUP)
    quick.settled()
    assert quick.stop() == 0


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("[watch]\nsettle_ms = 0\nsettel_ms = 1\n", "there is no setting watch.settel_ms"),
        ("gone", "cannot read"),
        ('[[stores]]\npath = "DIR/root/a"\nname = "other/b"\n', "the name other/b is taken"),
    ],
)
def test_a_wrong_file_is_told_and_the_old_one_stays(quick: Followed, wrong: str, says: str) -> None:
    store = make_layout(quick.path("root/a"))
    make_layout(quick.path("other/b"))
    quick.add_root("other")
    configure(quick, '[[roots]]\npath = "DIR/root"\n')
    quick.roots[quick.path("root")] = "root"
    quick.start("--rescan", "3600")
    if wrong == "gone":
        os.unlink(quick.config)
    else:
        configure(quick, wrong, settle="")
    quick.send(signal.SIGHUP)
    wait_for(lambda: told(quick, says))
    (line,) = told(quick, says)
    assert line.endswith("; the old configuration stays in effect")
    tag(store, "1", "x")
    make_layout(quick.path("root/new"))
    configure(quick, "")  # for the tests' own calls
    quick.settled()
    quick.send(signal.SIGHUP)
    wait_for(lambda: told(quick, "configuration was read again"))
    assert quick.stop() == 0


def test_options_have_precedence_and_events_can_be_switched_off_and_on(quick: Followed) -> None:
    store = make_layout(quick.path("root/a"))
    quick.add_root("root")
    configure(quick, "rescan_seconds = 3600\n")
    quick.start()
    assert said_of(quick)["polling"] is False
    configure(quick, "rescan_seconds = 3600\npoll_seconds = 0.1\n")
    quick.send(signal.SIGHUP)
    wait_for(lambda: said_of(quick)["polling"] is True)
    for step in range(2):
        tag(store, "1", f"polled{step}")
        make_layout(quick.path(f"root/polled{step}"))
        quick.settled()
    configure(quick, "rescan_seconds = 3600\n")
    quick.send(signal.SIGHUP)
    wait_for(lambda: said_of(quick)["polling"] is False)
    wait_for(lambda: said_of(quick)["watched"] == 4)
    for step in range(2):
        tag(store, "1", f"events{step}")
        make_layout(quick.path(f"root/events{step}"))
        quick.settled()
    assert quick.stop() == 0
    configure(quick, "rescan_seconds = 3600\npoll_seconds = 3600\n")
    quick.start("--poll", "0.1")
    shutil.rmtree(quick.path("root/polled0"))
    quick.settled()
