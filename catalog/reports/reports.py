"""The ready-made reports. Each is one query over the public views; docs/reports.md is generated from this module.

A report uses nothing that a user could not use in `ocicat sql`, and runs through the same gate.
"""

from __future__ import annotations

from catalog.reports.complete import COMPLETE
from catalog.reports.definition import REQUESTED, STORE, Column, Parameter, Report, image

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
        STORE,
        Column("blobs", "number of blobs in the store"),
        Column("apparent", "bytes of all blobs in the store", is_size=True),
        Column(
            "unique", "bytes of the blobs that no other store holds: what deleting the store would free", is_size=True
        ),
        Column("shared", "bytes of the blobs that other stores hold, too", is_size=True),
    ),
    """WITH held AS ( -- one pass over all blobs: a search per blob would be quadratic in the number of stores that hold it
  SELECT store, size, min(store) OVER (PARTITION BY digest) <> max(store) OVER (PARTITION BY digest) AS is_shared
  FROM blobs
), total AS (
  SELECT store, count(*) AS blobs, sum(size) AS apparent,
    sum(CASE WHEN is_shared THEN 0 ELSE size END) AS "unique", sum(CASE WHEN is_shared THEN size ELSE 0 END) AS shared
  FROM held GROUP BY store
), each AS ( -- a layout that several hosts see counts once: from a host that sees blobs, or else from this host
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
    "names that occur twice in one store, so that one entry is shadowed by another",
    (
        STORE,
        Column("name", "full canonical name, or null if there is only a tag"),
        Column("tag", "the tag"),
        Column("digest", "digest of the shadowed entry"),
        Column("answers", "the digest that the name resolves to instead"),
    ),
    """WITH named AS ( -- one pass over all names: a search per name would be quadratic in how often it occurs
  SELECT store, name, tag, digest, shadowed, CASE WHEN tag IS NOT NULL THEN
    min(CASE WHEN NOT shadowed THEN digest END) OVER (PARTITION BY store, coalesce(repository, ''), tag)
  END AS answers
  FROM images
  WHERE shadowed OR tag IN (SELECT tag FROM images WHERE shadowed AND tag IS NOT NULL) -- few names are shadowed
)
SELECT store, name, tag, digest, answers
FROM named WHERE shadowed
ORDER BY store, coalesce(name, ''), tag, digest""",
)

_DRIFT = Report(
    "drift",
    "names that point to different digests in different stores",
    (
        Column(
            "name",
            "full canonical name; or `index.json of NAME`, if hosts that share the layout NAME have read different ones",
        ),
        STORE,
        Column("digest", "the digest that the name points to in this store"),
        Column("since", "when it began to point there", is_age=True),
    ),
    """WITH several AS (
  SELECT name FROM images WHERE name IS NOT NULL AND NOT shadowed
  GROUP BY name HAVING min(digest) <> max(digest)
), copies AS ( -- one pass over all stores
  SELECT name, shared_as, sha256, changed_at,
    min(sha256) OVER (PARTITION BY shared_as) <> max(sha256) OVER (PARTITION BY shared_as) AS differ
  FROM stores WHERE shared_as IS NOT NULL AND state IN ('ok', 'empty')
)
SELECT images.name, images.store, images.digest, images.since
FROM several JOIN images ON images.name = several.name
WHERE NOT images.shadowed
UNION ALL
SELECT 'index.json of ' || shared_as, name, 'sha256:' || sha256, changed_at FROM copies WHERE differ
ORDER BY 1, 2""",
)

_SHARED = Report(
    "shared",
    "layers and other blobs that several stores hold, and what hard links would save",
    (
        Column("digest", "digest of the blob"),
        Column("kind", "layer, manifest, config or other"),
        Column("stores", "number of stores that hold it"),
        Column("size", "size of the blob", is_size=True),
        Column(
            "saves", "bytes that hard links between the stores would save, if they are not linked yet", is_size=True
        ),
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
"""The name that last pointed to each digest of a table. One query for all digests, because many rows may share a digest."""
_AGE = Column("modified", "when its file was last written", is_age=True)

_UNREFERENCED = Report(
    "unreferenced",
    "blobs that nothing in use needs: no entry of their store reaches them, nor does a referrer of anything in use",
    (
        STORE,
        Column("digest", "digest of the blob"),
        Column("size", "size of the blob", is_size=True),
        Column("kind", "layer, manifest, index, config or other, as far as is known"),
        Column(
            "media_type",
            "its media type, from the blob itself if it is a manifest, else from a manifest that refers to it; or null",
        ),
        Column("last_name", "the name that last pointed to it, as far as history goes back, or null"),
        _AGE,
    ),
    f"""WITH unused AS (
  SELECT store, digest, size, modified FROM blobs
  WHERE NOT reachable AND modified <= coalesce(nullif(:older_than, ''), $DAY_AGO)
), each AS ( -- each digest once, because the columns below do not depend on the store
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
        Parameter(
            "older_than",
            "only blobs last written at least this long ago (90m, 24h, 7d, 1month; 0 for any age), because a tool that copies an "
            "image writes its blobs first",
            "AGE",
            "24h",
            ("24h", "7d", "4w", "1month"),
        ),
    ),
    "is left out",
)

_LOST = Report(
    "lost",
    "manifests and image indexes that no name points to any more, because a tool overwrote or moved the name",
    (
        STORE,
        Column("digest", "digest of the manifest or image index"),
        Column("kind", "manifest or index"),
        Column("media_type", "its own media type, or null"),
        Column("last_name", "the name that last pointed to it, as far as history goes back, or null"),
        Column("unnamed", "1 if an entry without a name remains, 0 if no entry reaches it"),
        Column("size", "size of the manifest or image index", is_size=True),
        _AGE,
    ),
    f"""WITH unreached AS ( -- manifests that no entry reaches, without those that belong to an unreached index
  SELECT store, digest, max(size) AS size, max(modified) AS modified FROM (
    SELECT store, digest, size, modified, 0 AS is_held FROM blobs WHERE NOT reachable
    UNION ALL SELECT above.store, platforms.digest, NULL, NULL, 1
    FROM blobs AS above JOIN platforms ON platforms.image_index = above.digest WHERE NOT above.reachable
  ) AS stated GROUP BY store, digest HAVING max(is_held) <> 1 -- PostgreSQL estimates that `= 0` is true for one group in 200
), nameless AS ( -- entries that had a name once and have none now
  SELECT store, digest, max(size) AS size, max(modified) AS modified FROM (
    SELECT store, digest, size, modified, 0 AS is_unnamed, 0 AS was_named, 0 AS is_named FROM blobs
    UNION ALL SELECT store, digest, NULL, NULL, 1, 0, 0 FROM unnamed
    UNION ALL SELECT store, digest, NULL, NULL, 0, 1, 0 FROM history
    UNION ALL SELECT store, digest, NULL, NULL, 0, 0, 1 FROM images
  ) AS stated GROUP BY store, digest
  HAVING max(is_unnamed) <> 0 AND max(was_named) <> 0 AND max(is_named) <> 1 AND max(size) IS NOT NULL
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
    "absent blobs: manifests of entries, configs, and layers; the manifests in an image index may be absent, so they are not listed",
    (
        STORE,
        Column("digest", "digest of the absent blob"),
        Column("role", "manifest (of an entry), config or layer"),
        Column("manifest", "the manifest that needs it; null if an entry needs it"),
        Column("size", "its size, as its descriptor claims", is_size=True),
    ),
    """SELECT store, digest, role, manifest, max(size) AS size
FROM missing GROUP BY store, digest, role, manifest
ORDER BY store, digest, role, coalesce(manifest, '')""",
)

_ORPHANS = Report(
    "orphans",
    "referrers, such as signatures and attestations, whose subject no store holds",
    (
        Column("store", "name of the store that holds the referrer"),
        Column("referrer", "digest of the referrer"),
        Column("subject", "digest of its subject"),
        Column("how", "how it names its subject (see the view referrers)"),
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
    "images that are built on other images: they have all layers of the base image, in order, and more on top",
    (
        Column("base", "digest of the base image's manifest"),
        Column("base_name", "a name of the base image, or of an image index that contains it, or null"),
        Column("image", "digest of the manifest that is built on it"),
        Column("image_name", "a name of that image, or of an image index that contains it, or null"),
        Column("layers", "number of layers of the base image"),
        Column("size", "bytes of these layers, as the manifest claims", is_size=True, adds_up=False),
    ),
    f"""WITH RECURSIVE {REQUESTED}, pairs(base, image) AS (
  SELECT base.digest, requested.digest -- what it is built on: images whose layers are exactly its layers up to some point
  FROM requested
  JOIN manifests AS top ON top.digest = requested.digest
  JOIN layers ON layers.manifest = requested.digest AND layers.position < top.layers - 1
  JOIN manifests AS base ON base.chain = layers.chain
  UNION SELECT requested.digest, layers.manifest -- what is built on it
  FROM requested
  JOIN manifests AS base ON base.digest = requested.digest
  JOIN layers ON layers.chain = base.chain
  JOIN manifests AS top ON top.digest = layers.manifest AND top.layers > base.layers
  WHERE :image <> ''
), each(digest) AS (
  SELECT base FROM pairs UNION SELECT image FROM pairs
), above(digest, image_index) AS (
  SELECT DISTINCT each.digest, platforms.image_index FROM each JOIN platforms ON platforms.digest = each.digest
), named(digest, name) AS ( -- computed once per digest, which may have many names; an index may hold many images
  SELECT wanted.digest, (SELECT min(images.name) FROM images WHERE images.digest = wanted.digest AND NOT images.shadowed)
  FROM (SELECT digest FROM each UNION SELECT image_index FROM above) AS wanted
), chosen(digest, name) AS (
  SELECT own.digest, coalesce(min(own.name), min(its.name)) FROM each
  JOIN named AS own ON own.digest = each.digest
  LEFT JOIN above ON above.digest = each.digest
  LEFT JOIN named AS its ON its.digest = above.image_index
  GROUP BY own.digest
)
SELECT pairs.base, base.name AS base_name, pairs.image, image.name AS image_name,
  manifests.layers, manifests.layers_size AS size
FROM pairs JOIN manifests ON manifests.digest = pairs.base
JOIN chosen AS base ON base.digest = pairs.base
JOIN chosen AS image ON image.digest = pairs.image
ORDER BY pairs.base, pairs.image""",  # noqa: S608
    (image("only pairs in which either side is this image"),),
)

_WITHOUT_VERSION = "replace(rtrim({0}, replace({0}, '(', '')) || ltrim({0}, replace({0}, ')', '')), '()', '')"
"""A platform without `(osversion+feature…)`. It contains no other parentheses."""

MOST_PLATFORMS = 20
"""How many platforms of a repository the report `platforms` compares."""

_PLATFORMS = Report(
    "platforms",
    "names that lack a platform that other names of their repository have; only the"
    f" {MOST_PLATFORMS} most common platforms of a repository are compared",
    (
        STORE,
        Column("name", "full canonical name"),
        Column("lacks", "the platform that it lacks, os/arch[/variant]"),
        Column("others", "number of names in its repository that have the platform"),
    ),
    f"""WITH RECURSIVE stated AS (
  SELECT image_index AS digest, platform FROM platforms
  WHERE NOT EXISTS (SELECT 1 FROM manifests WHERE manifests.digest = platforms.digest AND manifests.kind = 'index')
  UNION SELECT digest, platform FROM manifests
), has(digest, platform) AS ( -- from each image up to the indexes above it, because many names may share an image
  SELECT digest, CASE WHEN platform LIKE '%(%' THEN {_WITHOUT_VERSION.format("platform")} ELSE platform END
  FROM stated WHERE platform <> 'unknown/unknown'
  UNION SELECT platforms.image_index, has.platform FROM has
  JOIN manifests ON manifests.digest = has.digest AND manifests.kind = 'index'
  JOIN platforms ON platforms.digest = has.digest
), pointed AS (
  SELECT repository, digest, count(*) AS names FROM images WHERE name IS NOT NULL AND NOT shadowed
  GROUP BY repository, digest
), usual AS (
  SELECT repository, platform FROM (
    SELECT pointed.repository, has.platform,
      row_number() OVER (PARTITION BY pointed.repository ORDER BY sum(pointed.names) DESC, has.platform) AS number
    FROM pointed JOIN has ON has.digest = pointed.digest GROUP BY pointed.repository, has.platform
  ) AS ranked WHERE number <= {MOST_PLATFORMS}
), lacking AS ( -- most repositories have the same platforms under all names, and then their names need not be looked at
  SELECT pointed.repository, pointed.digest, usual.platform
  FROM pointed JOIN usual ON usual.repository = pointed.repository
  WHERE pointed.digest IN (SELECT digest FROM has)
  AND NOT EXISTS (SELECT 1 FROM has WHERE has.digest = pointed.digest AND has.platform = usual.platform)
), named AS (
  SELECT store, repository, name, digest FROM images
  WHERE name IS NOT NULL AND NOT shadowed AND repository IN (SELECT repository FROM lacking)
), offered AS (
  SELECT usual.repository, usual.platform, count(DISTINCT named.name) AS names
  FROM usual JOIN named ON named.repository = usual.repository
  WHERE EXISTS (SELECT 1 FROM has WHERE has.digest = named.digest AND has.platform = usual.platform)
  GROUP BY usual.repository, usual.platform
)
SELECT named.store, named.name, lacking.platform AS lacks, offered.names AS others
FROM named JOIN lacking ON lacking.repository = named.repository AND lacking.digest = named.digest
JOIN offered ON offered.repository = lacking.repository AND offered.platform = lacking.platform
ORDER BY offered.names DESC, named.name, named.store, lacking.platform""",  # noqa: S608
)

_CHURN = Report(
    "churn",
    "names that were moved, those moved most often first, as far back as history is kept",
    (
        STORE,
        Column("name", "full canonical name, or null if there is only a tag"),
        Column("tag", "the tag"),
        Column("moves", "how often it was moved to another digest, or came back"),
        Column("digests", "number of different digests"),
        Column("last", "when it was last moved, or came back"),
    ),
    """SELECT store, name, tag, count(*) - 1 AS moves, count(DISTINCT digest) AS digests, max(since) AS last
FROM history
WHERE tag IN (SELECT tag FROM history WHERE until IS NOT NULL) -- of the spans of a name, all but one have ended
GROUP BY store, repository, name, tag HAVING count(*) > 1
ORDER BY moves DESC, store, coalesce(name, ''), tag""",
)

_GROWTH = Report(
    "growth",
    "entries added and removed, day by day, as far back as history is kept",
    (
        Column("day", "the day, in UTC"),
        STORE,
        Column("changes", "number of changes of its index.json"),
        Column("added", "entries that these changes added"),
        Column("removed", "entries that these changes removed"),
        Column("entries", "entries at the end of that day"),
        Column("size", "bytes of its index.json at the end of that day", is_size=True, adds_up=False),
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
    COMPLETE,
    _ORPHANS,
    _BASES,
    _PLATFORMS,
    _CHURN,
    _GROWTH,
)
"""All reports, in the order in which they are listed."""
