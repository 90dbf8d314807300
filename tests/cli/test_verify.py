"""`ocicat verify`: its output, its exit status, and how it ends at Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.engine.open import open_reader
from tests import writers
from tests.cli.conftest import Own, Shelf, objects
from tests.cli.program import SECONDS, common_directory, needs_root, one_error, ran_as_nobody
from tests.conftest import ON_SQLITE
from tests.forking import CLEAN, OCICAT

SKIPPED = "ocicat: blobs: {} read; {} skipped, which were good and have not changed since (--full reads them too)"


def image(path: Path, seed: str = "") -> list[Path]:
    """Make a layout of one image; return its three blobs."""
    layout = writers.make_layout(str(path))
    entry = writers.name_entry(writers.make_image(layout, seed or path.name), "tag", "", "1")
    writers.write_index(layout, writers.empty_index(entry))
    return sorted((path / "blobs/sha256").iterdir())


def digest(blob: Path) -> str:
    return f"{blob.parent.name}:{blob.name}"


def test_nothing_is_printed_if_all_blobs_are_good(cli: Own, tmp_path: Path) -> None:
    image(tmp_path / "images/a")
    image(tmp_path / "images/b")
    cli.done("add", str(tmp_path / "images"))
    assert cli.done("verify").out == ""
    result = cli("verify")
    assert (result.status, result.out, result.said) == (0, "", [SKIPPED.format(0, 6)])
    assert cli("--quiet", "verify", "--full").err == ""
    assert cli("--verbose", "verify", "--full").said == ["ocicat: blobs: 6 read"]


def test_a_bad_blob_is_a_line_and_status_1(cli: Own, tmp_path: Path) -> None:
    good, bad = image(tmp_path / "images/good"), image(tmp_path / "images/bad")
    cli.done("add", str(tmp_path / "images"))
    cli.done("verify")
    for blob in (bad[0], bad[2], good[1]):
        blob.write_bytes(b"something else")
    expected = [["images/bad", "digest-differs", digest(bad[0])], ["images/bad", "digest-differs", digest(bad[2])]]
    result = cli("verify", "images/bad")
    assert result.status == 1
    assert [line.split("\t")[:3] for line in result.lines] == expected
    assert all(line.split("\t")[3].startswith("its 14 bytes have the digest sha256:") for line in result.lines)
    assert result.said == [SKIPPED.format(2, 1)]
    result = cli("--quiet", "verify")
    assert [line.split("\t")[:3] for line in result.lines] == [
        *expected, ["images/good", "digest-differs", digest(good[1])],
    ]  # fmt: skip
    assert (result.status, result.err) == (1, "")


def test_formats(cli: Own, tmp_path: Path) -> None:
    blobs = image(tmp_path / "a")
    cli.done("add", str(tmp_path / "a"))
    assert cli("verify", "--format", "json").out == "[]\n"
    blobs[0].write_bytes(b"x")
    (found,) = objects(cli("verify", "--format", "json"))
    assert list(found) == ["store", "kind", "subject", "detail"]
    assert (found["store"], found["kind"], found["subject"]) == ("a", "digest-differs", digest(blobs[0]))
    assert cli("verify", "--format", "csv").lines[0] == "store,kind,subject,detail\r"
    assert cli("verify", "--format", "{kind} {subject}").out == f"digest-differs {digest(blobs[0])}\n"
    one_error(cli("verify", "--format", "bogus"), 2, "bogus")


@pytest.mark.parametrize("jobs", ["1", "2", "64"])
def test_jobs(cli: Own, tmp_path: Path, jobs: str) -> None:
    blobs = image(tmp_path / "a")
    cli.done("add", str(tmp_path / "a"))
    blobs[1].write_bytes(b"x")
    assert [line.split("\t")[2] for line in cli("verify", "--jobs", jobs).lines] == [digest(blobs[1])]


@pytest.mark.parametrize("arguments", [("nope",), ("n*",), ("",), ("--jobs", "0"), ("--jobs", "x"), ("--jobs", "999")])
def test_wrong_usage_is_status_2(shelf: Shelf, arguments: tuple[str, ...]) -> None:
    one_error(shelf.ask("verify", *arguments), 2)


@ON_SQLITE
@pytest.mark.without_catalog
def test_without_a_catalog(cli: Own) -> None:
    one_error(cli("verify"), 4)
    assert not os.path.exists(cli.db)


def test_stores_by_path_and_glob(cli: Own, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        image(tmp_path / "images" / name)
    cli.done("add", str(tmp_path / "images"))
    assert cli("--verbose", "verify", str(tmp_path / "images/a")).said == ["ocicat: blobs: 3 read"]
    assert cli("--verbose", "verify", "images/[ab]").said == [SKIPPED.format(3, 3)]


def test_blobs_that_cannot_be_checked_are_counted_and_are_no_failure(cli: Own, tmp_path: Path) -> None:
    image(tmp_path / "a")
    (tmp_path / "a/blobs/blake3").mkdir()
    (tmp_path / "a/blobs/blake3" / ("0" * 64)).touch()
    cli.done("add", str(tmp_path / "a"))
    result = cli("verify")
    assert (result.status, result.out) == (0, "")
    assert result.said == ["ocicat: blobs: 3 read; 1 not checked, since ocicat computes only sha256, sha384 and sha512"]


def test_check_knows_what_verify_found(cli: Own, tmp_path: Path) -> None:
    blobs = image(tmp_path / "a")
    cli.done("add", str(tmp_path / "a"))
    kept = blobs[0].read_bytes()
    blobs[0].write_bytes(bytes(len(kept)))
    assert cli("verify").status == 1
    result = cli("check")
    assert result.status == 1
    assert [line.split("\t")[:3] for line in result.lines] == [["a", "digest-differs", digest(blobs[0])]]
    blobs[0].write_bytes(kept)
    assert cli("verify").status == 0
    assert cli.done("check").out == ""


@pytest.fixture
def common() -> Iterator[Own]:
    """A catalog and a directory that everybody may use."""
    with common_directory() as directory:
        yield Own(directory, str(directory / "own.db"))


def opened(own: Own) -> None:
    """Let everybody write the catalog."""
    os.chmod(own.directory, 0o777)
    for each in Path(own.directory).glob("own.db*"):
        each.chmod(0o666)


@needs_root
@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111])
def test_a_directory_without_permission(common: Own, mode: int) -> None:
    """The directory cannot be listed, or its files cannot be read: no blob counts as gone, and none as good."""
    path = Path(common.directory, "a")
    blobs = image(path)
    common.done("add", str(path))
    opened(common)
    blobs[0].parent.chmod(mode)
    result = ran_as_nobody("verify", db=common.db)
    assert result.status == 1
    lines = [line.split("\t") for line in result.lines]
    assert ["a", "unreadable-blob", str(blobs[0].parent), "the directory cannot be listed: Permission denied"] in lines
    assert counted(common.db) == (3, 3 if mode == 0o111 else 0)
    blobs[0].parent.chmod(0o755)
    assert ran_as_nobody("verify", db=common.db).status == 0
    assert counted(common.db) == (3, 3)


@needs_root
def test_a_blob_without_permission(common: Own) -> None:
    path = Path(common.directory, "a")
    blobs = image(path)
    common.done("add", str(path))
    opened(common)
    blobs[1].chmod(0)
    result = ran_as_nobody("verify", db=common.db)
    assert (result.status, result.out) == (1, f"a\tunreadable-blob\t{digest(blobs[1])}\tPermission denied\n")
    assert counted(common.db) == (3, 2)


def counted(db: str) -> tuple[int, int]:
    """Return the number of blobs, and of good ones, according to the catalog."""
    with contextlib.closing(open_reader(db)) as reader:
        found = next(reader.select("SELECT count(*), count(*) FILTER (WHERE is_good) FROM store_blob", {}), None)
        assert found is not None
        return found[0], found[1]


@ON_SQLITE
def test_ctrl_c_keeps_what_was_verified(cli: Own, tmp_path: Path) -> None:
    blobs = image(tmp_path / "a")
    endless = tmp_path / "a/blobs/sha256" / ("f" * 64)  # the last to be read
    with endless.open("wb") as file:
        file.truncate(64 << 30)
    cli.done("add", str(tmp_path / "a"))
    blobs[0].write_bytes(b"x")
    with interruptible("verify", "--jobs", "1", db=cli.db) as process:
        deadline = time.monotonic() + SECONDS
        while not is_open(process.pid, endless):
            assert process.poll() is None
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert [line.split("\t")[:3] for line in out.splitlines()] == [["a", "digest-differs", digest(blobs[0])]]
    assert err.strip() == "ocicat: interrupted: the verdicts so far are kept, and the next run continues from there"
    assert counted(cli.db) == (4, 2)
    endless.unlink()
    assert cli("verify").said == [SKIPPED.format(1, 2)]


@contextlib.contextmanager
def interruptible(*arguments: str, db: str) -> Iterator[subprocess.Popen[str]]:
    def by_default() -> None:  # a shell that runs the tests in the background ignores SIGINT
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    process = subprocess.Popen(
        [OCICAT, *arguments], env=CLEAN | {"OCICAT_DB": db}, preexec_fn=by_default, text=True,  # noqa: PLW1509
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def is_open(pid: int, path: Path) -> bool:
    with contextlib.suppress(OSError):
        for each in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{each}") == str(path):
                    return True
    return False


def test_progress_in_bytes_on_a_terminal(cli: Own, tmp_path: Path) -> None:
    image(tmp_path / "a")
    (tmp_path / "a/blobs/sha256" / ("0" * 64)).write_bytes(bytes(3 << 20))
    cli.done("add", str(tmp_path / "a"))
    drawn = on_a_terminal("verify", "--full", db=cli.db)
    assert b"verifying" in drawn
    assert b"100%" in drawn
    assert b"3.0 MiB of 3.0 MiB" in drawn
    assert on_a_terminal("--quiet", "verify", "--full", db=cli.db) == b""


def test_reading_content_has_a_bar_of_its_own(cli: Own, tmp_path: Path) -> None:
    image(tmp_path / "a")
    drawn = on_a_terminal("add", str(tmp_path / "a"), db=cli.db)
    assert drawn.index(b"indexing") < drawn.index(b"reading content")
    assert drawn.count(b"100%") == 2


def on_a_terminal(*arguments: str, db: str) -> bytes:
    """Return what the program writes to stderr if that is a terminal."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [OCICAT, *arguments], stdout=subprocess.DEVNULL, stderr=follower, stdin=subprocess.DEVNULL,
        env=CLEAN | {"OCICAT_DB": db, "TERM": "xterm"},
    ) as process:  # fmt: skip
        os.close(follower)
        pieces = b""
        with contextlib.suppress(OSError):  # this is how a terminal reports its end
            while piece := os.read(leader, 65536):
                pieces += piece
        process.wait(SECONDS)
    os.close(leader)
    return pieces
