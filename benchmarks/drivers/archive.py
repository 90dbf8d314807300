"""HOW PATH: read a tar archive as an index does ("ours"), or list it with Python's tarfile ("tarfile"). Prints the seconds."""

from __future__ import annotations

import sys
import tarfile
import time

from catalog.layout.archive import Archive
from catalog.layout.index import read_index


def main() -> None:
    """Read or list the archive and print the seconds that this took."""
    how, path = sys.argv[1:]
    began = time.perf_counter()
    if how == "ours":
        Archive(path).close()
        read_index(path).close()
    else:
        with tarfile.open(path) as tar:
            tar.getnames()
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main()
