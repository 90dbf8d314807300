"""The past of names, kept by a plain log: after each pass, what each key of each store answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tests import writers
from tests.conftest import Catalogue
from tests.oracle import OracleStore, entry_of

Key = tuple[str, str | None, str]
"""Store, repository, tag."""


class Span(NamedTuple):
    """The time for which a key answered a digest; its end is None while it still does."""

    key: Key
    digest: str
    since: int
    until: int | None


class Log:
    """What was answered at each time, and the spans that follow from it."""

    def __init__(self) -> None:
        self.closed: list[Span] = []
        self.standing: dict[Key, Span] = {}

    def take(
        self,
        catalogue: Catalogue,
        stores: Mapping[str, OracleStore],
        said: Mapping[str, Sequence[writers.Descriptor]],
    ) -> None:
        """Record what the stores answer according to their last good state. A change has the time at which the store last changed."""
        times = dict(catalogue.sql("SELECT name, changed_at FROM store"))
        now = {key: digest for place, store in stores.items() for key, digest in answers(store, said[place]).items()}
        for key in self.standing.keys() | now.keys():
            before = self.standing.get(key)
            if before is not None and before.digest == now.get(key):
                continue
            at = times[key[0]]
            if before is not None:
                self.closed.append(before._replace(until=at))
                del self.standing[key]
            if key in now:
                self.standing[key] = Span(key, now[key], at, None)

    def forget(self, store: str) -> None:
        """The past of a store that is removed is not looked at any more: its id may be another one's."""
        self.closed = [span for span in self.closed if span.key[0] != store]
        self.standing = {key: span for key, span in self.standing.items() if key[0] != store}

    def differences(self, catalogue: Catalogue) -> list[Span]:
        """Spans that only the catalog or only the log has; and those of one key that overlap."""
        found = [
            Span((store, repository, tag), digest, since, until)
            for store, repository, tag, digest, since, until in catalogue.sql(
                "SELECT store.name, repository.name, answer_span.tag, content.digest, since, until FROM answer_span"
                " JOIN store ON store.id = store_id JOIN content ON content.id = content_id"
                " LEFT JOIN repository ON repository.id = repository_id WHERE answer_span.since >= store.first_at"
                " UNION ALL SELECT store.name, repository.name, name.tag, content.digest, since, NULL FROM name"
                " JOIN entry ON entry.id = entry_id JOIN store ON store.id = name.store_id"
                " JOIN content ON content.id = content_id LEFT JOIN repository ON repository.id = repository_id"
                " WHERE tag IS NOT NULL AND NOT shadowed"
            )
        ]
        wanted = [*self.closed, *self.standing.values()]
        overlapping = [
            one
            for one in found
            for other in found
            if one is not other
            and one.key == other.key
            and one.since <= other.since
            and (one.until is None or other.since < one.until)
        ]
        return sorted(set(found) ^ set(wanted), key=str) + overlapping


def answers(store: OracleStore, elements: Sequence[writers.Descriptor]) -> dict[Key, str]:
    """What each key of a store answers: containerd's first, then the order of the list (docs/resolution.md)."""
    entries = [entry for at, element in enumerate(elements) if (entry := entry_of(store, at, element))]
    ranked = sorted(
        ((key.source, entry.position, key, entry.digest) for entry in entries for key in entry.keys),
        key=lambda item: item[:2],
    )
    found: dict[Key, str] = {}
    for _, _, key, digest in ranked:
        if key.tag is not None:
            found.setdefault((store.name, key.repository, key.tag), digest)
    return found
