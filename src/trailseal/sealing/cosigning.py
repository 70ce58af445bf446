"""Asking witnesses to cosign a checkpoint: the client's side of C2SP tlog-witness."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from trailseal.errors import Unavailable
from trailseal.merkle.checkpoints import parse_size
from trailseal.merkle.errors import MerkleError
from trailseal.merkle.notes import Note, SignatureLine, parse_signatures
from trailseal.merkle.signing import verify_note
from trailseal.merkle.witness import AddCheckpoint
from trailseal.ports.witness import Witness, WitnessAnswer
from trailseal.sealing.checkpoints import Published
from trailseal.telemetry import WITNESS_ANSWERS, logger

_ATTEMPTS = 2
"""The size a witness knows is asked for by a first request and told by its 409."""
_REFUSALS: Final[dict[int, str]] = {
    HTTPStatus.NOT_FOUND: "it does not watch this log: give it the lines of `trailseal keys show`",
    HTTPStatus.FORBIDDEN: "it knows none of the keys that sign: give it the lines of `trailseal keys show`",
    HTTPStatus.SERVICE_UNAVAILABLE: "it cannot read or write its own state; its operator's log says why",
    HTTPStatus.UNPROCESSABLE_ENTITY: "it has cosigned another history of this log; run `trailseal verify`",
}


class Cosigning:
    """The witnesses of a site, and the size that each of them was last known to have of each log.

    Used by one thread at a time.
    """

    def __init__(self, witnesses: Sequence[Witness]) -> None:
        self.witnesses = tuple(witnesses)
        self._sizes: dict[tuple[str, str], int] = {}

    def ask(self, published: Published) -> list[SignatureLine]:
        """The signature lines of every witness that cosigned; what others answered is told in log and metric."""
        return [line for witness in self.witnesses for line in self._ask_one(witness, published)]

    def _ask_one(self, witness: Witness, published: Published) -> list[SignatureLine]:
        name, size = witness.name, published.checkpoint.size
        place = (name, published.checkpoint.origin)
        for _ in range(_ATTEMPTS):
            old = self._sizes.get(place, 0)
            try:
                proof = published.tree.consistency(old, size) if old <= size else []
                body = AddCheckpoint(old, tuple(proof), _by_the_log(published)).to_bytes()
                answer = witness.add_checkpoint(body)
            except Unavailable as error:
                WITNESS_ANSWERS.labels(name, "0").inc()
                logger("sealing").warning("witness_away", witness=name, why=str(error))
                return []
            WITNESS_ANSWERS.labels(name, str(answer.status)).inc()
            if answer.status == HTTPStatus.OK:
                self._sizes[place] = size
                return _good_lines(witness, published.note, answer)
            if answer.status != HTTPStatus.CONFLICT:
                break
            known = _size_in(answer)
            if known is None or known > size:
                logger("sealing").error(
                    "witness_knows_more",
                    witness=name,
                    log=place[1],
                    size=size,
                    known=known,
                    why="the log was rolled back, or another copy of it is signing; run `trailseal verify`",
                )
                return []
            self._sizes[place] = known
        logger("sealing").error(
            "witness_refused",
            witness=name,
            log=place[1],
            size=size,
            status=answer.status,
            why=_REFUSALS.get(answer.status, "it does not answer as C2SP tlog-witness says"),
        )
        return []


def _by_the_log(published: Published) -> Note:
    """The note with the log's own signatures only: what others cosigned is nothing to a witness."""
    own = tuple(line for line in published.note.signatures if line.name == published.checkpoint.origin)
    return Note(published.note.text, own)


def _good_lines(witness: Witness, note: Note, answer: WitnessAnswer) -> list[SignatureLine]:
    try:
        told = parse_signatures(answer.body.decode())
        lines = [line for line in told if any(line.is_by(key) for key in witness.keys)]
        verify_note(Note(note.text, tuple(lines)), witness.keys)
    except (MerkleError, UnicodeDecodeError) as error:
        logger("sealing").error("witness_signed_badly", witness=witness.name, why=str(error))
        return []
    return lines


def _size_in(answer: WitnessAnswer) -> int | None:
    try:
        return parse_size(answer.body.decode("ascii").removesuffix("\n"))
    except (MerkleError, UnicodeDecodeError):
        return None
