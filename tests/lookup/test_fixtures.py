"""Layouts from the tests of other projects: for every reference to them, the answer is that of the oracle."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import Catalogue
from tests.effort import SHARE, is_short
from tests.lookup.asking import Options, Still, differences, references
from tests.oracle import OracleStore

FIXTURES = Path(__file__).parents[2].parent / "shared" / "fixtures"


def layouts() -> list[str]:
    if not FIXTURES.exists():
        pytest.skip(f"{FIXTURES} is not there: the shared fixtures are not part of the repository")
    return sorted(os.path.dirname(each) for each in FIXTURES.rglob("index.json"))


@pytest.mark.parametrize("naming", ["annotations", "path", "fixed=quay.io/user/app"])
def test_fixtures_below_a_root(catalogue: Catalogue, engine: str, naming: str) -> None:
    """The fixtures that are layouts; two of container-libs' have neither `oci-layout` nor `blobs`.

    `make test` asks a server one of thirty-two questions, because each takes several round trips, and a file one of four.
    `make stress` asks all.
    """
    found = [path for path in layouts() if os.path.exists(f"{path}/oci-layout") or os.path.isdir(f"{path}/blobs")]
    catalogue.add(str(FIXTURES), name="fixtures", naming=naming)
    stores = [
        OracleStore(
            f"fixtures/{os.path.relpath(path, FIXTURES)}", path, naming=naming, root=str(FIXTURES)
        )
        for path in found
    ]  # fmt: skip
    assert catalogue.sql("SELECT name FROM stores ORDER BY name") == sorted((each.name,) for each in stores)
    oracle = Still(stores)
    refs = references(oracle, os.getcwd())
    options = [
        Options(),
        Options(first=True),
        Options(strict=True),
        Options(store="fixtures/podman/*", first=True),
        Options(store="*delete_image*"),
        Options(store="nosuch"),
        Options(store=stores[0].name, strict=True),
    ]
    assert len(refs) > 1000
    if is_short():
        refs = refs[:: SHARE if engine == "sqlite" else 2 * SHARE * SHARE]
    if naming == "annotations":
        assert differences(catalogue, oracle, refs, os.getcwd(), options) == []
    else:
        assert differences(catalogue, oracle, refs[::3], os.getcwd(), options[:2]) == []


def test_a_fixture_by_itself(catalogue: Catalogue, engine: str) -> None:
    """Each is a catalog's only store once, under the policies that differ for it; a few of them on a server."""
    paths = [path for path in layouts() if os.path.exists(f"{path}/oci-layout") or os.path.isdir(f"{path}/blobs")]
    for path in paths if engine == "sqlite" else paths[:: 10 * SHARE if is_short() else 5]:
        catalogue.add(path, name="s", naming="fixed=alpine")
        oracle = Still([OracleStore("s", path, naming="fixed=alpine")])
        refs = references(oracle, os.getcwd())
        if engine == "postgresql" and is_short():
            refs = refs[::SHARE]
        assert differences(catalogue, oracle, refs, os.getcwd()) == []
        catalogue.remove("s")
