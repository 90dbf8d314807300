"""A page with one paragraph, for requests that are refused before Datasette sees them."""

from __future__ import annotations

from catalog.browse.description import STYLE

_POLICY = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    b" object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
)
"""The headers that every response has. The policy prevents a page from loading anything from the network."""
TOO_LONG = "The address is too long: use 'ocicat sql' instead."

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><title>ocicat</title><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><link rel="stylesheet" href="/-/static/app.css"><link rel="stylesheet" href="{style}"></head>
<body><header class="hd"><nav><p class="crumbs"><a href="/">home</a></p></nav></header>
<section class="content"><h1>ocicat</h1><p>{text}</p><p><a href="/">The first page</a></p></section></body></html>
"""


def refusal(text: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return the headers and the body of a page that fits every window and follows the browser's colour scheme.

    `text` is HTML.
    """
    body = _PAGE.format(text=text, style=STYLE).encode()
    return [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", b"%d" % len(body)), *HEADERS], body
