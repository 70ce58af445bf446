"""Which leaves of a stretch are asked for."""

from __future__ import annotations

from trailseal.merkle.leaf import EntryType, LeafEntry
from trailseal.verification.result import Range


def asked_for(
    entries: list[bytes], place: tuple[int, int], start: int, asked: Range
) -> tuple[int, list[bytes]] | None:
    """The part of a stretch from the first leaf that is asked for to the last; None without one.

    Args:
        entries: the leaves, one an offset.
        place: log and partition.
        start: the offset of the first.
        asked: what is asked for.

    Returns:
        The offset of the first, and the leaves.

    Raises:
        InvalidEncoding: a leaf is damaged.
    """
    if asked.everything:
        return start, entries
    wanted = [at for at, entry in enumerate(entries) if _is_asked(entry, (*place, start + at), asked)]
    if not wanted:
        return None
    return start + wanted[0], entries[wanted[0] : wanted[-1] + 1]


def _is_asked(data: bytes, position: tuple[int, int, int], asked: Range) -> bool:
    if asked.only is not None:
        return position in asked.only
    entry = LeafEntry.decode(data)
    if entry.type is not EntryType.RECORD:
        return False
    return (asked.from_ms is None or entry.time_ms >= asked.from_ms) and (
        asked.to_ms is None or entry.time_ms < asked.to_ms
    )
