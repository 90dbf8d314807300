"""The ready-made queries of the browser: find a name, look up a digest, the history of a tag, and every report.

They read only the public views, as users' own SQL does. A parameter that is not given is an empty string.
"""

from __future__ import annotations

from typing import NamedTuple

from catalog.reports.reports import REPORTS

FIND = "find-name"
WHERE = "where-is"
PAST = "tag-history"


class PageQuestion(NamedTuple):
    """A ready-made query: the last part of its address, its title, a sentence about it, its SQL and its parameters."""

    name: str
    title: str
    sentence: str
    sql: str
    parameters: tuple[str, ...] = ()


_FIND = PageQuestion(
    FIND,
    "Find a name",
    "Entries whose canonical name, or tag if they have no name, contains the text, such as a part of alpine:3.16.",
    """SELECT store, name, tag, digest, platform, size, since
FROM images
WHERE :text <> '' AND NOT shadowed AND instr(coalesce(name, tag), :text)
ORDER BY coalesce(name, tag), store""",
    ("text",),
)

_NAMED = "(SELECT min(images.name) FROM images WHERE images.digest = {} AND NOT images.shadowed)"


_ASKED = "(SELECT digest FROM asked)"


def _is(column: str) -> str:
    """Return the condition that a column has a digest that begins with the requested one."""
    return f"{column} >= {_ASKED} AND {column} < {_ASKED} || 'g'"


_WHERE = PageQuestion(
    WHERE,
    "Look up a digest",
    "Everything that the catalog knows about a digest, or about all digests with a prefix of six digits or more: names, stores that hold them, what they refer to, and what"
    " refers to them.",
    f"""WITH short AS (SELECT trim(:digest, ' @…') AS text),
asked AS (SELECT CASE WHEN instr(text, ':') THEN text ELSE 'sha256:' || text END AS digest FROM short
  WHERE length(substr(text, instr(text, ':') + 1)) >= 6)
SELECT relation, store, name, digest, detail, size FROM (
  SELECT 1 AS place, 0 AS position, 'is named' AS relation, store, coalesce(name, tag) AS name, nullif(digest, (SELECT digest FROM asked)) AS digest,
    platforms AS detail, size
  FROM images WHERE {_is("digest")}
  UNION ALL SELECT 2, 0, 'is an unnamed entry of', store, NULL, nullif(digest, (SELECT digest FROM asked)), platforms, size FROM unnamed WHERE {_is("digest")}
  UNION ALL SELECT 3, 0, 'is a blob in', store, NULL, nullif(digest, (SELECT digest FROM asked)),
    CASE is_good WHEN 1 THEN 'verified at ' || verified_at WHEN 0 THEN 'its bytes do not match its digest' END, size
  FROM blobs WHERE {_is("digest")}
  UNION ALL SELECT 4, 0, 'is a ' || kind, NULL, NULL, nullif(digest, (SELECT digest FROM asked)), coalesce(platform, artifact_type, media_type), size
  FROM manifests WHERE {_is("digest")}
  UNION ALL SELECT 5, position, 'has the manifest', NULL, NULL, digest, platform, size
  FROM platforms WHERE {_is("image_index")}
  UNION ALL SELECT 6, 0, 'has the config', NULL, NULL, config, config_type, config_size
  FROM manifests WHERE {_is("digest")} AND config IS NOT NULL
  UNION ALL SELECT 7, position, 'has the layer', NULL, NULL, digest, media_type, size
  FROM layers WHERE {_is("manifest")}
  UNION ALL SELECT 8, 0, 'has the subject', NULL, {_NAMED.format("referrers.subject")}, subject, how, NULL
  FROM referrers WHERE {_is("referrer")}
  UNION ALL SELECT 9, 0, 'has the referrer', NULL, {_NAMED.format("referrers.referrer")}, referrer, artifact_type, NULL
  FROM referrers WHERE {_is("subject")}
  UNION ALL SELECT 10, position, 'is a manifest of', NULL, {_NAMED.format("platforms.image_index")}, image_index, platform,
    NULL
  FROM platforms WHERE {_is("digest")}
  UNION ALL SELECT 11, 0, 'is the config of', NULL, {_NAMED.format("manifests.digest")}, digest, platform, size
  FROM manifests WHERE {_is("config")}
  UNION ALL SELECT 12, position, 'is a layer of', NULL, {_NAMED.format("layers.manifest")}, manifest, NULL, NULL
  FROM layers WHERE {_is("digest")}
)
ORDER BY place, position, store, name, digest""",  # noqa: S608
    ("digest",),
)

_PAST = PageQuestion(
    PAST,
    "The history of a name or tag",
    "What a name pointed to and when, oldest first: alpine:3.16, docker.io/library/alpine:3.16, or only a tag.",
    """SELECT since, until, store, name, tag, digest, origin
FROM history WHERE name IN (:name, 'docker.io/library/' || :name, 'docker.io/' || :name)
UNION ALL
SELECT since, until, store, name, tag, digest, origin FROM history WHERE tag = :name
ORDER BY since, store, name""",
    ("name",),
)

QUESTIONS = (
    _FIND,
    _WHERE,
    _PAST,
    *(
        PageQuestion(
            f"report-{report.name}",
            f"Report: {report.name}",
            f"{report.sentence[:1].upper()}{report.sentence[1:]}.",
            report.statement(),
            tuple(each.name for each in report.parameters),
        )
        for report in REPORTS
    ),
)
"""All queries, in the order in which the first page lists them."""
