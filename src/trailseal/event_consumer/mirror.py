"""Dead letters copied to a topic of their own, for those who watch topics; the ledger's are the ones that count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from trailseal.errors import PipelineFault
from trailseal.model.outcomes import OutcomeRow
from trailseal.model.record import HEADER_SALT, NewRecord, Position, Record
from trailseal.model.timestamps import format_rfc3339
from trailseal.ports.log import EventLog
from trailseal.telemetry import logger

PREFIX: Final = "trailseal-dead-letter-"
"""Headers of a copy: ``position``, ``received``, ``code``, ``field``, ``detail``."""


class DeadLetterMirror:
    """Copies dead letters, each at least once: a copy may come again after a crash or a failed attempt.

    Args:
        log: the topic.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def send(self, records: Sequence[Record], rows: Mapping[Position, OutcomeRow]) -> None:
        """Append a copy of each, acknowledged.

        A record that the topic refuses is left out and said in our log: it is in the ledger, and what data causes
        stops nothing.

        Raises:
            Unavailable: not acknowledged; send them again.
        """
        copies = [_copy(record, rows.get(record.position)) for record in records]
        try:
            self._log.append(copies)
        except PipelineFault:
            for record, copy in zip(records, copies, strict=True):
                self._send_one(record, copy)

    def _send_one(self, record: Record, copy: NewRecord) -> None:
        try:
            self._log.append([copy])
        except PipelineFault as error:
            logger("event_consumer").error("not_mirrored", position=str(record.position), why=str(error))


def _copy(record: Record, row: OutcomeRow | None) -> NewRecord:
    told = {"position": str(record.position), "received": format_rfc3339(record.timestamp_ms * 1000)}
    if row is not None:
        told |= {"code": row.code or "", "field": row.field or "", "detail": row.detail or ""}
    kept = tuple(header for header in record.headers if header[0] != HEADER_SALT)
    ours = tuple((PREFIX + name, text.encode()) for name, text in told.items() if text)
    return NewRecord(record.value, record.key, (*kept, *ours))
