"""The report `complete`: the images whose store has every blob that they need.

The column `complete` of the view `blobs` says whether this is so for a manifest, by the rules of `resolve --strict`
(catalog.lookup.needed).
"""

from __future__ import annotations

from catalog.reports.definition import REQUESTED, STORE, Column, Report, image

COMPLETE = Report(
    "complete",
    "images of which a store has every needed blob (manifest, config and layers), one row per platform",
    (
        STORE,
        Column(
            "name", "a name of the image, or of an image index that contains it; :TAG if there is only a tag; or null"
        ),
        Column("platform", "os/arch[/variant], from the config or else from the image index; or null"),
        Column("digest", "digest of the image's manifest"),
        Column("size", "bytes of all blobs that it needs; images may share blobs", is_size=True, adds_up=False),
    ),
    f"""WITH RECURSIVE {REQUESTED}, whole AS (
  SELECT blobs.store, blobs.digest FROM requested JOIN blobs ON blobs.digest = requested.digest WHERE blobs.complete
), each(digest) AS ( -- each digest once, because platforms and sizes do not depend on the store
  SELECT DISTINCT digest FROM whole
), above(digest, image_index) AS (
  SELECT DISTINCT each.digest, platforms.image_index FROM each JOIN platforms ON platforms.digest = each.digest
), named(store, digest, name) AS (
  SELECT images.store, images.digest, min(coalesce(images.name, ':' || images.tag))
  FROM (SELECT digest FROM each UNION SELECT image_index FROM above) AS wanted
  JOIN images ON images.digest = wanted.digest WHERE NOT images.shadowed GROUP BY images.store, images.digest
), chosen AS (
  SELECT store, digest, coalesce(min(own), min(its)) AS name FROM (
    SELECT store, digest, name AS own, NULL AS its FROM named
    UNION ALL SELECT named.store, above.digest, NULL, named.name
    FROM named JOIN above ON above.image_index = named.digest
  ) AS stated GROUP BY store, digest
), known AS (
  SELECT manifests.digest, coalesce(manifests.platform, (
    SELECT min(platform) FROM platforms WHERE platforms.digest = manifests.digest
  )) AS platform, manifests.size, manifests.config, manifests.config_size
  FROM each JOIN manifests ON manifests.digest = each.digest
), needed AS ( -- each blob once, however often a manifest lists it; CROSS JOIN makes SQLite begin with the images
  SELECT digest AS image, digest, size FROM known
  UNION SELECT digest, config, config_size FROM known WHERE config IS NOT NULL
  UNION SELECT layers.manifest, layers.digest, layers.size
  FROM each CROSS JOIN layers WHERE layers.manifest = each.digest AND NOT layers.is_foreign
), sized AS (
  SELECT image, sum(size) AS size FROM needed GROUP BY image
)
SELECT whole.store, chosen.name, known.platform, whole.digest, sized.size
FROM whole JOIN known ON known.digest = whole.digest JOIN sized ON sized.image = whole.digest
LEFT JOIN chosen ON chosen.store = whole.store AND chosen.digest = whole.digest
WHERE coalesce(known.platform, '') <> 'unknown/unknown'
ORDER BY whole.store, coalesce(chosen.name, ''), coalesce(known.platform, ''), whole.digest""",  # noqa: S608
    (image("only this image, or the images of this index"),),
)
