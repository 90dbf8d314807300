"""What a report consists of."""

from __future__ import annotations

from typing import NamedTuple


class Column(NamedTuple):
    """A column of a report.

    `is_size` marks a number of bytes, `is_age` a time that a terminal shows relative to now. `adds_up` is whether the sum of a
    size over all rows means anything.
    """

    name: str
    documentation: str
    is_size: bool = False
    is_age: bool = False
    adds_up: bool = True


class Parameter(NamedTuple):
    """A parameter of a report.

    `value` stands for its value in a usage line (`AGE`), and `default` says what applies if it is not given. `completes` is what
    a shell completes: a kind of catalog.cli.words, or the values themselves.
    """

    name: str
    documentation: str
    value: str
    default: str
    completes: str | tuple[str, ...]


def image(documentation: str) -> Parameter:
    """Return the parameter `image`, a reference."""
    return Parameter(
        "image", f"{documentation}: anything that 'ocicat resolve' takes", "REF", "all images", "references"
    )


class Report(NamedTuple):
    """A report: its name, a sentence, its columns in order, its query, and its parameters.

    In the query, a parameter that is not given is an empty string, `older_than` is a time (the user gives an age), and `image` a digest
    (the user gives a reference). `$DAY_AGO` in the query stands for the time 24 hours ago in the form that the views use, because the
    engines have no common expression for it.
    `left_out` is what a note on stderr says about each store of the view `unjudged`; it is empty if the report does not
    depend on that view.
    """

    name: str
    sentence: str
    columns: tuple[Column, ...]
    sql: str
    parameters: tuple[Parameter, ...] = ()
    left_out: str = ""

    def statement(self, dialect: str = "sqlite") -> str:
        """Return the query for a `dialect`, `sqlite` or `postgresql`."""
        return self.sql.replace("$DAY_AGO", _DAY_AGO[dialect])


_DAY_AGO = {
    "sqlite": "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 day')",
    "postgresql": """to_char((now() - interval '1 day') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')""",
}


STORE = Column("store", "name of the store")

REQUESTED = """requested(digest) AS (
  SELECT digest FROM manifests WHERE :image = ''
  UNION SELECT :image WHERE :image <> ''
  UNION SELECT digest FROM images WHERE NOT shadowed AND name IN (
    :image, 'docker.io/library/' || :image, 'docker.io/' || :image,
    :image || ':latest', 'docker.io/library/' || :image || ':latest', 'docker.io/' || :image || ':latest'
  )
  UNION SELECT platforms.digest FROM requested JOIN platforms ON platforms.image_index = requested.digest
)"""
"""A recursive CTE with the manifests and indexes that `image` names and everything below them; with all manifests if it is empty."""
