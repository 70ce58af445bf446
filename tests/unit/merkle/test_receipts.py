from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from trailseal.merkle.checkpoints import Checkpoint
from trailseal.merkle.errors import InvalidEncoding, InvalidProof, MerkleError, UntrustedNote
from trailseal.merkle.frame import Frame, commitment, encode_frame
from trailseal.merkle.hash import leaf_hashes, range_root
from trailseal.merkle.leaf import gap_entries, record_entries
from trailseal.merkle.notes import Algorithm, encode_base64
from trailseal.merkle.proofs import prove_inclusion
from trailseal.merkle.receipts import Opening, Receipt, verify_receipt
from trailseal.merkle.signing import SeedSigner, sign_note

ORIGIN = "audit.example/log"
LOG = SeedSigner(ORIGIN, Algorithm.ED25519, bytes(32))
WITNESS = SeedSigner("witness.example/w1", Algorithm.COSIGNATURE_ED25519, b"\x02" * 32)
NOW = 1_700_000_000
SIZE = 11
INDEX = 6
SALTS = [bytes([number]) * 32 for number in range(SIZE)]
FRAMES = [encode_frame(1000 + n, b"k", b"value %d" % n, [("trailseal-id", b"%d" % n)]) for n in range(SIZE)]
ENTRIES = [
    *record_entries([(n, 1000 + n, commitment(SALTS[n], FRAMES[n])) for n in range(SIZE - 1)]),
    *gap_entries([SIZE - 1]),
]
LEAVES = leaf_hashes(ENTRIES)


def tree_hash(start: int, stop: int) -> bytes:
    return range_root(LEAVES[start:stop])


def make_receipt(index: int = INDEX, opening: Opening | None = None) -> Receipt:
    text = Checkpoint(ORIGIN, SIZE, tree_hash(0, SIZE)).format()
    shown = opening or Opening(ENTRIES[index], SALTS[index], FRAMES[index])
    proof = tuple(prove_inclusion(tree_hash, index, SIZE))
    return Receipt(index, proof, sign_note(text, [LOG, WITNESS], NOW).to_bytes(), shown.to_bytes())


def test_a_receipt_proves_its_record_with_nothing_but_the_public_keys() -> None:
    verified = verify_receipt(make_receipt().to_bytes(), ORIGIN, [LOG.key], [WITNESS.key], quorum=1)
    assert verified.frame == Frame(1006, b"k", b"value 6", (("trailseal-id", b"6"),))
    assert (verified.index, verified.entry.offset, verified.entry.time_ms) == (INDEX, 6, 1006)
    assert verified.checkpoint.checkpoint.size == SIZE
    assert verified.checkpoint.cosignatures[0].time == NOW


@pytest.mark.parametrize("index", range(SIZE - 1))
def test_every_records_receipt_verifies_and_is_read_back(index: int) -> None:
    receipt = make_receipt(index)
    assert Receipt.parse(receipt.to_bytes()) == receipt
    frame = verify_receipt(receipt.to_bytes(), ORIGIN, [LOG.key]).frame
    assert frame is not None
    assert frame.value == b"value %d" % index


def test_a_receipt_need_not_show_the_record() -> None:
    verified = verify_receipt(make_receipt(opening=Opening(ENTRIES[INDEX])).to_bytes(), ORIGIN, [LOG.key])
    assert verified.frame is None
    assert verified.entry.commit == commitment(SALTS[INDEX], FRAMES[INDEX])


def test_a_gap_has_a_receipt_but_no_record_to_show() -> None:
    at = SIZE - 1
    assert verify_receipt(make_receipt(at, Opening(ENTRIES[at])).to_bytes(), ORIGIN, [LOG.key]).frame is None
    shown = make_receipt(at, Opening(ENTRIES[at], SALTS[at], FRAMES[at]))
    with pytest.raises(InvalidProof, match="no record"):
        verify_receipt(shown.to_bytes(), ORIGIN, [LOG.key])


def test_a_receipt_has_the_lines_of_a_tlog_proof() -> None:
    receipt = make_receipt()
    head, _, note = receipt.to_bytes().partition(b"\n\n")
    lines = head.decode().split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    assert lines[1] == "extra " + encode_base64(ENTRIES[INDEX] + SALTS[INDEX] + FRAMES[INDEX])
    assert lines[2] == f"index {INDEX}"
    assert lines[3:] == [encode_base64(node) for node in receipt.proof]
    assert note == receipt.checkpoint


def test_no_bit_of_a_receipt_can_be_flipped_unless_it_belongs_to_an_unknown_key() -> None:
    data = make_receipt().to_bytes()
    for at in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(MerkleError):
            verify_receipt(bytes(flipped), ORIGIN, [LOG.key], [WITNESS.key], quorum=1)


@pytest.mark.parametrize(
    "change",
    [
        lambda receipt: replace(receipt, index=INDEX + 1),
        lambda receipt: replace(receipt, index=SIZE),
        lambda receipt: replace(receipt, proof=receipt.proof[:-1]),
        lambda receipt: replace(receipt, proof=(*receipt.proof, bytes(32))),
        lambda receipt: replace(receipt, proof=tuple(reversed(receipt.proof))),
        lambda receipt: replace(receipt, extra=Opening(ENTRIES[INDEX + 1]).to_bytes()),
        lambda receipt: replace(receipt, extra=Opening(ENTRIES[INDEX], SALTS[0], FRAMES[INDEX]).to_bytes()),
        lambda receipt: replace(receipt, extra=Opening(ENTRIES[INDEX], SALTS[INDEX], FRAMES[0]).to_bytes()),
    ],
)
def test_a_receipt_with_another_index_proof_entry_salt_or_record_is_refused(
    change: Callable[[Receipt], Receipt],
) -> None:
    with pytest.raises(InvalidProof):
        verify_receipt(change(make_receipt()).to_bytes(), ORIGIN, [LOG.key])


def test_an_entry_whose_time_is_not_its_records_is_refused() -> None:
    (entry,) = record_entries([(INDEX, 5, commitment(SALTS[INDEX], FRAMES[INDEX]))])
    with pytest.raises(InvalidProof, match="different times"):
        Opening(entry, SALTS[INDEX], FRAMES[INDEX]).check()


def test_a_receipt_of_another_log_or_without_witnesses_is_not_trusted() -> None:
    data = make_receipt().to_bytes()
    with pytest.raises(UntrustedNote):
        verify_receipt(data, "audit.example/other", [LOG.key])
    with pytest.raises(UntrustedNote):
        verify_receipt(data, ORIGIN, [WITNESS.key.__class__(ORIGIN, Algorithm.ED25519, bytes(32))])
    with pytest.raises(UntrustedNote):
        verify_receipt(data, ORIGIN, [LOG.key], [], quorum=1)


def test_a_receipt_without_its_entry_cannot_be_checked() -> None:
    with pytest.raises(InvalidEncoding, match="extra"):
        verify_receipt(replace(make_receipt(), extra=None).to_bytes(), ORIGIN, [LOG.key])


GOOD = make_receipt().to_bytes()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GOOD[: GOOD.index(b"\n\n")],
        GOOD.replace(b"@v1", b"@v2"),
        GOOD.replace(b"index 6", b"index 06"),
        GOOD.replace(b"index 6", b"index -6"),
        GOOD.replace(b"index 6\n", b""),
        GOOD.replace(b"index 6\n", b"index 6\nindex 6\n"),
        GOOD.replace(b"extra ", b"extra  "),
        GOOD.replace(b"\nindex", b"\nextra AAAA\nindex"),
        GOOD.replace(b"\nextra ", b"\nextra \nextra "),
        GOOD.replace(b"index 6\n", b"index 6\n" + b"AAAA\n"),
        GOOD.replace(b"index 6\n", b"index 6\n" + (encode_base64(bytes(32)) + "\n").encode() * 60),
        GOOD.replace(b"\n", b"\r\n"),
        b"\n" + GOOD,
        b"c2sp.org/tlog-proof@v1\n\n",
        b"c2sp.org/tlog-proof@v1\nextra \nindex 0\n\n",
    ],
)
def test_a_malformed_receipt_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidEncoding):
        Receipt.parse(data)


def test_an_opening_cut_anywhere_is_refused_or_is_the_entry_alone() -> None:
    data = Opening(ENTRIES[0], SALTS[0], FRAMES[0]).to_bytes()
    for end in range(67 + 32):
        if end == 66:
            assert Opening.from_bytes(data[:end]) == Opening(ENTRIES[0])
        elif end <= 98:
            with pytest.raises(InvalidEncoding):
                Opening.from_bytes(data[:end])
    for end in range(99, len(data)):
        with pytest.raises(MerkleError):
            Opening.from_bytes(data[:end]).check()


@pytest.mark.parametrize(
    "opening",
    [
        Opening(ENTRIES[0][:-1]),
        Opening(ENTRIES[0], SALTS[0]),
        Opening(ENTRIES[0], None, FRAMES[0]),
        Opening(ENTRIES[0], SALTS[0][:-1], FRAMES[0]),
        Opening(ENTRIES[0], SALTS[0], b""),
    ],
)
def test_an_opening_that_could_not_be_read_back_is_not_written(opening: Opening) -> None:
    with pytest.raises(InvalidEncoding):
        opening.to_bytes()


def test_a_receipt_that_could_not_be_read_back_is_not_written() -> None:
    good = make_receipt()
    for bad in (
        replace(good, index=-1),
        replace(good, proof=(bytes(32),) * 64),
        replace(good, proof=(bytes(31),)),
        replace(good, extra=b""),
        replace(good, checkpoint=b"no note"),
    ):
        with pytest.raises(MerkleError):
            bad.to_bytes()
