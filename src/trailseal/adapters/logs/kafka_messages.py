"""A message of Kafka's as a record of ours."""

from __future__ import annotations

from confluent_kafka import Message

from trailseal.model.record import HEADER_UNREADABLE, Headers, Position, Record


def record_of(message: Message, log: int) -> Record:
    """The record, its bytes as they are; the timestamp is the broker's append time on a topic of ours."""
    return Record(
        Position(log, message.partition() or 0, message.offset() or 0),
        message.timestamp()[1],
        message.key(),
        message.value(),
        headers_of(message),
    )


def headers_of(message: Message) -> Headers:
    """The headers in order; a lone reserved one where a name is not UTF-8, as the protocol demands.

    The client library cannot give such headers at all, so nobody may guess what they said: the consumer makes a
    dead letter of the record.
    """
    try:
        headers = message.headers()
    except (SystemError, UnicodeDecodeError):
        return ((HEADER_UNREADABLE, None),)
    return tuple(headers) if headers else ()  # type: ignore[arg-type] # values are bytes or None when they are read
