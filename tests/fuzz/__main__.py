"""Fuzz the readers of archives, guided by coverage (atheris, which is no dependency of the project): `make fuzz`.

The arguments are those of libFuzzer; the first one is the directory in which inputs are collected. An input is an archive in one of four
forms: as it is, with its checksums put right, or the rest of a gzip or zstd file. One that is read in place is also read through gzip, in
pieces, and both must find the same. tests/layout/test_archive.py and test_compressed.py have short runs with a seed.
"""

from __future__ import annotations

import gzip
import os
import sys

import atheris

with atheris.instrument_imports(include=["catalog.layout"]):
    from catalog.layout.list_limits import ListLimits
    from catalog.layout.tar_headers import BLOCK, Torn
    from tests.layout.test_archive import (
        END,
        FORMATS,
        HEX,
        INDEX,
        archive,
        body,
        contents,
        extended,
        header,
        inflated,
        pax,
    )

_AS_IT_IS, _CHECKED, _GZIP, _ZSTD = range(4)
_BEGINNINGS = {_GZIP: b"\x1f\x8b\x08", _ZSTD: b"\x28\xb5\x2f\xfd"}
_LIMITS = ListLimits(archive_bytes=8 << 20)


def _checked(data: bytes) -> bytes:
    """Put the checksums of blocks right that look like headers, or nothing behind the first change would be tried."""
    out = bytearray(data)
    for at in range(0, len(out) - BLOCK + 1, BLOCK):
        if out[at + 257 : at + 262] == b"ustar":
            out[at + 148 : at + 156] = b" " * 8
            out[at + 148 : at + 156] = b"%06o\0 " % sum(out[at : at + BLOCK])
    return bytes(out)


def _one(data: bytes) -> None:
    form, data = (data[0] % 4, data[1:]) if data else (0, data)
    try:
        if form in _BEGINNINGS:
            inflated(_BEGINNINGS[form] + data, _LIMITS)
        else:
            contents(_checked(data) if form == _CHECKED else data)  # It reads it through gzip, too, and compares.
    except Torn:
        pass


def _write_seeds(directory: str) -> None:
    os.makedirs(directory, exist_ok=True)
    plain = [
        archive(("oci-layout", b"{}"), ("index.json", b"{}" * 30), (f"blobs/sha256/{HEX}", b"x" * 70), form=form)[:4608]
        + END
        for form in FORMATS[1:]
    ]
    plain.append(
        INDEX + header(b"h", b"1", 0, b"index.json") + extended(b"x", pax(path="p" * 300)) + header(b"s", b"0", 9)
        + body(b"123456789") + extended(b"g", pax(comment="a")) + END
    )  # fmt: skip
    for number, data in enumerate(plain):
        packed = gzip.compress(data[:900]) + gzip.compress(data[900:])
        for form, seed in ((_AS_IT_IS, data), (_CHECKED, data), (_GZIP, packed[3:])):
            with open(f"{directory}/seed-{number}-{form}", "wb") as file:
                file.write(bytes([form]) + seed)


if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
    sys.exit("usage: python -m tests.fuzz DIRECTORY [OPTION OF LIBFUZZER]...")
_write_seeds(sys.argv[1])
atheris.Setup(sys.argv, _one)
atheris.Fuzz()
