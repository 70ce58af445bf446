"""The stages before the index: decode, validate, project, once per record; what breaks a rule is a dead letter."""

from __future__ import annotations

from collections.abc import Sequence

from trailseal.errors import InvalidEvent, PipelineFault
from trailseal.event_consumer import outcomes
from trailseal.event_consumer.batch import Batch
from trailseal.event_consumer.partitions import Slice
from trailseal.formats import RESERVED_HEADER, Decoded, decode_admin, decode_record, worded
from trailseal.model.outcomes import OutcomeRow
from trailseal.model.projection import Entry, entry
from trailseal.model.record import HEADER_ADMIN, Gap, Record
from trailseal.sealing.leaves import LeafMaker
from trailseal.telemetry import logger

_RUN = 64
"""Records decoded stage by stage at once; what they become in between fits a processor's cache."""


def decode_one(record: Record, origin: str, *, indexed: bool = False) -> Entry | OutcomeRow:
    """What goes into the index for this record, or the row of its dead letter.

    Args:
        record: as the log delivered it.
        origin: the log's identity, from which an id is derived where a record has none.
        indexed: it was indexed before, so an admin record was found genuine then.
    """
    return _projected(record, _decoded(record, origin, indexed=indexed))


def decode_many(records: Sequence[Record], origin: str) -> list[Entry | OutcomeRow]:
    """`decode_one` of each, stage by stage: all are decoded, then all get their words, then all are projected.

    A processor then has the code of one stage at hand while it is needed; record by record, the same work takes a
    quarter more time (docs/decisions/0502).
    """
    decoded = [_decoded(record, origin, words_later=True) for record in records]
    decoded = [_worded(record, one) for record, one in zip(records, decoded, strict=True)]
    return [_projected(record, one) for record, one in zip(records, decoded, strict=True)]


def _decoded(
    record: Record, origin: str, *, indexed: bool = False, words_later: bool = False
) -> Decoded | OutcomeRow:
    try:
        if indexed and record.header(HEADER_ADMIN) is not None:
            return decode_admin(record)
        return decode_record(record, origin, words_later=words_later)
    except InvalidEvent as error:
        return outcomes.unreadable(record, error.problem)
    except Exception as fault:  # noqa: BLE001 - whatever a record causes must not stop the stream
        return _broken(record, fault)


def _worded(record: Record, decoded: Decoded | OutcomeRow) -> Decoded | OutcomeRow:
    try:
        return decoded if isinstance(decoded, OutcomeRow) else worded(decoded)
    except Exception as fault:  # noqa: BLE001 - as above
        return _broken(record, fault)


def _projected(record: Record, decoded: Decoded | OutcomeRow) -> Entry | OutcomeRow:
    if isinstance(decoded, OutcomeRow):
        return decoded
    try:
        return entry(record, decoded.event, decoded.format, decoded.words)
    except Exception as fault:  # noqa: BLE001 - as above
        return _broken(record, fault)


def _broken(record: Record, fault: Exception) -> OutcomeRow:
    logger("event_consumer").error("decoding_broke", position=str(record.position), error=type(fault).__name__)
    return outcomes.undecodable(record, fault)


def decode_into(
    batch: Batch,
    piece: Slice,
    items: Sequence[Record | Gap],
    start: int,
    origin: str,
    *,
    maker: LeafMaker | None = None,
    most_records: int,
    most_bytes: int,
) -> int:
    """Seal and decode items of one partition into a batch until it is full.

    The leaves are made from the bytes alone: what nobody can decode is sealed like everything else. What may be an
    admin record has a slice of its own and is the last of its batch: nothing behind it is looked at before it was
    carried out, and what came before it is below the head by then, whose rows no crash has made anew.

    Args:
        batch: it grows.
        piece: the batch's slice of that partition; it grows.
        items: in log order.
        start: the first item to take.
        origin: the log's identity.
        maker: makes the leaves; None where nothing is sealed.
        most_records: items that the batch may hold; the gap whose offsets pass it still goes in.
        most_bytes: bytes of values the batch may hold; the record that passes it still goes in.

    Returns:
        The index of the first item that was not taken.

    Raises:
        PipelineFault: the log delivered another offset than the next one.
    """
    expected = piece.next
    stop, size = _room(items, start, batch, most_records, most_bytes)
    at = start
    while at < stop:
        run = items[at : min(stop, at + _RUN)]
        results = iter(decode_many([item for item in run if isinstance(item, Record)], origin))
        for item in run:
            _refuse_other(item, expected)
            at += 1
            if isinstance(item, Gap):
                batch.decoded_rows.append(outcomes.gap(item))
                expected += item.count
                continue
            expected += 1
            decoded = next(results)
            if isinstance(decoded, Entry):
                batch.entries.append(decoded)
            elif decoded.code == RESERVED_HEADER:
                if item.position.offset > piece.first:
                    at, expected = at - 1, item.position.offset
                else:
                    batch.admin.append(item)
                stop = at
                break
            else:
                batch.decoded_rows.append(decoded)
                batch.decoded_dead.append(item)
    if maker is not None:
        maker.add(piece.leaves, items[start:stop])
    batch.records += expected - piece.next
    batch.size = size
    piece.next = expected
    return stop


def _refuse_other(item: Record | Gap, expected: int) -> None:
    if item.position.offset != expected:
        raise PipelineFault(
            f"The log delivered {item.position} where offset {expected} was due. Check that it is the log this"
            " ledger belongs to (`trailseal reconcile`), then start again."
        )


def _room(
    items: Sequence[Record | Gap], start: int, batch: Batch, most_records: int, most_bytes: int
) -> tuple[int, int]:
    """The index of the first item the batch has no room for, and the bytes it holds with those before."""
    stop = min(len(items), start + most_records - batch.records)
    size = batch.size
    for at in range(start, stop):
        if size >= most_bytes:
            return at, size
        item = items[at]
        if isinstance(item, Record):
            size += len(item.value or b"")
    return stop, size
