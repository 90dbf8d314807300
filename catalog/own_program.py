"""Start another ocicat process with the same interpreter and modules, regardless of PATH and the environment."""

from __future__ import annotations

import sys
from collections.abc import Sequence

_PROGRAM = "import sys; n = sys.argv.index('--'); sys.path[:] = sys.argv[1:n]; sys.argv[1:] = sys.argv[n + 1:]; from catalog.cli.start import main; main()"


def own_program(words: Sequence[str]) -> list[str]:
    """Return the command line of a process that runs `ocicat` with the arguments `words`."""
    return [sys.executable, "-I", "-S", "-c", _PROGRAM, *sys.path, "--", *words]
