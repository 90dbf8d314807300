"""`ocicat plan copy` to a store of another host."""

from __future__ import annotations

import json
from pathlib import Path

from tests import writers
from tests.content.layouts import file_of, named, write
from tests.hosts.conftest import NewHost


def test_a_store_of_another_host(new_host: NewHost) -> None:
    """Its blobs are those that the catalog knows: nothing of its disk can be looked at."""
    here, there = new_host("here"), new_host("there")
    source, to = here.path("source"), there.path("to")
    first, second = writers.make_layout(source), writers.make_layout(to)
    shared = writers.make_image(first, "a")
    writers.make_image(second, "a")
    new = writers.make_image(first, "b")
    document = json.loads(Path(file_of(source, new["digest"])).read_bytes())
    lacking = {new["digest"], document["config"]["digest"], document["layers"][0]["digest"]}
    write(first, named(shared, "app:1"), named(new, "app:2"))
    write(second, named(shared, "app:1"))
    here.done("add", source)
    there.done("add", to)
    rows = here.objects("plan", "copy", "app:1", "app:2", "--store", "source", "--to", "there:to")
    assert {row["digest"] for row in rows if row["kind"] == "blob"} == lacking
    assert all(row["path"].startswith(f"{to}/") for row in rows)
    assert [row["digest"] for row in rows if row["kind"] == "entry"] == [new["digest"]]
    listed = here.call("plan", "copy", "app:2", "--to", "there:to", "--format", "rsync")
    assert len(listed.out.splitlines()) == 3
    assert f"to there:{to}" in listed.err
    assert here.call("plan", "copy", "app:2", "--to", "there:to", "--format", "skopeo").status == 2
    elsewhere = there.call("plan", "copy", "app:2", "--to", "to")
    assert elsewhere.status == 2
    assert "on another host (here)" in elsewhere.err
