"""The first vkey and note are the example of C2SP's signed-note."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trailseal.merkle.checkpoints import Checkpoint, parse_size
from trailseal.merkle.errors import InvalidNote, MerkleError, UnsignedNote, UntrustedNote
from trailseal.merkle.hash import EMPTY_ROOT
from trailseal.merkle.notes import (
    Algorithm,
    Note,
    SignatureLine,
    VerifierKey,
    decode_base64,
    encode_base64,
    parse_signatures,
)
from trailseal.merkle.signing import SeedSigner, open_checkpoint, sign_note, verify_note

EXAMPLE_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE_NOTE = (
    "This is an example message.\n"
    "\n"
    "\u2014 example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()
EXAMPLE_CHECKPOINT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
EXAMPLE_COSIGNED = (
    EXAMPLE_CHECKPOINT + "\n"
    "\u2014 example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "\u2014 witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
).encode()

ORIGIN = "audit.example/log"
ROOT = bytes(range(32))
TEXT = Checkpoint(ORIGIN, 42, ROOT).format()
LOG = SeedSigner(ORIGIN, Algorithm.ED25519, bytes(32))
LOG_AGAIN = SeedSigner(ORIGIN, Algorithm.COSIGNATURE_ML_DSA_44, b"\x01" * 32)
WITNESS = SeedSigner("witness.example/w1", Algorithm.COSIGNATURE_ED25519, b"\x02" * 32)
OTHER_WITNESS = SeedSigner("witness.example/w2", Algorithm.COSIGNATURE_ML_DSA_44, b"\x03" * 32)
EVERYONE = [LOG, LOG_AGAIN, WITNESS, OTHER_WITNESS]
NOW = 1_700_000_000


def test_the_published_example_verifies_with_its_key() -> None:
    key = VerifierKey.parse(EXAMPLE_VKEY)
    (verified,) = verify_note(Note.parse(EXAMPLE_NOTE), [key])
    assert verified.key == key
    assert key.algorithm is Algorithm.ED25519
    assert key.vkey() == EXAMPLE_VKEY


def test_the_published_cosigned_checkpoint_is_read_and_written_back_byte_for_byte() -> None:
    note = Note.parse(EXAMPLE_COSIGNED)
    assert note.to_bytes() == EXAMPLE_COSIGNED
    checkpoint = Checkpoint.parse(note.text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.format() == EXAMPLE_CHECKPOINT
    assert [line.name for line in note.signatures] == ["example.com/behind-the-sofa", "witness.example.com/w1"]
    assert int.from_bytes(note.signatures[1].signature[:8], "big") == 1679315147


def test_no_bit_of_the_example_can_be_flipped() -> None:
    keys = [VerifierKey.parse(EXAMPLE_VKEY)]
    for at in range(len(EXAMPLE_NOTE) * 8):
        flipped = bytearray(EXAMPLE_NOTE)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(MerkleError):
            verify_note(Note.parse(bytes(flipped)), keys)


@pytest.mark.parametrize("signer", EVERYONE, ids=lambda signer: signer.key.name + hex(signer.key.algorithm))
def test_no_bit_of_a_signed_checkpoint_can_be_flipped(signer: SeedSigner) -> None:
    data = sign_note(TEXT, [signer], NOW).to_bytes()
    step = 1 if signer.key.algorithm is not Algorithm.COSIGNATURE_ML_DSA_44 else 7
    for at in range(0, len(data) * 8, step):
        flipped = bytearray(data)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(MerkleError):
            verify_note(Note.parse(bytes(flipped)), [signer.key])


def test_a_checkpoint_is_opened_with_who_signed_it_and_when() -> None:
    note = sign_note(TEXT, [LOG, LOG_AGAIN], NOW).with_signatures([WITNESS.sign(TEXT, NOW + 5)])
    opened = open_checkpoint(note.to_bytes(), ORIGIN, [LOG.key, LOG_AGAIN.key], [WITNESS.key], quorum=1)
    assert opened.checkpoint == Checkpoint(ORIGIN, 42, ROOT)
    assert [(one.key, one.time) for one in opened.log_signatures] == [(LOG.key, None), (LOG_AGAIN.key, NOW)]
    assert [(one.key, one.time) for one in opened.cosignatures] == [(WITNESS.key, NOW + 5)]


def test_a_logs_own_second_line_is_no_witness() -> None:
    note = sign_note(TEXT, [LOG, LOG_AGAIN], NOW).to_bytes()
    assert open_checkpoint(note, ORIGIN, [LOG.key], [LOG_AGAIN.key]).cosignatures == ()
    with pytest.raises(UntrustedNote, match="0 trusted witnesses"):
        open_checkpoint(note, ORIGIN, [LOG.key], [LOG_AGAIN.key], quorum=1)


def test_a_logs_own_key_under_another_name_is_no_witness() -> None:
    himself = SeedSigner("witness.example/w2", Algorithm.COSIGNATURE_ED25519, bytes(32))
    data = sign_note(TEXT, [LOG, himself], NOW).to_bytes()
    assert open_checkpoint(data, ORIGIN, [LOG.key], [himself.key]).cosignatures == ()
    with pytest.raises(UntrustedNote, match="0 trusted witnesses"):
        open_checkpoint(data, ORIGIN, [LOG.key], [himself.key], quorum=1)


def test_a_note_that_nobody_known_has_signed_is_told_from_one_that_was_signed_badly() -> None:
    bad = LOG.sign(TEXT.replace("42", "43"), NOW)
    for lines, unsigned in (((WITNESS.sign(TEXT, NOW),), True), ((bad, LOG_AGAIN.sign(TEXT, NOW)), False)):
        with pytest.raises(UntrustedNote) as raised:
            open_checkpoint(Note(TEXT, lines).to_bytes(), ORIGIN, [LOG.key, LOG_AGAIN.key])
        assert isinstance(raised.value, UnsignedNote) is unsigned


def test_unknown_signatures_are_ignored() -> None:
    note = sign_note(TEXT, EVERYONE, NOW).to_bytes()
    opened = open_checkpoint(note, ORIGIN, [LOG.key])
    assert [one.key for one in opened.log_signatures] == [LOG.key]
    assert opened.cosignatures == ()


def test_a_checkpoint_without_the_logs_signature_is_not_trusted() -> None:
    note = sign_note(TEXT, [WITNESS], NOW).to_bytes()
    with pytest.raises(UntrustedNote, match="no trusted key of the log"):
        open_checkpoint(note, ORIGIN, [LOG.key], [WITNESS.key])
    with pytest.raises(UntrustedNote, match="no trusted key"):
        verify_note(Note.parse(note), [])


def test_a_checkpoint_of_another_log_is_not_trusted_whoever_signed_it() -> None:
    text = Checkpoint("audit.example/other", 42, ROOT).format()
    with pytest.raises(UntrustedNote, match="another log"):
        open_checkpoint(sign_note(text, [LOG], NOW).to_bytes(), ORIGIN, [LOG.key])


def test_a_quorum_counts_different_witnesses() -> None:
    lines = [WITNESS.sign(TEXT, NOW), WITNESS.sign(TEXT, NOW + 1)]
    note = sign_note(TEXT, [LOG], NOW).with_signatures(lines)
    keys = [WITNESS.key, OTHER_WITNESS.key]
    with pytest.raises(UntrustedNote, match="1 trusted witnesses"):
        open_checkpoint(note.to_bytes(), ORIGIN, [LOG.key], keys, quorum=2)
    both = note.with_signatures([OTHER_WITNESS.sign(TEXT, NOW)]).to_bytes()
    assert len(open_checkpoint(both, ORIGIN, [LOG.key], keys, quorum=2).cosignatures) == 3


def test_one_bad_signature_by_a_known_key_spoils_the_note() -> None:
    bad = SignatureLine(WITNESS.key.name, WITNESS.key.key_id, WITNESS.sign(TEXT, NOW).signature[:-1] + b"\x00")
    short = SignatureLine(WITNESS.key.name, WITNESS.key.key_id, b"\x00")
    for line in (bad, short):
        note = sign_note(TEXT, [LOG], NOW).with_signatures([line])
        with pytest.raises(UntrustedNote):
            open_checkpoint(note.to_bytes(), ORIGIN, [LOG.key], [WITNESS.key])
        assert open_checkpoint(note.to_bytes(), ORIGIN, [LOG.key])


def test_a_signature_of_one_type_never_passes_as_another() -> None:
    seed = b"\x09" * 32
    plain = SeedSigner(ORIGIN, Algorithm.ED25519, seed)
    cosigning = SeedSigner(ORIGIN, Algorithm.COSIGNATURE_ED25519, seed)
    assert plain.key.key_id != cosigning.key.key_id
    raw = plain.sign(TEXT, NOW).signature
    forged = SignatureLine(ORIGIN, cosigning.key.key_id, NOW.to_bytes(8, "big") + raw)
    with pytest.raises(UntrustedNote):
        verify_note(Note(TEXT, (forged,)), [cosigning.key])


def test_a_cosignature_needs_a_checkpoint_and_a_time() -> None:
    with pytest.raises(InvalidNote):
        WITNESS.sign("some text\n", NOW)
    for time in (0, -1, 2**63):
        with pytest.raises(InvalidNote):
            WITNESS.sign(TEXT, time)
    assert LOG.sign("some text\n", 0)


def test_an_ml_dsa_cosignature_covers_name_time_origin_size_and_root() -> None:
    line = OTHER_WITNESS.sign(TEXT, NOW)
    for checkpoint in (
        Checkpoint("audit.example/logs", 42, ROOT),
        Checkpoint(ORIGIN, 43, ROOT),
        Checkpoint(ORIGIN, 42, bytes(32)),
    ):
        with pytest.raises(UntrustedNote):
            verify_note(Note(checkpoint.format(), (line,)), [OTHER_WITNESS.key])
    renamed = VerifierKey("witness.example/w3", OTHER_WITNESS.key.algorithm, OTHER_WITNESS.key.public_key)
    moved = SignatureLine(renamed.name, renamed.key_id, line.signature)
    with pytest.raises(UntrustedNote):
        verify_note(Note(TEXT, (moved,)), [renamed])


@pytest.mark.parametrize("signer", EVERYONE, ids=lambda signer: hex(signer.key.algorithm))
def test_a_verifier_key_is_read_back_from_its_text(signer: SeedSigner) -> None:
    assert VerifierKey.parse(signer.key.vkey()) == signer.key


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        EXAMPLE_VKEY.replace("530d903a", "530D903A"),
        EXAMPLE_VKEY.replace("530d903a", "530d903b"),
        EXAMPLE_VKEY.replace("example.com", "example.org"),
        EXAMPLE_VKEY.replace("foo+", "fo o+"),
        EXAMPLE_VKEY[:-4],
        EXAMPLE_VKEY + "\n",
        EXAMPLE_VKEY.removeprefix("example.com/foo"),
        "example.com/foo+530d903a+" + encode_base64(b"\x02" + bytes(32)),
        "example.com/foo+530d903a+" + encode_base64(b"\x01" + bytes(31)),
    ],
)
def test_a_damaged_verifier_key_is_refused(vkey: str) -> None:
    with pytest.raises(InvalidNote):
        VerifierKey.parse(vkey)


SIGNATURE = "\u2014 name AAAAAAA=\n"


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n\n",
        "text\n",
        "text\n\n",
        "text\n" + SIGNATURE,
        "text\n\n" + SIGNATURE[:-1],
        "text\n\n" + SIGNATURE + "\n",
        "text\r\n\n" + SIGNATURE,
        "te\x00xt\n\n" + SIGNATURE,
        "te\txt\n\n" + SIGNATURE,
        "text\n\n- name AAAAAAA=\n",
        "text\n\n\u2014 name  AAAAAAA=\n",
        "text\n\n\u2014  AAAAAAA=\n",
        "text\n\n\u2014 na+me AAAAAAA=\n",
        "text\n\n\u2014 na\u2003me AAAAAAA=\n",
        "text\n\n\u2014 name AAAAAA==\n",
        "text\n\n\u2014 name AAAAAAB=\n",
        "text\n\n\u2014 name AAAAAAA\n",
        "text\n\n\u2014 name AAAA-_A=\n",
        "text\n\n\u2014 name AAAAAAA=\u0085\n",
        "text\n\n" + SIGNATURE * 65,
    ],
)
def test_a_malformed_note_is_refused(note: str) -> None:
    with pytest.raises(InvalidNote):
        Note.parse(note.encode())


def test_a_note_that_is_not_utf8_or_too_large_is_refused() -> None:
    with pytest.raises(InvalidNote, match="UTF-8"):
        Note.parse(b"\xff\n\n" + SIGNATURE.encode())
    with pytest.raises(InvalidNote, match="larger"):
        Note.parse(b"a" * (1 << 20) + b"\n\n" + SIGNATURE.encode())


def test_sixteen_signatures_are_read() -> None:
    assert len(Note.parse(("text\n\n" + SIGNATURE * 16).encode()).signatures) == 16


def test_a_text_may_hold_empty_lines_and_odd_separators() -> None:
    data = ("a\n\n\u2028b\u0085\n\n\n" + SIGNATURE).encode()
    note = Note.parse(data)
    assert note.text == "a\n\n\u2028b\u0085\n\n"
    assert note.to_bytes() == data


@settings(deadline=None)
@given(st.text(max_size=60), st.binary(min_size=1, max_size=20))
def test_what_is_written_is_read_back(text: str, signature: bytes) -> None:
    note = Note(text + "\n", (SignatureLine("name", b"\x00\x01\x02\x03", signature),))
    try:
        data = note.to_bytes()
    except InvalidNote:
        assert any(ord(character) < 0x20 and character != "\n" for character in text)
        return
    assert Note.parse(data) == note


def test_a_note_that_could_not_be_read_back_is_not_written() -> None:
    line = SignatureLine("name", bytes(4), b"x")
    for text, lines in (("no newline", (line,)), ("tab\t\n", (line,)), ("a\n", ()), ("\ud800\n", (line,))):
        with pytest.raises(InvalidNote):
            Note(text, lines).to_bytes()
    with pytest.raises(InvalidNote):
        sign_note("a\n", [], NOW)


def test_added_signatures_are_not_repeated() -> None:
    line = WITNESS.sign(TEXT, NOW)
    note = sign_note(TEXT, [LOG], NOW).with_signatures([line, line])
    assert note.with_signatures([line]) == note
    assert len(note.signatures) == 2


def test_a_witness_answer_is_read_as_signature_lines() -> None:
    lines = [WITNESS.sign(TEXT, NOW), OTHER_WITNESS.sign(TEXT, NOW)]
    assert parse_signatures("".join(line.format() for line in lines)) == tuple(lines)
    for answer in ("", "\n", lines[0].format()[:-1]):
        with pytest.raises(InvalidNote):
            parse_signatures(answer)


def test_extension_lines_are_read_but_never_written() -> None:
    extended = Checkpoint.parse(TEXT + "extension one\nsecond\n")
    assert extended.extensions == ("extension one", "second")
    with pytest.raises(InvalidNote):
        extended.format()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        f"{ORIGIN}\n42\n",
        TEXT[:-1],
        TEXT + "\n",
        TEXT + "extension\n\n",
        TEXT.replace("42", "042"),
        TEXT.replace("42", "+42"),
        TEXT.replace("42", "-1"),
        TEXT.replace("42", "4 2"),
        TEXT.replace("42", "\u0664\u0662"),
        TEXT.replace("42", str(2**63)),
        TEXT.replace("42", "9" * 5000),
        TEXT.replace(ORIGIN, ""),
        f"{ORIGIN}\n42\n{encode_base64(bytes(31))}\n",
        f"{ORIGIN}\n42\n{encode_base64(bytes(33))}\n",
        f"{ORIGIN}\n42\n{encode_base64(ROOT)[:-1]}\n",
    ],
)
def test_a_malformed_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(InvalidNote):
        Checkpoint.parse(text)


@pytest.mark.parametrize(
    "checkpoint",
    [
        Checkpoint("", 1, ROOT),
        Checkpoint("a b", 1, ROOT),
        Checkpoint("a+b", 1, ROOT),
        Checkpoint("a" * 256, 1, ROOT),
        Checkpoint(ORIGIN, -1, ROOT),
        Checkpoint(ORIGIN, 2**63, ROOT),
        Checkpoint(ORIGIN, 1, ROOT[:-1]),
        Checkpoint(ORIGIN, 0, ROOT),
    ],
)
def test_a_checkpoint_out_of_range_is_not_written(checkpoint: Checkpoint) -> None:
    with pytest.raises(InvalidNote):
        checkpoint.format()


def test_the_empty_tree_and_the_largest_have_checkpoints() -> None:
    for checkpoint in (Checkpoint(ORIGIN, 0, EMPTY_ROOT), Checkpoint(ORIGIN, 2**63 - 1, ROOT)):
        assert Checkpoint.parse(checkpoint.format()) == checkpoint
    assert parse_size("0") == 0


@settings(deadline=None)
@given(st.text(alphabet="AB+/=-_\n ", max_size=12))
def test_base64_has_one_spelling(text: str) -> None:
    try:
        data = decode_base64(text)
    except InvalidNote:
        return
    assert encode_base64(data) == text
