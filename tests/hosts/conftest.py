"""A server of these tests' own, which they may stop, and hosts of a new catalog on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import writers
from tests.hosts.host import Host
from tests.postgres import Server
from tests.programs import skip_without

NewHost = Callable[..., Host]


@pytest.fixture(scope="package")
def mortal() -> Iterator[Server]:
    """A server that runs before each test and after it, whatever happens to it meanwhile."""
    skip_without("initdb")
    made = Server()
    yield made
    made.close()


@pytest.fixture
def url(mortal: Server) -> Iterator[str]:
    made = mortal.new_catalog()
    yield made
    mortal.drop(made)


@pytest.fixture
def new_host(url: str, tmp_path: Path) -> Iterator[NewHost]:
    """Makes a host of the test's catalog; its daemon is ended with it."""
    made: list[Host] = []

    def make(name: str) -> Host:
        made.append(Host(tmp_path, name, url))
        return made[-1]

    yield make
    for each in made:
        each.close()


def layout(path: str, tag: str = "docker.io/library/app:1", seed: str = "app") -> str:
    """Make a layout, or change it: it has one image, of that name; its digest."""
    writers.make_layout(path)
    repository, _, name = tag.rpartition(":")
    entry = writers.name_entry(writers.make_image(path, seed), "canonical", repository, name)
    writers.write_index(path, writers.empty_index(entry), "umoci")
    digest: str = entry["digest"]
    return digest
