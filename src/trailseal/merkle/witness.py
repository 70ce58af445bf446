"""C2SP tlog-witness: what a witness answers to ``add-checkpoint``. A decision only; it stores and sends nothing.

The caller holds a lock, or a compare-and-set, around: read the state of the origin, ``decide``, and, where the
answer is 200, **persist the new state before** signing and replying. A witness that does so never cosigns two
roots at one size and never goes back. The log's own signer uses the same decision before it signs a checkpoint.
Source: ``tlog-witness.md`` in C2SP/C2SP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Self

from trailseal.merkle.checkpoints import Checkpoint, parse_size
from trailseal.merkle.errors import InvalidEncoding, InvalidNote, InvalidProof, UntrustedNote
from trailseal.merkle.hash import EMPTY_ROOT, HASH_SIZE
from trailseal.merkle.notes import MAX_NOTE_SIZE, Note, VerifierKey, decode_base64, encode_base64
from trailseal.merkle.proofs import MAX_PROOF_LENGTH, verify_consistency
from trailseal.merkle.signing import Signer, verify_note

SIZE_CONTENT_TYPE: Final = "text/x.tlog.size"
"""The media type of the answer 409, which holds the size that the witness knows."""

MAX_REQUEST_SIZE: Final = MAX_NOTE_SIZE + 4096
"""Bytes of the largest request that is read."""

_OLD: Final = b"old "


@dataclass(frozen=True, slots=True)
class TreeHead:
    """The latest checkpoint of a log that a witness cosigned; without one, the empty tree.

    Attributes:
        size: the tree's size.
        root: its root.
    """

    size: int = 0
    root: bytes = EMPTY_ROOT


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request, parsed and not yet judged.

    Attributes:
        old_size: the size of the checkpoint that the sender believes the witness has.
        proof: the consistency proof from there to the new checkpoint.
        note: the new checkpoint, signed.
    """

    old_size: int
    proof: tuple[bytes, ...]
    note: Note

    def to_bytes(self) -> bytes:
        """Return the request's body.

        Raises:
            InvalidEncoding: the proof has more than 63 lines.
        """
        if len(self.proof) > MAX_PROOF_LENGTH:
            raise InvalidEncoding(f"a request holds at most {MAX_PROOF_LENGTH} proof lines")
        lines = [f"old {self.old_size}", *(encode_base64(node) for node in self.proof), "", ""]
        return "\n".join(lines).encode() + self.note.to_bytes()

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read a request's body.

        Raises:
            InvalidEncoding: it does not follow the format (the answer is 400).
        """
        head, blank, note = body.partition(b"\n\n")
        if len(body) > MAX_REQUEST_SIZE or not blank or not head.startswith(_OLD):
            raise InvalidEncoding("a request is an old size, proof lines, an empty line and a checkpoint")
        try:
            old, *lines = head.decode("ascii").split("\n")
            if len(lines) > MAX_PROOF_LENGTH:
                raise InvalidEncoding(f"a request holds at most {MAX_PROOF_LENGTH} proof lines")
            proof = tuple(decode_base64(line) for line in lines)
            request = cls(parse_size(old[len(_OLD) :]), proof, Note.parse(note))
        except (UnicodeDecodeError, InvalidNote) as error:
            raise InvalidEncoding(f"a request to a witness that cannot be read: {error}") from error
        if any(len(node) != HASH_SIZE for node in proof):
            raise InvalidEncoding(f"a hash in a request is not {HASH_SIZE} bytes long")
        return request


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to answer.

    Attributes:
        status: 200 cosign, 400 unreadable, 403 not signed by the log, 404 unknown log, 409 another old size
            is known, 422 not consistent.
        reason: one sentence for the log file and the sender.
        origin: the log, where the request named a known one.
        known_size: with 409, the size the witness has; the answer's body is this number and a newline.
        state: with 200, what to persist before replying.
        note: with 200, the checkpoint to cosign; with 422, the signed evidence of a log's misbehaviour.
    """

    status: HTTPStatus
    reason: str
    origin: str | None = None
    known_size: int | None = None
    state: TreeHead | None = None
    note: Note | None = None


def decide(body: bytes, logs: Mapping[str, Sequence[VerifierKey]], known: Callable[[str], TreeHead]) -> Verdict:
    """Judge a request.

    Args:
        body: the request's body.
        logs: the keys of the logs that are witnessed, by origin.
        known: gives the head last cosigned of an origin; called for a known log's signed checkpoint only.
    """
    try:
        request = AddCheckpoint.parse(body)
        checkpoint = Checkpoint.parse(request.note.text)
    except (InvalidEncoding, InvalidNote) as error:
        return Verdict(HTTPStatus.BAD_REQUEST, str(error))
    origin = checkpoint.origin
    if origin not in logs:
        return Verdict(HTTPStatus.NOT_FOUND, "the checkpoint is of a log that is not witnessed here")
    try:
        verify_note(request.note, logs[origin])
    except (UntrustedNote, InvalidNote) as error:
        return Verdict(HTTPStatus.FORBIDDEN, str(error), origin)
    return decide_growth(request, checkpoint, known(origin))


def decide_growth(request: AddCheckpoint, checkpoint: Checkpoint, known: TreeHead) -> Verdict:
    """Judge a checkpoint whose signature was checked against the head that is known.

    Args:
        request: the request.
        checkpoint: the checkpoint in it.
        known: the head last cosigned.
    """
    origin = checkpoint.origin
    if request.old_size > checkpoint.size:
        return Verdict(HTTPStatus.BAD_REQUEST, "the old size is larger than the checkpoint's", origin)
    if request.old_size != known.size:
        reason = f"the size known here is {known.size}, not {request.old_size}"
        return Verdict(HTTPStatus.CONFLICT, reason, origin, known_size=known.size)
    if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
        reason = "the checkpoint's size is 0 and its root not the empty tree's"
        return Verdict(HTTPStatus.UNPROCESSABLE_ENTITY, reason, origin, note=request.note)
    try:
        verify_consistency(known.size, checkpoint.size, request.proof, known.root, checkpoint.root)
    except InvalidProof as error:
        return Verdict(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), origin, note=request.note)
    state = TreeHead(checkpoint.size, checkpoint.root)
    return Verdict(HTTPStatus.OK, "consistent", origin, state=state, note=request.note)


def cosign(verdict: Verdict, signers: Sequence[Signer], time: int) -> str:
    """Return the body of the answer 200: a signature line of each of the witness's keys.

    Args:
        verdict: a verdict 200 whose state has been persisted.
        signers: the witness's keys, of the cosigning types.
        time: the POSIX time now, seconds.

    Raises:
        InvalidProof: the verdict is not 200.
    """
    if verdict.status is not HTTPStatus.OK or verdict.note is None:
        raise InvalidProof("only a checkpoint that was found consistent is cosigned")
    return "".join(signer.sign(verdict.note.text, time).format() for signer in signers)
