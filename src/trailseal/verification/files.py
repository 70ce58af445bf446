"""Receipts and evidence files, checked offline with nothing but public keys."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeVar

import msgspec

from trailseal.formats.strict_json import RepeatedName, read_strictly
from trailseal.merkle.checkpoints import Checkpoint, parse_size
from trailseal.merkle.errors import ForgedNote, InvalidEncoding, MerkleError, UntrustedNote
from trailseal.merkle.hash import leaf_hash
from trailseal.merkle.notes import Algorithm, Note, decode_base64
from trailseal.merkle.proofs import verify_inclusion
from trailseal.merkle.receipts import Opening, Receipt, verify_receipt
from trailseal.merkle.signing import OpenedCheckpoint, open_checkpoint, verify_note
from trailseal.model.record import Position
from trailseal.sealing.evidence_file import VERSION, EvidenceLog, LastLine, Whole, end_text
from trailseal.verification.shown import check_shown, record_of, refuse_repeated_names
from trailseal.verification.trust import Trust

_MOST = 1_000
_Line = TypeVar("_Line")


class _Version(msgspec.Struct, frozen=True, rename={"version": "trailseal-evidence"}):
    """What a `Manifest` says first."""

    version: Whole


class _Logs(msgspec.Struct, frozen=True):
    """What is checked of a `Manifest` of our version."""

    logs: list[EvidenceLog]


class _Row(msgspec.Struct, frozen=True):
    """A `Row` of which only the JSON has been read."""

    event: dict[str, Any]
    position: str
    index: Whole
    opening: str
    proof: list[str] | None = None


class Mismatch(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing in a file that does not hold.

    Attributes:
        line: of the file, from 1.
        detail: one sentence.
        position: what the line says of itself, if it does.
        event_id: likewise.
    """

    line: int
    detail: str
    position: str | None = None
    event_id: str | None = None

    def __str__(self) -> str:
        """One sentence for an auditor."""
        place = "" if self.position is None else f" ({self.position}, event {self.event_id})"
        return f"Line {self.line}{place}: {self.detail}."


@dataclass(slots=True)
class FileVerification:
    """What came of a file.

    Attributes:
        kind: ``receipt`` or ``evidence``.
        verified: records proved.
        rows: lines between manifest and end.
        checkpoints: what vouches, by log.
        mismatches: what does not hold, the first thousand.
        open_questions: what could not be checked.
    """

    kind: str
    verified: int = 0
    rows: int = 0
    checkpoints: list[OpenedCheckpoint] = field(default_factory=list)
    mismatches: list[Mismatch] = field(default_factory=list)
    open_questions: list[str] = field(default_factory=list)

    def wrong(self, line: int, detail: str, position: str | None = None, event_id: str | None = None) -> None:
        """Note a mismatch."""
        if len(self.mismatches) < _MOST:
            self.mismatches.append(Mismatch(line, detail, position, event_id))


def is_receipt(beginning: bytes) -> bool:
    """Whether a file that begins so is a receipt."""
    return beginning.startswith(b"c2sp.org/tlog-proof@v1\n")


def check_receipt(data: bytes, trust: Trust) -> FileVerification:
    """Check a receipt against the keys an auditor brought along."""
    result = FileVerification("receipt")
    try:
        origin = Checkpoint.parse(Note.parse(Receipt.parse(data).checkpoint).text).origin
        if not trust.log_keys(origin):
            result.open_questions.append(f"No key of {origin} was given with --key, so nothing is proved.")
            return result
        proved = verify_receipt(data, origin, trust.log_keys(origin), trust.witnesses, trust.quorum)
        if proved.frame is not None:
            refuse_repeated_names(record_of(proved.frame, Position(0, 0, proved.entry.offset)))
    except ForgedNote as error:
        result.wrong(1, str(error))
        return result
    except UntrustedNote as error:
        result.open_questions.append(f"The checkpoint cannot be relied on: {error}.")
        return result
    except (MerkleError, RepeatedName) as error:
        result.wrong(1, str(error))
        return result
    result.rows = result.verified = 1
    result.checkpoints.append(proved.checkpoint)
    return result


class EvidenceCheck:
    """Checks an evidence file line by line, memory flat.

    Args:
        trust: keys, witnesses and quorum of the auditor.
    """

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._hash = sha256()
        self._logs: dict[tuple[int, int], OpenedCheckpoint] = {}
        self._named: dict[tuple[int, int], EvidenceLog] = {}
        self._ended = False
        self._unproved = 0
        self._keyless: set[str] = set()
        self.result = FileVerification("evidence")

    def run(self, lines: Iterable[bytes]) -> FileVerification:
        """Check all lines, each with its newline."""
        whole = False
        for number, line in enumerate(lines, 1):
            if self._ended:
                self.result.wrong(number, "something follows the end")
                break
            if number == 1:
                if not self._manifest(line):
                    return self.result
            elif line.startswith(b'{"end":'):
                self._end(number, line)
            else:
                self._row(number, line)
            self._hash.update(line)
            whole = line.endswith(b"\n")
        if not self._ended or not whole:
            self.result.wrong(self.result.rows + 1, "the file breaks off: it has no end")
        for origin in sorted(self._keyless):
            self.result.open_questions.append(f"No key of {origin} was given with --key.")
        if self._unproved:
            self.result.open_questions.append(
                f"{self._unproved} rows have no proof: too new to be signed, or no key of their log was given."
            )
        return self.result

    def _read(self, number: int, line: bytes, kind: type[_Line], otherwise: str) -> _Line | None:
        """What a line says, or None, once told, where it says nothing or more than one thing."""
        try:
            return msgspec.convert(read_strictly(line), kind)
        except RepeatedName as error:
            self.result.wrong(number, str(error))
        except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
            self.result.wrong(number, otherwise)
        return None

    def _manifest(self, line: bytes) -> bool:
        """Open the checkpoints; False where the lines below can mean anything."""
        described = self._read(1, line, _Version, "no manifest of an evidence file")
        if described is not None and described.version != VERSION:
            self.result.open_questions.append(f"Version {described.version} of the format is not known here.")
            return False
        manifest = None if described is None else self._read(1, line, _Logs, "no manifest of an evidence file")
        if manifest is None:
            return False
        places, origins = {(log.log, log.partition) for log in manifest.logs}, {log.origin for log in manifest.logs}
        if not len(places) == len(origins) == len(manifest.logs):
            self.result.wrong(1, "the manifest names a log twice")
        for log in manifest.logs:
            self._open(log)
        return True

    def _open(self, log: EvidenceLog) -> None:
        self._named[log.log, log.partition] = log
        if log.checkpoint.partition("\n")[0] != log.origin:
            self.result.wrong(1, f"the checkpoint said to be of {log.origin} is of another log")
            return
        keys = self._trust.log_keys(log.origin)
        if not keys:
            return  # said where a row is of it: an earlier log, left behind by a restore, has none
        try:
            opened = open_checkpoint(
                log.checkpoint.encode(), log.origin, keys, self._trust.witnesses, self._trust.quorum
            )
        except ForgedNote as error:
            self.result.wrong(1, f"the checkpoint of {log.origin}: {error}")
            return
        except UntrustedNote as error:
            self.result.open_questions.append(f"The checkpoint of {log.origin} cannot be relied on: {error}.")
            return
        except MerkleError as error:
            self.result.wrong(1, f"the checkpoint of {log.origin} is none: {error}")
            return
        self._logs[log.log, log.partition] = opened
        self.result.checkpoints.append(opened)

    def _row(self, number: int, line: bytes) -> None:
        self.result.rows += 1
        row = self._read(number, line, _Row, "no row of an evidence file")
        if row is None:
            return
        try:
            proved = self._prove(row)
        except (ValueError, RecursionError) as error:
            detail = str(error).removesuffix(".")
            self.result.wrong(number, detail, row.position, str(row.event.get("id")))
            return
        self.result.verified += proved
        self._unproved += not proved

    def _prove(self, row: _Row) -> bool:
        """Whether the row's record is in the tree; raises where it does not hold together."""
        position = _position(row.position)
        opening = Opening.from_bytes(decode_base64(row.opening))
        entry, frame = opening.check()
        check_shown(row.event, entry, frame, position)
        proof = None if row.proof is None else [decode_base64(node) for node in row.proof]
        opened = self._logs.get((position.log, position.partition))
        if opened is None and not self._trust.log_keys(self._origin(position)):
            self._keyless.add(self._origin(position))
        if proof is None or opened is None:
            return False
        tree = opened.checkpoint
        verify_inclusion(leaf_hash(opening.entry), row.index, tree.size, proof, tree.root)
        return True

    def _origin(self, position: Position) -> str:
        """The name of the log that a position is of, as the manifest has it."""
        named = self._named.get((position.log, position.partition))
        return f"log {position.log}/{position.partition}" if named is None else named.origin

    def _end(self, number: int, line: bytes) -> None:
        self._ended = True
        last = self._read(number, line, LastLine, "no end of an evidence file")
        if last is None:
            return
        end = last.end
        if end.rows != self.result.rows:
            self.result.wrong(number, f"the end counts {end.rows} rows, the file has {self.result.rows}")
        if end.sha256 != self._hash.hexdigest():
            self.result.wrong(number, "the lines before it are not those that the end was made of")
        if end.note is None:
            self.result.open_questions.append(
                "The end is not signed by the log: rows could be missing without a trace."
            )
            return
        try:
            self._signed_end(number, Note.parse(end.note.encode()), end_text(end.rows, end.sha256))
        except ForgedNote as error:
            self.result.wrong(number, f"the end: {error}")
        except UntrustedNote as error:
            self.result.open_questions.append(f"The end cannot be relied on: {error}.")
        except MerkleError as error:
            self.result.wrong(number, f"the signed end is malformed: {error}")

    def _signed_end(self, number: int, note: Note, text: str) -> None:
        if note.text != text:
            self.result.wrong(number, "what was signed is another end")
        given = [key for log in self._named.values() for key in self._trust.log_keys(log.origin)]
        keys = [key for key in given if key.algorithm is Algorithm.ED25519]
        if given and not keys:
            self.result.open_questions.append(
                "The end is signed with Ed25519 only, and no Ed25519 key of a log in the file was given with --key:"
                " rows could be missing without a trace."
            )
        else:
            verify_note(note, keys)


def _position(text: str) -> Position:
    numbers = [parse_size(part) for part in text.split("/")]
    if len(numbers) != 3:  # noqa: PLR2004 - log, partition, offset
        raise InvalidEncoding("a position is log/partition/offset")
    return Position(*numbers)
