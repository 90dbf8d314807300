"""The Host header of a request, and the address that a server listens at."""

from __future__ import annotations

import pytest

from catalog.errors import UsageError
from catalog.names.http_host import host_of, is_address, parse_address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost", "localhost"), ("Build-Host:5000", "build-host"), ("127.0.0.1:80", "127.0.0.1"), ("a:", "a"), ("[::1]:80", "::1"),
        ("[FE80::1]", "fe80::1"), ("", ""), (":80", ""), ("a:b", ""), ("a:80:80", ""), ("[::1", ""), ("::1", ""), ("[g::1]", ""), ("a/b", ""),
        ("a b", ""), ("u@a", ""), ("[]", ""), ("a\n", ""),
    ],
)  # fmt: skip
def test_the_host_of_a_header(text: str, expected: str) -> None:
    assert host_of(text) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", False),
        ("127.0.0.1.example", False),
        ("1.2.3", False),
        ("", False),
    ],
)
def test_an_address_is_no_name(host: str, expected: bool) -> None:
    assert is_address(host) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8000", ("127.0.0.1", 8000)), (":8000", ("127.0.0.1", 8000)), ("0.0.0.0:1", ("0.0.0.0", 1)), ("[::1]:0", ("::1", 0)),
        ("build-host:65535", ("build-host", 65535)), ("[]:1", ("127.0.0.1", 1)),
    ],
)  # fmt: skip
def test_an_address_to_listen_at(text: str, expected: tuple[str, int]) -> None:
    assert parse_address(text, 5000) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        "host:",
        "host:65536",
        "host:000080",
        "::1:80",
        "::80",
        "[::1:80",
        "::1]:80",
        "host:-1",
        "host:+1",
        "host:\u0661",
        "[::1]",
    ],
)
def test_no_address_to_listen_at(text: str) -> None:
    with pytest.raises(
        UsageError, match=r"is not an address to listen at: write HOST:PORT, such as 127\.0\.0\.1:5000$"
    ):
        parse_address(text, 5000)
