"""The public views about manifests, layers, blobs and referrers (see views.py).

A manifest has the same contents in every store, so `manifests`, `platforms`, `layers` and `labels` have its rows only
once, however many stores have it.
"""

from __future__ import annotations

from catalog.db.kinds import CHILD, CONFIG, INDEX, LAYER, LISTED, MANIFEST, SUBJECT, UNREACHED
from catalog.db.recursive import IS_JUDGED, IS_UNDERSTOOD, USED_ELSEWHERE, USER, held_somewhere
from catalog.db.view import PATH, STORE, View

_BEGINNING = "the first 128 characters of value; key and beginning have an index, so add a condition on beginning"
_ARTIFACT_TYPE = f"""(
    SELECT coalesce(artifact.name, nullif(media_type.name, '')) FROM manifest
    LEFT JOIN media_type AS artifact ON artifact.id = manifest.artifact_type_id
    LEFT JOIN edge AS has ON has.parent_id = manifest.content_id AND has.role = {CONFIG}
    LEFT JOIN media_type ON media_type.id = has.media_type_id
    WHERE manifest.content_id = content.id
  )"""
_MANIFEST = (
    ("digest", "content.digest", "digest of the manifest"),
    ("kind", f"CASE content.kind WHEN {MANIFEST} THEN 'manifest' WHEN {INDEX} THEN 'index' END", "manifest or index"),
    ("media_type", "nullif(media_type.name, '')", "its own field mediaType, or null"),
    ("artifact_type", "artifact.name", "its own field artifactType, or null"),
    ("size", "content.size", "its size in bytes"),
    ("config", "config_content.digest", "digest of its config, or null"),
    ("config_type", "nullif(config_type.name, '')", "media type of its config, according to the manifest"),
    ("config_size", "edge.size", "size of its config in bytes, according to the manifest"),
    ("subject", "subject.digest", "digest in its field subject, or null"),
    ("platform", "platform.name", "os/arch[/variant] in its config; null for an index (see platforms)"),
    ("created", "@config.created", "when it was created, according to its config"),
    ("layers", "manifest.layers", "number of its layers"),
    ("layers_size", "manifest.layers_size", "total size of its layers in bytes, according to the manifest"),
    ("chain", "manifest.chain", "hash of its layers in order: images with the same chain have the same layers"),
    (
        "listed",
        held_somewhere("manifest.content_id", f"held.reach = {LISTED}"),
        "0 if no entry of any store reaches it",
    ),
)
# SQLite can turn a chain of two outer joins into inner joins, and so begin at its far end, but it only does so in a second
# pass, after it has merged a subquery. The subquery at the end causes that pass. Without it, a query by subject or config
# is a scan; tests/reports/test_view_steps.py counts the steps.
_MANIFESTS = f"""FROM manifest
JOIN content ON content.id = manifest.content_id
JOIN media_type ON media_type.id = manifest.media_type_id
LEFT JOIN media_type AS artifact ON artifact.id = manifest.artifact_type_id
LEFT JOIN edge AS about ON about.parent_id = manifest.content_id AND about.role = {SUBJECT} AND about.position = 0
LEFT JOIN content AS subject ON subject.id = about.child_id
LEFT JOIN edge ON edge.parent_id = manifest.content_id AND edge.role = {CONFIG} AND edge.position = 0
LEFT JOIN content AS config_content ON config_content.id = edge.child_id
LEFT JOIN media_type AS config_type ON config_type.id = edge.media_type_id
LEFT JOIN config ON config.content_id = edge.child_id
LEFT JOIN (SELECT id, name FROM platform) AS platform ON platform.id = config.platform_id
WHERE {held_somewhere("manifest.content_id")}"""


def _exists(row: str) -> str:
    """Return the condition that the entry or manifest that is the source of a referrer row exists."""
    return f"""(
    EXISTS (
      SELECT 1 FROM entry JOIN store ON store.id = entry.store_id
      WHERE entry.id = {row}.entry_id AND store.state <> 'missing'
    ) OR {held_somewhere(row + ".content_id")}
  )"""


def _counts(how: str, row: str, child: str) -> str:
    """Return the condition that a child of a fallback tag's list refers to the subject of the tag.

    See catalog.ingest.referrals.
    """
    own = f"SELECT 1 FROM edge AS own WHERE own.parent_id = {child}.child_id AND own.role = {SUBJECT}"
    # The plus keeps SQLite from using the index on the subject, which may have any number of referrers; a child has only one subject.
    is_about = f"EXISTS ({own} AND +own.child_id = {row}.subject_id)"
    if how == "fallback":
        return is_about
    return f"""({is_about} OR NOT EXISTS ({own})
    AND EXISTS (SELECT 1 FROM manifest AS known WHERE known.content_id = {child}.child_id))"""


def _listed(how: str) -> str:
    """Return an arm of `referrers`: the children of the lists of fallback tags, each child once per subject.

    If several tags point to one list, only one tag counts, because all tags times all children would be too many rows.
    If several lists have a child, the first list counts, in the order of the index of edges by child, so that the search for
    an earlier list ends immediately.
    """
    twin = "twin.how = 'cut' AND twin.id < referrer.id"
    if how == "fallback":
        twin = "(twin.how = 'fallback' AND twin.id < referrer.id OR twin.how = 'cut')"
    return f"""FROM referrer
JOIN content AS subject ON subject.id = referrer.subject_id
JOIN edge ON edge.parent_id = referrer.referrer_id AND edge.role = {CHILD}
JOIN content ON content.id = edge.child_id
WHERE referrer.how = '{how}' AND {_exists("referrer")}
AND NOT EXISTS (
  SELECT 1 FROM referrer AS twin
  WHERE twin.subject_id = referrer.subject_id AND twin.referrer_id = referrer.referrer_id AND {twin} AND {_exists("twin")}
) AND {_counts(how, "referrer", "edge")}
AND NOT EXISTS (
  SELECT 1 FROM edge AS again CROSS JOIN referrer AS same
  WHERE again.child_id = edge.child_id AND again.role = {CHILD} AND again.position <= edge.position
  AND (again.position < edge.position OR again.parent_id < edge.parent_id)
  AND same.subject_id = referrer.subject_id AND same.referrer_id = again.parent_id AND {_exists("same")}
  AND (same.how = 'cut' AND {_counts("cut", "same", "again")}
    OR same.how = 'fallback' AND {_counts("fallback", "same", "again")})
)"""


# Foreign layers are not needed. These are the same rules as in the statement NEEDED (catalog.db.statements).
_COMPLETE = f"""CASE WHEN content.kind = {MANIFEST} AND store_blob.reach = {LISTED} THEN
    coalesce(store_blob.is_good, 1 = 1) AND store_blob.size = content.size AND NOT EXISTS (
      SELECT 1 FROM edge JOIN content AS part ON part.id = edge.child_id
      LEFT JOIN store_blob AS held ON held.store_id = store_blob.store_id AND held.content_id = edge.child_id
      WHERE edge.parent_id = store_blob.content_id AND edge.role IN ({CONFIG}, {LAYER}) AND NOT edge.is_foreign
      AND (held.size IS NULL OR NOT coalesce(held.is_good, 1 = 1) OR held.size <> coalesce(edge.size, part.size))
    ) END"""

CONTENT_VIEWS = (
    View(
        "manifests",
        "one row per manifest or image index that is in a store and was read, however many stores have it",
        _MANIFEST,
        _MANIFESTS,
        keys=("digest", "config", "subject", "chain"),
    ),
    View(
        "platforms",
        "one row per manifest in an image index, whether any store has the manifest or not",
        (
            ("image_index", "parent.digest", "digest of the image index"),
            ("position", "edge.position", "place in the index, from 0"),
            ("digest", "child.digest", "digest of the manifest, or of an index within the index"),
            (
                "platform",
                f"""coalesce(platform.name, (
    SELECT own.name FROM edge AS has CROSS JOIN config CROSS JOIN platform AS own
    WHERE has.parent_id = edge.child_id AND has.role = {CONFIG} AND config.content_id = has.child_id
    AND own.id = config.platform_id
  ))""",
                "os/arch[/variant] in the index, else in the config of the manifest; unknown/unknown for an attestation",
            ),
            ("media_type", "nullif(media_type.name, '')", "media type, according to the index"),
            ("size", "edge.size", "size of the manifest in bytes, according to the index"),
        ),
        f"""FROM edge
JOIN content AS parent ON parent.id = edge.parent_id
JOIN content AS child ON child.id = edge.child_id
JOIN media_type ON media_type.id = edge.media_type_id
LEFT JOIN platform ON platform.id = edge.platform_id
WHERE edge.role = {CHILD} AND {held_somewhere("edge.parent_id")}""",
        keys=("image_index", "digest"),
    ),
    View(
        "layers",
        "one row per layer of a manifest, whether any store has the layer or not",
        (
            ("manifest", "parent.digest", "digest of the manifest"),
            ("position", "edge.position", "place in the manifest, from 0"),
            ("digest", "child.digest", "digest of the layer"),
            ("media_type", "nullif(media_type.name, '')", "media type, according to the manifest"),
            ("size", "edge.size", "size in bytes, according to the manifest"),
            (
                "chain",
                "edge.chain",
                "hash of the layers up to this one: the chain of a manifest with only these layers",
            ),
            (
                "title",
                f"""(
    SELECT titled.value FROM descriptor_annotation AS titled
    JOIN annotation_key ON annotation_key.id = titled.key_id
    WHERE titled.content_id = edge.parent_id AND titled.role = {LAYER} AND titled.position = edge.position
    AND annotation_key.name = 'org.opencontainers.image.title'
  )""",
                "its annotation org.opencontainers.image.title, which is the name of a file in an artifact, or null",
            ),
            ("is_foreign", "edge.is_foreign", "1 if it need not be in a layout: nondistributable, or with urls"),
        ),
        f"""FROM edge
JOIN content AS parent ON parent.id = edge.parent_id
JOIN content AS child ON child.id = edge.child_id
JOIN media_type ON media_type.id = edge.media_type_id
WHERE edge.role = {LAYER} AND {held_somewhere("edge.parent_id")}""",
        keys=("manifest", "digest", "chain"),
    ),
    View(
        "blobs",
        "one row per blob in a store, except in stores that are missing",
        (
            STORE,
            PATH,
            ("digest", "content.digest", "digest of the blob, which is its name in the store"),
            ("size", "store_blob.size", "size of its file in bytes"),
            (
                "reachable",
                f"CASE WHEN {IS_JUDGED} THEN store_blob.reach > {UNREACHED} END",
                "1 if it is in use, by an entry or by a referrer of something in use; null if not known (see unjudged)",
            ),
            ("verified_at", "@store_blob.verified_at", "when its bytes were last compared with its digest, or null"),
            (
                "is_good",
                "store_blob.is_good",
                "1 if its bytes matched its digest then, 0 if not; null if not compared yet",
            ),
            ("modified", "@store_blob.mtime", "when its file was last written"),
            (
                "complete",
                _COMPLETE,
                (
                    "of an image's manifest that an entry leads to: 1 if its store has it, its config and all layers it needs, "
                    "in the right size and not known to be bad, else 0; null for other blobs"
                ),
            ),
        ),
        """FROM store_blob
JOIN store ON store.id = store_blob.store_id
JOIN content ON content.id = store_blob.content_id
WHERE store.state <> 'missing' AND NOT store_blob.embedded""",
        keys=("digest",),
    ),
    View(
        "unjudged",
        "one row per store for which it is not known which blobs are unused, so reports leave it out",
        (
            STORE,
            (
                "subject",
                f"CASE WHEN {IS_UNDERSTOOD} THEN {USER} ELSE coalesce(store.doubt, '') END",
                "the digest, directory, file or other layout that is the cause",
            ),
            (
                "reason",
                f"""CASE WHEN store.state NOT IN ('ok', 'empty') THEN 'the store is ' || store.state
    WHEN store.content_pending THEN 'its manifests are not all read yet' WHEN store.doubt IS NOT NULL THEN store.doubt_reason
    ELSE {USED_ELSEWHERE} END""",
                "what is wrong with it",
            ),
        ),
        f"FROM store WHERE store.state <> 'missing' AND NOT ({IS_JUDGED})",
    ),
    View(
        "labels",
        "one row per label of an image",
        (
            ("digest", "parent.digest", "digest of the image's manifest"),
            ("config", "content.digest", "digest of its config, which contains the label"),
            ("key", "annotation_key.name", "key of the label"),
            ("value", "content_annotation.value", "its value"),
            ("beginning", "substr(content_annotation.value, 1, 128)", _BEGINNING),
        ),
        f"""FROM content_annotation
JOIN annotation_key ON annotation_key.id = content_annotation.key_id
JOIN content ON content.id = content_annotation.content_id
JOIN edge ON edge.child_id = content_annotation.content_id AND edge.role = {CONFIG}
JOIN content AS parent ON parent.id = edge.parent_id
WHERE content_annotation.is_label AND {held_somewhere("edge.parent_id")}""",
        keys=("digest", "config", "key beginning"),
    ),
    View(
        "annotations",
        "one row per annotation of an entry (except its two names, see images) or of a manifest, and of descriptors in one",
        (
            STORE,
            ("digest", "content.digest", "digest of the descriptor, or of the manifest or image index"),
            ("key", "annotation_key.name", "key of the annotation"),
            ("value", "entry_annotation.value", "its value"),
            (
                "origin",
                "'entry'",
                "where it is: entry (a descriptor in index.json), manifest (itself), layer or child (a descriptor in a manifest)",
            ),
            ("beginning", "substr(entry_annotation.value, 1, 128)", _BEGINNING),
        ),
        """FROM entry_annotation
JOIN annotation_key ON annotation_key.id = entry_annotation.key_id
JOIN entry ON entry.id = entry_annotation.entry_id
JOIN store ON store.id = entry.store_id
JOIN content ON content.id = entry.content_id
WHERE store.state <> 'missing'""",
        (
            (
                (
                    "store.name",
                    "content.digest",
                    "annotation_key.name",
                    "content_annotation.value",
                    "'manifest'",
                    "substr(content_annotation.value, 1, 128)",
                ),
                """FROM content_annotation
JOIN annotation_key ON annotation_key.id = content_annotation.key_id
JOIN content ON content.id = content_annotation.content_id
JOIN store_blob ON store_blob.content_id = content_annotation.content_id
JOIN store ON store.id = store_blob.store_id
WHERE NOT content_annotation.is_label AND store.state <> 'missing'""",
            ),
            (
                (
                    "store.name",
                    "content.digest",
                    "annotation_key.name",
                    "descriptor_annotation.value",
                    f"CASE descriptor_annotation.role WHEN {LAYER} THEN 'layer' ELSE 'child' END",
                    "substr(descriptor_annotation.value, 1, 128)",
                ),
                """FROM descriptor_annotation
JOIN annotation_key ON annotation_key.id = descriptor_annotation.key_id
JOIN edge ON edge.parent_id = descriptor_annotation.content_id AND edge.role = descriptor_annotation.role
AND edge.position = descriptor_annotation.position
JOIN content ON content.id = edge.child_id
JOIN store_blob ON store_blob.content_id = descriptor_annotation.content_id
JOIN store ON store.id = store_blob.store_id
WHERE store.state <> 'missing'""",
            ),
        ),
        keys=("digest", "key beginning"),
    ),
    View(
        "referrers",
        "one row per referrer of a digest, such as a signature or attestation, in any store",
        (
            ("subject", "subject.digest", "digest that it refers to"),
            ("referrer", "content.digest", "digest of the referrer's manifest"),
            (
                "how",
                "CAST('subject' AS TEXT)",
                (
                    "how it refers to it: subject (its field), fallback or cosign (a tag), buildkit or containerd (annotations), "
                    "kind (cosign save)"
                ),
            ),
            (
                "artifact_type",
                _ARTIFACT_TYPE,
                "artifact type of the referrer, else the media type of its config, or null",
            ),
        ),
        f"""FROM edge
JOIN content AS subject ON subject.id = edge.child_id
JOIN content ON content.id = edge.parent_id
WHERE edge.role = {SUBJECT} AND {held_somewhere("edge.parent_id")}""",
        (
            (
                ("subject.digest", "content.digest", "referrer.how", _ARTIFACT_TYPE),
                f"""FROM referrer
JOIN content AS subject ON subject.id = referrer.subject_id
JOIN content ON content.id = referrer.referrer_id
WHERE referrer.how NOT IN ('fallback', 'cut') AND referrer.referrer_id <> referrer.subject_id AND {_exists("referrer")}
AND NOT EXISTS (
  SELECT 1 FROM referrer AS same
  WHERE same.subject_id = referrer.subject_id AND same.referrer_id = referrer.referrer_id AND same.id < referrer.id
  AND same.how = referrer.how AND {_exists("same")}
)""",
            ),
            # Two arms, because SQLite begins with the tags, which are few, only if the condition is on one `how`.
            *(
                (("subject.digest", "content.digest", "CAST('fallback' AS TEXT)", _ARTIFACT_TYPE), _listed(how))
                for how in ("fallback", "cut")
            ),
        ),
        keys=("subject", "referrer"),
    ),
)
