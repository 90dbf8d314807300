"""Checks whether this ocicat can use the schema of a catalog. No other module compares versions."""

from __future__ import annotations

from catalog.errors import CatalogUnavailable, CatalogVersion

Version = tuple[int, int]
"""The major and minor number of a schema. A program that knows one major version cannot read another."""


def version_of(text: object, where: str) -> Version:
    """Return the version that `text`, from the table `meta`, states. Raises CatalogUnavailable, which names `where`, if it is not a version."""
    major, _, minor = str(text).partition(".")
    if not (major.isdecimal() and minor.isdecimal()):
        raise CatalogUnavailable(f"{where} is a database but not an ocicat catalog: give another path with --db")
    return int(major), int(minor)


def check_readable(text: object, known: Version, where: str) -> None:
    """Raise CatalogVersion if the schema of the catalog at `where` is older than `known`, or has another major version.

    Raises CatalogUnavailable if `text` is not a version.
    """
    version = version_of(text, where)
    if version[0] != known[0]:
        what = "upgrade ocicat" if version[0] > known[0] else "run 'ocicat db upgrade'"
        raise CatalogVersion(f"{where} has schema {text} and this ocicat reads {known[0]}: {what}")
    if version < known:
        raise CatalogVersion(f"{where} is from an older ocicat: run 'ocicat db upgrade'")


def is_older(text: object, known: Version, where: str) -> bool:
    """Return whether the catalog at `where` must be upgraded before it is written.

    Raises CatalogVersion if its major version is newer, and CatalogUnavailable if `text` is not a version.
    """
    version = version_of(text, where)
    if version[0] > known[0]:
        raise CatalogVersion(f"{where} has schema {text} and this ocicat knows {known[0]}: upgrade ocicat")
    return version < known
