"""Querying a view by a key, or a report for one image, is an index search: counted in SQLite steps at two sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from catalog.db.views import VIEWS
from catalog.reports.reports import REPORTS
from tests import writers
from tests.conftest import Catalogue, file_of
from tests.effort import is_short
from tests.reports.sizes import digest, fill

SMALL, MIDDLE, LARGE = 100, 1_000, 4_000 if is_short() else 10_000
FACTOR = 1.2


class Counted(NamedTuple):
    """The rows of a query, and the steps that they took."""

    rows: list[tuple[object, ...]]
    steps: int


class Sizes(NamedTuple):
    """Catalogs of SMALL, MIDDLE and LARGE images."""

    small: Catalogue
    middle: Catalogue
    large: Catalogue

    def ask(self, statement: str, parameters: dict[str, str] | None = None) -> list[tuple[object, ...]]:
        """Run a query at both sizes; check that the number of rows and the cost are the same, and return the rows."""
        small, large = (count(each, statement, parameters or {}) for each in (self.small, self.large))
        assert len(small.rows) == len(large.rows) > 0, statement
        assert large.steps <= small.steps * FACTOR, f"{small.steps} and {large.steps} steps: {statement}"
        return large.rows


def count(catalogue: Catalogue, statement: str, parameters: dict[str, str], of: int = 1) -> Counted:
    """How many steps one call of the progress handler stands for."""
    connection = file_of(catalogue.reader)
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection.set_progress_handler(step, of)
    rows = connection.execute(statement, parameters).fetchall()
    connection.set_progress_handler(None, 1)
    return Counted(rows, steps * of)


@pytest.fixture(scope="module")
def sizes(
    tmp_path_factory: pytest.TempPathFactory, new_sqlite_catalogue: Callable[[str], Catalogue]
) -> Iterator[Sizes]:
    made = [new_sqlite_catalogue(str(tmp_path_factory.mktemp("size"))) for _ in range(3)]
    for catalogue, number in zip(made, (SMALL, MIDDLE, LARGE), strict=True):
        fill(catalogue, number)
    yield Sizes(*made)
    for catalogue in made:
        catalogue.close()


IMAGE, INDEX_OF, CONFIG_OF = digest("image 45"), digest("index 45"), digest("config 45")
LAYER_OF, CHAIN = digest("layer 45"), digest("root layer 40 layer 45")
KEYS: dict[str, dict[str, dict[str, str]]] = {
    "stores": {"name": {"name": "s1"}, "path": {"path": "/s1"}},
    "images": {
        "name": {"name": "d.io/r45:t{0}"},
        "repository": {"repository": "d.io/r45"},
        "familiar": {"familiar": "r45"},
        "tag": {"tag": "t{0}"},
        "digest": {"digest": INDEX_OF},
    },
    "unnamed": {"digest": {"digest": INDEX_OF}},
    "manifests": {
        "digest": {"digest": IMAGE},
        "config": {"config": CONFIG_OF},
        "subject": {"subject": IMAGE},
        "chain": {"chain": CHAIN},
    },
    "platforms": {"image_index": {"image_index": INDEX_OF}, "digest": {"digest": IMAGE}},
    "layers": {"manifest": {"manifest": IMAGE}, "digest": {"digest": LAYER_OF}, "chain": {"chain": CHAIN}},
    "blobs": {"digest": {"digest": LAYER_OF}},
    "labels": {
        "digest": {"digest": IMAGE},
        "config": {"config": CONFIG_OF},
        "key beginning": {"key": "own", "beginning": "value 45"},
    },
    "annotations": {"digest": {"digest": IMAGE}, "key beginning": {"key": "own", "beginning": "value 45"}},
    "referrers": {"subject": {"subject": IMAGE}, "referrer": {"referrer": digest("about 45")}},
    "history": {
        "name": {"name": "d.io/r45:t{0}"},
        "repository": {"repository": "d.io/r45"},
        "tag": {"tag": "t{0}"},
        "digest": {"digest": INDEX_OF},
    },
}


def test_every_key_is_counted() -> None:
    assert {view.name: set(view.keys) for view in VIEWS if view.keys} == {view: {*keys} for view, keys in KEYS.items()}


@pytest.mark.parametrize(("view", "key"), [(view, key) for view, keys in KEYS.items() for key in keys])
def test_a_key_is_an_index_search(sizes: Sizes, view: str, key: str) -> None:
    ((number,),) = sizes.large.sql("SELECT id FROM content WHERE digest = ?", IMAGE)
    assert sizes.small.sql("SELECT id FROM content WHERE digest = ?", IMAGE) == [(number,)]
    values = {name: value.format(number) for name, value in KEYS[view][key].items()}
    statement = f"SELECT * FROM {view} WHERE {' AND '.join(f'{name} = :{name}' for name in values)}"
    if view == "unnamed":  # there is none: this counts the cost of finding that out
        statement = f"SELECT (SELECT count(*) FROM {view} WHERE digest = :digest)"
    sizes.ask(statement, values)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM images JOIN manifests ON manifests.digest = images.digest WHERE images.repository = :name",
        "SELECT * FROM images JOIN platforms ON image_index = images.digest WHERE images.repository = :name",
        "SELECT * FROM images JOIN layers ON layers.manifest = images.digest WHERE images.repository = :name",
        "SELECT * FROM images JOIN blobs ON blobs.digest = images.digest WHERE images.repository = :name",
        "SELECT * FROM images JOIN labels ON labels.digest = images.digest WHERE images.repository = :name",
        "SELECT * FROM referrers WHERE subject IN (SELECT digest FROM images WHERE repository = :name)",
        "SELECT * FROM annotations WHERE digest IN (SELECT digest FROM images WHERE repository = :name)",
        "SELECT * FROM history WHERE name IN (SELECT name FROM images WHERE repository = :name)",
    ],
)
def test_views_are_searched_from_one_another(sizes: Sizes, statement: str) -> None:
    sizes.ask(statement, {"name": "d.io/r45"})


def test_problems_and_blobs_of_a_store_cost_what_it_holds(sizes: Sizes) -> None:
    """The query does not read those of the whole catalog. A store has the same size in both catalogs."""
    statement = "SELECT * FROM problems WHERE store = :store"
    small, large = (count(each, statement, {"store": "s1"}).steps for each in (sizes.small, sizes.large))
    assert large <= small * FACTOR
    sizes.ask("SELECT store, digest, size, is_good FROM blobs WHERE store = :store", {"store": "s1"})


@pytest.mark.parametrize(
    ("image", "bases", "built"),
    [(digest("image 40"), 0, 9), (IMAGE, 1, 0), (digest("index 40"), 0, 9), ("d.io/r45:t{0}", 1, 0)],
)
def test_bases_of_one_image_in_both_directions_need_no_scan(sizes: Sizes, image: str, bases: int, built: int) -> None:
    (report,) = (each for each in REPORTS if each.name == "bases")
    ((number,),) = sizes.large.sql("SELECT id FROM content WHERE digest = ?", IMAGE)
    found = sizes.ask(report.statement(), {"image": image.format(number)})
    assert len(found) == bases + built
    assert {row[0] for row in found} == {digest("image 40")}
    if built:
        assert {row[2] for row in found} == {digest(f"image {each}") for each in range(41, 50)}
    else:
        assert {row[2] for row in found} == {IMAGE}


@pytest.mark.parametrize("image", [IMAGE, digest("index 40"), "d.io/r45:t{0}"])
def test_the_complete_blobs_of_one_image_need_no_scan(sizes: Sizes, image: str) -> None:
    (report,) = (each for each in REPORTS if each.name == "complete")
    ((number,),) = sizes.large.sql("SELECT id FROM content WHERE digest = ?", IMAGE)
    sizes.ask(report.statement(), {"image": image.format(number)})


def test_without_a_parameter_every_pair_is_listed(sizes: Sizes) -> None:
    (report,) = (each for each in REPORTS if each.name == "bases")
    assert len(count(sizes.small, report.statement(), {"image": ""}).rows) == SMALL // 10 * 9


@pytest.mark.parametrize("name", [each.name for each in REPORTS])
def test_a_report_over_everything_is_linear(sizes: Sizes, name: str) -> None:
    """Ten times as many images cost ten times as much, and a little more for deeper trees, but not a hundred times."""
    (report,) = (each for each in REPORTS if each.name == name)
    parameters = dict.fromkeys((each.name for each in report.parameters), "")
    small, large = (count(each, report.statement(), parameters, 100).steps for each in (sizes.small, sizes.middle))
    assert large <= small * MIDDLE / SMALL * 1.5


@pytest.mark.parametrize("key", ["name", "tag"])
def test_duplicates_of_one_name_are_linear(
    tmp_path_factory: pytest.TempPathFactory, new_sqlite_catalogue: Callable[[str], Catalogue], key: str
) -> None:
    """An entry with a name, or a bare tag, is not compared with all other entries with it."""
    (report,) = (each for each in REPORTS if each.name == "duplicates")
    steps = []
    for number in (SMALL, MIDDLE):
        catalogue = new_sqlite_catalogue(str(tmp_path_factory.mktemp("crowd")))
        path = writers.make_layout(str(tmp_path_factory.mktemp("layout") / "s"))
        style = "short" if key == "name" else "tag"
        entries = [
            writers.name_entry(writers.fake_descriptor(str(each)), style, "docker.io/library/crowd", "1")
            for each in range(number)
        ]
        writers.write_index(path, writers.empty_index(*entries))
        catalogue.add(path)
        counted = count(catalogue, report.statement(), {}, 100)
        catalogue.close()
        assert len(counted.rows) == number - 1
        assert {row[4] for row in counted.rows} == {entries[0]["digest"]}
        steps.append(counted.steps)
    assert steps[1] <= steps[0] * MIDDLE / SMALL * 1.5
