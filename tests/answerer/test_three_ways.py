"""A command line gives the same output and exit status by the program, and through the launcher and an answerer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import event, example, given, settings

from tests.answerer.conftest import Answerer, Launcher, until_answered
from tests.cli.conftest import Shelf
from tests.cli.program import called
from tests.cli.test_two_ways import VARIABLES, arguments
from tests.effort import is_short


@pytest.fixture(scope="module")
def asked(shelf: Shelf, launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    path = str(tmp_path_factory.mktemp("socket") / "s")
    running = Answerer(shelf.db, path, "--processes", "2")
    yield {"OCICAT_SOCKET": path}
    assert running.end() == 0


@settings(max_examples=100 if is_short() else 4000)  # each starts two processes
@given(arguments(), VARIABLES)
@example(["query"], {})
@example(["resolve", "ctr:3.16", "nope", "busybox:3.16"], {})
@example(["resolve", "ctr:3.16", "--store", "--db"], {})
@example(["resolve", "hurt:3.16"], {})
@example(["resolve", "busybox:3.16"], {})
@example(["query", ":3.16", "--limit", "1"], {})
@example(["history", "ctr:3.16"], {})
@example(["history", "nope"], {})
@example(["find", "ctr"], {})
@example(["inspect", "ctr:3.16"], {})
@example(["__complete", "resolve", "ctr:"], {})
@example(["__complete", "resolve", "./"], {})
@example(["status", "--check"], {})
@example(["resolve", "UPPER"], {})
@example(["resolve", "c\udcff"], {})
@example(["resolve", "x", "--timeout", "600"], {"TZ": "Asia/Tokyo"})
def test_through_the_answerer_it_is_the_same(
    shelf: Shelf, launcher: Launcher, asked: dict[str, str], words: list[str], variables: dict[str, str]
) -> None:
    words = [word for word in words if "\0" not in word]
    plain = called(*words, db=shelf.db, env=variables)
    alone = launcher.alone(
        *words, db=shelf.db, env={**variables, **asked} if "OCICAT_SOCKET" not in variables else variables
    )
    event("declined" if alone is None else "answered")
    if alone is not None:
        assert alone == plain
        assert "--fresh" not in words


@pytest.mark.parametrize(
    "words",
    [
        ["resolve", "ctr:3.16"], ["resolve", "ctr:3.16", "nope", "busybox:3.16"], ["resolve", "busybox:3.16"], ["query", "ctr:3.*"],
        ["query", ":3.16", "--limit", "1"], ["history", "ctr:3.16"], ["query", "ctr:3.16", "--json"], ["status", "--check"],
        ["__complete", "resolve", "ctr:"], ["find", "ctr"], ["inspect", "ctr:3.16"], ["resolve", "hurt:3.16"], ["resolve", "UPPER"],
        ["query", "ctr:3.16", "--at", "yesterday"], ["resolve", "ctr:3.16", "--store", "images/*"],
    ],
)  # fmt: skip
def test_these_are_answered(shelf: Shelf, launcher: Launcher, asked: dict[str, str], words: list[str]) -> None:
    found = until_answered(launcher, *words, db=shelf.db, env=asked)
    assert found == launcher.plainly(*words, db=shelf.db)


@pytest.mark.parametrize(
    ("words", "variables"),
    [
        (["resolve", "-"], {}), (["query", "--fresh"], {}), (["index"], {}), (["sql", "select 1"], {}), (["--help"], {}),
        (["resolve", "x", "--timeout", "0.5"], {}), (["resolve", "x", "-s./y"], {}), (["query"], {"OCICAT_QUERY_FRESH": "1"}),
        (["query"], {"LANG": "de_DE.ISO-8859-1"}), (["query"], {"OCICAT_DEBUG": "1"}), (["resolve", "--", "x"], {}), ([], {}),
        (["resolve", "oci:images/ctr:@0"], {}),
    ],
)  # fmt: skip
def test_these_are_left_to_the_program(
    shelf: Shelf, launcher: Launcher, asked: dict[str, str], words: list[str], variables: dict[str, str]
) -> None:
    until_answered(launcher, "resolve", "ctr:3.16", db=shelf.db, env=asked)
    assert launcher.alone(*words, db=shelf.db, env={**asked, **variables}) is None


def test_a_relative_path_is_one_of_the_directory_of_who_asks(
    shelf: Shelf, launcher: Launcher, asked: dict[str, str], tmp_path: Path
) -> None:
    for cwd in (shelf.root, str(tmp_path), shelf.root):
        words = ("resolve", "oci-layout://./ctr:3.16")
        plain = launcher.plainly(*words, db=shelf.db, cwd=cwd)
        assert launcher.ran(*words, db=shelf.db, env=asked, cwd=cwd) == plain
        assert plain.status == (0 if cwd == shelf.root else 2)


def test_one_question_leaves_nothing_for_the_next(shelf: Shelf, launcher: Launcher, asked: dict[str, str]) -> None:
    loud = launcher.plainly("resolve", "hurt:3.16", db=shelf.db)
    assert loud.err
    for _ in range(4):  # more than there are processes
        assert until_answered(launcher, "--quiet", "resolve", "hurt:3.16", db=shelf.db, env=asked).err == ""
        assert until_answered(launcher, "resolve", "hurt:3.16", db=shelf.db, env=asked) == loud
        assert (
            until_answered(
                launcher, "query", "hurt:3.16", "--limit", "1", db=shelf.db, env={**asked, "OCICAT_QUIET": "1"}
            ).err
            == ""
        )
