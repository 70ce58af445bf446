"""Tombstones: keyed hashes of the names of erased events, by which a retry is known and from which nothing is read.

The key is a document of the ledger, made with the first erasure. An order of erasure says, signed, which tombstones
its events have: the record's header ``trailseal-tombstones`` holds the first eight bytes of each, ascending, and
the event in its value the header's SHA-256, under the detail ``tombstones``.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self

from trailseal.errors import Fenced
from trailseal.merkle.admin import AdminKind, AdminStatement
from trailseal.merkle.errors import UntrustedNote
from trailseal.model.projection import Entry
from trailseal.model.record import HEADER_TOMBSTONES, Position, Record
from trailseal.ports.ledger import Ledger

TOMBSTONES_DETAIL: Final = "tombstones"
"""Which of an order's details is the hash of its header of tombstones."""

_KEY = "erasure/key"
_KEY_BYTES = 32
_SIGNED_BYTES = 8


def known_key(ledger: Ledger) -> bytes | None:
    """The key of this ledger's tombstones; None where nothing was ever erased.

    Raises:
        Unavailable: the ledger does not answer.
    """
    found = ledger.document(_KEY)
    return None if found is None else found.body


def tombstone_key(ledger: Ledger) -> bytes:
    """The same, made now where there is none.

    Raises:
        Unavailable: the ledger does not answer.
    """
    known = known_key(ledger)
    if known is None:
        with suppress(Fenced):
            ledger.put_document(_KEY, secrets.token_bytes(_KEY_BYTES), None)
        known = known_key(ledger)
    return known or b""


def tombstone_of(entry: Entry, key: bytes) -> bytes:
    """32 bytes that stand for an event's tenant, month and id."""
    projection = entry.projection
    name = f"{entry.month}\0{projection.tenant_id}/{projection.id}"
    return hmac.digest(key, name.encode("utf-8", "surrogatepass"), "sha256")


def tombstones_header(tombstones: Iterable[bytes]) -> bytes:
    """What an order of erasure says of the events it names."""
    return b"".join(sorted({one[:_SIGNED_BYTES] for one in tombstones}))


@dataclass(frozen=True, slots=True)
class ErasedEvents:
    """The events that a genuine order erased.

    Attributes:
        signed: the beginnings of their tombstones, as the order has them; None of an order that an older version
            made.
        told: their tombstones as the rows of what it names say, where it says nothing itself.
    """

    signed: frozenset[bytes] | None
    told: frozenset[bytes] = frozenset()

    @classmethod
    def of(
        cls,
        ledger: Ledger,
        record: Record,
        details: Mapping[str, object],
        statement: AdminStatement,
        about: tuple[int, int],
    ) -> Self:
        """Those of an order.

        Args:
            ledger: the rows.
            record: the order's.
            details: of its event.
            statement: what it says.
            about: log and partition of what it removes.

        Raises:
            UntrustedNote: the header of tombstones is not the one that was signed.
            Unavailable: the ledger does not answer.
        """
        signed = signed_tombstones(record, details)
        if signed is not None or statement.kind is AdminKind.EXPIRE:
            return cls(signed)
        return cls(None, _told(ledger, record.position, statement, about))

    def has(self, tombstone: bytes | None) -> bool:
        """Whether an event with this tombstone is among them."""
        if tombstone is None:
            return False
        return tombstone in self.told if self.signed is None else tombstone[:_SIGNED_BYTES] in self.signed


def signed_tombstones(record: Record, details: Mapping[str, object]) -> frozenset[bytes] | None:
    """The beginnings of the tombstones that an order names; None of one that an older version made.

    Raises:
        UntrustedNote: the header that holds them is not the one that was signed.
    """
    digest = details.get(TOMBSTONES_DETAIL)
    headers = [value for name, value in record.headers if name == HEADER_TOMBSTONES]
    if digest is None and not headers:
        return None
    header = headers[0] if len(headers) == 1 else None
    if header is None or sha256(header).hexdigest() != digest:
        raise UntrustedNote("its header of tombstones is not the one that it was signed with")
    named = [header[at : at + _SIGNED_BYTES] for at in range(0, len(header), _SIGNED_BYTES)]
    if len(header) % _SIGNED_BYTES or tombstones_header(named) != header:
        raise UntrustedNote("its tombstones are cut off, or not in their one order")
    return frozenset(named)


def _told(ledger: Ledger, at: Position, statement: AdminStatement, about: tuple[int, int]) -> frozenset[bytes]:
    first, last = statement.runs[0].first, statement.runs[-1].last
    return frozenset(
        row.tombstone
        for row in ledger.outcomes(*about, first, last + 1, ("erased",))
        if row.tombstone is not None and row.of == at and statement.covers(row.position.offset)
    )
