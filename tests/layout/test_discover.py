"""Finding layouts: which directories are layouts, which are searched, and how the search copes with odd trees."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from catalog.layout.discover import Listings, discover, is_layout


def layout(path: Path) -> Path:
    (path / "blobs" / "sha256").mkdir(parents=True)
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (path / "index.json").write_text('{"schemaVersion": 2, "manifests": []}')
    return path


def found(root: Path | str) -> list[str]:
    """Return the layouts below `root`, relative to it. Any error fails the test."""

    def fail(path: str, error: OSError) -> None:
        raise AssertionError(path) from error

    return [os.path.relpath(path, root) for path in discover(str(root), fail)]


def ignore(path: str, error: OSError) -> None:
    pass


def found_with_errors(root: Path) -> tuple[list[str], list[tuple[str, str]]]:
    errors: list[tuple[str, str]] = []
    paths = list(discover(str(root), lambda path, error: errors.append((path, type(error).__name__))))
    return paths, errors


def test_every_layout_at_and_below_the_root_is_found_in_order(tmp_path: Path) -> None:
    for name in ("", "b", "a", "a/x", "a/x/deep/down", "c/d", "a-b", "Z"):
        layout(tmp_path / name)
    (tmp_path / "empty" / "er").mkdir(parents=True)
    assert found(tmp_path) == [".", "Z", "a", "a/x", "a/x/deep/down", "a-b", "b", "c/d"]
    assert all(os.path.isabs(path) for path in discover(str(tmp_path), ignore))


def test_a_root_may_be_relative_or_hidden_or_end_with_a_slash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout(tmp_path / ".hidden" / "a")
    expected = [f"{tmp_path}/.hidden/a"]
    monkeypatch.chdir(tmp_path)
    for root in (".hidden", ".hidden/", "./.hidden", f"{tmp_path}/.hidden//"):
        assert list(discover(root, ignore)) == expected


@pytest.mark.parametrize("skipped", ["blobs", ".hidden", ".", "blobs/sha256", "a/.b", "x/blobs/y"])
def test_blobs_and_hidden_directories_are_not_searched(tmp_path: Path, skipped: str) -> None:
    layout(tmp_path / skipped / "inside" if skipped != "." else tmp_path / ".umoci-1" / "inside")
    assert found(tmp_path) == []


def test_symbolic_links_are_not_followed(tmp_path: Path) -> None:
    layout(tmp_path / "real")
    layout(tmp_path / "elsewhere" / "a")
    (tmp_path / "real" / "self").symlink_to("..")
    (tmp_path / "real" / "other").symlink_to(tmp_path / "elsewhere" / "a")
    (tmp_path / "real" / "loop").symlink_to("loop")
    (tmp_path / "real" / "dangling").symlink_to("nowhere")
    assert found(tmp_path / "real") == ["."]
    (tmp_path / "link").symlink_to("elsewhere")
    assert found(tmp_path / "link") == ["a"]  # a root may be a link


def make(path: Path, kind: str) -> None:
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("nowhere")
    elif kind == "socket":
        where = os.getcwd()
        os.chdir(path.parent)  # the path of a socket may have at most 107 bytes
        try:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(path.name)
        finally:
            os.chdir(where)
    elif kind == "file":
        path.touch()


@pytest.mark.parametrize(
    ("marker", "index", "blobs", "expected"),
    [
        ("file", "none", "none", True),
        ("fifo", "none", "none", True),
        ("link", "none", "none", True),
        ("directory", "none", "none", False),
        ("directory", "file", "directory", True),
        ("none", "none", "none", False),
        ("none", "file", "none", False),
        ("none", "none", "directory", False),
        ("none", "file", "directory", True),
        ("none", "fifo", "directory", True),
        ("none", "socket", "directory", True),
        ("none", "link", "directory", True),
        ("none", "directory", "directory", True),
        ("none", "file", "file", False),
        ("none", "file", "link", False),
    ],
)
def test_what_makes_a_directory_a_layout(tmp_path: Path, marker: str, index: str, blobs: str, expected: bool) -> None:
    make(tmp_path / "oci-layout", marker)
    make(tmp_path / "index.json", index)
    make(tmp_path / "blobs", blobs)
    assert is_layout(str(tmp_path)) is expected
    assert found(tmp_path) == ["."] * expected


def test_a_path_that_is_not_a_directory_is_not_a_layout(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not is_layout(str(tmp_path / "file"))
    assert not is_layout(str(tmp_path / "gone"))
    assert found_with_errors(tmp_path / "file") == ([], [(f"{tmp_path}/file", "NotADirectoryError")])
    assert found_with_errors(tmp_path / "gone") == ([], [(f"{tmp_path}/gone", "FileNotFoundError")])


def test_a_directory_that_disappears_or_becomes_a_link_during_the_search_is_reported(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        layout(tmp_path / "root" / name)
    layout(tmp_path / "elsewhere")
    errors: list[str] = []
    search = discover(str(tmp_path / "root"), lambda path, _: errors.append(os.path.basename(path)))
    assert next(search).endswith("/a")
    (tmp_path / "root" / "b").rename(tmp_path / "away")
    (tmp_path / "root" / "c").rename(tmp_path / "away2")
    (tmp_path / "root" / "c").symlink_to(tmp_path / "elsewhere")
    assert [os.path.basename(path) for path in search] == ["d"]
    assert errors == ["b", "c"]


def test_names_that_are_not_utf8_or_have_control_characters_are_kept(tmp_path: Path) -> None:
    names = [b"a\nb", b"a\xffb", b"\x1b[31m", b"-", b"x y", "ä".encode()]
    for name in names:
        layout(tmp_path / os.fsdecode(name))
    paths = list(discover(str(tmp_path), ignore))
    assert sorted(os.fsencode(path) for path in paths) == sorted(os.fsencode(tmp_path) + b"/" + name for name in names)
    assert all(is_layout(path) for path in paths)


def test_a_path_beyond_the_kernels_limit_is_reported_and_does_not_end_the_search(tmp_path: Path) -> None:
    where = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(30):  # 30 times 201 bytes are more than PATH_MAX, so each step is made separately
            os.mkdir("d" * 200, dir_fd=where)
            below = os.open("d" * 200, os.O_RDONLY, dir_fd=where)
            os.close(where)
            where = below
    finally:
        os.close(where)
    layout(tmp_path / "e")
    paths, errors = found_with_errors(tmp_path)
    assert paths == [f"{tmp_path}/e"]
    assert [error for _, error in errors] == ["OSError"]
    subprocess.run(["rm", "-rf", str(tmp_path / ("d" * 200))], check=True)


def test_a_very_deep_tree_is_searched_without_recursion(tmp_path: Path) -> None:
    depth = (4000 - len(str(tmp_path))) // 2
    path = str(tmp_path) + "/d" * depth
    os.makedirs(path) if depth < 500 else subprocess.run(["mkdir", "-p", path], check=True)
    layout(Path(path))
    assert list(discover(str(tmp_path), ignore)) == [path]
    subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)


DENIED = """
import os, sys
from catalog.layout.discover import Listings, discover, is_layout
os.chdir(sys.argv[1])
if os.geteuid() == 0:
    try:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
    except OSError:
        sys.exit(print("cannot become another user"))
os.path.abspath = lambda path: path  # that user may not have access to the directories above
print(list(discover(".", lambda path, error: print(path, type(error).__name__))), is_layout("b"))
"""


def test_a_directory_without_permission_is_reported_and_the_search_goes_on(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        layout(tmp_path / name)
    tmp_path.chmod(0o755)
    (tmp_path / "b").chmod(0)
    done = subprocess.run(
        [sys.executable, "-c", DENIED, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    (tmp_path / "b").chmod(0o755)
    if "cannot" in done.stdout:
        pytest.skip(done.stdout)
    assert done.stdout.splitlines() == ["./b PermissionError", "['./a', './c'] False"]


def test_each_directory_is_listed_only_once(tmp_path: Path) -> None:
    """One open and one listing per directory, and one more open of the root, below which the others are opened.

    Nothing below `blobs` is opened. The system calls are counted, not timed.
    """
    for number in range(20):
        layout(tmp_path / f"s{number}")
    code = (
        "import sys\n"
        "from catalog.layout.discover import discover\n"
        "seen = []\n"
        "sys.addaudithook(lambda event, args: event in ('open', 'os.scandir', 'os.listdir') and seen.append(event))\n"
        "count = len(list(discover(sys.argv[1], print)))\n"
        "print(count, seen.count('open'), seen.count('os.scandir'), seen.count('os.listdir'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["20", "22", "21", "0"]


def test_one_directory_is_open_at_a_time_and_none_at_the_end(tmp_path: Path) -> None:
    layout(tmp_path / "a")
    layout(tmp_path / "b")
    before = len(os.listdir("/proc/self/fd"))
    search = discover(str(tmp_path), ignore)
    next(search)
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # the parent of the next directory
    list(search)
    assert len(os.listdir("/proc/self/fd")) == before


# Repeated searches


class Again(Listings):
    """Repeats a search with cached listings; `listed` are the directories that had to be listed."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root
        self.listed: list[str] = []

    def put(self, path: str, found: os.stat_result, at: int, layout: bool, below: list[str]) -> None:
        self.listed.append(os.path.relpath(path, self.root))
        super().put(path, found, at, layout, below)

    def found(self) -> list[str]:
        self.listed.clear()
        self.begin()
        return [os.path.relpath(path, self.root) for path in discover(str(self.root), ignore, lambda: None, self)]


def old(root: Path) -> None:
    """Wait until no directory has changed for a while, because the time of change (ctime) cannot be set."""
    newest = max(each.stat().st_ctime_ns for each in (root, *root.rglob("*")))
    while time.time_ns() - newest <= 2_100_000_000:
        time.sleep(0.05)


def test_an_unchanged_directory_is_not_listed_again(tmp_path: Path) -> None:
    for name in ("a", "a/x", "b/c"):
        layout(tmp_path / name)
    again = Again(tmp_path)
    assert again.found() == ["a", "a/x", "b/c"]
    assert again.found() == ["a", "a/x", "b/c"]
    assert sorted(again.listed) == [".", "a", "a/x", "b", "b/c"]  # just made, so they may change in the same tick
    old(tmp_path)
    again.found()
    assert again.found() == ["a", "a/x", "b/c"]
    assert again.listed == []
    again.begin(anew=True)
    list(discover(str(tmp_path), ignore, lambda: None, again))
    assert sorted(again.listed) == [".", "a", "a/x", "b", "b/c"]
    layout(tmp_path / "b/c/new")
    (tmp_path / "a/x/oci-layout").unlink()
    (tmp_path / "a/x/index.json").rename(tmp_path / "a/x/index.old")
    assert again.found() == ["a", "b/c", "b/c/new"]
    assert sorted(again.listed) == ["a/x", "b/c", "b/c/new"]


def test_another_directory_at_the_path_is_listed(tmp_path: Path) -> None:
    layout(tmp_path / "root" / "a")
    layout(tmp_path / "aside" / "b")
    (tmp_path / "root" / "plain").mkdir()
    old(tmp_path)
    again = Again(tmp_path / "root")
    again.found()
    again.found()
    assert again.listed == []
    (tmp_path / "root").rename(tmp_path / "was")
    (tmp_path / "aside").rename(tmp_path / "root")
    assert again.found() == ["b"]
    (tmp_path / "root").rename(tmp_path / "aside")
    (tmp_path / "was").rename(tmp_path / "root")
    assert again.found() == ["a"]
    (tmp_path / "root" / "a").rename(tmp_path / "away")
    (tmp_path / "root" / "a").symlink_to(tmp_path / "away")  # a link to the directory that was listed
    assert again.found() == []


def test_a_known_layout_with_nothing_but_blobs_is_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For speed, a pass over 10,000 known stores lists only the directories above them."""
    known = {str(layout(tmp_path / f"{number}")) for number in range(3)}
    listed: list[object] = []
    scandir = os.scandir

    def counted(directory: int) -> Any:
        listed.append(directory)
        return scandir(directory)

    monkeypatch.setattr(os, "scandir", counted)  # counts, and does what it did
    assert set(discover(str(tmp_path), ignore, known=known)) == known
    assert len(listed) == 1


def test_what_is_passed_over_is_neither_yielded_nor_searched(tmp_path: Path) -> None:
    for name in ("a", "b", "b/inside", "deep/c"):
        layout(tmp_path / name)
    over = {f"{tmp_path}/b", f"{tmp_path}/deep/c", "b"}
    assert list(discover(str(tmp_path), ignore, passed_over=over)) == [f"{tmp_path}/a"]
    assert list(discover(f"{tmp_path}/b", ignore, passed_over=over)) == [f"{tmp_path}/b", f"{tmp_path}/b/inside"]


def test_a_new_layout_in_a_known_one_is_found(tmp_path: Path) -> None:
    outer = str(layout(tmp_path / "outer"))
    inner = str(layout(Path(outer, "team", "inner")))
    assert list(discover(str(tmp_path), ignore, known={outer})) == [outer, inner]


def test_a_directory_of_another_name_than_blobs_is_searched(tmp_path: Path) -> None:
    outer = str(layout(tmp_path / "outer"))
    os.rename(f"{outer}/blobs", f"{outer}/other")
    inner = str(layout(Path(outer, "other", "inner")))
    assert list(discover(str(tmp_path), ignore, known={outer})) == [outer, inner]
