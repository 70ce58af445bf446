"""From a part of an input to a record of the log: the value untouched, what is known beside it in headers."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

import msgspec

from trailseal.errors import InvalidEvent, Problem, UsageError
from trailseal.formats import FORMATS, decode_with, detect
from trailseal.model.limits import check_names
from trailseal.model.record import (
    HEADER_FORMAT,
    HEADER_ID,
    HEADER_SALT,
    HEADER_TENANT,
    SALT_BYTES,
    Headers,
    NewRecord,
    Position,
    Record,
)

_SALTS = 1_024
_NOWHERE: Final = Position(0, 0, 0)
_FAR_FUTURE_MS: Final = 253_402_300_799_000
"""The end of the year 9999: whether an id is there must not depend on when the record is looked at."""


class _NativeNames(msgspec.Struct):
    id: Any = None
    tenant_id: Any = None


class _CloudTrailNames(msgspec.Struct):
    eventID: Any = None  # noqa: N815 - the wire's own name


_native: Final = msgspec.json.Decoder(_NativeNames)
_cloudtrail: Final = msgspec.json.Decoder(_CloudTrailNames)


class RecordMaker:
    """Makes the records of one import.

    Args:
        tenant: whose events these are, whatever they say themselves; None = what they say.
        format_name: the wire format of all of them; None = guessed per record.

    Raises:
        UsageError: the tenant is not a legal name, or the format is not known.
    """

    def __init__(self, tenant: str | None, format_name: str | None) -> None:
        problem: Problem | None = None if tenant is None else check_names(tenant, None)
        if problem is not None:
            raise UsageError(f"--tenant: {problem.detail}.")
        if format_name is not None and format_name not in FORMATS:
            raise UsageError(f"--format {format_name} is not known; use one of {', '.join(FORMATS)}.")
        self._tenant = None if tenant is None else tenant.encode()
        self._format = format_name
        self._salts = b""
        self._salt_at = 0

    def make(self, value: bytes, prefix_id: Callable[[], str]) -> NewRecord:
        """The record of one part.

        Args:
            value: its exact bytes.
            prefix_id: the id for the case that it has none (`Slicer.prefix_id`).
        """
        name = self._format or detect(value)
        missing, tenant = _names(value, name)
        headers: list[tuple[str, bytes | None]] = [(HEADER_FORMAT, name.encode())]
        if self._tenant is not None:
            headers.append((HEADER_TENANT, self._tenant))
        if missing:
            headers.append((HEADER_ID, prefix_id().encode()))
        headers.append((HEADER_SALT, self._salt()))
        return NewRecord(value, self._tenant or tenant, tuple(headers))

    def _salt(self) -> bytes:
        if self._salt_at == len(self._salts):
            self._salts, self._salt_at = os.urandom(SALT_BYTES * _SALTS), 0
        at = self._salt_at
        self._salt_at = at + SALT_BYTES
        return self._salts[at : at + SALT_BYTES]


def _names(value: bytes, format_name: str) -> tuple[bool, bytes | None]:
    """Whether the id is missing, and the tenant as far as it is seen at a glance (it routes, nothing more)."""
    try:
        if format_name == "native":
            names = _native.decode(value)
            tenant = names.tenant_id.encode() if isinstance(names.tenant_id, str) else None
            if isinstance(names.id, str):
                return False, tenant
            return _lacks_id(value, format_name), tenant
        if format_name == "cloudtrail":
            event_id = _cloudtrail.decode(value).eventID
            if isinstance(event_id, str) and event_id:
                return False, None
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _lacks_id(value, format_name), None
    return _lacks_id(value, format_name), None


def _lacks_id(value: bytes, format_name: str) -> bool:
    """Ask the format itself, for what a glance does not settle."""
    asked: list[bool] = []

    def missing_id() -> str:
        asked.append(True)
        return "0"

    headers: Headers = ((HEADER_FORMAT, format_name.encode()),)
    record = Record(_NOWHERE, _FAR_FUTURE_MS, None, value, headers)
    try:
        decode_with(record, missing_id, with_words=False)
    except (InvalidEvent, RecursionError):
        return bool(asked)
    return bool(asked)
