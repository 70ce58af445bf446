"""What a head keeps of its tree: the right edge, and which weekly secrets its leaves needed.

u8 version = 1 | u16 number of weeks | for each: u32 week, 8 bytes of SHA-256(K_period) | right edge
"""

from __future__ import annotations

from hashlib import sha256
from struct import Struct
from struct import error as struct_error
from typing import Final, Self

import msgspec

from trailseal.errors import IntegrityViolation
from trailseal.merkle.edge import RightEdge
from trailseal.merkle.errors import InvalidEncoding

_VERSION: Final = 1
_START: Final = Struct(">BH")
_WEEK: Final = Struct(">I8s")
_MOST_WEEKS: Final = 1_000
_FINGERPRINT: Final = 8


def fingerprint(secret: bytes) -> bytes:
    """What a head remembers of a weekly secret: enough to notice another one in its place."""
    return sha256(secret).digest()[:_FINGERPRINT]


class SealState(msgspec.Struct, frozen=True):
    """A tree as its head knows it.

    Attributes:
        edge: everything to the right of the full tiles.
        weeks: the fingerprint of the secret of every week that had a record without a salt (the last thousand).
    """

    edge: RightEdge = RightEdge()
    weeks: dict[int, bytes] = {}

    def to_bytes(self) -> bytes:
        """What goes into the head."""
        weeks = sorted(self.weeks.items())[-_MOST_WEEKS:]
        packed = b"".join(_WEEK.pack(week, mark) for week, mark in weeks)
        return _START.pack(_VERSION, len(weeks)) + packed + self.edge.to_bytes()

    @classmethod
    def of(cls, seal: bytes | None) -> Self:
        """What a head holds; of a head that never sealed, the empty tree.

        Raises:
            IntegrityViolation: the bytes are damaged.
        """
        if seal is None:
            return cls()
        try:
            version, count = _START.unpack_from(seal)
            end = _START.size + count * _WEEK.size
            weeks: dict[int, bytes] = dict(_WEEK.iter_unpack(seal[_START.size : end]))
            edge = RightEdge.from_bytes(seal[end:] if version == _VERSION else b"")
        except (InvalidEncoding, struct_error) as error:
            raise IntegrityViolation(
                "The right edge of a tree in the ledger's head is damaged: restore the ledger from a backup, then"
                " run `trailseal verify`."
            ) from error
        return cls(edge, weeks)
