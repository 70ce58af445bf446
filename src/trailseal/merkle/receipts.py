"""C2SP tlog-proof: a text that proves offline that one entry is in a log, and when witnesses saw it.

    c2sp.org/tlog-proof@v1
    extra <base64>
    index 73894
    <base64 hash>            the inclusion proof, from the leaf up
    …

    <the checkpoint, a signed note>

The ``extra`` line of a Trailseal receipt holds the entry (66 bytes) and, if the receipt shows the record, its
salt (32 bytes) and its frame. Nothing in it is believed: the entry has to be the leaf, and salt and frame have to
give the entry's commitment. Source: ``tlog-proof.md`` in C2SP/C2SP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from trailseal.merkle.checkpoints import parse_size
from trailseal.merkle.errors import InvalidEncoding, InvalidNote, InvalidProof
from trailseal.merkle.frame import SALT_SIZE, Frame, commitment, decode_frame
from trailseal.merkle.hash import HASH_SIZE, leaf_hash
from trailseal.merkle.leaf import ENTRY_SIZE, EntryType, LeafEntry
from trailseal.merkle.notes import MAX_NOTE_SIZE, Note, VerifierKey, decode_base64, encode_base64
from trailseal.merkle.proofs import MAX_PROOF_LENGTH, verify_inclusion
from trailseal.merkle.signing import OpenedCheckpoint, open_checkpoint

MAX_RECEIPT_SIZE: Final = 4 << 20
"""Bytes of the largest receipt that is read: a record of 1 MiB and a note, with room."""

_LABEL: Final = "c2sp.org/tlog-proof@v1"
_EXTRA: Final = "extra "
_INDEX: Final = "index "


@dataclass(frozen=True, slots=True)
class Opening:
    """What a receipt shows of its leaf.

    Attributes:
        entry: the leaf's entry, 66 bytes.
        salt: the record's salt, or None in a receipt that does not show the record.
        frame: the record's frame; there if and only if the salt is.
    """

    entry: bytes
    salt: bytes | None = None
    frame: bytes | None = None

    def to_bytes(self) -> bytes:
        """Return what stands in the ``extra`` line.

        Raises:
            InvalidEncoding: a length is wrong, or only one of salt and frame is there.
        """
        if len(self.entry) != ENTRY_SIZE or (self.salt is None) != (self.frame is None):
            raise InvalidEncoding("an opening is an entry, alone or with both salt and frame")
        if self.salt is None or self.frame is None:
            return self.entry
        if len(self.salt) != SALT_SIZE or not self.frame:
            raise InvalidEncoding(f"an opening's salt is {SALT_SIZE} bytes long, and its frame not empty")
        return self.entry + self.salt + self.frame

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read back what ``to_bytes`` gave.

        Raises:
            InvalidEncoding: it is too short, or ends inside the salt.
        """
        if len(data) == ENTRY_SIZE:
            return cls(data)
        frame_start = ENTRY_SIZE + SALT_SIZE
        if len(data) <= frame_start:
            raise InvalidEncoding("an opening is cut off")
        return cls(data[:ENTRY_SIZE], data[ENTRY_SIZE:frame_start], data[frame_start:])

    def check(self) -> tuple[LeafEntry, Frame | None]:
        """Check that salt and frame give the entry's commitment, and decode both.

        Raises:
            InvalidEncoding: entry or frame do not follow their format.
            InvalidProof: the record shown is not the one committed to.
        """
        entry = LeafEntry.decode(self.entry)
        if self.salt is None or self.frame is None:
            return entry, None
        frame = decode_frame(self.frame)
        if entry.type is not EntryType.RECORD:
            raise InvalidProof(f"the entry at offset {entry.offset} is no record, but a record is shown for it")
        if commitment(self.salt, self.frame) != entry.commit:
            raise InvalidProof(f"the record shown for offset {entry.offset} is not the one that was sealed")
        if max(frame.timestamp_ms, 0) != entry.time_ms:
            raise InvalidProof(f"entry and record at offset {entry.offset} have different times")
        return entry, frame


@dataclass(frozen=True, slots=True)
class Receipt:
    """A tlog-proof, not yet checked.

    Attributes:
        index: the leaf's index.
        proof: its inclusion proof in the checkpoint's tree.
        checkpoint: the signed note, as it is.
        extra: what the extra line holds, or None.
    """

    index: int
    proof: Sequence[bytes]
    checkpoint: bytes
    extra: bytes | None = None

    def to_bytes(self) -> bytes:
        """Return the text.

        Raises:
            InvalidEncoding: index or proof are out of range, or extra is empty.
            InvalidNote: the checkpoint is no note.
        """
        if self.index < 0 or len(self.proof) > MAX_PROOF_LENGTH or self.extra == b"":
            raise InvalidEncoding("a receipt's index, proof or extra data is out of range")
        if any(len(node) != HASH_SIZE for node in self.proof):
            raise InvalidEncoding(f"a hash in a receipt is not {HASH_SIZE} bytes long")
        Note.parse(self.checkpoint)
        lines = [_LABEL]
        if self.extra is not None:
            lines.append(_EXTRA + encode_base64(self.extra))
        lines.append(f"{_INDEX}{self.index}")
        lines += [encode_base64(node) for node in self.proof]
        return "\n".join([*lines, "", ""]).encode() + self.checkpoint

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a receipt; the checkpoint in it is left for ``verify_receipt``.

        Raises:
            InvalidEncoding: a line is missing or not in its only spelling.
        """
        if len(data) > MAX_RECEIPT_SIZE:
            raise InvalidEncoding(f"a receipt of {len(data)} bytes is larger than {MAX_RECEIPT_SIZE}")
        head, blank, checkpoint = data.partition(b"\n\n")
        if not blank or len(checkpoint) > MAX_NOTE_SIZE:
            raise InvalidEncoding("a receipt is a proof, an empty line and a checkpoint")
        try:
            lines = head.decode("ascii").split("\n")
            if lines.pop(0) != _LABEL:
                raise InvalidEncoding(f"a receipt starts with the line {_LABEL}")
            extra = decode_base64(lines.pop(0).removeprefix(_EXTRA)) if lines[0].startswith(_EXTRA) else None
            number = lines.pop(0)
            if not number.startswith(_INDEX) or extra == b"":
                raise InvalidEncoding("a receipt has an index line, and extra data only if not empty")
            index = parse_size(number.removeprefix(_INDEX))
            proof = tuple(decode_base64(line) for line in lines)
        except (UnicodeDecodeError, InvalidNote, IndexError) as error:
            raise InvalidEncoding("a receipt's line is missing or malformed") from error
        if len(proof) > MAX_PROOF_LENGTH or any(len(node) != HASH_SIZE for node in proof):
            raise InvalidEncoding("a receipt's proof is too long, or a hash in it is not 32 bytes")
        return cls(index, proof, checkpoint, extra)


@dataclass(frozen=True, slots=True)
class VerifiedReceipt:
    """What a receipt proved.

    Attributes:
        index: where the leaf stands in the tree.
        entry: the leaf's entry.
        frame: the record, or None where the receipt does not show it.
        checkpoint: the checkpoint, with who signed and cosigned it and when.
    """

    index: int
    entry: LeafEntry
    frame: Frame | None
    checkpoint: OpenedCheckpoint


def verify_receipt(
    data: bytes,
    origin: str,
    log_keys: Sequence[VerifierKey],
    witness_keys: Sequence[VerifierKey] = (),
    quorum: int = 0,
) -> VerifiedReceipt:
    """Check a receipt with nothing but public keys that were obtained another way.

    Args:
        data: the receipt.
        origin: the log that the keys belong to.
        log_keys: the log's keys.
        witness_keys: the witnesses that are trusted.
        quorum: how many different ones of them must have cosigned.

    Raises:
        InvalidEncoding: the receipt, its entry or its record do not follow their format.
        InvalidNote: its checkpoint does not.
        UntrustedNote: the checkpoint is of another log, or the keys do not vouch for it.
        InvalidProof: the entry is not in the tree there, or the record is not the one that was sealed.
    """
    receipt = Receipt.parse(data)
    if receipt.extra is None:
        raise InvalidEncoding("the receipt does not hold its leaf's entry in an extra line")
    opened = open_checkpoint(receipt.checkpoint, origin, log_keys, witness_keys, quorum)
    opening = Opening.from_bytes(receipt.extra)
    tree = opened.checkpoint
    verify_inclusion(leaf_hash(opening.entry), receipt.index, tree.size, receipt.proof, tree.root)
    entry, frame = opening.check()
    return VerifiedReceipt(receipt.index, entry, frame, opened)
