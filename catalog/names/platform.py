"""Platforms: `os/arch[/variant]`, normalised and matched as containerd/platforms does (resolution.md section 9).

Two things differ on purpose. Nothing is filled in from the machine that asks: a lone architecture means linux, a lone
operating system is refused. And a platform takes lower variants of its own architecture only, where containerd's `Only`
lets amd64 take 386 and arm64 take arm too: a catalog that is asked for amd64 does not answer with an image for 386.
"""

from __future__ import annotations

from catalog.errors import InvalidReference
from catalog.names.reference import quoted

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


class Platform:
    """A platform. Make one with `parse` or `normalize`: equality is of normalised parts. Immutable by convention."""

    __slots__ = ("arch", "os", "variant")

    def __init__(self, os: str, arch: str, variant: str = "") -> None:
        self.os = os
        self.arch = arch
        self.variant = variant

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read `os/arch[/variant]` or a known `arch` (platforms.go, `Parse`); raises InvalidReference."""
        first, *rest = text.split("/", 3)
        if not first or first.strip(_OS) or len(rest) > 2 or not all(part and not part.strip(_PART) for part in rest):
            raise InvalidReference(
                f"{quoted(text)} is no platform: write os/arch or os/arch/variant, as in linux/arm64"
            )
        if rest:
            return normalize(first, *rest)
        platform = normalize("linux", first)
        if platform.arch not in _KNOWN_ARCH:
            raise InvalidReference(f"{quoted(text)} is no known architecture: write os/arch, as in linux/amd64")
        return platform

    def candidates(self) -> tuple[Platform, ...]:
        """The platforms that an image may have to answer this one, best first; this one is the first.

        compare.go, `platformVector`, within one architecture: arm/v7 takes v6 and v5, amd64/v3 takes v2 and plain
        amd64, arm64/v9.1 takes v9, then v8.6 down to plain arm64 (v9.N has what v8.N+5 has).
        """
        return tuple(Platform(self.os, self.arch, variant) for variant in _variants(self.arch, self.variant))

    def __str__(self) -> str:
        return f"{self.os}/{self.arch}/{self.variant}" if self.variant else f"{self.os}/{self.arch}"

    def __repr__(self) -> str:
        return f"Platform({self.os!r}, {self.arch!r}, {self.variant!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Platform):
            return NotImplemented
        return self.os == other.os and self.arch == other.arch and self.variant == other.variant

    def __hash__(self) -> int:
        return hash((self.os, self.arch, self.variant))


def normalize(os: str, arch: str, variant: str = "") -> Platform:
    """The platform that a layout's values name (platforms.go, `Normalize`). Never raises: layouts hold anything.

    An empty `os` stays empty, where containerd puts in that of the machine. Compare the parts, not `str()`: an `arch`
    that a layout spells `amd64/v3` is no variant.
    """
    os, arch, variant = os.lower(), arch.lower(), variant.lower()
    arch, implied = _ARCH_ALIASES.get(arch, (arch, None))
    if implied is not None:
        variant = implied
    return Platform("darwin" if os == "macos" else os, arch, _VARIANT_ALIASES.get((arch, variant), variant))


def platform_text(os: str, arch: str, variant: str = "") -> str:
    """`os/arch[/variant]` of values found in a layout, normalised. Never raises.

    A slash inside of a part would make another platform of it: it is percent-encoded, and no such is ever asked for.
    """
    return str(normalize(*(part.replace("/", "%2F") for part in (os, arch, variant))))


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
