"""A message of Kafka's as a record of ours."""

from __future__ import annotations

from operator import methodcaller
from typing import Any, Final

from confluent_kafka import Message

from trailseal.model.record import HEADER_UNREADABLE, Headers, Position, Record

_headers: Final[Any] = methodcaller("headers")
"""The library leaves its exception set and returns all the same; only a call from C notices at once, while one from
byte code may raise it at any later place."""


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
        headers = _headers(message)
    except (SystemError, UnicodeDecodeError):
        return ((HEADER_UNREADABLE, None),)
    return tuple(headers) if headers else ()
