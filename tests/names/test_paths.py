"""Paths and names of stores as the catalog keeps them, for paths of any bytes and real links."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from catalog.errors import UsageError
from catalog.names.limits import KEY_BYTES, PATH_BYTES
from catalog.names.paths import (
    MAX_LINKS,
    MAX_PATH,
    checked_name,
    decode_path,
    derived_name,
    encode_path,
    is_too_long,
    kept_path,
    prefixes_registered_as,
    real_path,
    registered_as,
)

TAG_SPACE = "\U000e0020"
"""A character of four bytes that cannot be printed, so that a name has twelve characters for it."""


@given(st.binary(max_size=12))
@example(b"/srv/caf\xe9 ~%")
@example("/srv/café ~%".encode())
@example(b"/srv/\x1f\x20\x7e\x7f\xff")
def test_a_path_of_any_bytes_is_kept_as_text_and_found_again(raw: bytes) -> None:
    path = os.fsdecode(raw)
    text, path_bytes = encode_path(path)
    assert decode_path(text, path_bytes) == path
    try:
        assert (text, path_bytes) == (raw.decode("utf-8"), None)
    except UnicodeDecodeError:
        assert path_bytes == raw
        assert unquote_to_bytes(text) == raw
        assert text.isascii()
        assert text.isprintable()
        assert all(chr(byte) in text for byte in raw if 0x20 <= byte <= 0x7E)


@pytest.mark.parametrize(
    ("character", "most"),
    [
        ("a", PATH_BYTES),
        ("é", PATH_BYTES // 2),
        ("\U0001f433", PATH_BYTES // 4),
        (" ", PATH_BYTES // 3),
        ("\udcff", PATH_BYTES // 3),
        (TAG_SPACE, PATH_BYTES // 12),
    ],
)
def test_the_longest_path(character: str, most: int) -> None:
    """Its bytes count in the longer of two forms: as it is kept, and as a part of the name of its store."""
    assert not is_too_long(character * most)
    assert is_too_long(character * (most + 1))


def test_a_path_that_no_call_can_open_is_refused(tmp_path: Path) -> None:
    longest = f"{tmp_path}/".ljust(MAX_PATH, "x")
    assert kept_path(longest) == longest
    with pytest.raises(UsageError, match="is too long: it may have at most 4096 bytes"):
        kept_path(f"{longest}x")
    assert registered_as(longest) == [longest]
    assert registered_as(f"{longest}x") == []
    assert prefixes_registered_as(f"{longest}x")[-1] == (len(str(tmp_path)), [str(tmp_path)])


def test_the_last_link_is_kept_unless_a_dot_follows_it(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")
    link, target = f"{tmp_path}/link", f"{tmp_path}/target"
    assert kept_path(link) == kept_path(f"{link}//") == link
    assert kept_path(f"{link}/.") == kept_path(f"{link}/./") == target
    assert kept_path(f"{link}/..") == str(tmp_path)


def test_what_lies_above_the_target_of_a_link(tmp_path: Path) -> None:
    """`..` after a link leads to the directory that has the target, as in the kernel."""
    (tmp_path / "deep/target").mkdir(parents=True)
    (tmp_path / "link").symlink_to("deep/target")
    assert registered_as(f"{tmp_path}/link/../target") == [f"{tmp_path}/deep/target"]


def test_links_after_the_40th_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "again").symlink_to(".")
    for links in (1, MAX_LINKS - 1, MAX_LINKS, MAX_LINKS + 1, MAX_LINKS + 2):
        found = registered_as(f"{tmp_path}{'/again' * links}")
        followed = min(links, MAX_LINKS)
        assert found == [f"{tmp_path}{'/again' * left}" for left in range(links, links - followed - 1, -1)]


def test_a_loop_of_links_has_one_path(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert registered_as(f"{tmp_path}/loop") == [f"{tmp_path}/loop"]


def test_a_link_that_cannot_be_read_is_kept(unreadable_link: str) -> None:
    below = f"{unreadable_link}/app"
    assert real_path(below) == kept_path(below) == kept_path(f"{below}/.") == below
    assert registered_as(below) == [below]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/srv/app", "app"),
        ("/srv/my app", "my%20app"),
        ("/srv/a:b@c%d", "a%3Ab%40c%25d"),
        ("/srv/caf\udce9\x1b", "caf%E9%1B"),
        ("/srv/café", "café"),
        ("/srv/.hidden", "%2Ehidden"),
        ("/", "root"),
    ],
)
def test_the_name_of_a_layout_by_itself(path: str, name: str) -> None:
    assert derived_name(path) == name
    assert checked_name(name) == name


def test_the_name_of_a_layout_below_a_root() -> None:
    assert derived_name("/srv/images", "/srv/images", "R") == "R"
    assert derived_name("/srv/images/team/my app", "/srv/images", "R") == "R/team/my%20app"


@pytest.mark.parametrize("name", ["", "/a", ".a", "a:b", "a@b", "a b", "a\tb", "a\x7fb", "a\u00a0b"])
def test_a_name_that_a_reference_could_not_contain_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="invalid name"):
        checked_name(name)


def test_the_longest_name() -> None:
    assert checked_name("é" * (KEY_BYTES // 2)) == "é" * (KEY_BYTES // 2)
    with pytest.raises(UsageError, match=f"it may have at most {KEY_BYTES} bytes"):
        checked_name("é" * (KEY_BYTES // 2) + "a")
