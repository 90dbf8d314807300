"""`make docs`: contrib/completion, what the wheel installs where shells look by themselves, out of catalog/cli/scripts.py.

With `--check` it writes nothing, and ends with status 1 where a file is not what `ocicat completion` prints.
"""

from __future__ import annotations

import sys
from functools import partial

from sql_docs import keep

from catalog.cli.scripts import SCRIPTS

FILES = {"bash": "ocicat", "zsh": "_ocicat", "fish": "ocicat.fish"}
"""As each shell wants its file called."""


if __name__ == "__main__":
    sys.exit(keep({f"contrib/completion/{name}": partial(str, SCRIPTS[shell]) for shell, name in FILES.items()}))
