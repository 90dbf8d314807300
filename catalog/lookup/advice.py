"""Advice for a question that has no answer, or several. Loaded only when it is needed."""

from __future__ import annotations

from itertools import islice

from catalog.errors import Ambiguous, InvalidReference, UnknownStore
from catalog.names import query as kinds
from catalog.names.digest import HEX_LENGTHS, is_docker_digest
from catalog.names.escape import shown
from catalog.names.limits import MAX_NAMES
from catalog.names.pattern import upper_bound
from catalog.names.query import PREFIX_DIGITS
from catalog.names.reference import is_tag, repository_name, split_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.engine.interface import Reader
    from catalog.lookup.match import Match
    from catalog.lookup.stores import NamedStore
    from catalog.names.query import Query

_MOST_NAMED = 5
"""How many tags of a repository a hint names, and how many digests with the same beginning it examines."""
_MOST_PINNED = 10_000
"""How many pinned names are examined for a hint."""
_MOST_STORES = 1_000
"""How many stores are examined to find one below a directory."""
_MOST_ROOTS = 20
"""How many roots are tried to find a store whose name was written without the name of its root."""
_MOST_REPOSITORIES = 100
"""How many repositories with the same beginning are compared with a mistyped repository."""
_FILES_OF_LAYOUT = ("/index.json", "/oci-layout", "/blobs")


def tag_hint(reader: Reader, text: str) -> str:
    """Return advice for a user who wrote a tag instead of a name; empty if no entry has that tag."""
    if not is_tag(text):
        return ""
    row = reader.row("COUNT_TAG", {"tag": text})
    count = row[0] if row else 0
    if not count:
        return ""
    many = "1 entry has" if count == 1 else f"{count}{'+' if count >= 1000 else ''} entries have"
    return f"{many} the tag {text}: ask for ':{text}'"


def before_all(reader: Reader) -> str:
    """Return a note about when the catalog's history begins if the question is about an earlier time; else an empty string."""
    if reader.past is None or reader.past.numbers is not None:
        return ""
    from catalog.names.moment import rfc3339

    began = reader.past.began()
    return "" if began is None else f"the history of this catalog begins at {rfc3339(began)}"


def beginning(reader: Reader) -> str:
    """Return advice on how to begin if the catalog has no stores; else an empty string."""
    if reader.row("STORE_NAMES", {}) is not None:
        return ""
    return "the catalog has no stores yet: 'ocicat add PATH' adds a layout, or a directory of layouts"


def last_hint(reader: Reader, text: str) -> str:
    """Return advice for a reference that resembles nothing in the catalog."""
    if hint := beginning(reader):
        return hint
    last = text.partition("@")[0].rpartition("/")[2]
    word = last.partition(":")[0] or last[1:]
    finding = (
        f"'ocicat find {word}' looks for parts of names, " if is_tag(word) else ""
    )  # a tag has no wildcards and no control characters
    return f"{finding}'ocicat index' reads what has changed, 'ocicat add PATH' adds more layouts"


def name_hint(reader: Reader, query: Query) -> str:
    """Return advice for a user who asked for a name that no entry has; empty if there is no advice."""
    return (
        digest_hint(reader, query.text)
        or layout_hint(reader, query.text)
        or tags_hint(reader, query)
        or ending_hint(reader, query.text)
        or tag_hint(reader, query.text)
        or repository_hint(reader, query)
    )


def malformed_hint(reader: Reader, text: str) -> str:
    """Return advice for a user who wrote something that is not a reference; empty if there is no advice.

    If it is a valid tag, the advice says how to ask for a tag (docs/resolution.md).
    """
    hint = digest_hint(reader, text) or layout_hint(reader, text) or directory_hint(reader, text)
    if hint or not is_tag(text):
        return hint
    return tag_hint(reader, text) or f"to ask for a tag, write ':{text}'"


def digest_hint(reader: Reader, text: str, *, command: str = "") -> str:
    """Return advice for a user who wrote a digest, or the beginning of one, without its algorithm; empty if no known digest begins so.

    `command` is the command to write before the digest of a manifest; empty if the command that the user ran also takes a digest.
    """
    digits = text.removeprefix("@").lower().rstrip("….")
    if len(digits) < PREFIX_DIGITS or digits.strip("0123456789abcdef"):
        return ""
    for algorithm in HEX_LENGTHS:
        low = f"{algorithm}:{digits}"
        row = reader.row("NEXT_DIGEST", {"low": low, "high": upper_bound(low)})
        if row is not None:
            is_manifest = reader.row("IS_MANIFEST", {"digest": row[0]}) is not None
            asked = command if is_manifest else "ocicat query --contains "
            what = "a digest" if is_docker_digest(low) else "the beginning of a digest"
            return f"it is {what}: ask for '{asked}{low}'"
    return ""


def layout_hint(reader: Reader, text: str) -> str:
    """Return advice for a user who wrote the name or path of a store instead of an image, or the path of a layout that is not registered.

    Empty if the text is neither.
    """
    from catalog.lookup.find import find
    from catalog.lookup.stores import named_place, place_of

    for file in _FILES_OF_LAYOUT:
        text = text.removesuffix(file)
    try:
        query = kinds.parse_query(f"oci-layout://{text}")
        name = query.place or ""
        place = place_of(reader, query) if name[:1] in ("/", ".") else named_place(reader, query, name)
    except InvalidReference:
        return ""
    except UnknownStore as error:
        return str(error) if error.is_layout else ""
    if place is None:
        return ""
    is_said = query.tag is not None or query.digest is not None or place.image is not None
    if is_said and any(not match.fallback for match in islice(find(reader, query, place, None), 1)):
        return f"the store {shown(place.name)} has it: ask for '{shown(query.text)}'"
    if place.image is not None:
        return ""
    return f"{shown(place.name)} is a store: 'ocicat query --store {shown(place.name)}' lists its entries"


def ending_hint(reader: Reader, text: str) -> str:
    """Return advice for a user who wrote the name of a store without the name of its root, such as `images` for `srv/images`.

    Returns an empty string if there is no such store, or several. At most _MOST_ROOTS roots are tried, with two searches each.
    """
    from catalog.lookup.find import find
    from catalog.lookup.stores import named_place

    query = kinds.parse_query(f"oci-layout://{text}")
    name = query.place or ""
    ending, low = [], ""
    for _ in range(_MOST_ROOTS):
        row = reader.row("NEXT_ROOT", {"low": low, "high": "\U0010ffff"})
        if row is None:
            break
        if reader.row("STORE_BY_NAME_OR_PATH", {"store_name": f"{row[0]}/{name}", "path": None}) is not None:
            ending.append(f"{row[0]}/{name}")
        low = f"{row[0]}\x01"
    if len(ending) != 1:
        return ""
    better = kinds.parse_query(f"oci-layout://{ending[0]}{query.text.removeprefix(f'oci-layout://{name}')}")
    place = named_place(reader, better, ending[0])
    is_said = query.tag is not None or query.digest is not None
    if is_said and any(not match.fallback for match in islice(find(reader, better, place, None), 1)):
        return f"the store {shown(ending[0])} has it: ask for '{shown(better.text)}'"
    return f"there is a store {shown(ending[0])}: 'ocicat query --store {shown(ending[0])}' lists its entries"


def directory_hint(reader: Reader, text: str) -> str:
    """Return advice for a user who wrote the path of a directory; empty if the text is not the path of one."""
    import os

    from catalog.names.paths import encode_path

    if text[:1] not in ("/", ".") or "\0" in text or not os.path.isdir(text):
        return ""
    above = f"{encode_path(os.path.abspath(text))[0].rstrip('/')}/"
    for row in islice(reader.rows("STORES", {}), _MOST_STORES):
        if row[2].startswith(above):
            before, below, _ = row[1].rpartition(f"/{row[2].removeprefix(above)}")
            asked = f'query --store "{shown(before)}/*"' if below else "stores"
            return f"stores are below it: 'ocicat {asked}' lists {'their entries' if below else 'them'}"
    return f"'ocicat add {shown(text)}' adds the layouts in it"


def repository_hint(reader: Reader, query: Query) -> str:
    """Return a suggestion for the mistyped repository of a name; empty if no repository resembles it.

    Only repositories that begin in the same way are compared, so the cost does not grow with the catalog.
    """
    from catalog.names.nearest import nearest

    _, colon, tag = query.text.rpartition(":")
    is_tagged = bool(colon) and "/" not in tag
    repository = query.repository or ""
    for prefix in ("docker.io/library/", "docker.io/"):
        repository = repository.removeprefix(prefix)
    # A first component with capitals is a registry, so Acme/tool is not acme/tool.
    above, slash, last = repository.lower().rpartition("/")
    for begun in (2, 1):
        beginning = f"{above}{slash}{last[:begun]}"
        between = {"low": beginning, "high": upper_bound(beginning)}
        known = islice(reader.rows("FAMILIARS", between), _MOST_REPOSITORIES)
        found = nearest(repository, [row[0] for row in known])
        if found is None:
            continue
        parts = split_reference(found)
        name = "" if parts is None else f"{repository_name(parts[0], parts[1])}:{tag if is_tagged else 'latest'}"
        if reader.row("BY_NAME", {"name": name}) is not None:
            return f"did you mean '{shown(found)}{f':{tag}' if is_tagged else ''}'?"
        return f"did you mean '{shown(found)}'? See 'ocicat query --repository {shown(found)}'"
    return ""


def tags_hint(reader: Reader, query: Query) -> str:
    """Return advice that names the tags of the repository of a name, and how to list them; empty if it has no tags."""
    tags: list[str] = []
    while len(tags) <= _MOST_NAMED:
        row = reader.row("NEXT_TAG_OF", {"repository": query.repository, "low": tags[-1] if tags else ""})
        if row is None:
            break
        tags.append(row[0])
    if not tags:
        return ""
    head, colon, tag = query.text.rpartition(":")
    repository = shown(head if colon and "/" not in tag else query.text)
    more = " and more" if len(tags) > _MOST_NAMED else ""
    several = "s" if len(tags) > 1 else ""
    listed = ", ".join(map(shown, tags[:_MOST_NAMED]))
    return f"{repository} has the tag{several} {listed}{more}: see 'ocicat query --repository {repository}'"


def part_hint(reader: Reader, digest: str) -> str:
    """Return advice for a user who asked for a config (an image ID) or a layer, by digest or its beginning; empty if it is neither."""
    from catalog.lookup.content import containing, in_prefix

    is_whole = is_docker_digest(digest)
    digests = [digest] if is_whole else [found for found, _ in islice(in_prefix(reader, digest), _MOST_NAMED)]
    if all(next(containing(reader, each), None) is None for each in digests):
        return ""
    return f"it is a config or a layer of an image: run 'ocicat query --contains {digest}'"


def pinned_hint(reader: Reader, query: Query, place: NamedStore | None = None) -> str:
    """Return advice that names an entry with the requested name pinned to a digest other than its own; empty if there is none.

    Such a name is not a key (docs/resolution.md). crane and hauler write NAME:TAG@INDEX on the manifest of one platform.
    """
    image = None if place is None else place.image
    rows = [row for row in reader.rows("PINNED", {}) if place is None or row[0] == place.name]
    names = (
        (store, text, digest)
        for store, image_name, ref_name, digest in rows
        for text in (image_name or "", *(ref_name or "").split(",", MAX_NAMES)[:MAX_NAMES])
    )
    for store, text, digest in islice(names, _MOST_PINNED):
        base, _, pinned = text.rpartition("@")
        parts = split_reference(base)
        if parts is None or pinned == digest:
            continue
        domain, path, tag, _ = parts
        repository = repository_name(domain, path)
        is_asked = query.tag == (tag or "latest") if query.digest is None else query.digest == pinned
        if is_asked and repository == (query.repository or image or repository):
            return f"an entry of {shown(store)} has the name {shown(text)}, but is '@{digest}': ask for that"
    return ""


def ambiguous(query: Query, matches: list[Match], total: int, stores: int) -> Ambiguous:
    """Return the error for a reference with `total` candidates in `stores` stores. It lists `matches`, the first candidates."""
    lines = [f"{shown(m.store)}\t{shown(m.name or (':' + m.tag if m.tag else '-'))}\t{m.answered}" for m in matches]
    where = "1 store" if stores == 1 else f"{stores} stores"
    if query.kind == kinds.OCI:
        path = shown(query.text.rstrip(":"))
        advice = f"write {path}:REF, {path}:@N for entry N counted from 0, or oci-layout://STORE@DIGEST"
    else:
        advice = "give a digest, select stores with --store, or take the first store with --first"
    return Ambiguous(f"{shown(query.text)} is ambiguous: {total} candidates in {where}; {advice}", lines, total)
