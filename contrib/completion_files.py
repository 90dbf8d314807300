"""`make docs`: write contrib/completion, which the wheel installs where shells look, from catalog/cli/scripts.py.

With `--check`, write nothing and exit with status 1 if a file differs from what `ocicat completion` prints.
"""

from __future__ import annotations

import sys
from functools import partial

from sql_docs import keep

from catalog.cli.scripts import SCRIPTS

FILES = {"bash": "ocicat", "zsh": "_ocicat", "fish": "ocicat.fish"}
"""The file name that each shell expects."""


if __name__ == "__main__":
    sys.exit(keep({f"contrib/completion/{name}": partial(str, SCRIPTS[shell]) for shell, name in FILES.items()}))
