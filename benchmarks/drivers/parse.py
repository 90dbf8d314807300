"""FILE: read one index.json and parse it, in this process. Prints the seconds."""

from __future__ import annotations

import sys
import time

import msgspec


class Descriptor(msgspec.Struct, gc=False, rename="camel"):
    digest: str
    media_type: str = ""
    size: int = 0
    annotations: dict[str, str] | None = None


class Index(msgspec.Struct, gc=False):
    manifests: list[Descriptor]


def main(path: str) -> None:
    decode = msgspec.json.Decoder(Index).decode
    began = time.perf_counter()
    with open(path, "rb") as file:
        decode(file.read())
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main(sys.argv[1])
