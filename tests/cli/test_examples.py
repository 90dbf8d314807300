"""Each example at the end of a `--help` does what it shows, in a catalog that has what it names."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.cli.examples import EXAMPLES
from tests import samples, writers
from tests.cli.program import called
from tests.forking import CLEAN, OCICAT
from tests.watch.harness import wait_for

RUNNING = ("watch", "answer", "browse", "serve")
"""Commands that run until they are stopped."""
ELSEWHERE = {*EXAMPLES["db copy"], "ocicat changes --follow --store 'builds/*'"}
"""A server or a change is needed for these: tests/cli/test_db_copy.py, test_changes.py."""
LAST = ("remove",)

NOT_FOUND = {
    "ocicat resolve alpine:3.16 --at 2d",  # this catalog is new
    "ocicat plan prune",  # nothing is unused
    "ocicat plan prune 'builds/*' --keep-last 3 --keep 'v*'",
}
"""Those whose status is 1, and which print nothing."""
DIFFERENT = {"ocicat diff builds/app --since 1w", "ocicat status --check"}
"""Those that say with the status 1 that something changed, or that no daemon runs."""

NOTHING = {
    "ocicat stores --state invalid --state missing",
    "ocicat query --label 'org.opencontainers.image.source=*' --sort -size --limit 10",
    "ocicat diff mirror/alpine backup/alpine",
    "ocicat check",
    "ocicat db check",
    "ocicat report unreferenced -p older_than=7d",
}
"""Those that find nothing here, which is no error."""


@pytest.fixture(scope="module")
def srv() -> Iterator[str]:
    """A directory with the layouts that the examples name, and a catalog of them."""
    with tempfile.TemporaryDirectory(prefix="ocicat-", ignore_cleanup_errors=True) as srv:
        fill(srv)
        result = called(
            "add", f"{srv}/images", f"{srv}/builds", f"{srv}/mirror", f"{srv}/backup", db=f"{srv}/catalog.db"
        )
        assert result.status == 0, result
        yield srv


def fill(srv: str) -> None:
    samples.make(f"{srv}/samples")
    for path in ("builds", "registry"):
        os.rename(f"{srv}/samples/{path}", f"{srv}/{path}")
    _layout(f"{srv}/images/alpine", ("alpine-3.16", samples.ALPINE, "3.16"), ("nginx", "docker.io/library/nginx", "1"))
    for path in ("mirror", "backup"):
        _layout(f"{srv}/{path}/alpine", ("alpine-3.16", samples.ALPINE, "3.16"))
    _layout(f"{srv}/mirror/redis", ("redis", "docker.io/library/redis", "7"))
    _layout(f"{srv}/layout", ("unnamed", "docker.io/acme/layout", "1"))
    _layout(f"{srv}/backup/store", ("alpine-3.17", samples.ALPINE, "3.17"))
    os.rename(f"{srv}/backup/store", f"{srv}/builds/store")
    app = f"{srv}/builds/app"
    children = [
        writers.make_image(app, f"app-{arch}", arch=arch) | {"platform": writers.platform("linux", arch)}
        for arch in ("amd64", "arm64")
    ]
    names = (
        (writers.make_image(app, "app-1.0"), "1.0"),
        (writers.make_index_image(app, children), "1.1"),
        (writers.make_image(app, "app-1.2"), "1.2"),
        (writers.make_image(app, "alpine-3.16"), "latest"),
    )
    entries = (writers.name_entry(image, "canonical", "docker.io/acme/app", tag) for image, tag in names)
    writers.write_index(app, writers.empty_index(*entries))
    Path(srv, "Dockerfile").write_text("FROM alpine:3.16 AS build\nFROM acme/app:1.0\nCOPY --from=build / /\n")
    Path(srv, "ocicat.toml").write_text("[watch]\nrescan_seconds = 60\n")


def _layout(path: str, *images: tuple[str, str, str]) -> None:
    layout = writers.make_layout(path)
    entries = (
        writers.name_entry(writers.make_image(layout, seed), "canonical", repository, tag)
        for seed, repository, tag in images
    )
    writers.write_index(layout, writers.empty_index(*entries))


def test_each_example_works(srv: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(srv)
    names = [name for name in EXAMPLES if name not in (*RUNNING, *LAST)]
    for name in (*names, *LAST):
        for line in EXAMPLES[name]:
            if line in ELSEWHERE:
                continue
            _, *words = shlex.split(line.replace("/srv", srv))
            result = called(*words, db=f"{srv}/catalog.db")
            assert result.status == (1 if line in NOT_FOUND | DIFFERENT else 0), (line, result)
            assert bool(result.out) == is_answered(line, words), (line, result)


def is_answered(line: str, words: list[str]) -> bool:
    """Return whether the example prints something to a pipe."""
    does = words[0] in ("add", "remove", "index", "wait", "verify") or line in ("ocicat db upgrade", "ocicat db vacuum")
    return not does and line not in NOTHING | NOT_FOUND


@pytest.mark.parametrize("line", [line for name in RUNNING for line in EXAMPLES[name]])
def test_each_example_runs_until_it_is_stopped(srv: str, tmp_path: Path, line: str) -> None:
    """Ports are free ones here, and so is the socket of a user."""
    socket = f"{srv}/runtime/ocicat"
    os.makedirs(os.path.dirname(socket), mode=0o700, exist_ok=True)
    for found, ours in (
        ("/srv", srv),
        ("/run/user/1000/ocicat", socket),
        ("9418", "0"),
        ("8001", "0"),
        (":5000", ":0"),
    ):
        line = line.replace(found, ours)
    environment = CLEAN | {
        "OCICAT_DB": f"{srv}/catalog.db",
        "XDG_RUNTIME_DIR": f"{srv}/runtime",
        "OCICAT_BROWSE_PORT": "0",
        "OCICAT_SERVE_LISTEN": "127.0.0.1:0",
    }
    said = tmp_path / "said"
    with (
        open(said, "wb") as file,
        subprocess.Popen(
            [OCICAT, *shlex.split(line)[1:]],
            cwd=srv, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
        ) as started,
    ):  # fmt: skip
        try:
            wait_for(
                lambda: said.stat().st_size or os.path.exists(socket) or started.poll() is not None, what=said.read_text
            )
            started.send_signal(signal.SIGTERM)
            started.wait(60)
        finally:
            started.kill()
    assert started.returncode in (0, -signal.SIGTERM), said.read_text()
    assert "error" not in said.read_text()
