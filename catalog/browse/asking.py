"""Run a command for a page whose question is not one SQL statement; the page shows the JSON that the command prints.

`ocicat find` and `ocicat inspect` limit their own time and memory, and their processes can be killed.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from typing import Any

from datasette.app import Datasette

from catalog.browse.database import ViewsDatabase
from catalog.browse.description import DATABASE
from catalog.browse.page_time import page_time
from catalog.own_program import own_program

_AT_ONCE = asyncio.Semaphore(3)
_OUTPUT_BYTES = 16 << 20
NOT_FOUND, AMBIGUOUS = 1, 3


class Answered:
    """The result of a command: its exit status, the `objects` it printed (None if it failed), and the `lines` of its stderr."""

    def __init__(self, status: int, objects: Any, lines: Sequence[str]) -> None:
        self.status = status
        self.objects = objects
        self.lines = lines


async def ask(datasette: Datasette, command: str, *arguments: str, words: Sequence[str]) -> Answered:
    """Run a command with `--format json` on the catalog of the server, and return its result.

    `words` are arguments from the request, which is not trusted.
    """
    database = datasette.get_database(DATABASE)
    assert isinstance(database, ViewsDatabase)
    seconds = datasette.setting("sql_time_limit_ms") / 1000
    options = [
        "--db",
        database.catalog,
        command,
        *arguments,
        "--timeout",
        f"{seconds:g}",
        "--format",
        "json",
        "--",
        *words,
    ]
    with page_time.get().waiting() as go_on:
        async with _AT_ONCE:
            go_on()
            process = await asyncio.create_subprocess_exec(
                *own_program(options),
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                env={name: value for name, value in os.environ.items() if name not in ("OCICAT_DB", "OCICAT_CONFIG")},
                limit=_OUTPUT_BYTES,
            )  # fmt: skip
            try:
                out, err = await process.communicate()
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
    lines = [
        line.removeprefix("ocicat: ").removeprefix("error: ") for line in err.decode("utf-8", "replace").splitlines()
    ]
    status = process.returncode
    return Answered(status if status is not None else 1, json.loads(out) if out and status == 0 else None, lines)
