"""Words, quotes and variables, as in BuildKit's frontend/dockerfile/shell/lex.go. Most cases are from its lex_test.go."""

from __future__ import annotations

import fnmatch
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.dockerfile import expand, wildcards

VALUES = {
    "FOO": "xxyy",
    "BAR": "",
    "X": "x",
    "PATH_": "/tmp/tmp/bar.txt",
    "S": "a***yy*",
    "N": "\\*/",
    "F": "/foo*/*/*.txt",
}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("plain", "plain"),
        ("$FOO", "xxyy"),
        ("${FOO}", "xxyy"),
        ("$FOO.y${X}z", "xxyy.yxz"),
        ("$UNSET", ""),
        ("$", "$"),
        ("a$ b", "a$ b"),
        ("$$", ""),
        ("$1x", "x"),
        ("\\$FOO", "$FOO"),
        ("'$FOO'", "$FOO"),
        ('"$FOO"', "xxyy"),
        ('"\\$FOO"', "$FOO"),
        ('"\\x"', "\\x"),
        ("'a'\"b\"c", "abc"),
        ("\\'a", "'a"),
        ("end\\", "end"),
        ("${FOO-a} ${BAR-b} ${BAZ-c}", "xxyy  c"),
        ("${FOO:-a} ${BAR:-b} ${BAZ:-c}", "xxyy b c"),
        ("${FOO+a} ${BAR+b} ${BAZ+c}", "a b "),
        ("${FOO:+a} ${BAR:+b} ${BAZ:+c}", "a  "),
        ("${FOO?a}${BAR?b}${FOO:?c}", "xxyyxxyy"),
        ("${BAZ:-${BAR:-${X}}}", "x"),
        ("${BAZ:-'}'}", "}"),
        ("${FOO#*x*y}", "y"),
        ("${FOO#*}", "xxyy"),
        ("${FOO##*x}", "yy"),
        ("${FOO##}", "xxyy"),
        ("${FOO#}", "xxyy"),
        ("${FOO#$X}", "xyy"),
        ("${FOO#$BAR}", "xxyy"),
        ("${FOO%y}", "xxy"),
        ("${FOO%y*}", "xxy"),
        ("${FOO%%y*}", "xx"),
        ("${FOO%x}", "xxyy"),
        ("${S%%\\**\\*}", "a"),
        ("${PATH_##*/}", "bar.txt"),
        ("${PATH_/\\/tmp/}", "/tmp/bar.txt"),
        ("${PATH_//\\/tmp/}", "/bar.txt"),
        ("${F/$N/.}", "/foo.*/*.txt"),
        ("${F//$N/.}", "/foo..*.txt"),
        ("${FOO/?/z}", "zxyy"),
        ("${FOO//?/z}", "zzzz"),
        ("${FOO//x*/z}", "z"),
        ("${FOO/$BAR/ww}", "wwxxyy"),
        ("${FOO///}", "xxyy"),
        ("${UNSET///}", ""),
        ("${PATH_//\\//\\/}", "\\/tmp\\/tmp\\/bar.txt"),
    ],
)
def test_expansion(word: str, expected: str) -> None:
    assert expand.Expander("\\").word(word, VALUES) == expected


@pytest.mark.parametrize(
    "word",
    ["${", "${FOO", "${}", "${{FOO}}", "${:-a}", "${FOO=a}", "${FOO:=a}", "${FOO:-a", "${BAZ?no}", "${BAR:?no}", "${BAZ:?}",
     "'a", '"a', "${FOO//ww}", "${FOO//}", "${FOO#\\x}", "${!FOO}", "${FOO:"],
)  # fmt: skip
def test_a_word_that_buildkit_refuses(word: str) -> None:
    with pytest.raises(expand.BadWord):
        expand.Expander("\\").word(word, VALUES)


def test_the_escape_character_may_be_another() -> None:
    assert expand.Expander("`").word("C:\\$X`$X", VALUES) == "C:\\x$X"


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("RUN <<EOF", [("EOF", False)]),
        ("RUN <<-EOF", [("EOF", True)]),
        ("RUN << EOF cat", [("EOF", False)]),
        ("RUN 3<<EOF", [("EOF", False)]),
        ("COPY <<A <<-'B C' /x", [("A", False), ("B C", True)]),
        ('RUN <<"E"OF', [("EOF", False)]),
        ("RUN <<$EOF", [("$EOF", False)]),
        ("RUN <<E\\OF", [("EOF", False)]),
        ("RUN <<<EOF", []),
        ("RUN a<<EOF", []),
        ("RUN <<", []),
        ("RUN '<<EOF'", []),
        ("RUN echo it's <<EOF", []),
        ("RUN \\<<EOF", []),
    ],
)
def test_heredocs_of_a_line(line: str, names: list[tuple[str, bool]]) -> None:
    assert expand.heredoc_names(line) == names


ALPHABET = "ab*?"


@given(st.text("ab", max_size=7), st.text(ALPHABET, max_size=6), st.booleans())
def test_trimming_agrees_with_trying_every_cut(value: str, pattern: str, longest: bool) -> None:
    cuts = [cut for cut in range(len(value) + 1) if fnmatch.fnmatchcase(value[:cut], pattern)]
    chosen = (max if longest else min)(cuts, default=0)
    assert wildcards.trim_prefix(value, pattern, longest=longest) == value[chosen:]
    cuts = [cut for cut in range(len(value) + 1) if fnmatch.fnmatchcase(value[cut:], pattern)]
    chosen = (min if longest else max)(cuts, default=len(value))
    assert wildcards.trim_suffix(value, pattern, longest=longest) == value[:chosen]


@given(st.text("ab", max_size=7), st.text(ALPHABET, max_size=5))
def test_replacing_takes_the_longest_match_at_the_first_place(value: str, pattern: str) -> None:
    spans = itertools.product(range(len(value) + 1), repeat=2)
    matching = [
        (begin, -end) for begin, end in spans if begin <= end and fnmatch.fnmatchcase(value[begin:end], pattern)
    ]
    expected = value
    if matching:
        begin, end = min(matching)
        expected = value[:begin] + "-" + value[-end:]
    assert wildcards.replace(value, pattern, "-", every=False) == expected
