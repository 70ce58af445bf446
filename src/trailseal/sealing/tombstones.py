"""Tombstones: keyed hashes of the names of erased events, by which a retry is known and from which nothing is read.

The key is a document of the ledger, made with the first erasure.
"""

from __future__ import annotations

import hmac
import secrets
from contextlib import suppress

from trailseal.errors import Fenced
from trailseal.merkle.admin import AdminStatement
from trailseal.model.projection import Entry
from trailseal.model.record import Position
from trailseal.ports.ledger import Ledger

_KEY = "erasure/key"
_KEY_BYTES = 32


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


def tombstones_by(
    ledger: Ledger, at: Position, statement: AdminStatement, about: tuple[int, int]
) -> frozenset[bytes]:
    """Those of the events that an order erased, as the rows of what it names say.

    Args:
        ledger: the rows.
        at: where the order stands.
        statement: what it says.
        about: log and partition of what it removes.

    Raises:
        Unavailable: the ledger does not answer.
    """
    first, last = statement.runs[0].first, statement.runs[-1].last
    return frozenset(
        row.tombstone
        for row in ledger.outcomes(*about, first, last + 1, ("erased",))
        if row.tombstone is not None and row.of == at and statement.covers(row.position.offset)
    )


def tombstone_of(entry: Entry, key: bytes) -> bytes:
    """32 bytes that stand for an event's tenant, month and id."""
    projection = entry.projection
    name = f"{entry.month}\0{projection.tenant_id}/{projection.id}"
    return hmac.digest(key, name.encode("utf-8", "surrogatepass"), "sha256")
