"""Layouts with shared layers, repeated names, absent blobs and referrers: one set made by hand, and random ones."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Sequence
from typing import Any

from tests import writers
from tests.reports.disk import BUILDKIT, CONTAINERD, COSIGN
from tests.writers import Descriptor

DOCKER_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"


def image(
    path: str,
    layers: Sequence[str],
    *,
    seed: str = "",
    arch: str = "amd64",
    created: str | None = "2024-01-02T03:04:05.678Z",
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    media_type: str = writers.MANIFEST_TYPE,
) -> Descriptor:
    """Write an image with these layers. Each text is a layer; the same text is the same layer."""
    config = {"os": "linux", "architecture": arch, "config": {"Labels": labels or {}}, "seed": seed}
    if created:
        config["created"] = created
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": writers.write_blob(path, writers.dump(config), writers.CONFIG_TYPE),
        "layers": [writers.write_blob(path, layer.encode() * 10, writers.LAYER_TYPE) for layer in layers],
    }
    if annotations:
        manifest["annotations"] = annotations
    return writers.write_blob(path, writers.dump(manifest), media_type)


def artifact(path: str, kind: str, subject: Descriptor | None, **more: Any) -> Descriptor:
    """Write a manifest; if `subject` is given, its field of that name points there."""
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": writers.MANIFEST_TYPE,
        "config": writers.write_blob(path, b"{}", EMPTY_TYPE),
        "layers": [
            writers.write_blob(path, f"{kind} {more}".encode(), "application/x-about")
            | {"annotations": {"org.opencontainers.image.title": f"{kind or 'about'}.txt"}}
        ],
        **more,
    }
    if kind:
        manifest["artifactType"] = kind
    if subject is not None:
        manifest["subject"] = {key: subject[key] for key in ("mediaType", "digest", "size")}
    return writers.write_blob(path, writers.dump(manifest), writers.MANIFEST_TYPE)


def multi(path: str, *children: tuple[Descriptor, str | None], more: Sequence[Descriptor] = ()) -> Descriptor:
    """Write an image index. The descriptor of a child has a platform if an architecture is given."""
    listed = [child | ({"platform": writers.platform("linux", arch)} if arch else {}) for child, arch in children]
    return writers.make_index_image(path, [*listed, *more])


def named(descriptor: Descriptor, name: str, **annotations: str) -> Descriptor:
    return descriptor | {"annotations": {writers.REF_NAME: name, **annotations}}


def tag_of(descriptor: Descriptor, suffix: str = "") -> str:
    return str(descriptor["digest"]).replace(":", "-") + suffix


def with_sha512(path: str, descriptor: Descriptor) -> Descriptor:
    """Write the same bytes under their sha512 digest, too."""
    with open(f"{path}/blobs/{descriptor['digest'].replace(':', '/')}", "rb") as file:
        data = file.read()
    digits = hashlib.sha512(data).hexdigest()
    os.makedirs(f"{path}/blobs/sha512", exist_ok=True)
    with open(f"{path}/blobs/sha512/{digits}", "wb") as file:
        file.write(data)
    return descriptor | {"digest": f"sha512:{digits}"}


def cut_tag_of(descriptor: Descriptor) -> str:
    """Return the fallback tag of a sha512 digest, cut as in the distribution-spec."""
    return tag_of(descriptor)[: len("sha512-") + 64]


def lose(path: str, digest: str) -> None:
    os.unlink(f"{path}/blobs/{digest.replace(':', '/')}")


ACME = "docker.io/acme"


def by_hand(directory: str) -> dict[str, str]:
    """Return layouts with one of everything, by name."""
    paths = {
        name: writers.make_layout(f"{directory}/{name}")
        for name in ("base", "apps", "mirror", "hurt", "about", "beside")
    }

    path = paths["base"]
    base = image(path, ["root", "libs"], labels={"vendor": "ACME", "same": "x"}, annotations={"a": "b" * 200})
    slim = image(path, ["root"], created="2024-06-01T00:00:00+02:00", annotations={"a": "c"})
    old = image(path, ["root", "old"], created=None)
    entries = [named(base, f"{ACME}/base:1"), named(slim, f"{ACME}/base:slim", k="v"), named(old, f"{ACME}/base:1")]
    # A name and a tag occur a second time, and one entry has neither.
    writers.write_index(path, writers.empty_index(*entries, named(slim, "1"), named(old, "1"), old))

    path = paths["apps"]
    app = image(path, ["root", "libs", "app"], labels={"vendor": "ACME"})
    arm = image(path, ["arm root", "arm libs", "app"], arch="arm64", created="2025-01-01T00:00:00Z")
    twice = image(path, ["root", "libs", "empty", "empty", "top"], media_type=DOCKER_TYPE)
    index = multi(path, (app, "amd64"), (arm, "arm64"))
    outer, said = multi(path, (index, None), (twice, None)), multi(path, (index, "s390x"))
    entries = [named(index, f"{ACME}/app:2"), named(app, f"{ACME}/app:2-amd64"), named(outer, f"{ACME}/app:nested")]
    writers.write_index(
        path,
        writers.empty_index(*entries, named(twice, "bare"), named(index, "latest"), named(said, f"{ACME}/app:said")),
    )

    path = paths["mirror"]
    image(path, ["root", "libs"], labels={"vendor": "ACME", "same": "x"}, annotations={"a": "b" * 200})
    newer = image(path, ["root", "libs", "fixed"])
    # A layer that is a manifest elsewhere is only a layer here: what the manifest needs is not reached.
    image(path, ["root"], created="2024-06-01T00:00:00+02:00", annotations={"a": "c"})
    bundle = artifact(path, "x/bundle", None, layers=[slim])
    multi(path, (app, "amd64"), (arm, "arm64"))  # sparse
    entries = [named(newer, f"{ACME}/base:1"), named(base, f"{ACME}/base:stable"), named(base, "t")]
    entries.append(named(index, f"{ACME}/app:2"))
    writers.write_index(path, writers.empty_index(*entries, named(bundle, "bundle")))
    writers.write_blob(path, b"left behind", "x")

    path = paths["hurt"]
    lacks = image(path, ["gone", "gone", "kept"], seed="hurt")
    lose(path, writers.write_blob(path, b"gone" * 10, "x")["digest"])
    bare = image(path, ["a layer"], seed="no config")
    with open(f"{path}/blobs/{bare['digest'].replace(':', '/')}", "rb") as file:
        lose(path, json.load(file)["config"]["digest"])
    bad = writers.write_blob(path, b"no JSON", writers.MANIFEST_TYPE)
    sparse = multi(path, (writers.fake_descriptor("elsewhere"), "arm64"), (lacks, "amd64"))
    absent = writers.fake_descriptor("absent")
    corrupt = image(path, ["kept"], seed="corrupt")
    with open(f"{path}/blobs/{corrupt['digest'].replace(':', '/')}", "ab") as file:
        file.write(b" ")
    odd = writers.write_blob(path, b"a text", "text/plain")
    writers.write_index(
        path,
        writers.empty_index(
            *(named(each, f"{ACME}/hurt:{number}") for number, each in enumerate((lacks, bad, sparse, absent, odd))),
            named(bare, f"{ACME}/hurt:bare"),
            named(corrupt, f"{ACME}/hurt:corrupt"),
            absent,
        ),
    )

    path = paths["about"]
    subject = image(path, ["root", "signed"])
    own, signature = artifact(path, "x/sbom", subject), artifact(path, "", None, annotations={"signed": "yes"})
    fallback = multi(path, (artifact(path, "x/fallback", subject), None), (artifact(path, "x/other", None), None))
    proof = artifact(path, "x/proof", None)
    attested = multi(
        path,
        (subject, "amd64"),
        more=[
            proof | {"platform": writers.platform("unknown", "unknown"), "annotations": {BUILDKIT: subject["digest"]}}
        ],
    )
    lost = artifact(path, "x/orphan", writers.fake_descriptor("nowhere"))
    writers.write_index(
        path,
        writers.empty_index(
            named(attested, f"{ACME}/signed:1"),
            own,
            named(signature, tag_of(subject, ".sig"), **{CONTAINERD: subject["digest"]}),
            named(signature, f"{ACME}/signed:{tag_of(subject, '.sig')}"),
            named(fallback, tag_of(subject)),
            named(fallback, f"{ACME}/signed:{tag_of(subject)}"),
            named(artifact(path, "x/held", None), "held", **{CONTAINERD: subject["digest"]}),
            artifact(path, "x/says", None, annotations={CONTAINERD: base["digest"]}),
            lost,
        ),
    )

    path = paths["beside"]
    subject = image(path, ["root", "beside"])
    long = with_sha512(path, image(path, ["root", "long"]))
    plain = artifact(path, "x/plain", None)
    cut = multi(path, (plain, None), (artifact(path, "x/cut", long), None), (artifact(path, "x/no", subject), None))
    itself = with_sha512(path, multi(path, (subject, "amd64")))
    artifact(path, "x/unlisted", subject)
    holds = with_sha512(path, image(path, ["root", "held"], seed="held"))
    writers.write_index(
        path,
        writers.empty_index(
            named(subject, f"{ACME}/saved:1", kind=f"{COSIGN}/image"),
            named(artifact(path, "", None, s="sigs"), f"{ACME}/saved:1", kind=f"{COSIGN}/sigs"),
            named(artifact(path, "", None, s="atts"), f"{ACME}/saved:1", kind=f"{COSIGN}/atts"),
            named(artifact(path, "", None, s="other"), f"{ACME}/other:1", kind=f"{COSIGN}/sigs"),
            artifact(path, "x/entry", None) | {"annotations": {BUILDKIT: subject["digest"]}},
            named(artifact(path, "x/both", subject), tag_of(subject, ".att"), **{BUILDKIT: subject["digest"]}),
            named(long, "long"),
            named(cut, cut_tag_of(long)),
            named(itself, cut_tag_of(itself)),
            named(holds, "held"),
            named(multi(path, (holds, "amd64"), (plain, None)), cut_tag_of(holds)),
            named(multi(path, (plain, None)), tag_of(subject)),
        ),
    )
    return paths


def at_random(directory: str, rng: random.Random) -> dict[str, str]:
    """Make a few layouts of images that share layers and names, with indexes, referrers and absent blobs."""
    paths: dict[str, str] = {}
    for number in range(rng.randint(2, 4)):
        path = paths[f"s{number}"] = writers.make_layout(f"{directory}/s{number}")
        made: list[Descriptor] = []
        for _ in range(rng.randint(2, 7)):
            layers = ["root", "libs", "top", "end"][: rng.randint(1, 4)]
            if rng.random() < 0.3:
                layers[-1] = rng.choice(("root", "other"))
            labels = {"l": rng.choice("ab")} if rng.random() < 0.5 else {}
            arch = rng.choice(("amd64", "arm64", "386"))
            made.append(image(path, layers, seed=str(rng.randint(0, 1)), arch=arch, labels=labels))
        for _ in range(rng.randint(0, 3)):
            children = rng.choices(made, k=rng.randint(0, 3))
            made.append(multi(path, *((each, rng.choice((None, "arm64", "s390x"))) for each in children)))
        for _ in range(rng.randint(0, 2)):
            made.append(artifact(path, rng.choice(("", "x/a")), rng.choice([*made, writers.fake_descriptor("n")])))
        if rng.random() < 0.5:
            made.append(with_sha512(path, rng.choice(made)))
        entries: list[Descriptor] = []
        for each in rng.choices(made, k=rng.randint(1, 8)):
            name = rng.choice((f"{ACME}/{rng.choice('xy')}:{rng.choice('12')}", rng.choice("12"), ""))
            if rng.random() < 0.2:
                name = tag_of(
                    rng.choice([one for one in made if one["digest"].startswith("sha256:")]),
                    rng.choice(("", ".sig", ".att")),
                )
            if rng.random() < 0.2:
                name = cut_tag_of(rng.choice(made))
            more = {}
            if rng.random() < 0.3:
                more["kind"] = f"{COSIGN}/{rng.choice(('image', 'sigs', 'atts'))}" if name else "x"
            if rng.random() < 0.2:
                more[BUILDKIT] = rng.choice(made)["digest"]
            entries.append(named(each, name, **more) if name else each | ({"annotations": more} if more else {}))
        writers.write_index(path, writers.empty_index(*entries))
        for name in sorted(os.listdir(f"{path}/blobs/sha256")):
            if rng.random() < 0.12:
                lose(path, f"sha256:{name}")
    return paths
