"""The oracle: every reference answered by a plain linear scan of the layouts on disk.

This is written from the contract (docs/resolution.md) alone and shares no code with `catalog`. If the two disagree, one of
them is wrong. Every question reads the files again; nothing is kept from one question to the next.
"""

from __future__ import annotations

import atexit
import glob
import hashlib
import json
import os
import re
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple

IMAGE_NAME, REF_NAME = "io.containerd.image.name", "org.opencontainers.image.ref.name"
UNREADABLE = (OSError, ValueError, RecursionError)

# The grammar of distribution/reference. Always used with fullmatch, so that a trailing newline does not match.
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128}"
_NAME = rf"(?:(?P<domain>{_DOMAIN})/)?(?P<path>{_PART}(?:/{_PART})*)"
REFERENCE = re.compile(rf"{_NAME}(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?")
TAG, DIGEST, HEX64 = re.compile(_TAG), re.compile(_DIGEST), re.compile(r"[a-f0-9]{64}")
WILDCARD = re.compile(r"[*?\[]")
# The image-spec's grammar of a digest: a registered algorithm with its length, or another algorithm.
_OTHER = r"(?!(?:sha256|sha384|sha512|blake3):)[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+"
SPEC_DIGEST = re.compile(rf"{_DIGEST}|blake3:[a-f0-9]{{64}}|{_OTHER}")


class Malformed(Exception):
    """Exit status 2: not a reference, no such store, or a layout that is not registered."""


@dataclass(frozen=True)
class OracleStore:
    name: str
    path: str  # absolute
    priority: int = 0
    naming: str = "annotations"  # "annotations" | "path" | "fixed=NAME"
    root: str | None = None
    prefix: str | None = None


@dataclass(frozen=True)
class Key:
    repository: str | None
    tag: str | None
    source: Literal["containerd", "ref", "saved by docker"]  # these sort in the order in which they answer


@dataclass(frozen=True)
class Entry:
    store: OracleStore
    position: int  # in `manifests`, counting skipped elements
    digest: str
    ref_name: str | None
    image_name: str | None
    media_type: str | None
    size: int | None
    annotations: Mapping[str, str | None] = field(hash=False)  # None: a value that is not a string
    keys: tuple[Key, ...]


class Outcome(NamedTuple):
    """The result of `resolve`. `candidates` are the digests of an ambiguous reference."""

    status: int
    digest: str | None = None
    store: str | None = None
    candidates: frozenset[str] = frozenset()
    fallback: bool = False


class Scan(NamedTuple):
    """One store as it is on disk now. `elements` is the length of `manifests`, including unusable elements."""

    store: OracleStore
    elements: int
    entries: list[Entry]


class Answer(NamedTuple):
    """Every match in order, with its digests: its own, or those below it that were asked for.

    `choice` says how `resolve` chooses: the first match of each store; or all, which are ambiguous if their digests differ;
    or all, which are ambiguous if there are several.
    """

    hits: list[tuple[Entry, set[str]]]
    choice: Literal["first", "digests", "entries"] = "first"
    fallback: bool = False


Rank = Callable[[Entry], str | None]  # the sort key within a store, before the order of index.json; None: no match


class Name(NamedTuple):
    repository: str
    tag: str | None  # `latest` if the text has neither tag nor digest
    digest: str | None
    bare: bool


def is_domain(first: str) -> bool:
    """Return whether the first of several components is a domain."""
    return "." in first or ":" in first or first == "localhost" or first != first.lower()


def parse(text: str) -> Name | None:
    """Do what ParseNormalizedNamed and TagNameOnly do; None if they fail."""
    domain, slash, remainder = text.partition("/")
    if not slash or not is_domain(domain):
        domain, remainder = "docker.io", text
    if domain == "index.docker.io":
        domain = "docker.io"
    if domain == "docker.io" and "/" not in remainder:
        remainder = f"library/{remainder}"
    match = REFERENCE.fullmatch(f"{domain}/{remainder}")
    if match is None or len(match["path"]) > 255 or HEX64.fullmatch(text):
        return None
    repository = f"{match['domain']}/{match['path']}" if match["domain"] else match["path"]
    bare = not match["tag"] and not match["digest"]
    return Name(repository, "latest" if bare else match["tag"], match["digest"], bare)


def unnamed(store: OracleStore, elements: int) -> Key | None:
    """Return the name of an entry without one, in a layout at REPOSITORY/TAG."""
    if store.root is None or not (store.naming == "path:tag" or (store.naming == "path" and elements == 1)):
        return None
    path, _, tag = os.path.relpath(store.path, store.root).rpartition("/")
    name = parse(f"{store.prefix}/{path}" if store.prefix else path) if path else None
    return Key(name.repository, tag, "ref") if name and name.bare and TAG.fullmatch(tag) else None


def policy(store: OracleStore) -> str | None:
    """Return the repository of an entry with only a tag, by the naming policy."""
    text = store.naming.removeprefix("fixed=") if store.naming.startswith("fixed=") else ""
    if store.naming in ("path", "path:tag") and store.root is not None:
        path = os.path.relpath(store.path, store.root)
        if store.naming == "path:tag":
            path, _, tag = path.rpartition("/")
            path = path if TAG.fullmatch(tag) else ""
        if not path:
            return None
        text = f"{store.prefix}/{path}" if store.prefix else path
    name = parse(text)
    return name.repository if name and name.bare else None


def repeats(keys: Sequence[Key], repository: str | None, tag: str | None) -> bool:
    """Return whether a key only says again what one of these says."""
    return any(key.tag == tag and repository in (key.repository, None) for key in keys)


def derive(image_name: str | None, ref_name: str | None, digest: str, policy: str | None) -> tuple[Key, ...]:
    """Return the keys of an entry. A name that is empty, invalid, or has another digest than the descriptor gives no key."""
    keys: list[Key] = []

    def add(repository: str | None, tag: str | None, source: Literal["containerd", "ref"]) -> None:
        is_long = len(f"{repository or ''}:{tag or ''}".encode()) > 1024
        if not repeats(keys, repository, tag) and not is_long:
            keys.append(Key(repository, tag, source))

    name = parse(image_name or "")
    if name and name.digest in (None, digest):  # containerd's name
        add(name.repository, name.tag, "containerd")
    for part in (ref_name or "").split(",")[:1000]:  # a list of names, of which the catalog uses only the first ones
        text, at, said = part.rpartition("@")
        if not at or not (DIGEST.fullmatch(said) or said == digest):
            text, said = part, ""
        if text and said in ("", digest):
            name = None if TAG.fullmatch(text) else parse(text)
            if name and not name.digest:  # another reference; Docker adds no `latest` if there is a digest
                add(name.repository, None if said and name.bare else name.tag, "ref")
            else:  # a tag, or any other text
                add(policy, text, "ref")
    return tuple(keys)


class Members(list[tuple[str, Any]]):
    """The members of a JSON object as written, including repeated ones."""


MAPS = ("annotations", "Labels")
LISTS = ("manifests", "layers", "blobs", "fsLayers", "urls")
TEXTS = ("digest", "mediaType", "size", "artifactType", "os", "architecture", "variant", "blobSum")
SPELT = {name.lower(): name for name in (*MAPS, *LISTS, *TEXTS, "platform", "config", "subject", "data", "created")}


def as_go(data: bytes) -> Any:
    """Read JSON as encoding/json does: field names in any letter case, repeated fields decoded over earlier ones."""
    text = data.decode("utf-8", "replace")
    return over(None, json.loads(text, parse_constant=int, object_pairs_hook=Members), is_map=False)


def over(before: Any, found: Any, *, is_map: bool) -> Any:
    if isinstance(found, Members):
        held: dict[str, Any] = before if isinstance(before, dict) else {}
        for key, value in found:
            name = key if is_map else SPELT.get(key.replace("\u017f", "s").lower(), key)
            if value is not None or is_map or name not in held or name not in (*TEXTS, "config"):
                held[name] = over(None if is_map else held.get(name), value, is_map=name in MAPS and not is_map)
        return held
    if isinstance(found, list):
        old = before if isinstance(before, list) else []
        old = [*old, *[None] * (len(found) - len(old))]
        return [old[n] if each is None else over(old[n], each, is_map=False) for n, each in enumerate(found)]
    return found


def manifests(file: str) -> list[dict[str, Any]]:
    """Return the elements of an index, with {} for one that is not an object. Raises UNREADABLE."""
    if not stat.S_ISREG(os.lstat(file).st_mode):
        raise OSError(f"{file} is not a regular file")
    with open(file, "rb") as stream:  # int raises for NaN and Infinity, which are not JSON
        document = as_go(stream.read())
    elements = document.get("manifests") if isinstance(document, dict) else ...
    if elements is not None and not isinstance(elements, list):
        raise ValueError("no image index")
    return [element if isinstance(element, dict) else {} for element in elements or []]


_unpacked: dict[str, tuple[tuple[int, ...], str]] = {}  # by the path of an archive: its stat, and where its files are


@atexit.register
def forget_unpacked() -> None:
    for _, directory in _unpacked.values():
        shutil.rmtree(directory, ignore_errors=True)


def place(path: str) -> str:
    """Return the directory in which the files of a store are: the store itself, or what its archive unpacks to."""
    if not os.path.isfile(path):
        return path
    found = os.stat(path)
    state = found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    known = _unpacked.pop(path, None)
    if known is None or known[0] != state:
        if known is not None:
            shutil.rmtree(known[1])
        known = state, tempfile.mkdtemp(prefix="oracle")
        unpack(path, known[1])
    _unpacked[path] = known
    return known[1]


def unpack(path: str, to: str) -> None:
    """Write the regular files of an archive into a directory. Raises UNREADABLE."""
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                if member.isreg() or member.islnk():
                    file = os.path.join(to, os.path.normpath(member.name))
                    os.makedirs(os.path.dirname(file), exist_ok=True)
                    with tar.extractfile(member) as opened, open(file, "wb") as out:  # type: ignore[union-attr]
                        shutil.copyfileobj(opened, out)
    except tarfile.TarError as error:
        raise OSError(str(error)) from error


def scan_raw(path: str) -> list[dict[str, Any]]:
    """Return the raw elements of a layout's index.json. Raises UNREADABLE."""
    return manifests(f"{place(path)}/index.json")


def repo_tags(path: str) -> dict[str, list[str]]:
    """Return the RepoTags in the manifest.json of an archive, by the digest of the config; {} if it cannot be used."""
    try:
        with open(f"{place(path)}/manifest.json", "rb") as file:
            items = json.loads(file.read().decode("utf-8", "replace"), object_pairs_hook=Members, parse_constant=int)
    except UNREADABLE:
        return {}
    found: dict[str, list[str]] = {}
    for item in items if isinstance(items, list) and not isinstance(items, Members) else []:
        fields = {"config": "", "repotags": []}
        for key, value in item if isinstance(item, Members) else []:
            if value is not None or key.lower() == "repotags":
                fields[key.lower()] = value
        config, tags = fields["config"], fields["repotags"]
        if isinstance(config, str) and isinstance(tags, list) and not isinstance(tags, Members):
            blob_of = re.fullmatch("blobs/([^/]+)/([^/]+)", config)
            digest = f"{blob_of[1]}:{blob_of[2]}" if blob_of else ""
            names = [
                as_text(tag) or ""
                for tag in tags
                if isinstance(tag, str) and len(tag.encode("utf-8", "replace")) <= 1024
            ]
            found.setdefault(digest, []).extend(names)
    return {digest: list(dict.fromkeys(names))[:1000] for digest, names in found.items() if DIGEST.fullmatch(digest)}


def with_repo_tags(store: OracleStore, entries: list[Entry]) -> list[Entry]:
    """Add the names of `docker save` that no annotation contains to the first entry of their image."""
    left = repo_tags(store.path) if os.path.isfile(store.path) else {}
    carried = {
        (key.repository, key.tag)
        for each in entries
        for key in derive(each.image_name, each.ref_name, each.digest, None)
    }
    result = []
    for entry in entries:
        config = blob(entry.digest, store.path).get("config") if left and entry.media_type in MANIFESTS else None
        tags = left.pop(str(config.get("digest")), []) if isinstance(config, dict) else []
        own = (
            []
            if entry.ref_name is None and entry.image_name is None and not store.naming.startswith("annotation=")
            else [*entry.keys]
        )
        keys = own
        for name in map(parse, tags):
            if not name or name.digest not in (None, entry.digest) or (name.repository, name.tag) in carried:
                continue
            if not repeats(keys, name.repository, name.tag):
                keys = [*keys, Key(name.repository, name.tag, "saved by docker")]
        result.append(entry if keys == own else replace(entry, keys=tuple(keys)))
    return result


def as_text(value: Any) -> str | None:
    """Return the text with U+FFFD for each NUL and each lone surrogate."""
    return re.sub("[\0\ud800-\udfff]", "\ufffd", value) if isinstance(value, str) else None


def spec_digest(element: dict[str, Any]) -> str | None:
    digest = element.get("digest")
    return digest if isinstance(digest, str) and SPEC_DIGEST.fullmatch(digest) else None


def entry_of(store: OracleStore, position: int, element: dict[str, Any], elements: int = 0) -> Entry | None:
    """Return the entry of a descriptor; None without a usable digest."""
    digest, size, annotations = spec_digest(element), element.get("size"), element.get("annotations")
    if digest is None:
        return None
    annotations = {str(as_text(k)): as_text(v) for k, v in annotations.items()} if isinstance(annotations, dict) else {}
    ref_name, image_name, media_type = annotations.get(REF_NAME), annotations.get(IMAGE_NAME), element.get("mediaType")
    keys, size = derive(image_name, ref_name, digest, policy(store)), size if type(size) is int else None
    if store.naming.startswith("annotation=") and not keys:
        keys = derive(annotations.get(store.naming.removeprefix("annotation=")), None, digest, None)
    by_path = unnamed(store, elements) if ref_name is None and image_name is None else None
    keys = (by_path,) if by_path else keys
    return Entry(store, position, digest, ref_name, image_name, as_text(media_type), size, annotations, keys)


def file_of(path: str, digest: str) -> str | None:
    """Return the path of a blob in a store; links are not followed."""
    algorithm, _, encoded = digest.partition(":")
    path = place(path)
    steps = [f"{path}/blobs", f"{path}/blobs/{algorithm}", f"{path}/blobs/{algorithm}/{encoded}"]
    there = not any(map(os.path.islink, steps)) and os.path.isfile(steps[2])
    return steps[2] if there else None


def blob(digest: str, path: str, elsewhere: Sequence[str] = ()) -> dict[str, Any]:
    """Return the JSON of a blob of a store; {} if the blob is absent, or no store has a copy that matches its digest.

    A copy that does not match its digest is never used; a good copy in another store is.
    """
    copies = [file_of(each, digest) for each in (path, *elsewhere)]
    for copy in copies if copies[0] and DIGEST.fullmatch(digest) else []:
        with open(copy or os.devnull, "rb") as stream:
            data = stream.read()
        if hashlib.new(digest.partition(":")[0], data).hexdigest() == digest.partition(":")[2] and len(data) <= 4 << 20:
            try:
                document = as_go(data)
            except UNREADABLE:
                return {}
            return document if isinstance(document, dict) else {}
    return {}


def children(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the usable descriptors of an index."""
    elements = document.get("manifests")
    return [e for e in elements if isinstance(e, dict) and spec_digest(e)] if isinstance(elements, list) else []


def reached(entry: Entry, elsewhere: Sequence[str] = ()) -> set[str]:
    """Return the digest of the entry and those of all manifests below it that can be found in readable blobs."""
    found, todo = {entry.digest}, [entry.digest]
    while todo:
        new = {child["digest"] for child in children(blob(todo.pop(), entry.store.path, elsewhere))} - found
        found |= new
        todo += new
    return found


# Platforms

SPELLINGS = {
    "x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386", "armhf": "arm/v7", "armel": "arm/v6",
    "arm": "arm/v7", "arm64/v8": "arm64", "arm64/8": "arm64", "amd64/v1": "amd64",
}  # fmt: skip
LOWER = {"arm/v8": "arm/v7", "arm/v7": "arm/v6", "arm/v6": "arm/v5", "amd64/v4": "amd64/v3", "amd64/v3": "amd64/v2",
         "amd64/v2": "amd64"}  # fmt: skip


Platform = tuple[str, str, frozenset[str]]
"""`os/arch[/variant]`, the version of the operating system, and the features that an image needs."""


def platform_of(said: Any) -> Platform | None:
    """Return the normalised platform; None without operating system or architecture."""
    parts = [said.get(key) for key in ("os", "architecture", "variant")] if isinstance(said, dict) else [None]
    if not all(isinstance(part, str) and part for part in parts[:2]):
        return None
    if any("/" in part for part in parts if isinstance(part, str)):
        return "no platform that anybody asks for", "", frozenset()
    system, arch, variant = (part.lower() if isinstance(part, str) else "" for part in parts)
    both = f"{SPELLINGS.get(arch, arch) if arch != 'arm' else arch}/{variant}".rstrip("/")
    version, features = said.get("os.version"), said.get("os.features")
    return (
        f"{system}/{SPELLINGS.get(both, both)}",
        version if isinstance(version, str) else "",
        frozenset(each for each in features if isinstance(each, str)) if isinstance(features, list) else frozenset(),
    )


def whole(digest: str, path: str, elsewhere: Sequence[str]) -> dict[str, Any]:
    """Return the JSON of a blob; {} also if its file has another size than a good copy, because it cannot be read then."""
    copies = [copy for each in elsewhere if (copy := file_of(each, digest)) and blob(digest, each)]
    file = file_of(path, digest)
    cut = file and any(os.path.getsize(file) != os.path.getsize(copy) for copy in copies)
    return {} if cut else blob(digest, path, elsewhere)


def offers(
    digest: str, path: str, elsewhere: Sequence[str], seen: set[str]
) -> list[tuple[Platform | None, str | None]]:
    """Return the platforms below a digest in order, each with the digest that answers; None if that cannot be read."""
    document = whole(digest, path, elsewhere)
    seen.add(digest)
    if not isinstance(document.get("manifests"), list):
        config = document.get("config")
        said = spec_digest(config) if isinstance(config, dict) else None
        return [(platform_of(whole(said, path, elsewhere)), digest)] if said else []
    found: list[tuple[Platform | None, str | None]] = []
    for child in children(document):
        each = child["digest"]
        document = whole(each, path, elsewhere)
        there = file_of(path, each) and (document or not blob(each, path, elsewhere))
        if isinstance(document.get("manifests"), list):
            found += [] if each in seen else offers(each, path, elsewhere, seen)  # it would only offer the same again
        elif platform_of(child.get("platform")):
            found.append((platform_of(child["platform"]), each if there else None))
        else:
            found += offers(each, path, elsewhere, seen)
    return found


def for_platform(digest: str, platform: str, path: str, elsewhere: Sequence[str]) -> str | None:
    """Return the answer for a platform: an exact match, else that of the next lower variant, the first if there are several.

    If that one cannot be read, there is no answer; others are not tried.
    """
    system, _, arch = platform.partition("/")
    system, _, options = system.rstrip(")").partition("(")
    version, *features = options.split("+")
    said = dict(zip(("os", "architecture", "variant"), (system, *arch.split("/")), strict=False))
    wanted = (platform_of(said) or ("", "", frozenset()))[0]
    offered = offers(digest, path, elsewhere, set())
    while wanted and wanted != "unknown/unknown":
        answers = [
            (rank, number, answer)
            for number, (said, answer) in enumerate(offered)
            if said
            and said[0] == wanted
            and said[2] <= {*features}
            and (rank := fits(wanted, version, said[1])) is not None
        ]
        if answers:
            return min(answers, key=lambda each: each[:2])[2]
        system, _, arch = wanted.partition("/")
        wanted = f"{system}/{LOWER[arch]}" if arch in LOWER else ""
    return None


def fits(platform: str, asked: str, found: str) -> tuple[int, int] | None:
    """Return how well a version fits: the same, the same build, for Windows the newest that runs there, no version."""
    if asked == found:
        return 0, 0
    if not asked or not found or not platform.startswith("windows/"):
        return (1, 0) if found else (3, 0)
    numbers = [re.match(r"(\d+)\.(\d+)\.(\d+)(?:\.|\Z)", each, re.ASCII) for each in (asked, found)]
    if not all(numbers):
        return None
    wanted, there = ([int(part) for part in each.groups()] for each in numbers if each)
    if wanted == there:
        return 1, 0
    return (2, -there[2]) if wanted[:2] == there[:2] and 20348 <= there[2] < wanted[2] else None


# What matches, and in which order


MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json", "", None,
)  # fmt: skip
IMAGES = (
    "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json",
)  # fmt: skip


def other(entry: Entry) -> str:
    """Return whether an entry has a media type other than that of an image; such entries come after all others."""
    return "" if not entry.media_type or entry.media_type in IMAGES else "~"


def by_key(test: Callable[[Key], bool]) -> Rank:
    return lambda entry: min((other(entry) + key.source for key in entry.keys if test(key)), default=None)


def by_name(name: Name) -> Rank:
    """Match a name. If it has a digest, that decides, and any tag of the repository matches."""
    return by_key(lambda key: key.repository == name.repository and (name.digest is not None or key.tag == name.tag))


def by_tag(tag: str, raw: tuple[str, str]) -> Rank:
    """Match the tag of a key, or a raw annotation. `raw` are the ranks of the two annotations."""

    def rank(entry: Entry) -> str | None:
        found = [place for place, text in zip(raw, (entry.image_name, entry.ref_name), strict=True) if text == tag]
        return min([*found, *(other(entry) + key.source for key in entry.keys if key.tag == tag)], default=None)

    return rank


def by_pattern(text: str) -> Rank:
    """Match a pattern over full names or tags."""
    if text.startswith(":"):
        return by_key(lambda key: key.tag is not None and fnmatchcase(key.tag, text[1:]))
    ipv6 = re.match(r"\[[0-9a-fA-F]*:[0-9a-fA-F:]*\]", text)
    host = ipv6[0] if ipv6 else ""
    rest = text.removeprefix(host)
    colon = rest.find(":", rest.rfind("/") + 1)
    image, tag = (rest[:colon], rest[colon + 1 :]) if colon >= 0 else (rest, "*")
    first, slash, _ = (host + image).partition("/")
    if not WILDCARD.search(image):
        name = parse(host + image)
        tried = [f"{glob.escape(name.repository)}:{tag}"] if name and name.bare else []
    elif slash and is_domain(first):
        tried = [f"{glob.escape(host)}{image}:{tag}"]
    else:
        tried = [f"{behind}{glob.escape(host)}{image}:{tag}" for behind in ("", "docker.io/", "docker.io/library/")]
    return by_key(
        lambda key: (
            None not in (key.repository, key.tag)
            and any(fnmatchcase(f"{key.repository}:{key.tag}", each) for each in tried)
        )
    )


def collect(scans: Sequence[Scan], rank: Rank) -> list[Entry]:
    """Return every match: the stores in their order, and in each store by rank, then as in index.json."""
    ranked = [(i, rank(entry), entry.position, entry) for i, scan in enumerate(scans) for entry in scan.entries]
    return [entry for _, _, _, entry in sorted((item for item in ranked if item[1] is not None), key=lambda x: x[:3])]


def own(entries: Sequence[Entry]) -> list[tuple[Entry, set[str]]]:
    return [(entry, {entry.digest}) for entry in entries]


def split(text: str) -> tuple[str, str, str]:
    """Split a layout reference into the part before tag and digest, the tag, and the digest; "" if there is none."""
    head, at, digest = text.rpartition("@")
    if not at or not re.match(r"[A-Za-z0-9]+(?:[+._-][A-Za-z0-9]+)*:", digest):
        head, digest = text, ""
    elif not DIGEST.fullmatch(digest):
        raise Malformed(f"invalid digest {digest}")
    stem, colon, tag = head.rpartition(":")
    return (stem, tag, digest) if colon and TAG.fullmatch(tag) else (head, "", digest)


def find_store(text: str, cwd: str, scans: Sequence[Scan]) -> tuple[Scan, str]:
    """Return the store whose name or path is the longest prefix in whole components, and the IMAGE after it."""
    for cut in sorted({len(text), *(match.start() for match in re.finditer("/", text))}, reverse=True):
        if text.startswith(("/", ".")):
            try:
                given = os.path.normpath(os.path.join(cwd, text[:cut] or "/"))
                path = os.path.realpath(os.path.join(cwd, text[:cut] or "/"))
            except ValueError as error:
                raise Malformed(f"{text!r} cannot be a path") from error
            found = [scan for scan in scans if scan.store.path == given]  # a link is registered as given
            found = found or [scan for scan in scans if scan.store.path == path]
            found = found or [scan for scan in scans if os.path.realpath(scan.store.path) == path]
            marked, *both = (os.path.exists(f"{path}/{name}") for name in ("oci-layout", "index.json", "blobs"))
            if not found and (marked or all(both)):
                raise Malformed(f"{path} is a layout that is not registered: ocicat add {path}")
        else:
            found = [scan for scan in scans if scan.store.name == text[:cut]]
        if found:
            return found[0], text[cut + 1 :]
    raise Malformed(f"no store {text!r}")


def store_at(path: str, cwd: str, scans: Sequence[Scan]) -> Scan:
    """Return the layout at PATH, relative to the working directory."""
    scan, image = find_store(os.path.join(cwd, path), cwd, scans)
    if image or not path:
        raise Malformed(f"no store at {path!r}")
    return scan


class Oracle:
    """Answers for these stores. With `below`, digests of manifests below entries count too."""

    def __init__(self, stores: Sequence[OracleStore], below: bool = True) -> None:
        self.stores = sorted(stores, key=lambda store: (store.priority, store.name))
        self.below = below
        self.broken: set[str] = set()  # the stores whose index.json could not be read for the last question

    def read(self) -> list[Scan]:
        """Return every store as it is on disk now, in the order of priority and name."""
        scans, self.broken = [], set()
        for store in self.stores:
            try:
                elements = scan_raw(store.path)
            except UNREADABLE:
                elements = []
                self.broken.add(store.name)
            entries = [
                entry for i, element in enumerate(elements) if (entry := entry_of(store, i, element, len(elements)))
            ]
            scans.append(Scan(store, len(elements), with_repo_tags(store, entries)))
        return scans

    def keys(self, entry: Entry) -> tuple[Key, ...]:
        return entry.keys

    def shadowed(self) -> set[tuple[str, int, Key]]:
        """Return the keys of a name for which another entry of their store answers."""
        keys = [
            (e.store.name, other(e) + key.source, e.position, key)
            for s in self.read()
            for e in s.entries
            for key in e.keys
        ]
        seen, shadowed = set(), set()
        for store, _, position, key in sorted(keys, key=lambda item: item[:3]):
            name = (store, key.repository, key.tag)
            if key.tag is not None and name in seen:
                shadowed.add((store, position, key))
            seen.add(name)
        return shadowed

    def query(self, ref: str, cwd: str = "/") -> list[Entry]:
        """Return every entry that matches, in order. Raises Malformed."""
        return [entry for entry, _ in self._ask(ref, cwd, self.read()).hits]

    def resolve(
        self,
        ref: str,
        *,
        store: str | None = None,
        first: bool = False,
        strict: bool = False,
        platform: str | None = None,
        cwd: str = "/",
    ) -> Outcome:
        """Return one answer, or the exit status that says why there is none."""
        names = [each.name for each in self.stores]
        names = names if store is None else [store] if store in names else [n for n in names if fnmatchcase(n, store)]
        try:
            hits, choice, fallback = self._ask(ref, cwd, self.read())
        except Malformed:
            return Outcome(2)
        if store is not None and not names:
            return Outcome(2)
        hits = [hit for hit in hits if hit[0].store.name in names and not (strict and fallback)]
        answering = list(dict.fromkeys(entry.store for entry, _ in hits))
        if choice == "first":
            hits = [next(hit for hit in hits if hit[0].store == each) for each in answering]
        if choice == "entries" and len(hits) > 1:
            return Outcome(3, candidates=frozenset(digest for _, digests in hits for digest in digests))
        if platform is not None:
            hits = [(entry, answers) for entry, digests in hits if (answers := self._for(platform, entry, digests))]
            answering = list(dict.fromkeys(entry.store for entry, _ in hits))
        if first and answering:
            hits = [hit for hit in hits if hit[0].store == answering[0]]
        candidates = sorted({digest for _, digests in hits for digest in digests})
        if not hits:
            return Outcome(1)
        if len(candidates) > 1:
            return Outcome(3, candidates=frozenset(candidates))
        return Outcome(0, candidates[0], answering[0].name, frozenset(candidates), fallback)

    def _for(self, platform: str, entry: Entry, digests: set[str]) -> set[str]:
        """Return the answers of an entry for a platform."""
        answers = (for_platform(digest, platform, entry.store.path, self._paths()) for digest in digests)
        return {answer for answer in answers if answer}

    def _paths(self) -> list[str]:
        return [store.path for store in self.stores]

    def _ask(self, ref: str, cwd: str, scans: Sequence[Scan]) -> Answer:
        """Answer a question, trying in turn: a scheme, a leading `:`, digests, names, patterns."""
        for scheme, form in (("oci-layout://", self._layout), ("ocidir://", self._ocidir), ("oci:", self._oci)):
            if ref.startswith(scheme):
                return form(ref.removeprefix(scheme), cwd, scans)
        if ref.startswith(":") and ref != ":" and not WILDCARD.search(ref):
            return Answer(own(collect(scans, by_tag(ref[1:], raw=("containerd", "ref")))), "digests")
        digest = f"sha256:{ref}" if HEX64.fullmatch(ref) else ref.removeprefix("@")
        if DIGEST.fullmatch(digest):
            return self._by_digest(scans, digest, lying=True)
        if re.fullmatch(r"(sha256|sha384|sha512):[0-9a-fA-F]+", digest):
            if not re.fullmatch(r"\w+:[0-9a-f]{6,}", digest):
                raise Malformed("a digest prefix has 6 lower-case hex digits or more")
            return self._by_digest(scans, digest, lying=True)._replace(choice="digests")
        name = parse(ref)
        if name and name.digest:
            return self._by_digest(scans, name.digest, by_name(name))
        if name:
            return Answer(own(collect(scans, by_name(name))))
        if WILDCARD.search(ref):
            return Answer(own(collect(scans, by_pattern(ref))), "digests")
        raise Malformed(f"{ref!r} is not a reference")

    def _layout(self, text: str, cwd: str, scans: Sequence[Scan]) -> Answer:
        """Answer STORE[/IMAGE][:TAG][@DIGEST], BuildKit's form."""
        text, tag, digest = split(text)
        scan, image = find_store(text, cwd, scans)
        name = parse(f"{image}:{tag}" if tag else image) if image else None
        if image and name is None:
            raise Malformed(f"{image!r} is not an image name")
        if digest:
            rank = by_name(name._replace(digest=digest)) if name else lambda _: ""
            return self._by_digest([scan], digest, rank, lying=True)
        hits = collect([scan], by_name(name) if name else by_tag(tag or "latest", raw=("1 of Get", "2 of Get")))
        fallback = not hits and not name and scan.elements == 1
        return Answer(own(scan.entries if fallback else hits), fallback=fallback)

    def _ocidir(self, text: str, cwd: str, scans: Sequence[Scan]) -> Answer:
        """Answer PATH[:TAG][@DIGEST], regctl's form."""
        path, tag, digest = split(text)
        scan, tag = store_at(path, cwd, scans), tag or "latest"
        if digest:
            return self._by_digest([scan], digest, lying=True)
        exact = [entry for entry in scan.entries if entry.ref_name == tag]
        ending = [entry for entry in scan.entries if (entry.ref_name or "").endswith(f":{tag}")]
        return Answer(own((exact + ending)[:1]))

    def _oci(self, text: str, cwd: str, scans: Sequence[Scan]) -> Answer:
        """Answer PATH[:REF], skopeo's form."""
        path, _, ref = text.partition(":")
        scan = store_at(path, cwd, scans)
        if ref.startswith("@"):
            if not re.fullmatch("[0-9]+", ref[1:]):
                raise Malformed(f"{ref!r} counts to no entry")
            return Answer(own([entry for entry in scan.entries if entry.position == int(ref[1:])]))
        named = [entry for entry in scan.entries if entry.ref_name == ref and entry.media_type in IMAGES][:1]
        return Answer(own(named)) if ref else Answer(own(scan.entries), "entries")

    def _by_digest(
        self, scans: Sequence[Scan], prefix: str, rank: Rank = lambda _: "", *, lying: bool = False
    ) -> Answer:
        """Return the entries that have or reach a digest with this prefix, which may be a whole digest.

        With `lying`, include the manifests that no entry of their store reaches.
        """
        hits = []
        for entry in collect(scans, rank):
            all_ = reached(entry, self._paths()) if self.below else {entry.digest}
            digests = {each for each in all_ if each.startswith(prefix)}
            hits += [(entry, digests)] if digests else []
        for scan in scans if lying and self.below else ():
            hits += [(entry, {entry.digest}) for entry in self._lying(scan) if entry.digest.startswith(prefix)]
        return Answer(hits)

    def _lying(self, scan: Scan) -> list[Entry]:
        """Return the manifests and indexes of a store that none of its entries reaches, as entries without names."""
        listed = set().union(*(reached(entry, self._paths()) for entry in scan.entries))
        found = []
        for file in sorted(glob.glob(f"{glob.escape(place(scan.store.path))}/blobs/*/*")):
            digest = ":".join(file.split("/")[-2:])
            document = blob(digest, scan.store.path, self._paths()) if SPEC_DIGEST.fullmatch(digest) else {}
            lists = [document.get("manifests"), document.get("layers")]
            config = document.get("config")
            is_manifest = any(isinstance(each, list) for each in lists) or (
                isinstance(config, dict) and spec_digest(config) is not None
            )
            if digest not in listed and is_manifest:
                found.append(
                    Entry(scan.store, -1, digest, None, None, as_text(document.get("mediaType")), None, {}, ())
                )
        return found
