"""Signing what a head says, and reading signed checkpoints with all their signatures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from trailseal.errors import Fenced, IntegrityViolation
from trailseal.merkle.checkpoints import Checkpoint
from trailseal.merkle.errors import InvalidNote, MerkleError
from trailseal.merkle.notes import Algorithm, Note, SignatureLine, VerifierKey, parse_signatures
from trailseal.merkle.signing import Signer, sign_note
from trailseal.model.outcomes import Head
from trailseal.ports.ledger import Document, Ledger
from trailseal.ports.seals import AddedSignature, StoredCheckpoint
from trailseal.sealing.keys import KeyRing
from trailseal.sealing.origin import SealedLog
from trailseal.sealing.state import SealState
from trailseal.sealing.tree import LogTree

_TIME_BYTES = 8
_KEYS = "seal/keys"


class Published(msgspec.Struct, frozen=True):
    """A checkpoint that is signed and stored, and the tree it is of.

    Attributes:
        log: whose.
        checkpoint: what it says.
        note: with every signature stored so far.
        tree: of the head, at least as large.
    """

    log: SealedLog
    checkpoint: Checkpoint
    note: Note
    tree: LogTree


class CheckpointSigner:
    """Signs heads, but only trees that grew out of the last one that was signed.

    Args:
        ledger: where heads, tiles and checkpoints are.
        ring: gives the keys as they are now.
        now_s: gives POSIX seconds.
    """

    def __init__(self, ledger: Ledger, ring: Callable[[], KeyRing], now_s: Callable[[], int]) -> None:
        self._ledger, self._ring, self._now_s = ledger, ring, now_s

    def publish(self, log: SealedLog, head: Head) -> Published:
        """Sign and store the checkpoint of a head with at least one leaf; signed already is fine.

        Raises:
            IntegrityViolation: the tree is not a continuation of what was signed before; nothing is signed.
            SettingsError: the keys cannot be read.
            Fenced: the head has moved on since, and was signed there.
            Unavailable: the ledger does not answer.
        """
        tree = LogTree.of(head.seal, self._ledger.seals)
        checkpoint = Checkpoint(log.origin, tree.size, tree.edge.root())
        newest = self._ledger.seals.checkpoint(head.log, head.partition)
        if newest is not None:
            self._refuse_overtaken(head, newest)
            _refuse_fork(log, tree, newest)
        signers = self._ring().checkpoint_signers(log.origin)
        self._publish_keys(log, [signer.key for signer in signers])
        text = checkpoint.format()
        if newest is None or newest.size < tree.size:
            note = sign_note(text, signers, self._now_s()).to_bytes()
            stored = self._ledger.seals.put_checkpoint(head.log, head.partition, tree.size, note)
            newest = StoredCheckpoint(tree.size, stored)
        whole = merged(newest)
        if whole.text != text:
            raise _fork(log, tree.size)
        lines = self._missing(whole, signers)
        if lines:
            added = [added_signature(line, 0) for line in lines]
            self._ledger.seals.add_signatures(head.log, head.partition, tree.size, added)
        return Published(log, checkpoint, whole.with_signatures(lines), tree)

    def _missing(self, note: Note, signers: Sequence[Signer]) -> list[SignatureLine]:
        """What keys that have no line yet sign: of the others ML-DSA would give another line each time."""
        silent = [signer for signer in signers if not any(line.is_by(signer.key) for line in note.signatures)]
        return [signer.sign(note.text, self._now_s()) for signer in silent]

    def add_cosignatures(self, published: Published, lines: Sequence[SignatureLine]) -> None:
        """Store what witnesses answered."""
        added = [added_signature(line, int.from_bytes(line.signature[:_TIME_BYTES], "big")) for line in lines]
        log = published.log
        self._ledger.seals.add_signatures(log.log, log.partition, published.checkpoint.size, added)

    def last_cosigned(self, log: SealedLog, witnesses: Sequence[VerifierKey]) -> int:
        """When one of these keys cosigned last, POSIX seconds; where none ever did, when the log began."""
        stored = self._ledger.seals.checkpoints(log.log, log.partition)
        found = (cosigned_at(merged(one), witnesses) for one in stored)
        return next((time for time in found if time is not None), log.begun_ms // 1_000)

    def _refuse_overtaken(self, head: Head, newest: StoredCheckpoint) -> None:
        if newest.size > SealState.of(head.seal).edge.size:
            now = self._ledger.head(head.log, head.partition)
            if now is not None and now.next > head.next:
                raise Fenced("Another process took the partition further, and signed it there.")

    def _publish_keys(self, log: SealedLog, keys: Sequence[VerifierKey]) -> None:
        """Note every key that ever signed, so that readers without the key file can name them."""
        name = f"{_KEYS}/{log.log}/{log.partition}"
        while True:
            document = self._ledger.document(name)
            known = _lines(document, log)
            new = [key.vkey() for key in keys if key.vkey() not in known]
            if not new:
                return
            try:
                body = "\n".join([*known, *new]).encode()
                self._ledger.put_document(name, body, None if document is None else document.version)
            except Fenced:
                continue
            return


def published_keys(ledger: Ledger, log: SealedLog) -> list[VerifierKey]:
    """The keys that sign the log, as its own ledger tells them: to show them, never to trust them."""
    document = ledger.document(f"{_KEYS}/{log.log}/{log.partition}")
    try:
        listed = [VerifierKey.parse(line) for line in _lines(document, log)]
    except InvalidNote as error:
        raise _damaged_list(log) from error
    return list(dict.fromkeys([*log.genesis.keys, *listed]))


def _lines(document: Document | None, log: SealedLog) -> list[str]:
    """The public keys in a document of the ledger, one a line."""
    try:
        return [] if document is None else document.body.decode().split("\n")
    except UnicodeDecodeError as error:
        raise _damaged_list(log) from error


def _damaged_list(log: SealedLog) -> IntegrityViolation:
    return IntegrityViolation(
        f"The list of public keys of {log.origin} in the ledger is damaged: restore the ledger from a backup."
    )


def merged(stored: StoredCheckpoint) -> Note:
    """The note with every signature that came later.

    Raises:
        IntegrityViolation: what is stored is no note.
    """
    try:
        note = Note.parse(stored.note)
        lines = [line for one in stored.added for line in parse_signatures(one.line)]
        return note.with_signatures(lines)
    except MerkleError as error:
        raise IntegrityViolation(f"The stored checkpoint of size {stored.size} is damaged: {error}.") from error


def cosigned_at(note: Note, witnesses: Sequence[VerifierKey]) -> int | None:
    """The newest time, POSIX seconds, in a cosignature by one of these keys; signatures are not checked here."""
    times = [
        int.from_bytes(line.signature[:_TIME_BYTES], "big")
        for line in note.signatures
        for key in witnesses
        if line.is_by(key) and key.algorithm is not Algorithm.ED25519
    ]
    return max(times, default=None)


def added_signature(line: SignatureLine, time: int) -> AddedSignature:
    """A signature line as ledgers keep it."""
    return AddedSignature(f"{line.name} {line.key_id.hex()}", time, line.format())


def _refuse_fork(log: SealedLog, tree: LogTree, newest: StoredCheckpoint) -> None:
    try:
        signed = Checkpoint.parse(merged(newest).text)
    except InvalidNote as error:
        raise IntegrityViolation(f"The stored checkpoint of size {newest.size} is damaged: {error}.") from error
    if signed.size > tree.size or tree.root(signed.size) != signed.root or signed.origin != log.origin:
        raise _fork(log, signed.size)


def _fork(log: SealedLog, size: int) -> IntegrityViolation:
    return IntegrityViolation(
        f"The log {log.origin} was signed at {size} leaves, and its tree in the ledger is no continuation of that:"
        " it was rolled back or altered. Nothing is signed; run `trailseal verify`, then restore a backup."
    )
