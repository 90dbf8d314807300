"""Platforms: `os[(osversion[+feature…])]/arch[/variant]`, normalised and matched as containerd/platforms does.

Three differences are deliberate:

- Nothing depends on the machine that runs ocicat. A lone architecture means linux; a lone operating system is refused.
- A platform matches lower variants of its own architecture only. containerd's `Only` lets amd64 match 386, and arm64
  match arm, but a query for amd64 should not return an image for 386.
- A Windows version that is not `major.minor.build` matches only itself. containerd lets it match every version.
"""

from __future__ import annotations

from catalog.errors import InvalidReference
from catalog.names.reference import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_ARCH_ALIASES = {
    "i386": ("386", ""),
    "x86_64": ("amd64", None),
    "x86-64": ("amd64", None),
    "aarch64": ("arm64", None),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
"""database.go, `normalizeArch`: other spellings, each with its architecture and the variant it implies, or None."""

_VARIANT_ALIASES = {
    ("amd64", "v1"): "",
    ("arm64", "8"): "",
    ("arm64", "v8"): "",
    ("arm", ""): "v7",
    ("arm", "5"): "v5",
    ("arm", "6"): "v6",
    ("arm", "7"): "v7",
    ("arm", "8"): "v8",
}
"""database.go, `normalizeArch`: variants that mean the plain architecture, or have another spelling."""

_KNOWN_ARCH = (  # noqa: SIM905  (a list would take one line per name)
    "386 amd64 amd64p32 arm armbe arm64 arm64be ppc64 ppc64le loong64 mips mipsle mips64 mips64le mips64p32 mips64p32le "
    "ppc riscv riscv64 s390 s390x sparc sparc64 wasm"
).split()
"""database.go, `isKnownArch`. Only a lone word is checked against it; `os/arch` may be anything."""

_OS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-"
_PART = f"{_OS}."
_HEX = "0123456789abcdefABCDEF"

MAX_OPTIONS = 255
"""The maximum length of `osversion+feature…` as written, in characters. `platform_text` leaves out features that exceed it."""

_STABLE = 20348
"""The first Windows build (Windows Server 2022) whose images also run on later builds."""


class Platform:
    """A platform. Make one with `parse` or `normalize`: equality compares normalised parts. Treat it as immutable."""

    __slots__ = ("arch", "features", "os", "variant", "version")

    def __init__(
        self, os: str, arch: str, variant: str = "", version: str = "", features: tuple[str, ...] = ()
    ) -> None:
        self.os = os
        self.arch = arch
        self.variant = variant
        self.version = version
        self.features = features

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Parse `os[(osversion[+feature…])]/arch[/variant]` or a known `arch` (platforms.go, `Parse`).

        Raises InvalidReference if `text` is neither.
        """
        first, *rest = text.split("/", 3)
        options: list[str] | None = []
        if rest and first[-1:] == ")" and "(" in first:
            first, _, written = first[:-1].partition("(")
            options = _decoded(written)
        is_wrong = options is None or not first or first.strip(_OS) or len(rest) > 2
        if is_wrong or not all(part and not part.strip(_PART) for part in rest):
            raise InvalidReference(
                f"{quoted(text)} is not a platform: write os/arch or os/arch/variant, as in linux/arm64 or "
                "windows(10.0.20348)/amd64"
            )
        if rest:
            version, *features = options or [""]
            return normalize(first, rest[0], rest[1] if len(rest) > 1 else "", version, features)
        platform = normalize("linux", first)
        if platform.arch not in _KNOWN_ARCH:
            raise InvalidReference(f"{quoted(text)} is not a known architecture: write os/arch, as in linux/amd64")
        return platform

    def candidates(self) -> tuple[Platform, ...]:
        """Return the platforms of the images that can run on this one, best first, ignoring versions and features.

        Source: compare.go, `platformVector`, within one architecture. arm/v7 runs v6 and v5, amd64/v3 runs v2 and plain
        amd64, arm64/v9.1 runs v9, then v8.6 down to plain arm64 (v9.N includes v8.N+5).
        """
        return tuple(Platform(self.os, self.arch, variant) for variant in _variants(self.arch, self.variant))

    def rank(self, text: str) -> tuple[int, int, int] | None:
        """Return how well an image of platform `text` fits this platform: the least rank is the best. None means that it does not fit.

        The variant decides first, then the version. An exact version is best. For Windows the next best are the same
        build, the newest older build that runs there, and an image without a version; for other systems any version fits.
        An image that needs a feature which this platform lacks does not fit.
        Source: platforms.go, `Match`, and platform_windows_compat.go.
        """
        os, version, features, rest = split(text)
        if os != self.os or not set(features) <= set(self.features):
            return None
        arch, _, variant = rest.partition("/")
        if arch != self.arch:
            return None
        variants = _variants(self.arch, self.variant)
        if variant not in variants:
            return None
        ranked = self._rank_version(version)
        return None if ranked is None else (variants.index(variant), *ranked)

    def _rank_version(self, version: str) -> tuple[int, int] | None:
        if version == self.version:
            return 0, 0
        if not self.version or not version or self.os != "windows":
            return (1, 0) if version else (3, 0)
        asked, found = _build(self.version), _build(version)
        if asked is None or found is None or asked[:2] != found[:2]:
            return None
        if asked == found:
            return 1, 0
        return (2, -found[2]) if _STABLE <= found[2] < asked[2] else None

    def __str__(self) -> str:
        os = f"{self.os}{_options(self.version, self.features)}"
        return f"{os}/{self.arch}/{self.variant}" if self.variant else f"{os}/{self.arch}"

    def __repr__(self) -> str:
        more = f", {self.version!r}, {self.features!r}" if self.version or self.features else ""
        return f"Platform({self.os!r}, {self.arch!r}, {self.variant!r}{more})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Platform):
            return NotImplemented
        return self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def _parts(self) -> tuple[object, ...]:
        return self.os, self.arch, self.variant, self.version, self.features


def normalize(os: str, arch: str, variant: str = "", version: str = "", features: Iterable[str] = ()) -> Platform:
    """Return the normalised platform of values found in a layout (platforms.go, `Normalize`). Never raises.

    An empty `os` stays empty; containerd would insert the machine's. Compare the parts, not `str()`: an `arch` that a
    layout spells `amd64/v3` has no variant.
    """
    os, arch, variant = os.lower(), arch.lower(), variant.lower()
    arch, implied = _ARCH_ALIASES.get(arch, (arch, None))
    if implied is not None:
        variant = implied
    variant = _VARIANT_ALIASES.get((arch, variant), variant)
    return Platform("darwin" if os == "macos" else os, arch, variant, version, tuple(sorted({*features} - {""})))


def platform_text(
    os: str | None,
    arch: str | None,
    variant: str | None = None,
    version: str | None = None,
    features: Iterable[str] | None = None,
) -> str | None:
    """Return `os[(osversion[+feature…])]/arch[/variant]` for values found in a layout, normalised. Never raises.

    Absent values are None or empty. The result is None if the operating system or the architecture is absent. A slash or
    parenthesis inside a part is percent-encoded, because it would make another platform; no query can ask for such a part.
    `unknown/unknown`, which is not an image, has neither version nor features. If version and features together take more than MAX_OPTIONS
    characters, the features are left out; if the version alone does, it is left out too.
    """
    if not os or not arch:
        return None
    variant, version, features = variant or "", version or "", set(features or ())
    # Encoding never shortens a text, so one that is already too long need not be encoded.
    if len(version) > MAX_OPTIONS:
        version, features = "", set()
    elif sum(map(len, features)) > MAX_OPTIONS:
        features = set()
    found = normalize(_encoded(os), _encoded(arch), _encoded(variant), version, features)
    if len(_options(version, found.features)) > MAX_OPTIONS + 2:
        found = Platform(found.os, found.arch, found.variant, version)
    if len(_options(version, ())) > MAX_OPTIONS + 2 or found.os == found.arch == "unknown":
        found = Platform(found.os, found.arch, found.variant)
    return str(found)


def split(text: str) -> tuple[str, str, tuple[str, ...], str]:
    """Split a result of `platform_text` into operating system, version, features, and `arch[/variant]`."""
    os, _, rest = text.partition("/")
    if os[-1:] != ")":
        return os, "", (), rest
    os, _, written = os[:-1].partition("(")
    version, *features = _decoded(written) or [""]
    return os, version, tuple(features), rest


def _encoded(part: str) -> str:
    """Percent-encode the characters of `part` that have a meaning in the text of a platform."""
    return part.replace("%", "%25").replace("/", "%2F").replace("(", "%28").replace(")", "%29")


def _options(version: str, features: Iterable[str]) -> str:
    """Return `(osversion+feature…)`, or "" if there is neither (platforms.go, `FormatAll`).

    Every character that `Parse` would not accept is percent-encoded; `FormatAll` encodes fewer.
    """
    written = "+".join((_percent(version), *map(_percent, features)))
    return f"({written})" if written else ""


def _percent(text: str) -> str:
    if not text.strip(_PART):
        return text
    return "".join(
        char if char in _PART else "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "replace")) for char in text
    )


def _decoded(written: str) -> list[str] | None:
    """Return the version, which may be empty, and the features in `osversion+feature…`, or None if it is malformed."""
    if len(written) > MAX_OPTIONS:
        return None
    found = []
    for number, each in enumerate(written.split("+")):
        if each.strip(_PART + "%") or (number and not each):
            return None
        start, *escaped = each.split("%")
        if any(len(one) < 2 or one[0] not in _HEX or one[1] not in _HEX for one in escaped):
            return None
        raw = start.encode() + b"".join(bytes((int(one[:2], 16),)) + one[2:].encode() for one in escaped)
        try:
            found.append(raw.decode())
        except UnicodeDecodeError:
            return None
    return found


def _build(version: str) -> tuple[int, int, int] | None:
    """Return the major, minor and build number of a Windows version, or None (`getWindowsOSVersion`)."""
    parts = version.split(".", 3)[:3]
    if len(parts) < 3 or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        return None
    return int(parts[0]), int(parts[1]), int(parts[2])


def _variants(arch: str, variant: str) -> list[str]:
    """Return `variant` and the lower variants of `arch` that it runs. A variant with a number of two digits runs no other."""
    if len(variant) < 2 or variant[0] != "v" or variant[1] not in "23456789":
        return [variant]
    level, rest = int(variant[1]), variant[2:]
    if arch == "arm64":
        return [variant, *(lower for lower in _arm64_variants(level, rest) if lower != variant)]
    if arch == "amd64" and not rest:
        return [variant, *_levels(level - 1, 2), ""]
    if arch == "arm" and not rest:
        return [variant, *_levels(level - 1, 5)]
    return [variant]


def _arm64_variants(level: int, rest: str) -> list[str]:
    """Return every arm64 variant from `v9.N` or `v8.N` downwards. `rest` is `.N` or empty."""
    if rest and (len(rest) != 2 or rest[0] != "." or rest[1] not in "0123456789"):
        return []
    minor = int(rest[1:] or "0")
    if level == 9:
        # v8 ends at v8.9; v9.0 diverged from v8.5.
        return [*(f"v9.{n}" for n in range(minor, 0, -1)), "v9", *_arm64_variants(8, f".{min(minor + 5, 9)}")]
    return [*(f"v8.{n}" for n in range(minor, 0, -1)), ""] if level == 8 else []


def _levels(highest: int, lowest: int) -> list[str]:
    return [f"v{n}" for n in range(highest, lowest - 1, -1)]
