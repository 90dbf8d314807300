"""What an answerer answers by one statement on the connection that stays open (`Answers.shortly`)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from catalog.cli.answerer.protocol import Request
from catalog.cli.answerer.question import Answers
from catalog.engine.open import Declined
from catalog.engine.sqlite.kept import KeptSqlite
from tests.answerer.test_faults import request
from tests.cli.conftest import Shelf
from tests.cli.program import called
from tests.conftest import ON_SQLITE

pytestmark = ON_SQLITE


@pytest.fixture
def kept(shelf: Shelf) -> Iterator[KeptSqlite]:
    kept = KeptSqlite(shelf.db)
    yield kept
    kept.drop()


def asked(db: str, *words: str, **variables: str) -> Request:
    found = Request(request(db, *words)[4:])
    found.variables.update(variables)
    return found


@pytest.mark.parametrize(
    "words",
    [("resolve", "ctr:3.16"), ("query", "ctr:3.16"), ("resolve", "docker.io/library/ctr:3.17"), ("query", "ctr")],
)  # fmt: skip
def test_the_commonest_questions_take_one_statement(shelf: Shelf, kept: KeptSqlite, words: tuple[str, ...]) -> None:
    statements: list[str] = []
    answers = Answers(kept)
    kept.lend().connection.set_trace_callback(statements.append)
    plain = called(*words, db=shelf.db)
    for _ in range(2):
        statements.clear()
        assert answers.shortly(asked(shelf.db, *words)) == plain.out.encode()
        assert len(statements) == 1
    assert plain.status == 0
    assert plain.err == ""


def test_a_digest_takes_one_statement(shelf: Shelf, kept: KeptSqlite) -> None:
    test_the_commonest_questions_take_one_statement(shelf, kept, ("query", shelf.digests["ctr", "3.16"]))


@pytest.mark.parametrize(
    ("words", "variables"),
    [
        (("resolve", "nope"), {}), (("query", ":3.16"), {}), (("resolve", "ctr:3.16", "--strict"), {}), (("find", "ctr"), {}),
        (("resolve", "ctr:3.16", "ctr:3.17"), {}), (("query",), {}), (("query", "ctr:3.16"), {"OCICAT_QUERY_FORMAT": "json"}),
        (("query", "ctr:3.16"), {"OCICAT_QUIET": "1"}), (("resolve", "ctr:\udcff"), {}), (("resolve", "c\udcff"), {}), (("query", "ctr:*"), {}), (("resolve", "--db", "x", "ctr:3.16"), {}),
    ],
)  # fmt: skip
def test_all_others_are_not_answered_so(
    shelf: Shelf, kept: KeptSqlite, words: tuple[str, ...], variables: dict[str, str]
) -> None:
    assert Answers(kept).shortly(asked(shelf.db, *words, **variables)) is None


def test_a_table_for_a_terminal_is_not_and_a_digest_is(shelf: Shelf, kept: KeptSqlite) -> None:
    answers = Answers(kept)
    for words, is_answered in ((("query", "ctr:3.16"), False), (("resolve", "ctr:3.16"), True)):
        question = asked(shelf.db, *words)
        question.terminals = "1"
        assert (answers.shortly(question) is not None) == is_answered


def test_the_answer_of_another_file_is_declined(shelf: Shelf, kept: KeptSqlite) -> None:
    question = asked(shelf.db, "resolve", "ctr:3.16")
    question.file = question.file[0], question.file[1] + 1
    with pytest.raises(Declined):
        Answers(kept).shortly(question)
