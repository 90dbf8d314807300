"""The questions that stand ready in the browser: finding a name, where a digest is, the past of a tag, every report.

They read the public views, as everybody's SQL does. A parameter that is not given is the empty text.
"""

from __future__ import annotations

from typing import NamedTuple

from catalog.reports.reports import REPORTS

FIND = "find-name"
WHERE = "where-is"
PAST = "tag-history"


class PageQuestion(NamedTuple):
    """A ready question: what its address ends in, its title, what it says of itself, its query and parameters."""

    name: str
    title: str
    sentence: str
    sql: str
    parameters: tuple[str, ...] = ()


_FIND = PageQuestion(
    FIND,
    "Find a name",
    "Entries whose canonical name has the text in it, and tags without a name that have: a part of alpine:3.16, say.",
    """SELECT store, name, tag, digest, platform, size, since
FROM images
WHERE :text <> '' AND NOT shadowed AND instr(coalesce(name, tag), :text)
ORDER BY coalesce(name, tag), store""",
    ("text",),
)

_NAMED = "(SELECT min(images.name) FROM images WHERE images.digest = {} AND NOT images.shadowed)"

_WHERE = PageQuestion(
    WHERE,
    "Where is a digest, and what",
    "Everything that the catalog has of a digest: its names, the stores it lies in, what it is made of, what is made of it.",
    f"""SELECT relation, store, name, digest, detail, size FROM (
  SELECT 1 AS place, 0 AS position, 'is named' AS relation, store, coalesce(name, tag) AS name, NULL AS digest,
    platforms AS detail, size
  FROM images WHERE digest = :digest
  UNION ALL SELECT 2, 0, 'stands unnamed in', store, NULL, NULL, platforms, size FROM unnamed WHERE digest = :digest
  UNION ALL SELECT 3, 0, 'lies in', store, NULL, NULL,
    CASE is_good WHEN 1 THEN 'verified at ' || verified_at WHEN 0 THEN 'its bytes are not what its digest says' END, size
  FROM blobs WHERE digest = :digest
  UNION ALL SELECT 4, 0, 'is a ' || kind, NULL, NULL, NULL, coalesce(platform, artifact_type, media_type), size
  FROM manifests WHERE digest = :digest
  UNION ALL SELECT 5, position, 'has the manifest', NULL, NULL, digest, platform, size
  FROM platforms WHERE image_index = :digest
  UNION ALL SELECT 6, 0, 'has the config', NULL, NULL, config, config_type, config_size
  FROM manifests WHERE digest = :digest AND config IS NOT NULL
  UNION ALL SELECT 7, position, 'has the layer', NULL, NULL, digest, media_type, size
  FROM layers WHERE manifest = :digest
  UNION ALL SELECT 8, 0, 'is about', NULL, {_NAMED.format("referrers.subject")}, subject, how, NULL
  FROM referrers WHERE referrer = :digest
  UNION ALL SELECT 9, 0, 'has the referrer', NULL, {_NAMED.format("referrers.referrer")}, referrer, artifact_type, NULL
  FROM referrers WHERE subject = :digest
  UNION ALL SELECT 10, position, 'is a manifest of', NULL, {_NAMED.format("platforms.image_index")}, image_index, platform,
    NULL
  FROM platforms WHERE digest = :digest
  UNION ALL SELECT 11, 0, 'is the config of', NULL, {_NAMED.format("manifests.digest")}, digest, platform, size
  FROM manifests WHERE config = :digest
  UNION ALL SELECT 12, position, 'is a layer of', NULL, {_NAMED.format("layers.manifest")}, manifest, NULL, NULL
  FROM layers WHERE digest = :digest
)
ORDER BY place, position, store, name, digest""",  # noqa: S608
    ("digest",),
)

_PAST = PageQuestion(
    PAST,
    "The past of a name or tag",
    "What a name answered, and when, the oldest first: alpine:3.16, docker.io/library/alpine:3.16, or a tag alone.",
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
            tuple(name for name, _ in report.parameters),
        )
        for report in REPORTS
    ),
)
"""All of them, in the order in which a person sees them."""
