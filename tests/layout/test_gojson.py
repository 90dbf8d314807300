"""Documents that Go reads differently from other programs. The expected results are from go 1.27, encoding/json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from catalog.layout.config import parse_config
from catalog.layout.gojson import INDEX, rewrite
from catalog.layout.index import ListLimits, read_index
from catalog.layout.manifest import AmbiguousManifest, parse_manifest
from tests.oracle import as_go

TABLE: list[tuple[str, str]] = [
    ('{"manifests":[{"digest":"a"}],"Manifests":[{"digest":"b"}]}', '{"manifests":[{"digest":"b"}]}'),
    ('{"Manifests":[{"Digest":"a","SIZE":3}]}', '{"manifests":[{"digest":"a","size":3}]}'),
    (
        '{"manifests":[{"digest":"a","size":1},{"digest":"b"}],"manifests":[{"size":2}]}',
        '{"manifests":[{"digest":"a","size":2}]}',
    ),
    (
        '{"manifests":[{"digest":"a","size":1},{"digest":"b"}],"manifests":[{"size":2}],"manifests":[{},{},{}]}',
        '{"manifests":[{"digest":"a","size":2},{"digest":"b"},{}]}',
    ),
    ('{"manifests":[{"digest":"a"}],"manifests":[]}', '{"manifests":[]}'),
    ('{"manifests":[{"digest":"a"}],"manifests":[],"manifests":[{}]}', '{"manifests":[{}]}'),
    ('{"manifests":[{"digest":"a"}],"manifests":null}', '{"manifests":null}'),
    ('{"manifests":[{"digest":"a"}],"manifests":null,"manifests":[{}]}', '{"manifests":[{}]}'),
    ('{"manifests":[{"digest":"a"}],"manifests":[null]}', '{"manifests":[{"digest":"a"}]}'),
    ('{"manifests":[{"digest":"a","digest":null}]}', '{"manifests":[{"digest":"a"}]}'),
    ('{"manifests":[{"digest":"a","digest":"b"}]}', '{"manifests":[{"digest":"b"}]}'),
    (
        '{"manifests":[{"digest":"a","annotations":{"x":"1","y":"2"},"Annotations":{"x":"3","X":"4"}}]}',
        '{"manifests":[{"digest":"a","annotations":{"X":"4","x":"3","y":"2"}}]}',
    ),
    ('{"manifests":[{"digest":"a","annotations":{"x":"1"},"Annotations":null}]}', '{"manifests":[{"digest":"a"}]}'),
    (
        '{"manifests":[{"digest":"a","annotations":{"x":"1"},"annotations":null,"annotations":{"y":"2"}}]}',
        '{"manifests":[{"digest":"a","annotations":{"y":"2"}}]}',
    ),
    (
        '{"manifests":[{"digest":"a","annotations":{"x":"1","x":"2"}}]}',
        '{"manifests":[{"digest":"a","annotations":{"x":"2"}}]}',
    ),
    (
        '{"manifests":[{"digest":"a","platform":{"os":"linux","variant":"v7"},"Platform":{"OS":"windows"}}]}',
        '{"manifests":[{"digest":"a","platform":{"architecture":"","os":"windows","variant":"v7"}}]}',
    ),
    ('{"manifests":[{"digest":"a","platform":{"os":"linux"},"platform":null}]}', '{"manifests":[{"digest":"a"}]}'),
    (
        '{"manifests":[{"digest":"a","platform":{"os":"linux","o\u017f":"plan9"}}]}',
        '{"manifests":[{"digest":"a","platform":{"architecture":"","os":"plan9"}}]}',
    ),
    ('{"manifest\u017f":[{"digest":"a"}]}', '{"manifests":[{"digest":"a"}]}'),
    ('{"manifests":[{"dige\\u017ft":"a"}]}', '{"manifests":[{"digest":"a"}]}'),
    ('{"manifests":[{"\\u0064igest":"a"}]}', '{"manifests":[{"digest":"a"}]}'),
    ('{"manifests":[{"digest":"a","urls":["x","y"],"URLs":["z"]}]}', '{"manifests":[{"digest":"a","urls":["z"]}]}'),
    (
        '{"manifests":[{"digest":"a","mediatype":"m","mediaType":"n","MEDIATYPE":"o"}]}',
        '{"manifests":[{"mediaType":"o","digest":"a"}]}',
    ),
    ('{"annotations":{"a":"1"},"ANNOTATIONS":{"b":"2"}}', '{"manifests":null,"annotations":{"a":"1","b":"2"}}'),
    (
        '{"manifests":[{"digest":"a","annotations":{"k":"v"}}],"manifests":[{"digest":"b"}]}',
        '{"manifests":[{"digest":"b","annotations":{"k":"v"}}]}',
    ),
    (
        '{"manifests":[{"digest":"a","platform":{"os":"linux","os":""}}]}',
        '{"manifests":[{"digest":"a","platform":{"architecture":"","os":""}}]}',
    ),
    ('{"manifests":[{"D\u0130gest":"a","digest ":"b"}]}', '{"manifests":[{}]}'),
    ('{"manifests":[{"digest":"a","size":1,"Size":null}]}', '{"manifests":[{"digest":"a","size":1}]}'),
    ('{"manifests":[{"digest":"a"},{"digest":"b"}],"mAnIfEsTs":[{"digest":"c"}]}', '{"manifests":[{"digest":"c"}]}'),
    ('{"manifests":[{"digest":"a","artifacttype":"t"}]}', '{"manifests":[{"digest":"a","artifactType":"t"}]}'),
]
NOT_ODD = 3
"""How many documents of the table are not odd: a repeated key of a map, an escape, and names of no field."""


def _go(document: dict[str, Any]) -> dict[str, Any]:
    """Return the rewritten document as the Go program prints it: without empty values, except those that it keeps."""
    shown: dict[str, Any] = {"manifests": document.get("manifests")}
    if shown["manifests"] is not None:
        shown["manifests"] = [_descriptor(one) for one in shown["manifests"]]
    return shown | ({"annotations": document["annotations"]} if document.get("annotations") else {})


def _descriptor(found: dict[str, Any] | None) -> dict[str, Any]:
    names = ("mediaType", "digest", "size", "urls", "annotations", "platform", "artifactType")
    kept = {name: found[name] for name in names if found and found.get(name)}
    if found and found.get("platform") is not None:
        kept["platform"] = {"architecture": "", "os": "", **kept.get("platform", {})}
    return kept


@pytest.mark.parametrize(("document", "answer"), TABLE)
def test_a_document_is_read_as_in_go(document: str, answer: str) -> None:
    found = rewrite(document.encode(), INDEX)
    assert _go(json.loads(found[0] if found else document)) == json.loads(answer)


def test_a_document_that_all_programs_read_alike_is_not_odd() -> None:
    assert sum(rewrite(document.encode(), INDEX) is None for document, _ in TABLE) == NOT_ODD


ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64
ODD = [
    (f'{{"manifests":[{{"digest":"{ONE}","Digest":"{TWO}"}}]}}', {}),
    (f'{{"manifests":[{{"digest":"{ONE}"}}],"Manifests":[{{"digest":"{TWO}"}}]}}', {}),
    (f'{{"manifests":[{{"digest":"{ONE}","digest":"{TWO}"}}]}}', {}),
    (f'{{"manifests":[{{"dige\u017ft":"{TWO}"}}]}}', {}),
    (
        f'{{"manifests":[{{"digest":"{TWO}","annotations":{{"a":"1"}},"Annotations":{{"b":"2"}}}}]}}',
        {"a": "1", "b": "2"},
    ),
    (f'{{"manifests":[{{"digest":"{TWO}","annotations":{{"a":"1"}},"annotations":{{"a":"2"}}}}]}}', {"a": "2"}),
    (f'{{"ManifestS":[{{"DIGEST":"{TWO}"}}]}}', {}),
    *(
        (f'{{"manifests":[{{"digest":"{TWO}",{fields}}}]}}', {})
        for fields in (
            '"size":1,"size":2',
            '"mediaType":"a","mediaType":"b"',
            '"platform":{"os":"a"},"platform":{"architecture":"b"}',
            '"platform":{"os":"a","os":"b"}',
            '"urls":["a"],"urls":["b"]',
            f'"\\u0064igest":"{TWO}"',
        )
    ),
    # This has as many quotes as the descriptor encoded again.
    (f'{{"manifests":[{{"digest":"{TWO}","size":1,"size":2,"annotations":{{"a":"\\u0022\\u0022"}}}}]}}', {"a": '""'}),
]


@pytest.mark.parametrize(("document", "annotations"), ODD)
@pytest.mark.parametrize("way", ["at once", "in batches", "streamed"])
def test_an_odd_index_is_read_as_in_go_and_reported(
    tmp_path: Path, document: str, annotations: dict[str, str], way: str
) -> None:
    (tmp_path / "index.json").write_text(document, encoding="utf-8")
    limits = {
        "at once": ListLimits(),
        "in batches": ListLimits(descriptor_bytes=len(document) - 14),
        "streamed": ListLimits(in_memory_bytes=1),
    }
    content = read_index(str(tmp_path), limits[way])
    if way == "streamed" and '"Manifests":[' in document:
        return  # invalid: two lists in a file that is too large to keep in memory
    found = list(content)
    content.close()
    assert [one.digest for one in found] == [TWO]
    assert (found[0].annotations or {}) == annotations
    assert [(one.kind, one.subject) for one in content.skipped] == [("odd-json", "index.json")]


def test_manifests_and_configs_are_read_as_in_go() -> None:
    document = (
        f'{{"Config":{{"digest":"{ONE}"}},"layers":[{{"digest":"{ONE}","DIGEST":"{TWO}"}}],"annotations":{{"a":"1"}}'
    )
    manifest = parse_manifest((document + ',"annotations":{"A":"2"}}').encode())
    assert manifest is not None
    assert manifest.config is not None
    assert not manifest.flaws
    assert list(manifest.odd) == [
        "Config is read as config",
        "layers[0].DIGEST is read as digest",
        "annotations occurs more than once",
    ]
    assert (manifest.config.digest, [one.digest for one in manifest.layers]) == (ONE, [TWO])
    assert manifest.annotations == {"a": "1", "A": "2"}
    with pytest.raises(AmbiguousManifest):
        parse_manifest(f'{{"layers":[],"Manifests":[{{"digest":"{ONE}"}}]}}'.encode())
    config = parse_config(
        b'{"OS":"linux","architecture":"arm","architecture":"amd64","config":{"labels":{"L":"1","l":"2"}}}'
    )
    assert config is not None
    assert (config.os, config.architecture, config.labels) == ("linux", "amd64", {"L": "1", "l": "2"})
    assert list(config.odd) == [
        "OS is read as os",
        "architecture occurs more than once",
        "config.labels is read as Labels",
    ]


@pytest.mark.parametrize(
    "repeated", ['"digest":"x",', '"annotations":{"a":"1"},', '"Annotations":null,', '"Platform":{"os":"a"},']
)
def test_a_hundred_thousand_repeated_fields_are_read_in_one_pass(tmp_path: Path, repeated: str) -> None:
    document = f'{{"manifests":[{{{repeated * 100_000}"digest":"{TWO}"}}]}}'
    (tmp_path / "index.json").write_text(document)
    content = read_index(str(tmp_path), ListLimits())
    assert [one.digest for one in content] == [TWO]
    assert [len(one.detail) <= 200 for one in content.skipped] == [True]


@pytest.mark.parametrize(("document", "answer"), TABLE)
def test_the_oracle_reads_documents_as_in_go(document: str, answer: str) -> None:
    # The oracle does not model the elements that a Go slice keeps beyond its length.
    if document.count('"manifests"') < 3:
        assert _go(as_go(document.encode())) == json.loads(answer)
