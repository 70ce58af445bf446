"""Words: the documented rule against a slow, plain reading of it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trailseal.errors import InvalidQuery
from trailseal.model.limits import MAX_WORDS
from trailseal.model.query import Word
from trailseal.model.terms import filter_term
from trailseal.model.words import query_words, words_of

DELIMITERS = "\"'`()[]{}<>,;=|&?"
texts = (
    st.text(st.sampled_from("aZ09_.-@:/,=(\"'[* \n\té ßİΣς\u0301٣中👍\u00a0\uff0a"), max_size=24)
    | st.text(max_size=24)
    | st.from_regex(r"[a-z]{1,5}([._@:/=-][a-z0-9]{1,5}){0,4}", fullmatch=True)
)


def searchable(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNM"


def stripped(chunk: str) -> str:
    while chunk and not searchable(chunk[0]):
        chunk = chunk[1:]
    while chunk and not searchable(chunk[-1]):
        chunk = chunk[:-1]
    return chunk


def cut(chunk: str, keep: object) -> list[str]:
    pieces = [""]
    for character in chunk:
        if keep(character):  # type: ignore[operator] # a plain function
            pieces[-1] += character
        else:
            pieces.append("")
    return pieces


def slow_words(values: list[str]) -> set[str]:
    words: set[str] = set()
    for value in values:
        folded = value.lower()
        if not value.isascii():
            folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", value).casefold())
        for chunk in folded.split():
            whole = stripped(chunk)
            words.add(whole)
            words.update(map(stripped, cut(whole, lambda character: character not in DELIMITERS)))
            words.update(map(stripped, cut(whole, lambda character: searchable(character) or character in "_.-")))
            words.update(cut(whole, searchable))
    return {filter_term(word) for word in words if word}


names = st.lists(st.from_regex(r"[A-Za-z0-9]{1,5}([._@:/=+-]{1,2}[a-z0-9]{1,5}){0,4}", fullmatch=True), max_size=4)


@given(st.lists(texts, max_size=4) | names)
def test_words_follow_the_documented_rule(values: list[str]) -> None:
    words = list(filter(None, words_of(values).split(" ")))
    assert set(words) == set().union(*(slow_words([value]) for value in values), slow_words(["\n".join(values)]))


@given(texts)
def test_every_chunk_of_an_event_finds_it(text: str) -> None:
    text = unicodedata.normalize("NFKC", text).replace("*", "+")
    words = set(words_of([text]).split(" "))
    for chunk in text.split():
        try:
            asked = query_words(chunk)
        except InvalidQuery:
            continue
        assert {word.text for word in asked} <= words


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("user_logged_in", ["user_logged_in", "logged", "USER_LOGGED_IN", "user_log*"]),
        ("<john.doe@Example.com>,", ["john.doe@example.com", "john.doe", "example.com", "doe", "john.doe@*"]),
        ("arn:aws:iam::123:user/bob", ["arn:aws:iam::123:user/bob", "arn:aws:iam::*", "bob", "123"]),
        ('{"Resource":"arn:aws:s3:::b/k"}', ["arn:aws:s3:::b/k", "arn:aws:s3:*", "resource"]),
        ("from 10.0.0.1:443", ["10.0.0.1", "10.0.0.1:443", "443"]),
        ("2001:db8::1", ["2001:db8::1", "db8"]),
        ("sha256:9f86d081884c7d65", ["9f86d081884c7d65", "sha256:9f86*"]),
        ("c386bbc4-cd61-3e30", ["c386bbc4-cd61-3e30", "cd61"]),
        ("Straße ÉTÉ", ["STRASSE", "été", "e\u0301te\u0301"]),
        ("हिन्दी", ["हिन्दी"]),
        ("/etc/passwd", ["/etc/passwd", "passwd", "etc/pass*"]),
        ("rm -rf", ["-rf", "rm"]),
    ],
)
def test_names_addresses_and_hashes_are_found_as_a_whole_and_in_part(text: str, asked: list[str]) -> None:
    words = words_of([text]).split(" ")
    for q in asked:
        for word in query_words(q):
            found = any(have.startswith(word.text) for have in words) if word.prefix else word.text in words
            assert found, (q, word, words)


def test_a_question_keeps_order_and_says_each_word_once() -> None:
    assert query_words("Bob  delete bob") == (Word("bob"), Word("delete"))


@pytest.mark.parametrize(
    ("q", "words"),
    [
        ("del*", (Word("del", prefix=True),)),
        ("a:* b", (Word("a:", prefix=True), Word("b"))),
        (r"a\*b", (Word("a*b"),)),
        (r"foo\*", (Word("foo"),)),
        (r"dom\\*", (Word("dom\\", prefix=True),)),
        (r"DOMAIN\bob", (Word(r"domain\bob"),)),
        ("foo - *", (Word("foo"),)),
    ],
)
def test_stars(q: str, words: tuple[Word, ...]) -> None:
    assert query_words(q) == words


@pytest.mark.parametrize(
    ("q", "code"),
    [
        ("", "nothing-to-search"),
        ("*", "nothing-to-search"),
        ("-- !", "nothing-to-search"),
        ("👍", "nothing-to-search"),
        ("a*b", "star-inside"),
        ("*b", "star-inside"),
        ("b**", "star-inside"),
        (" ".join(map(str, range(65))), "too-many-words"),
    ],
)
def test_a_question_without_an_answer_names_q(q: str, code: str) -> None:
    with pytest.raises(InvalidQuery) as caught:
        query_words(q)
    assert (caught.value.problem.code, caught.value.problem.parameter) == (code, "q")


def test_a_long_chunk_is_found_by_exact_value() -> None:
    long = "ab:" * 500 + "x"
    words = words_of([long]).split(" ")
    assert max(map(len, words)) < 1024
    assert query_words(long)[0].text in words


def test_the_first_words_count_where_there_are_too_many() -> None:
    words = words_of([" ".join(f"w{number}" for number in range(MAX_WORDS + 500))]).split(" ")
    assert len(words) == MAX_WORDS
    assert "w0" in words
    assert f"w{MAX_WORDS - 1}" in words
    assert f"w{MAX_WORDS}" not in words
