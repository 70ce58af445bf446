"""Receipts and evidence files, checked offline with nothing but public keys."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import msgspec

from trailseal.errors import InvalidEvent
from trailseal.formats import decode_with
from trailseal.formats.rendering import normalised
from trailseal.merkle.errors import ForgedNote, MerkleError, UntrustedNote
from trailseal.merkle.frame import Frame
from trailseal.merkle.hash import leaf_hash
from trailseal.merkle.leaf import LeafEntry
from trailseal.merkle.notes import Algorithm, Note
from trailseal.merkle.proofs import verify_inclusion
from trailseal.merkle.receipts import Opening, Receipt, verify_receipt
from trailseal.merkle.signing import OpenedCheckpoint, open_checkpoint, verify_note
from trailseal.model.record import HEADER_SALT, Position, Record
from trailseal.sealing.evidence_file import VERSION, EvidenceLog, LastLine, Manifest, Row, end_text
from trailseal.verification.trust import Trust

_MS_IN_US = 1_000
_MOST = 1_000


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
        origin = Receipt.parse(data).checkpoint.decode().partition("\n")[0]
        if not trust.log_keys(origin):
            result.open_questions.append(f"No key of {origin} was given with --key, so nothing is proved.")
            return result
        proved = verify_receipt(data, origin, trust.log_keys(origin), trust.witnesses, trust.quorum)
    except ForgedNote as error:
        result.wrong(1, str(error))
        return result
    except UntrustedNote as error:
        result.open_questions.append(f"The checkpoint cannot be relied on: {error}.")
        return result
    except (MerkleError, UnicodeDecodeError) as error:
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
        for number, line in enumerate(lines, 1):
            if self._ended:
                self.result.wrong(number, "something follows the end")
                break
            if number == 1:
                self._manifest(line)
            elif line.startswith(b'{"end":'):
                self._end(number, line)
            else:
                self._row(number, line)
            self._hash.update(line)
        if not self._ended:
            self.result.wrong(self.result.rows + 1, "the file breaks off: it has no end")
        for origin in sorted(self._keyless):
            self.result.open_questions.append(f"No key of {origin} was given with --key.")
        if self._unproved:
            self.result.open_questions.append(
                f"{self._unproved} rows have no proof: too new to be signed, or no key of their log was given."
            )
        return self.result

    def _manifest(self, line: bytes) -> None:
        try:
            manifest = msgspec.json.decode(line, type=Manifest)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self.result.wrong(1, "no manifest of an evidence file")
            return
        if manifest.version != VERSION:
            self.result.open_questions.append(f"Version {manifest.version} of the format is not known here.")
            return
        for log in manifest.logs:
            self._named[log.log, log.partition] = log
            keys = self._trust.log_keys(log.origin)
            if not keys:
                continue  # said where a row is of it: an earlier log, left behind by a restore, has none
            try:
                opened = open_checkpoint(
                    log.checkpoint.encode(), log.origin, keys, self._trust.witnesses, self._trust.quorum
                )
            except ForgedNote as error:
                self.result.wrong(1, f"the checkpoint of {log.origin}: {error}")
                continue
            except UntrustedNote as error:
                self.result.open_questions.append(f"The checkpoint of {log.origin} cannot be relied on: {error}.")
                continue
            except MerkleError as error:
                self.result.wrong(1, f"the checkpoint of {log.origin} is none: {error}")
                continue
            self._logs[log.log, log.partition] = opened
            self.result.checkpoints.append(opened)

    def _row(self, number: int, line: bytes) -> None:
        self.result.rows += 1
        try:
            row = msgspec.json.decode(line, type=Row)
            position = Position(*map(int, row.position.split("/")))
            shown: dict[str, Any] = dict(json.loads(bytes(row.event)).items())
        except (msgspec.MsgspecError, ValueError, TypeError, AttributeError, RecursionError):
            self.result.wrong(number, "no row of an evidence file")
            return
        event_id = str(shown.get("id"))
        try:
            proved = self._prove(row, position, shown)
        except (MerkleError, ValueError) as error:
            self.result.wrong(number, str(error).removesuffix("."), row.position, event_id)
            return
        self.result.verified += proved
        self._unproved += not proved

    def _prove(self, row: Row, position: Position, shown: dict[str, Any]) -> bool:
        """Whether the row's record is in the tree; raises where it does not hold together."""
        opening = Opening.from_bytes(row.opening)
        entry, frame = opening.check()
        _check_shown(shown, entry, frame, position)
        opened = self._logs.get((position.log, position.partition))
        if opened is None and not self._trust.log_keys(self._origin(position)):
            self._keyless.add(self._origin(position))
        if row.proof is None or opened is None:
            return False
        tree = opened.checkpoint
        verify_inclusion(leaf_hash(opening.entry), row.index, tree.size, row.proof, tree.root)
        return True

    def _origin(self, position: Position) -> str:
        """The name of the log that a position is of, as the manifest has it."""
        named = self._named.get((position.log, position.partition))
        return f"log {position.log}/{position.partition}" if named is None else named.origin

    def _end(self, number: int, line: bytes) -> None:
        self._ended = True
        try:
            end = msgspec.json.decode(line, type=LastLine).end
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self.result.wrong(number, "no end of an evidence file")
            return
        if end.rows != self.result.rows:
            self.result.wrong(number, f"the end counts {end.rows} rows, the file has {self.result.rows}")
        if end.sha256 != self._hash.hexdigest():
            self.result.wrong(number, "the lines before it are not those that the end was made of")
        if end.note is None:
            self.result.open_questions.append(
                "The end is not signed by the log: rows could be missing without a trace."
            )
            return
        given = [key for log in self._named.values() for key in self._trust.log_keys(log.origin)]
        keys = [key for key in given if key.algorithm is Algorithm.ED25519]
        if given and not keys:
            self.result.open_questions.append(
                "The end is signed with Ed25519 only, and no Ed25519 key of a log in the file was given with --key:"
                " rows could be missing without a trace."
            )
            return
        try:
            note = Note.parse(end.note.encode())
            verify_note(note, keys)
            if note.text != end_text(end.rows, end.sha256):
                self.result.wrong(number, "what was signed is another end")
        except ForgedNote as error:
            self.result.wrong(number, f"the end: {error}")
        except UntrustedNote as error:
            self.result.open_questions.append(f"The end cannot be relied on: {error}.")
        except MerkleError as error:
            self.result.wrong(number, f"the signed end is malformed: {error}")


def _check_shown(shown: dict[str, Any], entry: LeafEntry, frame: Frame | None, position: Position) -> None:
    """Insist that the event shown is the record's.

    Raises:
        ValueError: it is not.
    """
    if frame is None:
        raise ValueError("the row does not show its record")
    if entry.offset != position.offset:
        raise ValueError(f"the record is of offset {entry.offset}, the row says {position.offset}")
    headers = tuple(header for header in frame.headers if header[0] != HEADER_SALT)
    record = Record(position, frame.timestamp_ms, frame.key, frame.value, headers)
    try:
        made = decode_with(record, str(shown.get("id")), with_words=False)
    except InvalidEvent as error:
        raise ValueError("the record is no event") from error
    true = msgspec.to_builtins(normalised(made.event, position, frame.timestamp_ms * _MS_IN_US, made.format))
    for name in {*true, *shown} - {"record", "seal"}:
        if _spelled(json.loads(msgspec.json.encode(true.get(name)))) != _spelled(shown.get(name)):
            raise ValueError(f"the event shown is not the record's: {name} differs")
    if "record" in shown and str(shown["record"]).encode() != frame.value:
        raise ValueError("the original shown is not the record's")


def _spelled(value: Any) -> str:
    """JSON in one spelling: in Python itself true equals 1."""
    return json.dumps(value, sort_keys=True)
