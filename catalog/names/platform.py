"""Platforms: `os[(osversion[+feature…])]/arch[/variant]`, normalised and matched as containerd/platforms does (docs/resolution.md).

Two things differ on purpose. Nothing is filled in from the machine that asks: a lone architecture means linux, a lone
operating system is refused. And a platform takes lower variants of its own architecture only, where containerd's `Only`
lets amd64 take 386 and arm64 take arm too: a catalog that is asked for amd64 does not answer with an image for 386.
And a Windows version that is no `major.minor.build` matches itself alone, where containerd lets it match all.
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
"""database.go, `normalizeArch`: another spelling's architecture, and its variant where it says one (None: as given)."""

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
"""database.go, `normalizeArch`: a variant that is the architecture's plain form, or is spelled otherwise."""

_KNOWN_ARCH = (  # noqa: SIM905  (a list would be one name a line)
    "386 amd64 amd64p32 arm armbe arm64 arm64be ppc64 ppc64le loong64 mips mipsle mips64 mips64le mips64p32 mips64p32le "
    "ppc riscv riscv64 s390 s390x sparc sparc64 wasm"
).split()
"""database.go, `isKnownArch`: asked of a lone word only; in `os/arch` anything goes."""

_OS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-"
_PART = f"{_OS}."
_HEX = "0123456789abcdefABCDEF"

MAX_OPTIONS = 255
"""The most characters of `osversion+feature…`, as it is written: what a layout has beyond that is left out."""

_STABLE = 20348
"""The build from which on Windows runs images of older builds too, down to this one (Windows Server 2022)."""


class Platform:
    """A platform. Make one with `parse` or `normalize`: equality is of normalised parts. Immutable by convention."""

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
        """Read `os[(osversion[+feature…])]/arch[/variant]` or a known `arch` (platforms.go, `Parse`).

        Raises InvalidReference.
        """
        first, *rest = text.split("/", 3)
        options: list[str] | None = []
        if rest and first[-1:] == ")" and "(" in first:
            first, _, written = first[:-1].partition("(")
            options = _decoded(written)
        is_wrong = options is None or not first or first.strip(_OS) or len(rest) > 2
        if is_wrong or not all(part and not part.strip(_PART) for part in rest):
            raise InvalidReference(
                f"{quoted(text)} is no platform: write os/arch or os/arch/variant, as in linux/arm64 or "
                "windows(10.0.20348)/amd64"
            )
        if rest:
            version, *features = options or [""]
            return normalize(first, rest[0], rest[1] if len(rest) > 1 else "", version, features)
        platform = normalize("linux", first)
        if platform.arch not in _KNOWN_ARCH:
            raise InvalidReference(f"{quoted(text)} is no known architecture: write os/arch, as in linux/amd64")
        return platform

    def candidates(self) -> tuple[Platform, ...]:
        """The platforms that an image may have to answer this one, best first, versions and features aside.

        compare.go, `platformVector`, within one architecture: arm/v7 takes v6 and v5, amd64/v3 takes v2 and plain
        amd64, arm64/v9.1 takes v9, then v8.6 down to plain arm64 (v9.N has what v8.N+5 has).
        """
        return tuple(Platform(self.os, self.arch, variant) for variant in _variants(self.arch, self.variant))

    def rank(self, text: str) -> tuple[int, int, int] | None:
        """How well an image whose platform is written `text` answers this one: less is better; None: not at all.

        The variant decides first, then the version. An exact version is best; of Windows then one of the same build, then
        the newest build that runs there, then none; elsewhere the version is no condition. The image may need no feature
        that is not asked for (platforms.go, `Match`; platform_windows_compat.go).
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
    """The platform that a layout's values name (platforms.go, `Normalize`). Never raises: layouts hold anything.

    An empty `os` stays empty, where containerd puts in that of the machine. Compare the parts, not `str()`: an `arch`
    that a layout spells `amd64/v3` is no variant.
    """
    os, arch, variant = os.lower(), arch.lower(), variant.lower()
    arch, implied = _ARCH_ALIASES.get(arch, (arch, None))
    if implied is not None:
        variant = implied
    variant = _VARIANT_ALIASES.get((arch, variant), variant)
    return Platform("darwin" if os == "macos" else os, arch, variant, version, tuple(sorted({*features} - {""})))


def platform_text(os: str, arch: str, variant: str = "", version: str = "", features: Iterable[str] = ()) -> str:
    """`os[(osversion[+feature…])]/arch[/variant]` of values found in a layout, normalised. Never raises.

    A slash or a parenthesis inside of a part would make another platform of it: it is percent-encoded, and no such is ever
    asked for. What is no image (`unknown/unknown`) has no version. Features, and then the version, are left out where they
    take more than MAX_OPTIONS characters.
    """
    found = normalize(_encoded(os), _encoded(arch), _encoded(variant), version, features)
    if len(_options(version, found.features)) > MAX_OPTIONS + 2:
        found = Platform(found.os, found.arch, found.variant, version)
    if len(_options(version, ())) > MAX_OPTIONS + 2 or found.os == found.arch == "unknown":
        found = Platform(found.os, found.arch, found.variant)
    return str(found)


def split(text: str) -> tuple[str, str, tuple[str, ...], str]:
    """The parts of what `platform_text` wrote: system, version, features, and `arch[/variant]`."""
    os, _, rest = text.partition("/")
    if os[-1:] != ")":
        return os, "", (), rest
    os, _, written = os[:-1].partition("(")
    version, *features = _decoded(written) or [""]
    return os, version, tuple(features), rest


def _encoded(part: str) -> str:
    """A part without the characters that have a meaning in a platform's text."""
    return part.replace("%", "%25").replace("/", "%2F").replace("(", "%28").replace(")", "%29")


def _options(version: str, features: Iterable[str]) -> str:
    """`(osversion+feature…)`, or an empty text (platforms.go, `FormatAll`).

    All that its `Parse` would not read back is percent-encoded, more than `FormatAll` itself does.
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
    """The version, which may be empty, and the features in `osversion+feature…`; None for what is none."""
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
    """Major, minor and build number of a Windows version; None where it has no such (`getWindowsOSVersion`)."""
    parts = version.split(".", 3)[:3]
    if len(parts) < 3 or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        return None
    return int(parts[0]), int(parts[1]), int(parts[2])


def _variants(arch: str, variant: str) -> list[str]:
    """`variant`, then the lower ones of `arch` that it takes. A number of two digits is no variant's: it stands alone."""
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
    """Every arm64 variant from `v9.N` or `v8.N` downwards, where `rest` is `.N` or empty."""
    if rest and (len(rest) != 2 or rest[0] != "." or rest[1] not in "0123456789"):
        return []
    minor = int(rest[1:] or "0")
    if level == 9:
        # v8 ends at v8.9; v9.0 diverged from v8.5.
        return [*(f"v9.{n}" for n in range(minor, 0, -1)), "v9", *_arm64_variants(8, f".{min(minor + 5, 9)}")]
    return [*(f"v8.{n}" for n in range(minor, 0, -1)), ""] if level == 8 else []


def _levels(highest: int, lowest: int) -> list[str]:
    return [f"v{n}" for n in range(highest, lowest - 1, -1)]
