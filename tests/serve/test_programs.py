"""The JSON for programs: the objects of the commands, held to the OpenAPI document by schemathesis."""

from __future__ import annotations

import json
import urllib.parse
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.serve.served import Layouts, Registry


@pytest.mark.parametrize("reference", ["acme/app:1.0", "alpine:3.17", "oci-layout://bare:7", ":7"])
def test_resolve_and_query_are_those_of_the_commands(layouts: Layouts, site: Registry, reference: str) -> None:
    asked = urllib.parse.urlencode({"ref": reference})
    got = site.get(f"/api/resolve?{asked}").json
    notes = got.pop("notes")
    assert got == json.loads(layouts.ocicat("resolve", reference, "--format", "jsonl"))
    assert isinstance(notes, list)
    assert site.get(f"/api/query?{asked}").json["items"] == json.loads(layouts.ocicat("query", reference, "--json"))


def test_filters_and_limits(layouts: Layouts, site: Registry) -> None:
    whole = site.get("/api/query").json
    assert whole["items"] == json.loads(layouts.ocicat("query", "--json"))
    assert whole["more"] is False
    assert site.get("/api/query?limit=2").json == {"items": whole["items"][:2], "more": True, "notes": []}
    filtered = site.get("/api/query?platform=linux/arm64&store=many").json["items"]
    assert filtered == json.loads(layouts.ocicat("query", "--platform", "linux/arm64", "--store", "many", "--json"))
    asked = urllib.parse.urlencode({"referrers_of": layouts.digests["signed"]})
    assert {each["how"] for each in site.get(f"/api/query?{asked}").json["items"]} == {"subject"}
    history = site.get("/api/history?ref=acme/app:1.0").json["items"]
    assert history == json.loads(layouts.ocicat("history", "acme/app:1.0", "--json"))
    status = site.get("/api/status").json
    assert status.keys() == json.loads(layouts.ocicat("status", "--json")).keys()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/resolve", 400), ("/api/resolve?ref=UPPER", 400), ("/api/resolve?ref=nosuch", 404),
        ("/api/resolve?ref=alpine:3.16", 409), ("/api/resolve?ref=alpine:3.16&store=nosuch", 404),
        ("/api/resolve?ref=alpine:3.16&first=true", 200), ("/api/resolve?ref=alpine:3.16&first=maybe", 400),
        ("/api/query?nosuch=1", 400), ("/api/query?limit=9999999", 400), ("/api/query?tag=1&tag=2", 400),
        ("/api/history?ref=nosuch", 404), ("/api/nosuch", 404),
    ],
)  # fmt: skip
def test_statuses(site: Registry, path: str, status: int) -> None:
    got = site.get(path)
    assert got.status == status, got
    if status != 200:
        assert got.json["errors"][0]["message"]


def test_answers_are_what_the_document_says(site: Registry) -> None:
    import schemathesis  # takes a second, which every process that collects the tests would pay
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    document = site.get("/api/openapi.json").json
    # A reference has a grammar that a schema cannot express, so a text that it allows may be refused.
    schema = schemathesis.openapi.from_dict(document)
    tried = []

    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr]  # the document is valid

        @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.as_strategy())
        def holds_of(case: Any) -> None:
            case.call_and_validate(base_url=site.url, excluded_checks=[positive_data_acceptance])
            tried.append(case.path)

        holds_of()
    assert set(tried) == set(document["paths"])
