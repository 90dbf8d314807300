"""Platforms: containerd's normal forms, and which image matches which platform."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import InvalidReference
from catalog.names.platform import MAX_OPTIONS, Platform, normalize, platform_text, split


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        # containerd/platforms: the table in its package documentation, and platforms_test.go.
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/x86-64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/x86_64/v1", "linux/amd64"),
        ("linux/amd64/v2", "linux/amd64/v2"),
        ("linux/x86_64/v3", "linux/amd64/v3"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/aarch64/v8", "linux/arm64"),
        ("linux/arm64/v9", "linux/arm64/v9"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/7", "linux/arm/v7"),
        ("linux/arm/v7", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/arm/5", "linux/arm/v5"),
        ("linux/arm/8", "linux/arm/v8"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armhf/v6", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/armel/v7", "linux/arm/v6"),
        ("linux/i386", "linux/386"),
        ("linux/i386/v2", "linux/386"),
        ("linux/s390x", "linux/s390x"),
        ("macOS/arm64", "darwin/arm64"),
        ("Linux/AMD64/V3", "linux/amd64/v3"),
        ("windows/amd64", "windows/amd64"),
        ("anything/else", "anything/else"),
        ("Windows(10.0.20348)/x86_64", "windows(10.0.20348)/amd64"),
        ("windows(10.0.17763+win32k+a)/amd64", "windows(10.0.17763+a+win32k)/amd64"),
        ("linux(+erofs)/arm", "linux(+erofs)/arm/v7"),
        ("darwin(macOS%2013.1)/arm64", "darwin(macOS%2013.1)/arm64"),
        ("windows()/amd64", "windows/amd64"),
        ("linux/riscv64/rva23u64", "linux/riscv64/rva23u64"),
        # A lone architecture: containerd assumes the machine's operating system, ocicat assumes linux.
        ("amd64", "linux/amd64"),
        ("aarch64", "linux/arm64"),
        ("armhf", "linux/arm/v7"),
        ("i386", "linux/386"),
    ],
)
def test_normal_forms(text: str, normal: str) -> None:
    """Every spelling has one normal form, and a normal form is its own."""
    assert str(Platform.parse(text)) == normal
    assert str(Platform.parse(normal)) == normal


@pytest.mark.parametrize(
    "text",
    ["", "/", "linux", "macos", "windows", "toaster", "linux/", "/amd64", "linux//v7", "linux/arm/", "linux/arm/v7/x", "a/b/c/d/e",
     "linux/*", "linux/amd 64", "linux/amd64\n", "\u0131386", "linux/\u00e9", "windows(10.0.17763)", "windows(1(2))/amd64", "windows(1+)/amd64",
     "windows(%zz)/amd64", "windows(%ff)/amd64", f"windows({'1' * 300})/amd64", "li.nux/amd64", "x" * 300,
     "/" * 2_000_000, "a" * 2_000_000],
    ids=lambda text: repr(text[:30]),
)  # fmt: skip
def test_a_text_that_is_not_a_platform_is_refused_in_one_line(text: str) -> None:
    """The message is printable and short, and shows the right form."""
    with pytest.raises(InvalidReference, match="as in linux/") as caught:
        Platform.parse(text)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("text", "others"),
    [
        ("linux/amd64", ""),
        ("linux/amd64/v2", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v2 linux/amd64"),
        ("linux/amd64/v4", "linux/amd64/v3 linux/amd64/v2 linux/amd64"),
        ("linux/arm", "linux/arm/v6 linux/arm/v5"),
        ("linux/arm/v6", "linux/arm/v5"),
        ("linux/arm/v5", ""),
        ("linux/arm/v8", "linux/arm/v7 linux/arm/v6 linux/arm/v5"),
        ("linux/arm64", ""),
        ("linux/arm64/v8.2", "linux/arm64/v8.1 linux/arm64"),
        ("linux/arm64/v8.0", "linux/arm64"),
        ("linux/arm64/v9", " ".join(f"linux/arm64/v8.{n}" for n in (5, 4, 3, 2, 1)) + " linux/arm64"),
        ("linux/arm64/v9.0", " ".join(f"linux/arm64/v{n}" for n in (9, 8.5, 8.4, 8.3, 8.2, 8.1)) + " linux/arm64"),
        (
            "linux/arm64/v9.1",
            " ".join(f"linux/arm64/v{n}" for n in (9, 8.6, 8.5, 8.4, 8.3, 8.2, 8.1)) + " linux/arm64",
        ),
        ("linux/386", ""),
        ("linux/riscv64/rva23u64", ""),
        ("linux/ppc64le/power10", ""),
        # Variants that no architecture has stand alone.
        ("linux/amd64/v999999999", ""),
        ("linux/arm/v70", ""),
        ("linux/arm64/v9.999999999", ""),
        ("linux/arm64/v7", ""),
        ("linux/amd64/v", ""),
        ("linux/amd64/3", ""),
    ],
)
def test_candidates_best_first(text: str, others: str) -> None:
    """The platform itself, then the lower variants of its own architecture."""
    asked = Platform.parse(text)
    assert asked.candidates() == (asked, *(Platform.parse(other) for other in others.split()))


PARTS = st.one_of(
    st.sampled_from(
        ["", "linux", "macos", "amd64", "x86_64", "arm", "arm64", "armhf", "v7", "v8", "v9.3", "7", "v1", "unknown", "i386"]
    ),
    st.builds(lambda number: f"v{number}", st.one_of(st.integers(0, 12), st.floats(0, 12).map(lambda f: round(f, 1)))),
    st.text(max_size=5),
)  # fmt: skip


@given(PARTS, PARTS, PARTS)
def test_normalising_never_raises_and_is_idempotent(os: str, arch: str, variant: str) -> None:
    """A layout may contain anything. The result is always normal."""
    platform = normalize(os, arch, variant)
    assert normalize(platform.os, platform.arch, platform.variant) == platform


@given(PARTS, PARTS, PARTS)
def test_candidates_are_few_normal_and_different(os: str, arch: str, variant: str) -> None:
    """Each candidate is tried in turn, so none is repeated, and each is normal like the platforms of an index."""
    platform = normalize(os, arch, variant)
    candidates = platform.candidates()
    assert candidates[0] == platform
    assert len(set(candidates)) == len(candidates) <= 22
    for candidate in candidates:
        assert normalize(candidate.os, candidate.arch, candidate.variant) == candidate
        assert (candidate.os, candidate.arch) == (platform.os, platform.arch)


def test_a_lower_variant_matches_no_more_than_a_higher_one() -> None:
    """The candidates of a candidate are candidates themselves."""
    for text in ("linux/amd64/v4", "linux/arm/v8", "linux/arm64/v9.9", "linux/arm64/v8.9"):
        candidates = Platform.parse(text).candidates()
        for candidate in candidates:
            assert set(candidate.candidates()) <= set(candidates)


def test_equality_compares_parts() -> None:
    """An `arch` of `amd64/v3` in a layout prints like a variant but is not one."""
    assert Platform.parse("linux/x86_64") == normalize("Linux", "amd64", "v1")
    assert hash(Platform.parse("linux/x86_64")) == hash(normalize("Linux", "amd64", "v1"))
    assert normalize("linux", "amd64/v3") != Platform.parse("linux/amd64/v3")
    assert Platform.parse("linux/amd64") != "linux/amd64"
    assert repr(Platform.parse("linux/arm")) == "Platform('linux', 'arm', 'v7')"


@pytest.mark.parametrize(
    ("asked", "offered", "best"),
    [
        ("windows/amd64", "windows(10.0.20348.1)/amd64 windows(10.0.17763.1)/amd64", 0),
        ("windows(10.0.17763.1)/amd64", "windows(10.0.20348.1)/amd64 windows(10.0.17763.1)/amd64", 1),
        ("windows(10.0.17763)/amd64", "windows(10.0.20348.1)/amd64 windows(10.0.17763.9)/amd64", 1),
        ("windows(10.0.17763.1)/amd64", "windows(10.0.17763.9)/amd64 windows(10.0.17763.1)/amd64", 1),
        ("windows(10.0.14393)/amd64", "windows(10.0.20348.1)/amd64 windows(10.0.17763.9)/amd64", None),
        (
            "windows(10.0.26100)/amd64",
            "windows(10.0.17763)/amd64 windows(10.0.20348)/amd64 windows(10.0.25398)/amd64",
            2,
        ),
        ("windows(10.0.20348)/amd64", "windows(10.0.26100)/amd64 windows/amd64", 1),
        ("windows(ltsc)/amd64", "windows(10.0.26100)/amd64 windows(ltsc)/amd64", 1),
        ("windows/arm64", "windows(10.0.26100)/amd64", None),
        ("linux/amd64", "linux(+erofs)/amd64", None),
        ("linux(+a+erofs)/amd64", "linux(+erofs)/amd64", 0),
        ("darwin/arm64", "darwin(macOS%2013.1)/arm64 darwin(macOS%2014)/arm64", 0),
        ("darwin(macOS%2014)/arm64", "darwin(macOS%2013.1)/arm64 darwin(macOS%2014)/arm64", 1),
        ("linux/amd64/v3", "linux(5)/amd64 linux(5)/amd64/v2", 1),
    ],
)
def test_versions_match_as_in_containerd(asked: str, offered: str, best: int | None) -> None:
    """The best is an exact version, then the same build, then one that runs there. No image may need further features."""
    ranks = [Platform.parse(asked).rank(each) for each in offered.split()]
    found = [(rank, number) for number, rank in enumerate(ranks) if rank is not None]
    assert (min(found)[1] if found else None) == best


@given(st.text(max_size=12), st.lists(st.text(max_size=6), max_size=3))
def test_a_version_of_any_characters_survives_a_round_trip(version: str, features: list[str]) -> None:
    """No version or feature in a layout can turn its platform into another."""
    try:
        version.encode()
        "".join(features).encode()
    except UnicodeEncodeError:
        return
    text = platform_text("windows", "amd64", "", version, features)
    assert text is not None
    assert split(text) == ("windows", version, tuple(sorted({*features} - {""})), "amd64")
    assert Platform.parse(text) == normalize("windows", "amd64", "", version, features)


def test_a_version_that_is_too_long_is_left_out() -> None:
    """The features are left out first, then the version."""
    assert platform_text("windows", "amd64", "", "1" * 300, ["a"]) == "windows/amd64"
    assert platform_text("windows", "amd64", "", "1", ["a" * 300]) == "windows(1)/amd64"
    assert platform_text("windows(1)", "amd64") == "windows%281%29/amd64"
    assert platform_text("unknown", "unknown", "", "1") == "unknown/unknown"
    assert platform_text(None, "amd64") is platform_text("linux", "") is None


def test_a_version_may_take_all_the_room_of_the_options() -> None:
    assert platform_text("windows", "amd64", None, "1" * MAX_OPTIONS) == f"windows({'1' * MAX_OPTIONS})/amd64"
    assert platform_text("windows", "amd64", None, "1" * (MAX_OPTIONS + 1)) == "windows/amd64"
    assert (
        platform_text("windows", "amd64", None, "%" + "1" * (MAX_OPTIONS - 1)) == "windows/amd64"
    )  # encoded, it is longer
    feature = "f" * (MAX_OPTIONS - 2)
    assert platform_text("windows", "amd64", None, "1", [feature]) == f"windows(1+{feature})/amd64"
    assert platform_text("windows", "amd64", None, "1", [feature + "f"]) == "windows(1)/amd64"
    longest = f"windows({'1' * MAX_OPTIONS})/amd64"
    assert str(Platform.parse(longest)) == longest
    with pytest.raises(InvalidReference):
        Platform.parse(f"windows({'1' * (MAX_OPTIONS + 1)})/amd64")


@pytest.mark.parametrize("version", ["10", "10.0", "10.0.x", "10.0.\u0661", "10.0." + "9" * 10])
def test_a_version_of_windows_without_a_build_fits_no_other(version: str) -> None:
    asked = Platform("windows", "amd64", version=version)
    assert asked.rank("windows(10.0.20348)/amd64") is None
    assert Platform.parse("windows(10.0.20348)/amd64").rank(str(asked)) is None
    assert asked.rank(str(asked)) == (0, 0, 0)
