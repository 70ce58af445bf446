"""The three signature types, and opening a note or checkpoint: which trusted keys vouch for it.

* Ed25519 over the text (``signed-note.md``): how a log signs its checkpoints.
* Ed25519 over the time and the text (``tlog-cosignature.md``, cosignature/v1): how witnesses do.
* ML-DSA-44 over name, time, origin, size and root (same document, subtree/v1): for both, as a second line.

Signatures by unknown keys are ignored; a known key's signature that fails spoils the whole note.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from trailseal.merkle.checkpoints import Checkpoint, check_origin
from trailseal.merkle.errors import ForgedNote, InvalidNote, UnsignedNote, UntrustedNote
from trailseal.merkle.notes import Algorithm, Note, SignatureLine, VerifierKey, check_text

SEED_SIZE: Final = 32
"""Bytes of the secret seed that a signing key of any type is made from."""

_MAX_TIME: Final = 2**63 - 1
_TIME_SIZE: Final = 8
_SUBTREE_LABEL: Final = b"subtree/v1\n\x00"
_SIGNATURE_SIZES: Final = {
    Algorithm.ED25519: 64,
    Algorithm.COSIGNATURE_ED25519: _TIME_SIZE + 64,
    Algorithm.COSIGNATURE_ML_DSA_44: _TIME_SIZE + 2420,
}


class Signer(Protocol):
    """A key that signs notes."""

    @property
    def key(self) -> VerifierKey:
        """The public side."""
        ...

    def sign(self, text: str, time: int) -> SignatureLine:
        """Sign a note's text.

        Args:
            text: the text, ending in a newline.
            time: the POSIX time, seconds; a plain Ed25519 signature does not hold it.
        """
        ...


@dataclass(frozen=True, slots=True)
class VerifiedSignature:
    """A signature that was checked.

    Attributes:
        key: whose it is.
        time: when it was made (POSIX seconds) by a cosigner's word, None where the type holds no time.
    """

    key: VerifierKey
    time: int | None


@dataclass(frozen=True, slots=True)
class OpenedCheckpoint:
    """A checkpoint that was verified.

    Attributes:
        checkpoint: what it says.
        note: the note it came in, with all its signature lines.
        log_signatures: the log's own, at least one.
        cosignatures: those of trusted witnesses.
    """

    checkpoint: Checkpoint
    note: Note
    log_signatures: tuple[VerifiedSignature, ...]
    cosignatures: tuple[VerifiedSignature, ...]


class SeedSigner:
    """A signer whose secret is a 32-byte seed.

    Args:
        name: the key's name; of a log, its origin.
        algorithm: the signature type.
        seed: 32 secret bytes. A seed serves one type only, and several names only where what it signs begins with
            the name, as a checkpoint does with its origin.
    """

    def __init__(self, name: str, algorithm: Algorithm, seed: bytes) -> None:
        if len(seed) != SEED_SIZE:
            raise InvalidNote(f"the seed of the key {name} is not {SEED_SIZE} bytes long")
        self._secret: Ed25519PrivateKey | MLDSA44PrivateKey
        if algorithm is Algorithm.COSIGNATURE_ML_DSA_44:
            check_origin(name)
            self._secret = MLDSA44PrivateKey.from_seed_bytes(seed)
        else:
            self._secret = Ed25519PrivateKey.from_private_bytes(seed)
        self._key = VerifierKey(name, algorithm, self._secret.public_key().public_bytes_raw())

    @property
    def key(self) -> VerifierKey:
        """The public side."""
        return self._key

    def sign(self, text: str, time: int) -> SignatureLine:
        """Sign a note's text; a cosigning type takes the text of a checkpoint only.

        Raises:
            InvalidNote: the text cannot be signed with this type, or the time is out of range.
        """
        check_text(text)
        if self._key.algorithm is Algorithm.ED25519:
            return SignatureLine(self._key.name, self._key.key_id, self._secret.sign(text.encode()))
        if not 0 < time <= _MAX_TIME:
            raise InvalidNote(f"a cosignature's time cannot be {time}")
        signature = self._secret.sign(_cosigned_message(self._key, text, time))
        return SignatureLine(self._key.name, self._key.key_id, time.to_bytes(_TIME_SIZE, "big") + signature)


def sign_note(text: str, signers: Sequence[Signer], time: int) -> Note:
    """Return a text with the signatures of some signers.

    Raises:
        InvalidNote: the text cannot be signed, or there is no signer.
    """
    if not signers:
        raise InvalidNote("a note without a signature")
    return Note(text, tuple(signer.sign(text, time) for signer in signers))


def verify_note(note: Note, keys: Sequence[VerifierKey]) -> tuple[VerifiedSignature, ...]:
    """Check a note's signatures by known keys.

    Returns:
        The known keys' signatures in the note's order, at least one.

    Raises:
        UnsignedNote: none of the keys signed it.
        ForgedNote: a signature by one of them fails.
        InvalidNote: a cosignature stands below a text that is no checkpoint.
    """
    verified = _verify_known(note, keys)
    if not verified:
        raise UnsignedNote("no trusted key has signed the note")
    return verified


def open_checkpoint(
    data: bytes,
    origin: str,
    log_keys: Sequence[VerifierKey],
    witness_keys: Sequence[VerifierKey] = (),
    quorum: int = 0,
) -> OpenedCheckpoint:
    """Read a checkpoint and check who vouches for it.

    Args:
        data: the signed note.
        origin: the log it has to be of.
        log_keys: the log's keys; one of them must have signed.
        witness_keys: the witnesses that are trusted; one with the log's own name or key is none.
        quorum: how many different ones of them must have cosigned.

    Raises:
        InvalidNote: it is no checkpoint.
        UnsignedNote: none of the log's keys signed it.
        ForgedNote: a known key's signature fails.
        UntrustedNote: it is of another log, or too few witnesses cosigned.
    """
    note = Note.parse(data)
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.origin != origin:
        raise UntrustedNote("the checkpoint is of another log than the one asked for")
    log_signatures = _verify_known(note, log_keys)
    if not log_signatures:
        raise UnsignedNote(f"no trusted key of the log has signed the checkpoint of size {checkpoint.size}")
    own = {key.public_key for key in log_keys}
    others = [key for key in witness_keys if key.name != origin and key.public_key not in own]
    cosignatures = _verify_known(note, others)
    cosigners = len({signature.key.name for signature in cosignatures})
    if cosigners < quorum:
        raise UntrustedNote(f"{cosigners} trusted witnesses cosigned size {checkpoint.size}, {quorum} are needed")
    return OpenedCheckpoint(checkpoint, note, log_signatures, cosignatures)


def _verify_known(note: Note, keys: Sequence[VerifierKey]) -> tuple[VerifiedSignature, ...]:
    return tuple(
        VerifiedSignature(key, _verify_line(line, key, note.text))
        for line in note.signatures
        for key in dict.fromkeys(keys)
        if line.is_by(key)
    )


def _verify_line(line: SignatureLine, key: VerifierKey, text: str) -> int | None:
    if len(line.signature) != _SIGNATURE_SIZES[key.algorithm]:
        raise ForgedNote(f"the signature by {key.name} is {len(line.signature)} bytes long")
    if key.algorithm is Algorithm.ED25519:
        _verify_bytes(key, line.signature, text.encode())
        return None
    time = int.from_bytes(line.signature[:_TIME_SIZE], "big")
    if time > _MAX_TIME:
        raise ForgedNote(f"the cosignature by {key.name} has an impossible time")
    _verify_bytes(key, line.signature[_TIME_SIZE:], _cosigned_message(key, text, time))
    return time


def _verify_bytes(key: VerifierKey, signature: bytes, message: bytes) -> None:
    public: Ed25519PublicKey | MLDSA44PublicKey
    try:
        if key.algorithm is Algorithm.COSIGNATURE_ML_DSA_44:
            public = MLDSA44PublicKey.from_public_bytes(key.public_key)
        else:
            public = Ed25519PublicKey.from_public_bytes(key.public_key)
        public.verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise ForgedNote(f"the signature by {key.name} does not fit the note") from error


def _cosigned_message(key: VerifierKey, text: str, time: int) -> bytes:
    checkpoint = Checkpoint.parse(text)
    if key.algorithm is Algorithm.COSIGNATURE_ED25519:
        return f"cosignature/v1\ntime {time}\n{text}".encode()
    return b"".join(
        (
            _SUBTREE_LABEL,
            _short_opaque(key.name),
            time.to_bytes(8, "big"),
            _short_opaque(checkpoint.origin),
            (0).to_bytes(8, "big"),
            checkpoint.size.to_bytes(8, "big"),
            checkpoint.root,
        )
    )


def _short_opaque(text: str) -> bytes:
    encoded = text.encode()
    if len(encoded) > 255:  # noqa: PLR2004 - the one length byte of opaque<1..2^8-1>
        raise InvalidNote("a name or origin is too long for an ML-DSA-44 cosignature")
    return bytes([len(encoded)]) + encoded
