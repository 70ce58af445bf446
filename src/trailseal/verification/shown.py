"""That an event shown beside its record is what the record says, in one reading."""

from __future__ import annotations

from typing import Any

import msgspec

from trailseal.errors import InvalidEvent
from trailseal.formats import decode_with, is_native
from trailseal.formats.rendering import normalised
from trailseal.formats.strict_json import RepeatedName, read_strictly
from trailseal.merkle.frame import Frame
from trailseal.merkle.leaf import LeafEntry
from trailseal.model.record import HEADER_SALT, Position, Record

_MS_IN_US = 1_000


def record_of(frame: Frame, position: Position) -> Record:
    """The record that a frame holds, without the salt."""
    headers = tuple(header for header in frame.headers if header[0] != HEADER_SALT)
    return Record(position, frame.timestamp_ms, frame.key, frame.value, headers)


def refuse_repeated_names(record: Record) -> None:
    """Insist that a native record has one reading; the door takes no other. A foreign one is shown as read here.

    Raises:
        RepeatedName: it has two.
    """
    if not is_native(record):
        return
    try:
        read_strictly(record.value or b"")
    except RepeatedName:
        raise
    except (ValueError, RecursionError):
        return  # what is no JSON at all has no names


def check_shown(shown: dict[str, Any], entry: LeafEntry, frame: Frame | None, position: Position) -> None:
    """Insist that the event shown is the record's.

    Raises:
        ValueError: it is not.
    """
    if frame is None:
        raise ValueError("the row does not show its record")
    if entry.offset != position.offset:
        raise ValueError(f"the record is of offset {entry.offset}, the row says {position.offset}")
    record = record_of(frame, position)
    refuse_repeated_names(record)
    try:
        made = decode_with(record, str(shown.get("id")), with_words=False)
    except InvalidEvent as error:
        raise ValueError("the record is no event") from error
    true = msgspec.to_builtins(normalised(made.event, position, frame.timestamp_ms * _MS_IN_US, made.format))
    if "record" in shown:
        true["record"] = (record.value or b"").decode()
    for name in {*true, *shown}:
        if not _same(true.get(name), shown.get(name)):
            raise ValueError(f"the event shown is not the record's: {name} differs")


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same, their numbers as doubles; in Python itself true equals 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)
