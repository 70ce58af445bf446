"""Whose word counts in a verification: keys and checkpoints that an auditor brings along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trailseal.errors import UsageError
from trailseal.merkle.checkpoints import Checkpoint
from trailseal.merkle.errors import MerkleError
from trailseal.merkle.notes import Algorithm, Note, VerifierKey
from trailseal.merkle.signing import verify_note


@dataclass(frozen=True, slots=True)
class Trust:
    """What the auditor knows from elsewhere.

    Attributes:
        keys: the logs' keys; empty = the ledger's own list is used, and the report says so.
        witnesses: whose cosignatures count.
        quorum: how many different witnesses must have cosigned the newest checkpoint that counts.
        kept: checkpoints from an earlier visit, as they were signed.
    """

    keys: tuple[VerifierKey, ...] = ()
    witnesses: tuple[VerifierKey, ...] = ()
    quorum: int = 0
    kept: tuple[Checkpoint, ...] = ()

    def log_keys(self, origin: str) -> tuple[VerifierKey, ...]:
        """The keys of one log."""
        return tuple(key for key in self.keys if key.name == origin)


def trust_from(
    keys: Sequence[str], witnesses: Sequence[str], quorum: int | None, kept: Sequence[tuple[str, bytes]]
) -> Trust:
    """What the words of a command line mean.

    Args:
        keys: verifier keys of logs, in each text one or several with white space between them.
        witnesses: verifier keys of witnesses, likewise.
        quorum: how many witnesses must have cosigned; None = all that are named.
        kept: name and bytes of each checkpoint that the auditor kept.

    Raises:
        UsageError: a key or a checkpoint cannot be read, a kept checkpoint is not signed by a given key of its log,
            a witness has the name or key of a log or the key of another witness, or more are asked for than named.
    """
    log_keys, witness_keys = _keys(keys), _keys(witnesses)
    if any(key.algorithm is Algorithm.COSIGNATURE_ED25519 for key in log_keys):
        raise UsageError("A log's key is of type 01 or 06; this one is a witness's, which goes with --witness.")
    logs = {key.name for key in log_keys}
    if any(key.algorithm is Algorithm.ED25519 or key.name in logs for key in witness_keys):
        raise UsageError("A witness's key is a cosigning key (type 04 or 06) of another name; this one is a log's.")
    publics = {key.public_key for key in log_keys}
    owners = {key.public_key: key.name for key in witness_keys}
    for key in witness_keys:
        if key.public_key in publics:
            raise UsageError(f"{key.name} has the key of a log: nobody is witness to what they signed themselves.")
        if owners[key.public_key] != key.name:
            raise UsageError(f"{key.name} and {owners[key.public_key]} are one witness: they have the same key.")
    named = len({key.name for key in witness_keys})
    wanted = named if quorum is None else quorum
    if wanted > named:
        raise UsageError(f"A quorum of {wanted} needs as many witnesses; --witness names {named}.")
    return Trust(log_keys, witness_keys, wanted, tuple(_kept(name, note, log_keys) for name, note in kept))


def _keys(texts: Sequence[str]) -> tuple[VerifierKey, ...]:
    return tuple(_key(word) for text in texts for word in text.split() or [text])


def _key(text: str) -> VerifierKey:
    try:
        return VerifierKey.parse(text)
    except MerkleError as error:
        raise UsageError(f"{text!r} is no verifier key: {error}. `trailseal keys show` prints them.") from error


def _kept(name: str, data: bytes, keys: Sequence[VerifierKey]) -> Checkpoint:
    try:
        note = Note.parse(data)
        checkpoint = Checkpoint.parse(note.text)
        if keys:
            verify_note(note, [key for key in keys if key.name == checkpoint.origin])
    except MerkleError as error:
        raise UsageError(f"{name} is no checkpoint that can be relied on: {error}.") from error
    return checkpoint
