"""LIST: call os.stat for the path in each line of LIST. Prints the seconds."""

from __future__ import annotations

import os
import sys
import time


def main(listed: str) -> None:
    with open(listed, encoding="utf-8") as file:
        paths = file.read().split("\n")
    began = time.perf_counter()
    for path in paths:
        os.stat(path)
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main(sys.argv[1])
