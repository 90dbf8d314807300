"""A command of ocicat that serves pages or blobs in a process of its own, for tests."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator, Mapping

from tests.forking import CLEAN, OCICAT

SECONDS = 120
"""No test waits this long, even on a loaded machine. The limit only prevents a hanging program from hanging the tests."""


@contextlib.contextmanager
def listening(
    *arguments: str, db: str, env: Mapping[str, str] | None = None, files: int | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run `ocicat` with these arguments until the end of the block; it may open so many `files`.

    Yields the process and the first line that it prints, which says where it listens. Its stderr is read at the end.
    """
    limited = () if files is None else ("sh", "-c", f'ulimit -n {files} && exec "$@"', "sh")
    process = subprocess.Popen(
        [*limited, OCICAT, *arguments],
        env={**CLEAN, **(env or {}), "OCICAT_DB": db}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    timer = threading.Timer(SECONDS, process.kill)  # for a process that prints nothing
    timer.start()
    try:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        timer.cancel()
        if not line:
            process.kill()
            raise AssertionError(process.communicate(timeout=SECONDS)[1])
        yield process, line.strip()
    finally:
        timer.cancel()
        process.terminate()
        process.communicate(timeout=SECONDS)
