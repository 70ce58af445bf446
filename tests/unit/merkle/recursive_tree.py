"""RFC 6962 section 2.1 word for word: the slow definition that the fast code is held against."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

PUBLISHED_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]


def tree_root(entries: Sequence[bytes]) -> bytes:
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    cut = 1
    while cut * 2 < len(entries):
        cut *= 2
    return hashlib.sha256(b"\x01" + tree_root(entries[:cut]) + tree_root(entries[cut:])).digest()


def numbered_entries(count: int) -> list[bytes]:
    """The entries that the published golden roots are over: a two-byte little-endian counter."""
    return [number.to_bytes(2, "little") for number in range(count)]
