"""Derive every useful question from the contents of some stores, and compare the answers of the catalog and the oracle."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tests.conftest import Catalogue, Said
from tests.oracle import Answer, Entry, Malformed, Oracle, OracleStore, Rank, Scan, collect, entry_of, reached

NEAR_MISSES = (
    "", ":", "*", "*:*", ":*", "@", "UPPER", ":UPPER", "3.16", "latest", ":latest", "sha256:", "sha256:abc12", "oci:",
    "oci-layout://", "ocidir://", "oci-layout://nowhere", "oci-layout:///", "oci-layout://.", "oci:.", "ocidir://.",
    "?", "[", "[]", "a*", ":[!x]*", "docker.io/*", "*/*:latest", "localhost*", "quay.io/*:?*", "UPPER*",
    ":\U0010ffff*", "x" * 300, ":" + "x" * 2000, "@" + "0" * 64, f"sha256:{'0' * 64}", f"sha256:{'0' * 80}",
)  # fmt: skip


class Options(NamedTuple):
    """The options of `resolve`."""

    store: str | None = None
    first: bool = False
    strict: bool = False


PLAIN = Options()


class Still(Oracle):
    """An oracle for stores that do not change: each is read once, and matches are computed once.

    `said` has the elements of stores, by name, in place of what is on disk; a store that it does not name has none.
    """

    def __init__(
        self, stores: Sequence[OracleStore], said: Mapping[str, Sequence[dict[str, Any]]] | None = None
    ) -> None:
        super().__init__(stores)
        if said is None:
            self._scans = super().read()
        else:
            self._scans = [_scan(store, said.get(store.name, ())) for store in self.stores]
        self._known: dict[tuple[str, str], Answer | Malformed] = {}
        self._below: dict[tuple[str, str], set[str]] = {}
        self._unlisted: dict[str, list[Entry]] = {}

    def read(self) -> list[Scan]:
        return self._scans

    def reached(self, entry: Entry) -> set[str]:
        """Return the digest of the entry and those below it."""
        key = entry.store.name, entry.digest
        if key not in self._below:
            self._below[key] = reached(entry)
        return self._below[key]

    def _lying(self, scan: Scan) -> list[Entry]:
        """Do what the oracle does, but read the blobs of each store only once."""
        if scan.store.name not in self._unlisted:
            self._unlisted[scan.store.name] = super()._lying(scan)
        return self._unlisted[scan.store.name]

    def _by_digest(
        self, scans: Sequence[Scan], prefix: str, rank: Rank = lambda _: "", *, lying: bool = False
    ) -> Answer:
        """Do what the oracle does, but read what is below each entry only once."""
        hits = [
            (entry, {digest for digest in self.reached(entry) if digest.startswith(prefix)})
            for entry in collect(scans, rank)
        ]
        for scan in scans if lying and self.below else ():
            hits += [(entry, {entry.digest}) for entry in self._lying(scan) if entry.digest.startswith(prefix)]
        return Answer([hit for hit in hits if hit[1]])

    def _ask(self, ref: str, cwd: str, scans: Sequence[Scan]) -> Answer:
        if (ref, cwd) not in self._known:
            try:
                self._known[ref, cwd] = super()._ask(ref, cwd, scans)
            except Malformed as error:
                self._known[ref, cwd] = error
        found = self._known[ref, cwd]
        if isinstance(found, Malformed):
            raise found
        return found


def _scan(store: OracleStore, elements: Sequence[dict[str, Any]]) -> Scan:
    entries = [entry for at, element in enumerate(elements) if (entry := entry_of(store, at, element))]
    return Scan(store, len(elements), entries)


def references(oracle: Still, cwd: str) -> list[str]:
    """Return references of every form, each once: many that match something in the stores, and some that match nothing."""
    asked: dict[str, None] = dict.fromkeys(NEAR_MISSES)
    scans = oracle.read()
    for scan in scans:
        asked.update(dict.fromkeys(_of_store(scan, cwd)))
        for entry in scan.entries:
            asked.update(dict.fromkeys(_of_entry(entry)))
            asked.update(dict.fromkeys(_of_entry_in_store(entry, cwd)))
            asked.update(dict.fromkeys(_below(entry, oracle.reached(entry))))
    return list(asked)


def _of_store(scan: Scan, cwd: str) -> Iterator[str]:
    name, path = scan.store.name, scan.store.path
    relative = f"./{os.path.relpath(path, cwd)}"
    for place in (name, path, relative, f"{path}/", f"{name}/", f"{path}/../{os.path.basename(path)}"):
        yield f"oci-layout://{place}"
    for place in (name, path):
        yield f"oci-layout://{place}:nosuch"
        yield f"oci-layout://{place}/nosuch"
    yield f"oci-layout://{name}//alpine"
    yield f"oci-layout://{path}//alpine"
    yield f"oci-layout://{name}/alpine/"
    yield f"oci-layout://{path}/alpine/"
    yield f"oci-layout://{name}/{'a' * 64}:latest"
    yield f"oci-layout://{path[:-1]}"
    for place in (path, relative, relative[2:], f"{path}/x"):
        yield f"oci:{place}"
        yield f"oci:{place}:nosuch"
        yield f"ocidir://{place}"


def _of_entry(entry: Entry) -> Iterator[str]:
    digest = entry.digest
    bare = digest.removeprefix("sha256:")
    yield from (digest, f"@{digest}", bare, bare[:-1], f"@{bare}", digest[:13], f"@{digest[:20]}", digest[:12])
    yield from (f"{digest}0", digest.upper(), digest[:-1], f"{digest}*")
    for raw in (entry.ref_name, entry.image_name):
        if raw is not None:
            yield from (raw, f":{raw}", f":{raw}x", f":{raw[:-1]}", f":{raw[:2]}*", f"{raw[:8]}*", f":*{raw[-2:]}")
            yield f":{raw.rpartition(':')[2]}"
    for repository, tag, _ in ((key.repository, key.tag, key.source) for key in entry.keys):
        if tag is not None:
            yield from (f":{tag}", f":{tag[:-1]}?", f":[{tag[0]}]*", f"*:{tag}", tag, f":{tag.upper()}")
        if repository is None:
            continue
        for name in (repository, familiar(repository)):
            yield from (name, f"{name}@{digest}", f"{name}x", f"{name}:*", f"{name[:-2]}*", f"?{name[1:]}*")
            yield from (f"{name}@sha256:{'0' * 64}", name.replace("/", "/*", 1), f"*{name[3:]}")
            if tag is not None:
                yield from (f"{name}:{tag}", f"{name}:{tag}x", f"{name}:{tag}@{digest}", f"{name}:nosuch@{digest}")
                yield from (f"{name}:{tag[:1]}*", f"{name[:-1]}[!x]:{tag}", f"{name}*:{tag}")


def _of_entry_in_store(entry: Entry, cwd: str) -> Iterator[str]:
    path, digest = entry.store.path, entry.digest
    tags = {key.tag for key in entry.keys} | {entry.ref_name, entry.image_name}
    tails = {text.rpartition(":")[2] for text in tags if text}
    for place in (entry.store.name, path if entry.position % 2 else f"./{os.path.relpath(path, cwd)}"):
        yield f"oci-layout://{place}@{digest}"
        yield f"oci-layout://{place}@sha256:{'0' * 64}"
        for tag in {tag for tag in tags if tag} | tails:
            yield from (f"oci-layout://{place}:{tag}", f"oci-layout://{place}:{tag}@{digest}")
        for key in entry.keys:
            if key.repository is not None:
                for name in (key.repository, familiar(key.repository)):
                    yield from (f"oci-layout://{place}/{name}", f"oci-layout://{place}/{name}@{digest}")
                    yield from (f"oci-layout://{place}/{name}:{key.tag}", f"oci-layout://{place}/{name[:-1]}")
    for text in tags:
        yield from (f"oci:{path}:{text}", f"oci:./{os.path.relpath(path, cwd)}:{text}")
    for tag in tails | {tag for tag in tags if tag}:
        yield from (f"ocidir://{path}:{tag}", f"ocidir://{os.path.relpath(path, cwd)}:{tag}@{digest}")
    yield f"ocidir://{path}@{digest}"


def _below(entry: Entry, digests: set[str]) -> Iterator[str]:
    for digest in sorted(digests - {entry.digest}):
        yield from (digest, f"@{digest[:15]}", f"oci-layout://{entry.store.name}@{digest}")
        yield f"ocidir://{entry.store.path}:latest@{digest}"
        for key in entry.keys:
            if key.repository is not None:
                yield from (f"{key.repository}@{digest}", f"{key.repository}:{key.tag}@{digest}")
                yield f"oci-layout://{entry.store.name}/{key.repository}@{digest}"


def familiar(repository: str) -> str:
    return repository.removeprefix("docker.io/").removeprefix("library/")


def differences(
    catalogue: Catalogue, oracle: Oracle, refs: Iterable[str], cwd: str, options: Sequence[Options] = (PLAIN,)
) -> list[str]:
    """Return a line per disagreement. `query` is compared without options, `resolve` with each of `options`."""
    found: list[str] = []
    for ref in refs:
        listed, wanted = catalogue.query(ref), _query(oracle, ref, cwd)
        if isinstance(listed, int) or isinstance(wanted, int):
            same = listed == wanted
        else:
            same = Counter(listed) == Counter(wanted)
        if not same:
            found.append(f"query {ref!r}: {listed}, by the oracle {wanted}")
        for each in options:
            said, right = catalogue.resolve(ref, **each._asdict()), resolved(oracle, ref, cwd, each)
            if said != right and not ("..." in said.candidates and said.candidates - {"..."} <= right.candidates):
                found.append(f"resolve {ref!r} {each}: {said}, by the oracle {right}")
    return found


def _query(oracle: Oracle, ref: str, cwd: str) -> list[tuple[str, str]] | int:
    try:
        return [(entry.store.name, entry.digest) for entry in oracle.query(ref, cwd)]
    except Malformed:
        return 2


def resolved(oracle: Oracle, ref: str, cwd: str, options: Options = PLAIN) -> Said:
    """Return the answer of the oracle."""
    outcome = oracle.resolve(ref, **options._asdict(), cwd=cwd)
    if outcome.status == 3:
        return Said(3, candidates=outcome.candidates)
    return Said(outcome.status, outcome.digest, outcome.store, outcome.fallback)
