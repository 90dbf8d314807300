"""Ready reports: each is one query over the public views (docs/scripts.md), documented here, once (docs/reports.md).

They are SQL that anybody could type, and run through the same gate.
"""

from __future__ import annotations

from typing import NamedTuple


class Column(NamedTuple):
    """A column of a report; `is_size` says that it is a number of bytes, `is_age` a time whose age a person wants to know."""

    name: str
    documentation: str
    is_size: bool = False
    is_age: bool = False


class Report(NamedTuple):
    """A report: its name, one sentence, its columns in order, its query, and the parameters as (name, documentation).

    A parameter that is not given is the empty text. In the query `$DAY_AGO` stands for the time 24 hours ago as the views
    write times: the engines have no words in common for that.
    `left_out` says what the report does to a store of the view `unjudged`; empty if that view is no concern of it.
    """

    name: str
    sentence: str
    columns: tuple[Column, ...]
    sql: str
    parameters: tuple[tuple[str, str], ...] = ()
    left_out: str = ""

    def statement(self, dialect: str = "sqlite") -> str:
        """The query in the words of a `dialect`, `sqlite` or `postgresql`."""
        return self.sql.replace("$DAY_AGO", _DAY_AGO[dialect])


_DAY_AGO = {
    "sqlite": "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 day')",
    "postgresql": """to_char((now() - interval '1 day') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')""",
}

_STORE = Column("store", "name of the store")
_KIND = """CASE
    WHEN EXISTS (SELECT 1 FROM layers WHERE layers.digest = blobs.digest) THEN 'layer'
    WHEN EXISTS (SELECT 1 FROM manifests WHERE manifests.digest = blobs.digest) THEN 'manifest'
    WHEN EXISTS (SELECT 1 FROM manifests WHERE manifests.config = blobs.digest) THEN 'config'
    ELSE 'other'
  END"""
_USAGE = Report(
    "usage",
    "how much each store holds, and how much of it no other store holds",
    (
        _STORE,
        Column("blobs", "number of its blobs"),
        Column("apparent", "bytes of all its blobs", is_size=True),
        Column("unique", "bytes of those that lie in no other store: what would be free without it", is_size=True),
        Column("shared", "bytes of those that lie in others too", is_size=True),
    ),
    """WITH held AS ( -- one pass over all blobs, since a search for each would be quadratic in how many stores hold one
  SELECT store, size, min(store) OVER (PARTITION BY digest) <> max(store) OVER (PARTITION BY digest) AS is_shared
  FROM blobs
), total AS (
  SELECT store, count(*) AS blobs, sum(size) AS apparent,
    sum(CASE WHEN is_shared THEN 0 ELSE size END) AS "unique", sum(CASE WHEN is_shared THEN size ELSE 0 END) AS shared
  FROM held GROUP BY store
), each AS ( -- of a layout that several hosts see one counts: with blobs if any has them, else of this host
  SELECT stores.name, total.store, row_number() OVER (
    PARTITION BY stores.shared_as, CASE WHEN stores.shared_as IS NULL THEN stores.name END
    ORDER BY total.store IS NULL, stores.name LIKE '%:%', stores.name
  ) AS place
  FROM stores LEFT JOIN total ON total.store = stores.name WHERE stores.state <> 'missing'
)
SELECT store, blobs, apparent, "unique", shared FROM total
UNION ALL
SELECT name, 0, 0, 0, 0 FROM each WHERE store IS NULL AND place = 1
ORDER BY apparent DESC, store""",
)

_DUPLICATES = Report(
    "duplicates",
    "names that stand twice in one store: entries that another one keeps from answering",
    (
        _STORE,
        Column("name", "full canonical name, or null where there is a tag alone"),
        Column("tag", "the tag"),
        Column("digest", "the entry that does not answer"),
        Column("answers", "the digest that answers instead"),
    ),
    """WITH named AS ( -- one pass over all names, since a search for each would be quadratic in how often one stands
  SELECT store, name, tag, digest, shadowed, CASE WHEN tag IS NOT NULL THEN
    min(CASE WHEN NOT shadowed THEN digest END) OVER (PARTITION BY store, coalesce(repository, ''), tag)
  END AS answers
  FROM images
)
SELECT store, name, tag, digest, answers
FROM named WHERE shadowed
ORDER BY store, coalesce(name, ''), tag, digest""",
)

_DRIFT = Report(
    "drift",
    "names that are one digest in one store and another in another",
    (
        Column("name", "full canonical name"),
        _STORE,
        Column("digest", "what the name is there"),
        Column("since", "since when"),
    ),
    """WITH several AS (
  SELECT name FROM images WHERE name IS NOT NULL AND NOT shadowed
  GROUP BY name HAVING min(digest) <> max(digest)
)
SELECT images.name, images.store, images.digest, images.since
FROM several JOIN images ON images.name = several.name
WHERE NOT images.shadowed
ORDER BY images.name, images.store""",
)

_SHARED = Report(
    "shared",
    "layers and other blobs that lie in several stores, and what hard links would save",
    (
        Column("digest", "digest of the blob"),
        Column("kind", "layer, manifest, config or other"),
        Column("stores", "number of stores that hold it"),
        Column("size", "its bytes", is_size=True),
        Column("saves", "bytes that hard links between the stores would save, where they are none yet", is_size=True),
    ),
    f"""WITH shared AS (
  SELECT digest, count(*) AS stores, max(size) AS size, sum(size) - max(size) AS saves
  FROM blobs GROUP BY digest HAVING count(*) > 1
)
SELECT digest, {_KIND.replace("blobs.digest", "shared.digest")} AS kind, stores, size, saves
FROM shared
ORDER BY saves DESC, digest""",  # noqa: S608
)

_LAST_NAMES = """SELECT digest, name FROM (
    SELECT digest, coalesce(name, ':' || tag) AS name,
      row_number() OVER (PARTITION BY digest ORDER BY since DESC, coalesce(name, ''), tag) AS number
    FROM history WHERE digest IN (SELECT digest FROM {0})
  ) AS spans WHERE number = 1"""
"""The name that last pointed to each digest of a table: all at once, since many rows may have one digest."""
_AGE = Column("modified", "when its file was last written; in a table on a terminal, how long ago that is", is_age=True)

_UNREFERENCED = Report(
    "unreferenced",
    "blobs that nothing in use needs: no entry of their store reaches them, and no referrer of something in use",
    (
        _STORE,
        Column("digest", "digest of the blob"),
        Column("size", "its bytes", is_size=True),
        Column("kind", "layer, manifest, index, config or other, as far as is known"),
        Column("media_type", "its media type, as a manifest says itself, else as one that has it claims, or null"),
        Column("last_name", "the name that last pointed to it, as far as history goes back, or null"),
        _AGE,
    ),
    f"""WITH unused AS (
  SELECT store, digest, size, modified FROM blobs
  WHERE NOT reachable AND modified <= coalesce(nullif(:older_than, ''), $DAY_AGO)
), each AS ( -- what is the same in every store
  SELECT DISTINCT digest FROM unused
), last AS (
  {_LAST_NAMES.format("each")}
), known AS (
  SELECT each.digest,
    coalesce((SELECT kind FROM manifests WHERE manifests.digest = each.digest), {_KIND.replace("blobs.", "each.")}) AS kind,
    coalesce(
      (SELECT media_type FROM manifests WHERE manifests.digest = each.digest),
      (SELECT min(layers.media_type) FROM layers WHERE layers.digest = each.digest),
      (SELECT min(manifests.config_type) FROM manifests WHERE manifests.config = each.digest)
    ) AS media_type
  FROM each
)
SELECT unused.store, unused.digest, unused.size, known.kind, known.media_type, last.name AS last_name, unused.modified
FROM unused JOIN known ON known.digest = unused.digest LEFT JOIN last ON last.digest = unused.digest
ORDER BY unused.store, unused.digest""",  # noqa: S608
    (
        (
            "older_than",
            "only blobs last written at least so long ago (90m, 24h, 7d; default 24h): a copy writes blobs before entries",
        ),
    ),
    "is left out",
)

_LOST = Report(
    "lost",
    "manifests and image indexes that no name points to any more: what a writer overwrote, or retagged",
    (
        _STORE,
        Column("digest", "digest of the manifest or image index"),
        Column("kind", "manifest or index"),
        Column("media_type", "its media type, as it says itself, or null"),
        Column("last_name", "the name that last pointed to it, as far as history goes back, or null"),
        Column("unnamed", "1 if an entry without a name is left, 0 if no entry reaches it"),
        Column("size", "its bytes", is_size=True),
        _AGE,
    ),
    f"""WITH unreached AS ( -- what no entry reaches, and no index that none reaches holds
  SELECT store, digest, max(size) AS size, max(modified) AS modified FROM (
    SELECT store, digest, size, modified, 0 AS is_held FROM blobs WHERE NOT reachable
    UNION ALL SELECT above.store, platforms.digest, NULL, NULL, 1
    FROM blobs AS above JOIN platforms ON platforms.image_index = above.digest WHERE NOT above.reachable
  ) AS stated GROUP BY store, digest HAVING max(is_held) = 0
), nameless AS ( -- entries whose names are gone
  SELECT store, digest, max(size) AS size, max(modified) AS modified FROM (
    SELECT store, digest, size, modified, 0 AS is_unnamed, 0 AS was_named, 0 AS is_named FROM blobs
    UNION ALL SELECT store, digest, NULL, NULL, 1, 0, 0 FROM unnamed
    UNION ALL SELECT store, digest, NULL, NULL, 0, 1, 0 FROM history
    UNION ALL SELECT store, digest, NULL, NULL, 0, 0, 1 FROM images
  ) AS stated GROUP BY store, digest
  HAVING max(is_unnamed) = 1 AND max(was_named) = 1 AND max(is_named) = 0 AND max(size) IS NOT NULL
), lost AS (
  SELECT store, digest, size, modified, 0 AS unnamed FROM unreached
  UNION SELECT store, digest, size, modified, 1 FROM nameless
), last AS (
  {_LAST_NAMES.format("lost")}
)
SELECT lost.store, lost.digest, manifests.kind, manifests.media_type, last.name AS last_name,
  lost.unnamed, lost.size, lost.modified
FROM lost JOIN manifests ON manifests.digest = lost.digest LEFT JOIN last ON last.digest = lost.digest
ORDER BY lost.store, lost.digest""",  # noqa: S608
    left_out="is left out",
)

_MISSING = Report(
    "missing",
    "manifests of entries, configs and layers that are not there; that manifests of an image index are not is normal",
    (
        _STORE,
        Column("digest", "what is not there"),
        Column("role", "manifest (of an entry), config or layer"),
        Column("manifest", "the manifest that needs it; null where an entry does"),
        Column("size", "its bytes, as is claimed", is_size=True),
    ),
    """SELECT store, digest, role, manifest, max(size) AS size
FROM missing GROUP BY store, digest, role, manifest
ORDER BY store, digest, role, coalesce(manifest, '')""",
)

_ORPHANS = Report(
    "orphans",
    "signatures, attestations and the like whose subject lies in no store",
    (
        Column("store", "name of the store that holds the referrer"),
        Column("referrer", "digest of the referrer"),
        Column("subject", "digest of what it is about"),
        Column("how", "how it says so (see the view referrers)"),
        Column("artifact_type", "artifact type of the referrer, or null"),
        Column("size", "bytes of its manifest", is_size=True),
    ),
    """SELECT blobs.store, referrers.referrer, referrers.subject, referrers.how, referrers.artifact_type, blobs.size
FROM referrers JOIN blobs ON blobs.digest = referrers.referrer
WHERE NOT EXISTS (SELECT 1 FROM blobs AS about WHERE about.digest = referrers.subject)
ORDER BY blobs.store, referrers.referrer, referrers.subject, referrers.how""",
)

_BASES = Report(
    "bases",
    "images that are built on others: that have all layers of another, in order, and more on top",
    (
        Column("base", "digest of the manifest that is built on"),
        Column("base_name", "a name of it, or of an image index with it, or null"),
        Column("image", "digest of the manifest that is built on it"),
        Column("image_name", "a name of that, likewise"),
        Column("layers", "number of the base's layers"),
        Column("size", "their bytes, as is claimed", is_size=True),
    ),
    """WITH RECURSIVE asked(digest) AS (
  SELECT digest FROM manifests WHERE :image = ''
  UNION SELECT :image WHERE :image <> ''
  UNION SELECT digest FROM images WHERE name = :image AND NOT shadowed
  UNION SELECT platforms.digest FROM asked JOIN platforms ON platforms.image_index = asked.digest
), pairs(base, image) AS (
  SELECT base.digest, asked.digest -- what it is built on: the images that have just the layers up to one of its own
  FROM asked
  JOIN manifests AS top ON top.digest = asked.digest
  JOIN layers ON layers.manifest = asked.digest AND layers.position < top.layers - 1
  JOIN manifests AS base ON base.chain = layers.chain
  UNION SELECT asked.digest, layers.manifest -- what is built on it
  FROM asked
  JOIN manifests AS base ON base.digest = asked.digest
  JOIN layers ON layers.chain = base.chain
  JOIN manifests AS top ON top.digest = layers.manifest AND top.layers > base.layers
  WHERE :image <> ''
), each(digest) AS (
  SELECT base FROM pairs UNION SELECT image FROM pairs
), above(digest, image_index) AS (
  SELECT DISTINCT each.digest, platforms.image_index FROM each JOIN platforms ON platforms.digest = each.digest
), named(digest, name) AS ( -- once for each, since many names may stand for one and many images be in one index
  SELECT wanted.digest, (SELECT min(images.name) FROM images WHERE images.digest = wanted.digest AND NOT images.shadowed)
  FROM (SELECT digest FROM each UNION SELECT image_index FROM above) AS wanted
), told(digest, name) AS (
  SELECT own.digest, coalesce(min(own.name), min(its.name)) FROM each
  JOIN named AS own ON own.digest = each.digest
  LEFT JOIN above ON above.digest = each.digest
  LEFT JOIN named AS its ON its.digest = above.image_index
  GROUP BY own.digest
)
SELECT pairs.base, base.name AS base_name, pairs.image, image.name AS image_name,
  manifests.layers, manifests.layers_size AS size
FROM pairs JOIN manifests ON manifests.digest = pairs.base
JOIN told AS base ON base.digest = pairs.base
JOIN told AS image ON image.digest = pairs.image
ORDER BY pairs.base, pairs.image""",
    (("image", "only pairs with this image, on either side: a digest, or a canonical name with its tag"),),
)

_WITHOUT_VERSION = "replace(rtrim({0}, replace({0}, '(', '')) || ltrim({0}, replace({0}, ')', '')), '()', '')"
"""A platform without `(osversion+feature…)`: no other parentheses are in one."""

MOST_PLATFORMS = 20
"""Platforms of one repository that the report `platforms` compares."""

_PLATFORMS = Report(
    "platforms",
    f"names that lack a platform which other names of their repository have; of each the {MOST_PLATFORMS} most usual are compared",
    (
        _STORE,
        Column("name", "full canonical name"),
        Column("lacks", "the platform that it lacks, os/arch[/variant]"),
        Column("others", "number of names of its repository that have it"),
    ),
    f"""WITH RECURSIVE named AS (
  SELECT store, repository, name, digest FROM images WHERE name IS NOT NULL AND NOT shadowed
), said AS (
  SELECT image_index AS digest, platform FROM platforms
  WHERE NOT EXISTS (SELECT 1 FROM manifests WHERE manifests.digest = platforms.digest AND manifests.kind = 'index')
  UNION SELECT digest, platform FROM manifests
), has(digest, platform) AS ( -- from each image up to what is above it, since many names may be above one
  SELECT digest, CASE WHEN platform LIKE '%(%' THEN {_WITHOUT_VERSION.format("platform")} ELSE platform END
  FROM said WHERE platform <> 'unknown/unknown'
  UNION SELECT platforms.image_index, has.platform FROM has
  JOIN manifests ON manifests.digest = has.digest AND manifests.kind = 'index'
  JOIN platforms ON platforms.digest = has.digest
), pointed AS (
  SELECT repository, digest, count(*) AS names FROM named GROUP BY repository, digest
), usual AS (
  SELECT repository, platform FROM (
    SELECT pointed.repository, has.platform,
      row_number() OVER (PARTITION BY pointed.repository ORDER BY sum(pointed.names) DESC, has.platform) AS number
    FROM pointed JOIN has ON has.digest = pointed.digest GROUP BY pointed.repository, has.platform
  ) AS ranked WHERE number <= {MOST_PLATFORMS}
), offered AS (
  SELECT usual.repository, usual.platform, count(DISTINCT named.name) AS names
  FROM usual JOIN named ON named.repository = usual.repository
  WHERE EXISTS (SELECT 1 FROM has WHERE has.digest = named.digest AND has.platform = usual.platform)
  GROUP BY usual.repository, usual.platform
)
SELECT named.store, named.name, offered.platform AS lacks, offered.names AS others
FROM named JOIN offered ON offered.repository = named.repository
WHERE named.digest IN (SELECT digest FROM has)
AND NOT EXISTS (SELECT 1 FROM has WHERE has.digest = named.digest AND has.platform = offered.platform)
ORDER BY offered.names DESC, named.name, named.store, offered.platform""",  # noqa: S608
)

_CHURN = Report(
    "churn",
    "names that were moved, those moved most first, as far back as history is kept",
    (
        _STORE,
        Column("name", "full canonical name, or null where there is a tag alone"),
        Column("tag", "the tag"),
        Column("moves", "how often it was given another digest, or came back"),
        Column("digests", "number of different digests"),
        Column("last", "when it last was"),
    ),
    """SELECT store, name, tag, count(*) - 1 AS moves, count(DISTINCT digest) AS digests, max(since) AS last
FROM history
GROUP BY store, repository, name, tag HAVING count(*) > 1
ORDER BY moves DESC, store, coalesce(name, ''), tag""",
)

_GROWTH = Report(
    "growth",
    "entries that came and went, day by day, as far back as history is kept",
    (
        Column("day", "the day, in UTC"),
        _STORE,
        Column("changes", "number of changes of its index.json"),
        Column("added", "entries that they added"),
        Column("removed", "entries that they removed"),
        Column("entries", "entries at the end of that day"),
        Column("size", "bytes of its index.json then", is_size=True),
    ),
    """WITH days AS (
  SELECT substr(at, 1, 10) AS day, store, count(*) AS changes, sum(added) AS added, sum(removed) AS removed,
    max(generation) AS generation
  FROM snapshots GROUP BY substr(at, 1, 10), store
)
SELECT days.day, days.store, days.changes, days.added, days.removed, snapshots.entries, snapshots.size
FROM days JOIN snapshots ON snapshots.store = days.store AND snapshots.generation = days.generation
ORDER BY days.day, days.store""",
)

REPORTS = (
    _USAGE,
    _DUPLICATES,
    _DRIFT,
    _SHARED,
    _UNREFERENCED,
    _LOST,
    _MISSING,
    _ORPHANS,
    _BASES,
    _PLATFORMS,
    _CHURN,
    _GROWTH,
)
"""All of them, in the order in which they are listed."""
