"""An export that is evidence: rows with their proofs, the checkpoints they lead to, and an end that is signed.

One JSON object a line: the manifest, rows that each hold all that is needed to check them alone, the end. The end
counts the rows and holds the SHA-256 of every byte before its line, signed by the logs' keys where the exporter has
them: so a row that was dropped, added or swapped is found like one that was edited. Format:
``docs/reference/seal-format.md``, section 10.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Annotated, Any, Final

import msgspec

from trailseal.merkle.signing import Signer, sign_note
from trailseal.model.record import Record
from trailseal.sealing.evidence import Evidence

VERSION: Final = 1
LABEL: Final = "trailseal-evidence/1"
Whole = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A number of a log, partition, leaf or rows."""


class EvidenceLog(msgspec.Struct, frozen=True):
    """A log that rows are of, and the checkpoint that their proofs lead to.

    Attributes:
        log: its number.
        partition: the partition.
        origin: its name.
        checkpoint: the signed note.
    """

    log: Whole
    partition: Whole
    origin: str
    checkpoint: str


class Manifest(msgspec.Struct, frozen=True, rename={"version": "trailseal-evidence"}):
    """The first line.

    Attributes:
        version: of the format.
        made_at: when the export began, RFC 3339.
        query: the question, as names and values.
        tenants: whose events could be in it; None = every tenant's.
        logs: in the order of (log, partition).
    """

    version: Whole
    made_at: str
    query: list[tuple[str, str]]
    tenants: list[str] | None
    logs: list[EvidenceLog]


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line between.

    Attributes:
        event: as answers show it.
        position: ``log/partition/offset``.
        index: of its leaf.
        opening: entry, salt and frame, as in a receipt (`Opening`); base64.
        proof: its inclusion in the manifest's checkpoint, base64 hashes; left out where that does not cover it.
    """

    event: msgspec.Raw
    position: str
    index: Whole
    opening: bytes
    proof: list[bytes] | None = None


class End(msgspec.Struct, frozen=True):
    """The last line.

    Attributes:
        rows: how many there are.
        sha256: over every byte before this line, newlines included; hexadecimal.
        note: the two again, signed by the logs' keys; None where the exporter had none.
    """

    rows: Whole
    sha256: str
    note: str | None


class LastLine(msgspec.Struct, frozen=True):
    """The end as it stands in the file."""

    end: End


def end_text(rows: int, digest: str) -> str:
    """What the logs' keys sign."""
    return f"{LABEL}\nrows {rows}\nsha256 {digest}\n"


def evidence_lines(
    evidence: Evidence,
    rows: Iterable[tuple[Record, bytes]],
    *,
    made_at: str,
    query: Sequence[tuple[str, str]],
    tenants: Sequence[str] | None,
    signers: Sequence[Signer] = (),
    now_s: int = 0,
) -> Iterator[bytes]:
    """The lines of an evidence file, with their newlines, as the rows come.

    Args:
        evidence: gives proofs.
        rows: each record with its event as JSON.
        made_at: RFC 3339.
        query: the question as names and values.
        tenants: whose events could be in it; None = every tenant's.
        signers: keys of the logs that are in it, to sign the end with.
        now_s: POSIX seconds.

    Raises:
        IntegrityViolation: a record is not the one that was sealed; nothing of the file may be used.
        NotFound: a record was never sealed.
        Unavailable: the ledger does not answer.
    """
    hasher, count = sha256(), 0
    pinned = evidence.pin()
    logs = [
        EvidenceLog(number, partition, one.log.origin, one.note.to_bytes().decode())
        for (number, partition), one in sorted(pinned.items())
        if one.note is not None
    ]
    named = None if tenants is None else list(tenants)
    line = _line(Manifest(VERSION, made_at, list(query), named, logs))
    hasher.update(line)
    yield line
    for record, event in rows:
        index, opening, proof = evidence.prove(record, pinned)
        line = _line(Row(msgspec.Raw(event), str(record.position), index, opening, proof))
        hasher.update(line)
        count += 1
        yield line
    digest = hasher.hexdigest()
    note = None
    if signers:
        note = sign_note(end_text(count, digest), signers, now_s).to_bytes().decode()
    yield _line(LastLine(End(count, digest, note)))


def _line(value: Any) -> bytes:
    return msgspec.json.encode(value) + b"\n"
