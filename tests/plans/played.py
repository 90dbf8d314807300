"""Plans as a user carries them out: `ocicat plan prune` is asked, and its files are removed."""

from __future__ import annotations

import json
import os
from typing import Any

from tests.cli.conftest import Own
from tests.cli.program import Ran

AT_ONCE = ("--older-than", "0")
"""Whatever the age: the files of a test are all young."""


def planned(cli: Own, *options: str, status: int = 0) -> list[dict[str, Any]]:
    """The rows of a plan."""
    result = cli("plan", "prune", *AT_ONCE, *options, "--format", "json")
    assert result.status == status, result
    rows: list[dict[str, Any]] = json.loads(result.out)
    return rows


def digests(rows: list[dict[str, Any]], store: str | None = None) -> set[str]:
    """The digests of the rows, of one store if it is given."""
    return {row["digest"] for row in rows if store in (None, row["store"])}


def paths(result: Ran) -> list[str]:
    """The paths that `--format paths0` printed."""
    assert result.out == "" or result.out.endswith("\0")
    return result.out.split("\0")[:-1]


def play(cli: Own, *options: str) -> set[str]:
    """Remove what a plan lists; return the paths."""
    result = cli("--quiet", "plan", "prune", *AT_ONCE, *options, "--format", "paths0")
    assert result.status in (0, 1), result
    found = paths(result)
    assert len(set(found)) == len(found)
    for path in found:
        os.unlink(path)
    return set(found)


def unjudged(result: Ran) -> dict[str, str]:
    """The stores for which nothing is planned, each with the reason."""
    begin = "ocicat: nothing is planned for "
    lines = [line.removeprefix(begin) for line in result.said if line.startswith(begin)]
    return {line.partition(": ")[0]: line.partition(": ")[2] for line in lines}
