"""Read what is in a tar archive, as an index does, or list it with Python's tarfile. Prints the seconds."""

from __future__ import annotations

import sys
import tarfile
import time

from catalog.layout.archive import Archive
from catalog.layout.index import read_index


def main() -> None:
    """Run it with "ours" or "tarfile", and the path of an archive."""
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
