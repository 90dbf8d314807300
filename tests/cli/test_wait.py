"""`wait` returns once a reference resolves, or resolves to a given digest (docs/scripts.md)."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.cli.conftest import Own, retag
from tests.cli.program import one_error, ran
from tests.conftest import ON_SQLITE
from tests.forking import CLEAN, OCICAT
from tests.watch.harness import followed, wait_for
from tests.writers import fake_descriptor, make_layout, name_entry, read_index, retag_replace, write_index

Layout = Callable[..., str]


def tag(path: str, seed: str) -> str:
    """Let the tag `t` of a layout point to an image made from `seed`; return its digest."""
    entry = name_entry(fake_descriptor(seed), "tag", "", "t")
    write_index(path, retag_replace(read_index(path), entry))
    digest: str = entry["digest"]
    return digest


@contextmanager
def waiting(db: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A waiting process. When the block begins, it has looked once and found nothing."""
    process = subprocess.Popen(
        [OCICAT, "--db", db, "wait", *arguments], env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        wait_for(lambda: has_open(process.pid, db))
        assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.communicate()


def has_open(pid: int, path: str) -> bool:
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # closed in the meantime
            if os.readlink(f"/proc/{pid}/fd/{name}") == path:
                return True
    return False


def test_wait_returns_when_the_daemon_brings_the_reference(tmp_path: Path) -> None:
    with followed(tmp_path, settle_ms=50) as catalog:
        path = make_layout(catalog.path("root/a"))
        catalog.add_root("root")
        catalog.start()
        with waiting(catalog.db, "oci-layout://root/a:t") as process:
            first = tag(path, "one")
            assert process.wait(30) == 0
            assert process.communicate() == (b"", b"")
        assert catalog("resolve", "oci-layout://root/a:t").out == first + "\n"
        second = fake_descriptor("two")["digest"]
        with waiting(catalog.db, "oci-layout://root/a:t", "--digest", second) as process:
            tag(path, "three")
            wait_for(lambda: catalog.ask("oci-layout://root/a:t").digest == fake_descriptor("three")["digest"])
            assert process.poll() is None
            tag(path, "two")
            assert process.wait(30) == 0
        with waiting(catalog.db, "oci-layout://root/new:t") as process:  # not even a store yet
            make_layout(catalog.path("root/new"))
            tag(catalog.path("root/new"), "x")
            assert process.wait(30) == 0


def test_wait_returns_at_once_if_the_reference_resolves(cli: Own, layout: Layout) -> None:
    cli.done("add", layout("app", "1"))
    said = cli("wait", ":1")
    assert (said.status, said.out, said.said) == (
        0,
        "",
        ["ocicat: no daemon runs, so only 'ocicat index' brings changes: start 'ocicat watch'"],
    )
    digest = cli.done("resolve", ":1").out.strip()
    assert cli("wait", ":1", "--digest", digest).status == 0
    assert cli("wait", ":1", "--digest", digest.removeprefix("sha256:")).status == 0
    assert cli("--quiet", "wait", ":1").err == ""


@ON_SQLITE
def test_index_brings_the_reference_too(cli: Own, layout: Layout) -> None:
    path = layout("app", "1")
    cli.done("add", path)
    new = fake_descriptor("new")["digest"]
    with waiting(cli.db, ":1", "--digest", new) as process:
        retag(path, "1", "new")
        cli.done("index")
        assert process.wait(30) == 0


@pytest.mark.parametrize("arguments", [(":none",), (":1", "--digest", "sha256:" + "0" * 64), ("oci-layout://none:1",)])
def test_status_1_at_the_limit(cli: Own, layout: Layout, arguments: tuple[str, ...]) -> None:
    cli.done("add", layout("app", "1"))
    for limit in ("0", "0.2"):
        said = cli("--quiet", "wait", *arguments, "--timeout", limit)
        one_error(said, 1, f"gave up after {limit} seconds")
        assert said.out == ""


@ON_SQLITE
def test_wait_continues_while_the_reference_is_ambiguous(cli: Own, layout: Layout) -> None:
    cli.done("add", layout("one", "1"), layout("two", "1"))
    said = cli("--quiet", "wait", ":1", "--timeout", "0")
    assert (said.status, "ambiguous" in said.err, len(said.said)) == (1, True, 1)
    with waiting(cli.db, ":1") as process:
        cli.done("remove", "two")
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    "arguments",
    [("UPPER",), ("",), ("a", "b"), (), (":1", "--digest", "sha256:0"), (":1", "--digest", "x"),
     (":1", "--timeout", "-1"), (":1", "--timeout", "soon")],
)  # fmt: skip
def test_references_that_wait_cannot_use_have_status_2(cli: Own, layout: Layout, arguments: tuple[str, ...]) -> None:
    cli.done("add", layout("app", "1"))
    assert cli("--quiet", "wait", *arguments).status == 2


def test_without_a_catalog_there_is_nothing_to_wait_for(tmp_path: Path) -> None:
    one_error(ran("wait", ":1", db=str(tmp_path / "none.db")), 4, "there is no catalog")


def test_the_limit_holds_although_much_is_written(tmp_path: Path) -> None:
    with followed(tmp_path, settle_ms=10) as catalog:
        path = make_layout(catalog.path("root/a"))
        catalog.add_root("root")
        catalog.start()
        with waiting(catalog.db, ":never", "--timeout", "1") as process:
            step = 0
            began = time.monotonic()
            while process.poll() is None and time.monotonic() - began < 30:
                tag(path, f"{step}")
                step += 1
                catalog.settled()
            assert process.wait() == 1
