"""Admin statements: one spelling, one place, one key that counts."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trailseal.merkle.admin import (
    MAX_RUNS,
    AdminKind,
    AdminStatement,
    EndedTree,
    OffsetRun,
    open_admin,
    runs_of,
    sign_admin,
)
from trailseal.merkle.errors import InvalidEncoding, InvalidNote, MerkleError, UntrustedNote
from trailseal.merkle.notes import Algorithm, Note, SignatureLine, VerifierKey
from trailseal.merkle.signing import SeedSigner, sign_note

ORIGIN = "audit.example/log/1"
VALUE = b'{"action":"trailseal.erased"}'
KEY = SeedSigner(ORIGIN, Algorithm.ED25519, bytes(32))
OTHER = SeedSigner(ORIGIN, Algorithm.ED25519, b"\x01" * 32)
NOW = 1_700_000_000
BASE, OFFSET = 5, 100
STATEMENT = AdminStatement(
    ORIGIN, AdminKind.ERASE, 60, (OffsetRun(5, 7), OffsetRun(17, 17), OffsetRun(40, 63)), sha256(VALUE).digest()
)
HEADER = sign_admin(STATEMENT, [KEY], NOW)


def opened(
    header: bytes = HEADER,
    value: bytes | None = VALUE,
    *,
    origin: str = ORIGIN,
    base: int = BASE,
    offset: int = OFFSET,
    keys: tuple[VerifierKey, ...] = (KEY.key,),
) -> AdminStatement:
    return open_admin(header, value, origin=origin, base=base, offset=offset, keys=keys)


def test_a_genuine_record_says_what_was_signed() -> None:
    assert opened() == STATEMENT
    assert opened(keys=(OTHER.key, KEY.key)) == STATEMENT
    assert opened(sign_admin(STATEMENT, [KEY, OTHER], NOW)) == STATEMENT
    assert STATEMENT.count == 28


def test_a_checkpoint_key_of_the_log_neither_vouches_for_a_record_nor_spoils_it() -> None:
    second = SeedSigner(ORIGIN, Algorithm.COSIGNATURE_ML_DSA_44, bytes(32)).key
    note = Note.parse(HEADER)
    line = SignatureLine(ORIGIN, second.key_id, bytes(2428))
    assert opened(keys=(KEY.key, second)) == STATEMENT
    assert opened(note.with_signatures([line]).to_bytes(), keys=(KEY.key, second)) == STATEMENT
    with pytest.raises(UntrustedNote):
        opened(Note(note.text, (line,)).to_bytes(), keys=(KEY.key, second))


def test_the_text_is_as_documented() -> None:
    assert STATEMENT.format() == (
        "trailseal-admin/1\n"
        f"origin {ORIGIN}\n"
        "kind erase\n"
        "size 60\n"
        "offsets 5-7\n"
        "offsets 17-17\n"
        "offsets 40-63\n"
        f"value {sha256(VALUE).hexdigest()}\n"
    )


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"origin": "audit.example/log/2"},
        {"value": VALUE + b" "},
        {"value": None},
        {"keys": (OTHER.key,)},
        {"keys": ()},
        {"keys": (VerifierKey("audit.example/log", Algorithm.ED25519, KEY.key.public_key),)},
        {"offset": 63},
        {"offset": 6},
        {"base": 6},
        {"base": 50},
    ],
    ids=str,
)
def test_a_copy_elsewhere_or_another_key_counts_for_nothing(elsewhere: dict[str, object]) -> None:
    with pytest.raises(UntrustedNote):
        opened(**elsewhere)  # type: ignore[arg-type] # keywords of `opened`


def test_it_names_nothing_outside_the_tree_it_was_signed_for() -> None:
    just = replace(STATEMENT, size=60)
    assert just.runs[-1].last - BASE + 2 == just.size
    assert opened(sign_admin(just, [KEY], NOW), offset=64) == just
    for size in (59, 61):
        with pytest.raises(UntrustedNote):
            opened(sign_admin(replace(STATEMENT, size=size), [KEY], NOW), offset=64)


def test_every_bit_of_the_header_counts() -> None:
    for at in range(len(HEADER) * 8):
        mutated = bytearray(HEADER)
        mutated[at // 8] ^= 1 << at % 8
        with pytest.raises(MerkleError):
            opened(bytes(mutated))


def test_a_cut_or_longer_header_is_refused() -> None:
    for end in range(len(HEADER)):
        with pytest.raises(MerkleError):
            opened(HEADER[:end])
    for more in (b"\n", b" ", b"x", HEADER):
        with pytest.raises(MerkleError):
            opened(HEADER + more)


@pytest.mark.parametrize(
    ("said", "spelled"),
    [
        ("trailseal-admin/1", "trailseal-admin/2"),
        ("kind erase", "kind Erase"),
        ("kind erase", "kind forget"),
        ("kind erase", "kind erase "),
        ("size 60", "size 060"),
        ("size 60", "size +60"),
        ("size 60\n", ""),
        ("offsets 5-7", "offsets 5-5\noffsets 6-7"),
        ("offsets 5-7", "offsets 7-5"),
        ("offsets 5-7", "offsets 5"),
        ("offsets 5-7", "offsets 5-7-9"),
        ("offsets 5-7", "offsets 5-07"),
        ("offsets 5-7", "offsets 5-7,17-17"),
        ("offsets 5-7\noffsets 17-17", "offsets 17-17\noffsets 5-7"),
        ("offsets 5-7\noffsets 17-17", "offsets 5-17\noffsets 17-17"),
        ("offsets 5-7\noffsets 17-17\noffsets 40-63\n", ""),
        ("offsets 40-63", "offsets 40-9223372036854775808"),
        ("value ", "value  "),
        ("value ", "sha256 "),
    ],
)
def test_another_spelling_is_refused_even_signed(said: str, spelled: str) -> None:
    text = STATEMENT.format().replace(said, spelled)
    assert text != STATEMENT.format()
    with pytest.raises(InvalidEncoding):
        opened(sign_note(text, [KEY], NOW).to_bytes())


def test_upper_case_digits_and_further_lines_are_refused() -> None:
    text = STATEMENT.format()
    digits = STATEMENT.value_hash.hex()
    for other in (text.replace(digits, digits.upper()), text + "more 1\n", "\n" + text, text.replace(digits, "")):
        with pytest.raises(MerkleError):
            opened(sign_note(other, [KEY], NOW).to_bytes())


def test_a_bad_signature_by_a_known_key_spoils_one_by_another() -> None:
    note = Note.parse(sign_admin(STATEMENT, [KEY, OTHER], NOW))
    bad = replace(note.signatures[1], signature=bytes(64))
    with pytest.raises(UntrustedNote):
        opened(Note(note.text, (note.signatures[0], bad)).to_bytes(), keys=(KEY.key, OTHER.key))


def test_what_cannot_be_said_is_not_signed() -> None:
    many = tuple(OffsetRun(2 * number, 2 * number) for number in range(MAX_RUNS + 1))
    for wrong in (
        replace(STATEMENT, runs=()),
        replace(STATEMENT, runs=many),
        replace(STATEMENT, runs=(OffsetRun(1, 2), OffsetRun(3, 4))),
        replace(STATEMENT, runs=(OffsetRun(-1, 2),)),
        replace(STATEMENT, size=-1),
        replace(STATEMENT, value_hash=b"short"),
        replace(STATEMENT, origin="two words"),
    ):
        with pytest.raises(InvalidEncoding):
            wrong.format()
    with pytest.raises(InvalidEncoding):
        sign_admin(replace(STATEMENT, origin="audit.example/log/2"), [KEY], NOW)
    with pytest.raises(InvalidNote):
        sign_admin(STATEMENT, [], NOW)


@given(st.lists(st.integers(0, 300)), st.integers(0, 300))
def test_runs_cover_exactly_the_offsets_they_were_made_of(offsets: list[int], asked: int) -> None:
    runs = runs_of(offsets)
    assert [offset for run in runs for offset in range(run.first, run.last + 1)] == sorted(set(offsets))
    statement = replace(STATEMENT, runs=runs)
    assert statement.covers(asked) == (asked in offsets)
    if runs:
        assert AdminStatement.parse(statement.format()) == statement


ENDED_ORIGIN = "audit.example/log/0"
ENDED_TREE = EndedTree(BASE, 60)
ABOUT_ENDED = replace(STATEMENT, ended=ENDED_ORIGIN)


def opened_about(
    statement: AdminStatement = ABOUT_ENDED, tree: EndedTree | None = ENDED_TREE, *, offset: int = OFFSET
) -> AdminStatement:
    """Opened where the log of that one name ended with that tree."""
    header = sign_admin(statement, [KEY], NOW)
    keys = (KEY.key,)
    known = {ENDED_ORIGIN: tree}
    return open_admin(header, VALUE, origin=ORIGIN, base=0, offset=offset, keys=keys, ended=known.get)


def test_a_statement_about_a_log_that_has_ended_says_so_in_a_line_of_its_own() -> None:
    with_line = STATEMENT.format().replace("kind erase\n", f"kind erase\nended {ENDED_ORIGIN}\n")
    assert ABOUT_ENDED.format() == with_line
    assert AdminStatement.parse(ABOUT_ENDED.format()) == ABOUT_ENDED
    assert opened_about() == ABOUT_ENDED
    assert opened_about(offset=1) == ABOUT_ENDED, "the offsets are not those of the log it stands in"


@pytest.mark.parametrize(
    "tree",
    [None, EndedTree(BASE, 59), EndedTree(BASE, 61), EndedTree(BASE + 1, 60), EndedTree(BASE - 1, 60)],
    ids=str,
)
def test_it_counts_only_for_the_very_tree_with_which_that_log_ended(tree: EndedTree | None) -> None:
    with pytest.raises(UntrustedNote):
        opened_about(tree=tree)


def test_it_counts_for_nothing_where_no_log_is_known_to_have_ended() -> None:
    with pytest.raises(UntrustedNote):
        opened(sign_admin(ABOUT_ENDED, [KEY], NOW))
    with pytest.raises(UntrustedNote):
        opened_about(replace(ABOUT_ENDED, ended="audit.example/log/00"))


def test_nobody_looks_for_an_ended_log_that_an_unsigned_statement_names() -> None:
    asked: list[str] = []

    def ended(origin: str) -> None:
        asked.append(origin)

    header = sign_admin(ABOUT_ENDED, [OTHER], NOW)
    with pytest.raises(UntrustedNote):
        open_admin(header, VALUE, origin=ORIGIN, base=0, offset=OFFSET, keys=(KEY.key,), ended=ended)
    assert asked == []


@pytest.mark.parametrize(
    ("said", "spelled"),
    [
        ("ended ", "Ended "),
        ("ended ", "ended  "),
        (f"ended {ENDED_ORIGIN}\n", "ended \n"),
        (f"ended {ENDED_ORIGIN}\n", f"ended {ENDED_ORIGIN}\n" * 2),
        (f"ended {ENDED_ORIGIN}", f"ended {ORIGIN}"),
        (f"kind erase\nended {ENDED_ORIGIN}", f"ended {ENDED_ORIGIN}\nkind erase"),
        (f"ended {ENDED_ORIGIN}\nsize 60", f"size 60\nended {ENDED_ORIGIN}"),
    ],
)
def test_another_spelling_of_the_line_is_no_statement(said: str, spelled: str) -> None:
    text = ABOUT_ENDED.format().replace(said, spelled)
    assert text != ABOUT_ENDED.format()
    with pytest.raises(InvalidEncoding):
        AdminStatement.parse(text)


def test_a_log_does_not_say_of_itself_that_it_has_ended() -> None:
    with pytest.raises(InvalidEncoding):
        replace(STATEMENT, ended=ORIGIN).format()
