"""Every parser, with inputs made to cost: each maker takes a number of parts. Long, because it is a list of all of them."""

from __future__ import annotations

import struct
import tempfile
import urllib.parse
from collections.abc import Callable

from catalog._version import __version__
from catalog.cli.answerer.protocol import PROTOCOL, NoRequest, Request, length_of
from catalog.cli.answerer.question import _check_words, _may_be_path
from catalog.cli.commands.sql import parameters_of
from catalog.cli.config import load
from catalog.cli.fitted import _pieces
from catalog.cli.formats import open_format
from catalog.cli.start import plain
from catalog.cli.table import _cut, _levelled, _wrapped
from catalog.cli.widths import first_of, short, width_of
from catalog.dockerfile.images import Build, read
from catalog.engine.location import catalog_path
from catalog.engine.open import Declined
from catalog.engine.postgres.connect import _reason, without_passwords
from catalog.engine.postgres.placeholders import named, names, positional
from catalog.errors import OcicatError
from catalog.layout.config import parse_config
from catalog.layout.descriptor import decode, string_map
from catalog.layout.files import IndexProblem
from catalog.layout.history import told_spans
from catalog.layout.index import read_index, read_marker
from catalog.layout.manifest import AmbiguousManifest, parse_manifest
from catalog.layout.mentions import mentions_digest
from catalog.lookup.changes import parsed
from catalog.lookup.filters import EntryFilters
from catalog.lookup.search import _quality
from catalog.names import age, escape, moment, paths
from catalog.names.digest import is_digest
from catalog.names.http_host import host_of, is_address, parse_address
from catalog.names.keys import Naming, derive_keys, remembered
from catalog.names.nearest import did_you_mean, nearest, nearest_option
from catalog.names.pattern import Glob, name_globs, upper_bound
from catalog.names.platform import Platform, platform_text, split
from catalog.names.query import parse_digest, parse_query
from catalog.names.reference import Reference
from catalog.reports.suggestions import suggestion
from catalog.serve.conditions import Unsatisfiable, is_held, part_of
from catalog.serve.distribution import _PATH, _link, _page
from catalog.serve.naming import asked_for, is_manifest_digest, registry_of
from catalog.serve.programs import _Asked
from catalog.watch.mounts import Mounts
from tests import writers

Make = Callable[[int], str]
Parse = Callable[[str], object]

DIGEST = f"sha256:{'0' * 64}"
_BUILD = Build(Platform.parse("linux/amd64"))


def repeated(piece: str, before: str = "", after: str = "") -> Make:
    """`piece` as often as is asked."""
    return lambda number: before + piece * number + after


def numbered(piece: str, before: str = "", after: str = "") -> Make:
    """`piece` with the numbers from 0 in place of its {}."""
    return lambda number: before + "".join(piece.replace("{}", str(each)) for each in range(number)) + after


PIECES = (
    "a", "A", "a/", "a.", "a-", "_", "-", ".", ":", "@", "a:", "a@", "/", "//", "../", "[", "]", "[:", "[a]", "*", "?", "a*", "*a",
    "?*", "*?", "[!", "[a-", "0", "é", "\udcff", "\0", "\x1b", "\U0010ffff", "%", "+", "(", "sha256:", "oci:", " ", ",", "a,", "'", '"', "$", "\\",
)  # fmt: skip
"""What texts are made of: each is repeated, alone, behind a name, and behind each scheme."""

_TEXTS = {f"{piece!a} n times behind {start!r}": (piece, start) for piece in PIECES for start in ("", "a/b")}
TEXTS: dict[str, Make] = {name: repeated(piece, start) for name, (piece, start) in _TEXTS.items()}
QUERIES: dict[str, Make] = TEXTS | {
    f"{piece!a} n times behind {start}": repeated(piece, start)
    for piece in PIECES
    for start in (":", "@", "oci-layout://", "oci-layout:///", "oci:", "ocidir://", "sha256:", "alpine@sha256:", "[::1]:5000/")
}  # fmt: skip

LISTS: dict[str, Make] = {
    "tags": numbered("t{},"),
    "one tag": repeated("t,"),
    "names": numbered("a{}/b:t,"),
    "names of one tag": numbered("a{}/b,"),
    "tags and names of one tag": lambda number: numbered("a{}/b:t,")(number) + "t," * number,
    "garbage": numbered("+{}!,"),
    "pinned": numbered(f"a{{}}@{DIGEST},"),
    "pinned elsewhere": numbered(f"a{{}}@sha256:{'1' * 64},"),
    "commas": repeated(","),
}


def _matching(text: str) -> None:
    """Every glob of a pattern against texts that nearly match it, as long as a name may be, and as the pattern is."""
    for glob in (Glob(text), *name_globs(text)):
        glob.bounds()
        for other in ("a" * 1000 + "b", "ab/" * 300, text[:1000]):
            glob.matches(other)


PATTERNS: dict[str, Make] = {
    **{f"{piece!a} n times": repeated(piece) for piece in PIECES},
    "a* and b": repeated("a*", after="b"),
    "stars and b": repeated("*", after="b"),
    "question marks and *b": repeated("?", after="*b"),
    "one class": repeated("a-b", "[", "]*"),
    "classes": repeated("[!b]*"),
    "open brackets": repeated("[", after="*"),
}


def _dockerfile(text: str) -> None:
    read(text, _BUILD)


DOCKERFILES: dict[str, Make] = {
    "arguments": numbered("ARG A{}=$A\n", after="FROM a"),
    "one argument": repeated("ARG A=a$A\n", after="FROM a"),
    "a long word": repeated("${A:-a}", "ARG A=", "\nFROM a"),
    "quotes": repeated("''", "ARG A=", "\nFROM a"),
    "empty words": repeated("'' ", "ARG ", "\nFROM a"),
    "stages": numbered("FROM a AS s{}\n"),
    "images": numbered("COPY --from=i{} a b\n", "FROM a\n"),
    "one image": repeated("COPY --from=i a b\n", "FROM a\n"),
    "mounts": repeated(" --mount=from=i", "FROM a\nRUN", " x"),
    "a mount with many fields": repeated("a=b,", "FROM a\nRUN --mount=", "from=i x"),
    "flags": repeated("--x ", "FROM a\nCOPY "),
    "lines that go on": repeated("\\\n", "FROM a\nRUN ", "x"),
    "comments": repeated("# x\n", "FROM a\nRUN \\\n", "x"),
    "directives": repeated("# a=b\n", after="FROM a"),
    "heredocs": lambda number: "FROM a\nRUN" + " <<E" * number + "\n" + "E\n" * number,
    "quoted heredocs": lambda number: "FROM a\nRUN" + " <<''" * number + "\n" + "\n" * number,
    "brackets": repeated("[", "FROM a\nRUN "),
    "escapes": repeated("\\", "ARG A=", "\nFROM a"),
    "nested variables": lambda number: "ARG A=" + "${B:-" * number + "}" * number + "\nFROM a",
    "a trimmed value": lambda number: f"ARG A={'a' * number}\nARG B=${{A%a*b}}\nFROM a",
    "a replaced value": lambda number: f"ARG A={'a' * number}\nARG B=${{A//a/b}}\nFROM a",
    "a pattern that nearly fits": lambda number: f"ARG A={'a' * number}\nARG B=${{A//{'a' * (number // 2)}b/}}\nFROM a",
    "triggers and stages on them": lambda number: (
        "FROM a AS base\n"
        + "".join(f"ONBUILD COPY --from=i{each} a b\n" for each in range(number // 2))
        + "".join(f"FROM base AS s{each}\n" for each in range(number // 8))
        + "FROM a\n"
        + "".join(f"COPY --from=s{each} a b\n" for each in range(number // 8))
    ),
}


def _index(text: str) -> None:
    """As the index.json of a layout, and as a manifest, an index, a config, a descriptor, annotations and a history."""
    data = text.encode("utf-8", "surrogatepass")
    with tempfile.TemporaryDirectory() as directory:
        path = writers.make_layout(f"{directory}/layout")
        for name in ("index.json", "oci-layout"):
            with open(f"{path}/{name}", "wb") as file:
                file.write(data)
        try:
            with read_index(path) as content:
                for descriptor in content:
                    descriptor.fingerprint()
        except (IndexProblem, ValueError):
            pass
        finally:
            read_marker(path)
    for parse in (parse_manifest, parse_config, decode, told_spans, string_map):
        try:
            parse(data)
        except (AmbiguousManifest, ValueError):
            continue


_ENTRY = f'{{"digest":"{DIGEST}","size":1}}'
_SPAN = f'{{"time":"2026-01-01T00:00:00Z","descriptor":{_ENTRY}}}'
DOCUMENTS: dict[str, Make] = {
    "brackets": repeated("["),
    "braces": repeated('{"a":'),
    "nested": lambda number: '{"manifests":' + "[" * number + "]" * number + "}",
    "entries": repeated(f"{_ENTRY},", '{"manifests":[', f"{_ENTRY}]}}"),
    "entries that are none": repeated("1,", '{"manifests":[', "1]}"),
    "entries with odd names": repeated(f'{{"DIGEST":"{DIGEST}"}},', '{"manifests":[', f"{_ENTRY}]}}"),
    "entries with repeated fields": repeated(
        f'{{"digest":"{DIGEST}","digest":"{DIGEST}"}},', '{"manifests":[', f"{_ENTRY}]}}"
    ),
    "lists": repeated(f'"manifests":[{_ENTRY}],', "{", '"a":1}'),
    "lists in another case": repeated(f'"Manifests":[{_ENTRY}],', "{", '"a":1}'),
    "one long list again and again": lambda number: (
        '{"manifests":[' + ",".join([_ENTRY] * number) + "]" + ',"manifests":[null]' * number + "}"
    ),
    "annotations": numbered('"k{}":"v",', '{"annotations":{', '"a":"b"}}'),
    "annotations again and again": numbered('"annotations":{"k{}":"v"},', "{", '"a":1}'),
    "annotations that are none": numbered('"k{}":1,', f'{{"manifests":[{{"digest":"{DIGEST}","annotations":{{', '"a":1}}]}'),
    "an entry with many annotations": numbered(
        '"k{}":"v",', f'{{"manifests":[{{"digest":"{DIGEST}","annotations":{{', '"a":"b"}}]}'
    ),
    "an entry whose annotations are there again": numbered(
        '"annotations":{"k{}":"v"},', '{"manifests":[{', f'"digest":"{DIGEST}"}}]}}'
    ),
    "a long name": repeated("a,", f'{{"manifests":[{{"digest":"{DIGEST}","annotations":{{"{writers.REF_NAME}":"', '"}}]}'),
    "escapes": repeated("\\ud800", '{"annotations":{"a":"', '"}}'),
    "NULs": repeated("\\u0000", '{"annotations":{"a":"', '"}}'),
    "backslashes": repeated("\\\\", '{"annotations":{"a":"', '"}}'),
    "white space": repeated(" ", '{"manifests"', ":[]}"),
    "quotes": repeated('"digest" ', '{"manifests":[', "]}"),
    "digits": repeated("1", '{"manifests":[{"size":', "}]}"),
    "fields": numbered('"f{}":1,', "{", '"a":1}'),
    "features": numbered(
        '"f{}",', f'{{"manifests":[{{"digest":"{DIGEST}","platform":{{"os":"a","architecture":"b","os.features":[', '"a"]}}]}'
    ),
    "layers": repeated(f"{_ENTRY},", f'{{"config":{_ENTRY},"layers":[', f"{_ENTRY}]}}"),
    "layers that are none": repeated('{"digest":1},', f'{{"config":{_ENTRY},"layers":[', f"{_ENTRY}]}}"),
    "labels": numbered('"k{}":"v",', '{"os":"a","architecture":"b","config":{"Labels":{', '"a":"b"}}}'),
    "labels again and again": numbered('"Labels":{"k{}":"v"},', '{"os":"a","architecture":"b","config":{', '"a":1}}'),
    "a past of many tags": numbered(f'"t{{}}":[{_SPAN}],', "{", '"a":[]}'),
    "a past of one tag": repeated(f"{_SPAN},", '{"t":[', f"{_SPAN}]}}"),
}  # fmt: skip


def _configuration(text: str) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".toml", errors="surrogatepass") as file:
        file.write(text)
        file.flush()
        load(file.name)


CONFIGURATIONS: dict[str, Make] = {
    "a long key": repeated("a", "[watch]\n", "=1"),
    "a long section": repeated("a", "[", "]\nb=1"),
    "keys": numbered("a{}=1\n", "[watch]\n"),
    "dotted keys": repeated("a.", after="a=1"),
    "lists": repeated("[", "a="),
    "stores": numbered('[[stores]]\npath="/{}"\n'),
    "stores that are none": repeated("1,", "stores=[", "]"),
    "a long path": repeated("/a/..", '[[stores]]\npath="', '"'),
    "a long prefix": repeated("a/", '[[roots]]\npath="/a"\nnaming="path"\nprefix="', '"'),
    "a long policy": repeated("a/", '[[roots]]\npath="/a"\nnaming="fixed=', '"'),
    "a long name": repeated("a/", '[[roots]]\npath="/a"\nname="', 'a"'),
    "digits": repeated("9", "[watch]\nsettle_ms="),
    "an address": repeated(":9", '[watch]\nmetrics="', '"'),
}


def _platform(text: str) -> None:
    for parse in (Platform.parse, split):
        try:
            parse(text)
        except ValueError:
            continue
    platform_text(text, text, text, text, text.split(","))
    platform_text("a", "b", features=text)


def _naming(text: str) -> None:
    for naming in (Naming("path"), Naming("path:tag")):
        naming.repository(text, None)
        naming.unnamed(text, "example.com")
    Naming.parse(f"fixed={text}")


def _keys(ref_name: str, image_name: str | None, repository: str | None) -> None:
    remembered.cache_clear()  # What is remembered from the time before would make the small input cheap, and not the large one.
    derive_keys(ref_name, image_name, DIGEST, repository)


def _paths(text: str) -> None:
    for path in (text, f"/{text}"):
        paths.encode_path(path)
        if "\0" not in path:
            paths.registered_as(path)
            paths.prefixes_registered_as(path)
            paths.derived_name(path, "/", "root")
    paths.checked_name(text)


def _address(text: str) -> None:
    """As a Host header, an address to listen at, and what follows an address of `serve` and of `browse`."""
    # Not at the top: it loads datasette, which takes each process of the tests half a second, and one of them needs it.
    from catalog.browse.server import ADDRESSES

    is_address(host_of(text))
    for path in (text, f"/v2/{text}/manifests/{text}", f"/v2/{text}/tags/list"):
        _PATH.fullmatch(path)
        ADDRESSES.fullmatch(path)
    parse_address(text, 1)


def _header(text: str) -> None:
    """As the conditions and the range that a client of `serve` asks for."""
    value = text.encode("utf-8", "surrogatepass")
    names = (b"if-none-match", b"range", b"if-range")
    for sent in ([(name, value) for name in names], [(names[1], b"bytes=" + value)], [(names[0], value)] * 3):
        scope = {"type": "http", "method": "GET", "headers": sent}
        is_held(scope, b'"a"')
        try:
            part_of(scope, 1000, b'"a"')
        except Unsatisfiable:
            continue


def _statement(text: str) -> None:
    """As SQL for a server, whose parameters are named otherwise."""
    for rewrite in (named, positional):
        rewrite.__wrapped__(text)
    names(text)


def _each(text: str, *parse: Parse) -> None:
    """Whatever one of them refuses, the others are asked too."""
    for one in parse:
        try:
            one(text)
        except (OcicatError, Unsatisfiable, NoRequest, Declined):
            continue


def _database(text: str) -> None:
    """As `--db`, as what follows the scheme of a URL, and as what a server says of that."""
    url = f"postgresql+psycopg://{text}"
    _each(text, catalog_path, lambda each: catalog_path(f"postgresql://{each}"), without_passwords)
    without_passwords(url)
    _reason(ValueError(text), url)


def _request(text: str) -> None:
    """As the path, the name, the reference and the parameters of a request to `serve`."""
    text = text.encode("utf-8", "replace").decode()  # a server replaces what is not UTF-8
    named = lambda each: asked_for(each, None)  # noqa: E731 - one of several
    _each(text, named, lambda each: asked_for("a", each), is_manifest_digest, registry_of)
    _PATH.fullmatch(f"/v2/{text}/manifests/{text}")
    parameters = urllib.parse.parse_qs(text, keep_blank_values=True)
    _each(text, lambda _: _page(parameters), lambda each: _page({"n": [each]}))
    _link(f"/v2/{urllib.parse.quote(text, safe='/:')}/tags/list", parameters, 1, text)
    for name in ("resolve", "query", "history"):
        asked = {"ref": [text], "label": [text], "limit": [text], "since": [text], "platform": [text]}
        _each(text, lambda _, name=name: _Asked(name, parameters))  # type: ignore[misc]
        _each(text, lambda _, name=name, asked=asked: _filtered(_Asked(name, asked)))  # type: ignore[misc]


def _filtered(asked: _Asked) -> None:
    asked.filters()
    asked.limit()


def _launched(text: str) -> None:
    """As the fields of a request to an answerer, as its bytes, and as the words of its command line."""
    data = text.encode("utf-8", "surrogatepass")
    field = data.replace(b"\0", b"") or b"a"
    fields = [
        PROTOCOL.encode(),
        __version__.encode(),
        b"1",
        b"80",
        b"/db",
        b"1:1",
        b"/",
        b"1:1",
        b"mnt",
        b"1",
        field,
        b"A=" + field,
    ]
    for sent in (
        data,
        b"\0".join([*fields, b""]),
        b"\0".join([*fields[:9], str(len(text)).encode(), *[b"a"] * len(text), b""]),
    ):
        _each("", lambda _, sent=sent: Request(sent))  # type: ignore[misc]
    _each("", lambda _: length_of(struct.pack("=I", len(data) % (1 << 16)) + data))
    for words in (["resolve", text], ["query", *text], ["query", "--timeout", text]):
        _each("", lambda _, words=words: _check_words(words))  # type: ignore[misc]
    _may_be_path(text)
    plain(["query", *text])
    plain(["query", f"--limit={text}", f"--timeout={text}", text])


def _printed(text: str) -> None:
    """As a cell of a table on a terminal, as a message there, and as the widths of many columns."""
    shown = escape.escape(text)
    for width in (8, 80):
        _wrapped(_cut(shown, width), width)
        _wrapped(shown, width)
        list(_pieces(shown, width))
        first_of(shown, width)
    width_of(short(shown))
    _levelled([width_of(shown)] * 3, 80)
    escape.csv_text(text)


def _parameters(text: str) -> None:
    """As `-p` of a report, and as the message of an engine about a wrong statement."""
    _each(text, lambda each: parameters_of((each, f"{each}=", f"a={each}")))
    names = tuple(f"a{number}=" for number in range(len(text)))
    _each(text, lambda _: parameters_of(names))
    for message in (
        f"no such column: {text}",
        f'relation "{text}" does not exist',
        f"column {text}.{text} does not exist",
        text,
    ):
        suggestion(message, text)


def _template(text: str) -> None:
    columns = ("digest", "store", "name")
    for written in (text, f"{{{text}}}", f"{{digest}}{text}"):
        _each(written, lambda each: open_format(each, columns, columns))


def _wanted(text: str) -> None:
    """As the values of filters, and as a word to find in names as long as names may be."""
    for option in ("labels", "annotations"):
        _each(text, lambda each, option=option: EntryFilters(**{option: (each, f"a={each}")}))  # type: ignore[misc,arg-type]
    for option in ("tag", "digest", "repository", "media_type", "platform", "artifact_type", "contains", "since"):
        _each(text, lambda each, option=option: EntryFilters(**{option: each}))  # type: ignore[misc]
    for name in (text[:1500], "a" * 1500):
        _quality(text[:700] or "a", name)


def _suggested(text: str) -> None:
    """Of many words that are nearly the mistyped one, all as long as a name of a store."""
    near(text[:1000], [f"{text[number:1000]}{number}" for number in range(20)])


def near(text: str, known: list[str]) -> None:
    nearest(text, known)
    nearest_option(f"--{text}", [f"--{each}" for each in known])
    did_you_mean(text, known)


HEADERS: dict[str, Make] = TEXTS | {
    "entity tags": numbered('"{}",'),
    "weak entity tags": repeated('W/"a",'),
    "ranges": numbered("{}-,", "bytes="),
    "digits": repeated("9", "bytes="),
}
STATEMENTS: dict[str, Make] = TEXTS | {
    "literals": repeated("'a' "),
    "quotes within a literal": repeated("''", "'"),
    "dollar quotes": numbered("$a{}$ "),
    "beginnings of a comment": repeated("/*"),
    "stars in a comment": repeated("*", "/*"),
    "parameters": numbered(":a{} "),
}
CURSORS: dict[str, Make] = TEXTS | {
    "hosts": numbered("{}.1.1-", after="1.1.1"),
    "one host": repeated("1.1.1-", after="1.1.1"),
    "numbers": repeated("1.", after="1"),
}
DATABASES: dict[str, Make] = TEXTS | {
    "colons on many lines": repeated(":\n"),
    "colons and a question": repeated(":", after="?@"),
    "ports": numbered(":{},"),
    "options": numbered("&a{}=b", "h/d?a=b"),
    "passwords": repeated("&password=a", "h/d?a=b"),
    "escaped options": repeated("&%70assword=%41", "h/d?a=b"),
    "logins": repeated("a:b@"),
    "words": numbered(" a{}=b"),
    "schemes": repeated("postgresql:"),
}
REQUESTS: dict[str, Make] = TEXTS | {
    "parts": repeated("manifests/"),
    "parts of two kinds": repeated("tags/list/manifests/"),
    "parameters": numbered("&a{}=b", "n=1"),
    "one parameter": repeated("&ref=a", "ref=a"),
    "blank parameters": repeated("&"),
    "escapes": repeated("%41"),
    "escapes that are none": repeated("%"),
}
PRINTED: dict[str, Make] = TEXTS | {
    "words": repeated("word "),
    "wide words": repeated("語 "),
    "wide letters": repeated("語"),
    "marks without width": repeated("\u0301", "a"),
    "quoted words": repeated("'a b' "),
    "blanks before a letter": repeated(" ", after="a"),
}
TEMPLATES: dict[str, Make] = TEXTS | {
    "fields": repeated("{digest}"),
    "fields that are none": numbered("{f{}}"),
    "a long field": repeated("a", "{", "}"),
    "braces of Go": repeated("{{"),
    "actions of Go": repeated("{{", after=f"{'a' * 300} .Name}}}}"),
    "closed braces of Go": repeated("{{a}}"),
    "ends of actions": repeated("}}"),
    "escapes": repeated("\\t"),
}
MOUNTS: dict[str, Make] = TEXTS | {
    "mounts": numbered("36 35 98:0 / /p{} rw - ext4 /dev/sda rw\n"),
    "optional fields": repeated("shared:1 ", "36 35 98:0 / /p rw ", "- ext4 /dev/sda rw"),
    "no dash": repeated("shared:1 ", "36 35 98:0 / /p rw "),
    "escapes": repeated("\\040", "36 35 98:0 / /p", " rw - ext4 /dev/sda rw"),
}
MENTIONS: dict[str, Make] = TEXTS | {
    "beginnings of a digest": repeated("sha256:"),
    "digests that are too short": repeated(f"sha256:{'0' * 63} "),
    "escapes": repeated("\\u0061"),
}


PARSERS: dict[str, tuple[Parse, dict[str, Make]]] = {
    "a reference": (Reference.parse, TEXTS),
    "a query": (parse_query, QUERIES),
    "a digest": (lambda text: (is_digest(text), is_digest(f"{text}:a"), is_digest(f"a:{text}"), parse_digest(text)), TEXTS),
    "a pattern": (_matching, PATTERNS),
    "the end of a range": (upper_bound, TEXTS),
    "names of an entry": (lambda text: _keys(text, text, None), TEXTS | LISTS),
    "names under a policy": (lambda text: _keys(text, None, "a/b"), LISTS),
    "a naming policy": (_naming, TEXTS),
    "a platform": (_platform, TEXTS),
    "a moment": (lambda text: (moment.milliseconds(text), moment.parse_moment(text, 0)), TEXTS),
    "an age": (lambda text: moment.parse_moment(f"{text}d", 0), TEXTS),
    "seconds": (lambda text: moment.parse_moment(f"@{text}", 0), TEXTS),
    "a path": (_paths, TEXTS),
    "a message": (lambda text: (escape.escape(text), escape.shown(text)), TEXTS),
    "a Dockerfile": (_dockerfile, DOCKERFILES),
    "a document": (_index, DOCUMENTS),
    "a configuration": (_configuration, CONFIGURATIONS),
    "an address of a server": (_address, TEXTS),
    "a header": (_header, HEADERS),
    "a statement for a server": (_statement, STATEMENTS),
    "a cursor": (parsed, CURSORS),
    "an age of an option": (lambda text: age.milliseconds(text, "--older-than"), TEXTS),
    "a mistyped word": (lambda text: (nearest(text[:100], PIECES), did_you_mean(text, PIECES)), TEXTS),
    "a blob that may mention digests": (
        lambda text: mentions_digest(text.encode("utf-8", "surrogatepass")), MENTIONS
    ),
    "a place of a database": (_database, DATABASES),
    "a request": (_request, REQUESTS),
    "a question of a launcher": (_launched, TEXTS),
    "a text for a terminal": (_printed, PRINTED),
    "a parameter of a report": (_parameters, TEXTS),
    "a template": (_template, TEMPLATES),
    "a filter": (_wanted, TEXTS),
    "a name that is nearly another": (_suggested, TEXTS),
    "the mounts of a process": (Mounts, MOUNTS),
}  # fmt: skip
"""By what they read: how, and of what."""
