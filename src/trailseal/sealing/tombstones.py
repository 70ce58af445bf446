"""Tombstones: keyed hashes of the names of erased events, by which a retry is known and from which nothing is read.

The key is a document of the ledger, made with the first erasure.
"""

from __future__ import annotations

import hmac
import secrets
from contextlib import suppress

from trailseal.errors import Fenced
from trailseal.model.projection import Entry
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


def tombstone_of(entry: Entry, key: bytes) -> bytes:
    """32 bytes that stand for an event's tenant, month and id."""
    projection = entry.projection
    name = f"{entry.month}\0{projection.tenant_id}/{projection.id}"
    return hmac.digest(key, name.encode("utf-8", "surrogatepass"), "sha256")
