"""What `resolve --platform` comes to, by the catalog and by the oracle."""

from __future__ import annotations

from collections.abc import Sequence

from catalog.errors import Ambiguous, OcicatError
from catalog.names.platform import Platform
from catalog.names.query import parse_query
from tests.conftest import Catalogue, Said
from tests.lookup.asking import Still
from tests.oracle import Entry, Oracle, OracleStore, reached


class StillContent(Still):
    """The oracle over stores whose blobs do not change meanwhile either."""

    def __init__(self, stores: Sequence[OracleStore]) -> None:
        super().__init__(stores)
        self._answers: dict[tuple[str, str, frozenset[str]], set[str]] = {}

    def reached(self, entry: Entry) -> set[str]:
        key = entry.store.name, entry.digest
        if key not in self._below:
            self._below[key] = reached(entry, self._paths())
        return self._below[key]

    def _for(self, platform: str, entry: Entry, digests: set[str]) -> set[str]:
        key = platform, entry.store.path, frozenset(digests)
        if key not in self._answers:
            self._answers[key] = super()._for(platform, entry, digests)
        return self._answers[key]


def resolved(catalogue: Catalogue, ref: str, platform: str | None = None, *, first: bool = False) -> Said:
    """`ocicat resolve REF --platform P`."""
    asking = catalogue.asking()
    asking.platform = None if platform is None else Platform.parse(platform)
    try:
        found = asking.resolve(parse_query(ref), first=first)
    except Ambiguous as error:
        return Said(3, candidates=frozenset(line.rpartition("\t")[2] for line in error.candidates))
    except OcicatError as error:
        return Said(error.status)
    return Said(0, found.digest, found.store, found.fallback)


def rightly(oracle: Oracle, ref: str, platform: str | None, *, first: bool = False, cwd: str = "/") -> Said:
    """The oracle's answer."""
    outcome = oracle.resolve(ref, platform=platform, first=first, cwd=cwd)
    if outcome.status == 3:
        return Said(3, candidates=outcome.candidates)
    return Said(outcome.status, outcome.digest, outcome.store, outcome.fallback)
