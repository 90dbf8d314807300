"""Layouts with a text of any length in one field each: `FIELDS` writes one layout per field, `TEXTS` makes texts of a length."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import writers
from tests.content.layouts import digest_of, named
from tests.content.layouts import put as put_blob

Descriptor = dict[str, Any]
AMD64 = {"os": "linux", "architecture": "amd64"}


def _random(length: int) -> str:
    """A text that does not compress below the limits of an index."""
    return "".join(random.Random(length).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=length))


def _of(piece: str) -> Callable[[int], str]:
    return lambda length: (piece * (length // len(piece) + 1))[:length]


def _nested(brackets: str) -> Callable[[int], str]:
    """What `dump` writes as nested arrays or objects, without the quotes."""
    return lambda length: f"{brackets}{length // 2}"


TEXTS: dict[str, Callable[[int], str]] = {
    "letters": _random,
    "one letter": _of("a"),
    "names": _of("app:1,"),
    "directories": _of("a/"),
    "dots": _of("../"),
    "colons": _of(":"),
    "at": _of("app@sha256:"),
    "stars": _of("*a"),
    "escapes": _of("\x1b[31m\u202e\n"),
    "wide": _of("é\U0001f600"),
    "surrogates": _of("\ud800\udfff\ud800"),
    "zeros": _of("\0"),
    "quotes": _of("'\"\\<&"),
    "spaces": _of(" \t"),
    "arrays": _nested("[]"),
    "objects": _nested("{}"),
}
_NESTING = re.compile(rb'"(\[\]|\{\})([0-9]+)"')


def _written(found: re.Match[bytes]) -> bytes:
    deep = int(found[2])
    return b"[" * deep + b"]" * deep if found[1] == b"[]" else b'{"a":' * deep + b"1" + b"}" * deep


def dump(document: object) -> bytes:
    """JSON in which anything may be written, lone surrogates too."""
    return _NESTING.sub(_written, json.dumps(document).encode())


def put(path: str, document: object, media_type: str) -> Descriptor:
    return put_blob(path, None, media_type, data=dump(document))


def manifest(
    path: str, config: object, *layers: Descriptor, config_type: str = writers.CONFIG_TYPE, **more: object
) -> Descriptor:
    document = {"schemaVersion": 2, "mediaType": writers.MANIFEST_TYPE, "config": put(path, config, config_type)}
    return put(path, document | {"layers": list(layers)} | more, writers.MANIFEST_TYPE)


def index(path: str, *children: Descriptor, **more: object) -> Descriptor:
    return put(path, writers.empty_index(*children) | {"mediaType": writers.INDEX_TYPE} | more, writers.INDEX_TYPE)


def _entry(change: Callable[[str, Descriptor], Descriptor]) -> Callable[[str, str], None]:
    """A layout whose first entry has been changed; the second is as usual."""

    def make(path: str, text: str) -> None:
        writers.make_layout(path)
        image = manifest(path, AMD64)
        write(path, change(text, named(image, "app:1")), named(image, "app:2"))

    return make


def _image(change: Callable[[str, str], Descriptor]) -> Callable[[str, str], None]:
    """A layout with one entry, for what `change` puts there."""

    def make(path: str, text: str) -> None:
        writers.make_layout(path)
        write(path, named(change(path, text), "app:1"))

    return make


def write(path: str, *entries: Descriptor, **more: object) -> None:
    Path(f"{path}/index.json").write_bytes(dump(writers.empty_index(*entries) | more))


def _top(more: Callable[[str], Descriptor]) -> Callable[[str, str], None]:
    def make(path: str, text: str) -> None:
        writers.make_layout(path)
        write(path, **more(text))

    return make


def _file(name: str, content: Callable[[str], object]) -> Callable[[str, str], None]:
    def make(path: str, text: str) -> None:
        writers.make_layout(path)
        write(path, named(manifest(path, AMD64), "app:1"))
        Path(f"{path}/{name}").write_bytes(dump(content(text)))

    return make


def _layer(**more: object) -> Descriptor:
    return {"mediaType": writers.LAYER_TYPE, "digest": digest_of(b"layer"), "size": 5} | more


def _config(config: Callable[[str], Descriptor]) -> Callable[[str, str], None]:
    return _image(lambda path, text: manifest(path, AMD64 | config(text)))


FIELDS: dict[str, Callable[[str, str], None]] = {
    "media type": _entry(lambda text, d: d | {"mediaType": text}),
    "artifact type": _entry(lambda text, d: d | {"artifactType": text}),
    "digest": _entry(lambda text, d: d | {"digest": text}),
    "algorithm": _entry(lambda text, d: d | {"digest": f"{text}:{'0' * 64}"}),
    "digits": _entry(lambda text, d: d | {"digest": f"sha256:{text}"}),
    "size": _entry(lambda text, d: d | {"size": text}),
    "number": _entry(lambda text, d: d | {"size": int("9" * min(4000, len(text)))}),
    "data": _entry(lambda text, d: d | {"data": text}),
    "urls": _entry(lambda text, d: d | {"urls": [text]}),
    "unknown field": _entry(lambda text, d: d | {text: text}),
    "ref name": _entry(lambda text, d: named(d, text)),
    "containerd name": _entry(lambda text, d: named(d, "1", **{writers.IMAGE_NAME: text})),
    "annotation key": _entry(lambda text, d: named(d, **{text: "x"})),
    "annotation value": _entry(lambda text, d: named(d, k=text)),
    "annotation that is no text": _entry(lambda text, d: d | {"annotations": {"k": [text]}}),
    **{
        f"platform {part}": _entry(lambda text, d, part=part: d | {"platform": AMD64 | {part: text}})  # type: ignore[misc]
        for part in ("os", "architecture", "variant", "os.version")
    },
    "platform os.features": _entry(lambda text, d: d | {"platform": AMD64 | {"os.features": [text, text]}}),
    "index.json annotations": _top(lambda text: {"annotations": {text: text}}),
    "index.json media type": _top(lambda text: {"mediaType": text}),
    "index.json artifact type": _top(lambda text: {"artifactType": text}),
    "index.json field": _top(lambda text: {text: text}),
    "manifests": _top(lambda text: {"manifests": text}),
    "element of manifests": _top(lambda text: {"manifests": [text, text]}),
    "history": _entry(lambda text, d: named(d, **{"org.olareg.history": text})),
    "oci-layout version": _file("oci-layout", lambda text: {"imageLayoutVersion": text}),
    "oci-layout field": _file("oci-layout", lambda text: {text: 1, "imageLayoutVersion": "1.0.0"}),
    "oci-layout text": _file("oci-layout", lambda text: text),
    "config os": _config(lambda text: {"os": text}),
    "config architecture": _config(lambda text: {"architecture": text}),
    "config variant": _config(lambda text: {"variant": text}),
    "config created": _config(lambda text: {"created": text}),
    "label key": _config(lambda text: {"config": {"Labels": {text: "x"}}}),
    "label value": _config(lambda text: {"config": {"Labels": {"k": text}}}),
    "title": _config(lambda text: {"config": {"Labels": {"org.opencontainers.image.title": text}}}),
    "diff id": _config(lambda text: {"rootfs": {"type": "layers", "diff_ids": [text]}}),
    "config unknown field": _config(lambda text: {text: text}),
    "manifest media type": _image(lambda path, text: manifest(path, AMD64, mediaType=text)),
    "manifest artifact type": _image(lambda path, text: manifest(path, AMD64, artifactType=text)),
    "manifest annotation": _image(lambda path, text: manifest(path, AMD64, annotations={text: text})),
    "config media type": _image(lambda path, text: manifest(path, AMD64, config_type=text)),
    "layer media type": _image(lambda path, text: manifest(path, AMD64, _layer(mediaType=text))),
    "layer digest": _image(lambda path, text: manifest(path, AMD64, _layer(digest=text))),
    "layer annotation": _image(lambda path, text: manifest(path, AMD64, _layer(annotations={text: text}))),
    "layer url": _image(lambda path, text: manifest(path, AMD64, _layer(urls=[text]))),
    "subject digest": _image(lambda path, text: manifest(path, AMD64, subject=_layer(digest=text))),
    "subject media type": _image(lambda path, text: manifest(path, AMD64, subject=_layer(mediaType=text))),
    "child media type": _image(lambda path, text: index(path, manifest(path, AMD64) | {"mediaType": text})),
    "child digest": _image(lambda path, text: index(path, manifest(path, AMD64) | {"digest": text})),
    "child platform": _image(
        lambda path, text: index(path, manifest(path, AMD64) | {"platform": {"os": text, "architecture": text}})
    ),
    "child annotation": _image(lambda path, text: index(path, manifest(path, AMD64) | {"annotations": {text: text}})),
    "attestation": _image(
        lambda path, text: index(path, manifest(path, AMD64) | {"annotations": {"vnd.docker.reference.digest": text}})
    ),
    "index artifact type": _image(lambda path, text: index(path, manifest(path, AMD64), artifactType=text)),
    "no JSON": _image(lambda path, text: put(path, text, writers.MANIFEST_TYPE)),
    "list": _image(lambda path, text: put(path, [text] * 3, writers.MANIFEST_TYPE)),
}


def make(directory: str, text: str, fields: list[str] | None = None) -> None:
    """Write a layout per field below `directory`, each with `text` in its field."""
    for name in FIELDS if fields is None else fields:
        FIELDS[name](os.path.join(directory, name.replace(" ", "-")), text)
