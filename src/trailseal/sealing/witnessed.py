"""How far witnesses have seen a log: what a copy of it has to reach before it may go on under the same name."""

from __future__ import annotations

from http import HTTPStatus

from trailseal.errors import IntegrityViolation, Unavailable
from trailseal.merkle.checkpoints import Checkpoint, parse_size
from trailseal.merkle.errors import MerkleError
from trailseal.merkle.notes import Note
from trailseal.merkle.witness import AddCheckpoint
from trailseal.ports.witness import Witness
from trailseal.sealing.tree import LogTree


def witnessed_size(witness: Witness, note: Note, tree: LogTree) -> int:
    """The size up to which a witness has cosigned the log; 0 where it does not know it.

    What it knows at or below the checkpoint is held against the tree. A witness that is behind cosigns the
    checkpoint: it is the log's own, signed before.

    Args:
        witness: it is asked once or twice.
        note: the newest checkpoint of the copy, signed by the log.
        tree: of the copy, at least as large.

    Raises:
        IntegrityViolation: the witness cosigned another history.
        Unavailable: it does not answer, or not as C2SP tlog-witness says.
    """
    checkpoint = Checkpoint.parse(note.text)
    own = Note(note.text, tuple(line for line in note.signatures if line.name == checkpoint.origin))
    known = 0
    for _ in range(2):
        proof = tree.consistency(known, checkpoint.size) if known else []
        answer = witness.add_checkpoint(AddCheckpoint(known, tuple(proof), own).to_bytes())
        if answer.status == HTTPStatus.OK:
            return checkpoint.size
        if answer.status == HTTPStatus.NOT_FOUND:
            return 0
        if answer.status == HTTPStatus.UNPROCESSABLE_ENTITY:
            raise IntegrityViolation(
                f"The witness {witness.name} cosigned {checkpoint.origin} at {known} leaves, and this copy is"
                " no continuation of that: it was altered, or the log went on without it."
            )
        if answer.status != HTTPStatus.CONFLICT:
            break
        try:
            known = parse_size(answer.body.decode("ascii").removesuffix("\n"))
        except (MerkleError, UnicodeDecodeError):
            break
        if known > checkpoint.size:
            return known
    raise Unavailable(
        f"The witness {witness.name} does not say how far it knows {checkpoint.origin} (HTTP {answer.status})."
    )
