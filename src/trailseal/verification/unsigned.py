"""What no signature covers: leaves behind the newest one, and records that were not taken in.

A pipeline that runs signs what it takes in within seconds. What is older and unsigned anybody can have written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trailseal.merkle.leaf import EntryType, LeafEntry
from trailseal.merkle.tiles import TILE_WIDTH
from trailseal.model.record import Record
from trailseal.sealing.origin import SealedLog
from trailseal.sealing.tree import LogTree
from trailseal.verification.reading import WholeLog
from trailseal.verification.result import Range

_BUNDLES = 32
_LOOKED_AT = 100
_LOOKED_AT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class UnsignedTimes:
    """When what no signature covers was appended, milliseconds since 1970 UTC.

    Attributes:
        oldest: of all of it; a gap counts as old as the record before it.
        newest: of all of it.
    """

    oldest: int
    newest: int


def unsigned_times(
    sealed: SealedLog, tree: LogTree, signed: int, log: WholeLog, asked: Range
) -> UnsignedTimes | None:
    """The times of what the newest signature leaves out of what is asked for; None where it covers all of that.

    Of a span of time the signature covers all only if the last record before it is of a later time: of what stands
    behind a signature nobody can say when it came.

    Args:
        sealed: the partition's log.
        tree: of its head.
        signed: leaves that a signature covers, one or more.
        log: its records.
        asked: what is asked for.

    Raises:
        IntegrityViolation: the tree is damaged.
        Unavailable: the log does not answer.
    """
    before = _last_time(tree, signed)
    if asked.to_ms is not None and asked.to_ms <= before:
        return None
    times: UnsignedTimes | None = None
    for leaf in _leaves(tree, signed):
        before = before if leaf.type is EntryType.GAP else leaf.time_ms
        if asked.only is None or (sealed.log, sealed.partition, leaf.offset) in asked.only:
            times = _spanned(times, before)
    for time_ms in _waiting(log, sealed, tree.size) if asked.only is None else ():
        times = _spanned(times, time_ms)
    return times


def _spanned(times: UnsignedTimes | None, time_ms: int) -> UnsignedTimes:
    if times is None:
        return UnsignedTimes(time_ms, time_ms)
    return UnsignedTimes(min(times.oldest, time_ms), max(times.newest, time_ms))


def _last_time(tree: LogTree, size: int) -> int:
    """The time of the last leaf before that size that has one; the first leaf has."""
    index = size - 1
    while index > 0:
        leaf = LeafEntry.decode(tree.entry(index))
        if leaf.type is not EntryType.GAP:
            return leaf.time_ms
        index -= 1
    return LeafEntry.decode(tree.entry(0)).time_ms


def _leaves(tree: LogTree, first: int) -> Iterator[LeafEntry]:
    end = -(-tree.size // TILE_WIDTH)
    for number in range(first // TILE_WIDTH, end, _BUNDLES):
        under = [entry for bundle in tree.bundles(number, min(number + _BUNDLES, end)) for entry in bundle]
        yield from map(LeafEntry.decode, under[max(first - number * TILE_WIDTH, 0) :])


def _waiting(log: WholeLog, sealed: SealedLog, size: int) -> Iterator[int]:
    """Of the first records that were not taken in; those behind them came later."""
    if log.has(sealed.partition):
        for item in log.read(sealed.partition, sealed.offset_of(size), _LOOKED_AT, _LOOKED_AT_BYTES):
            if isinstance(item, Record):
                yield item.timestamp_ms
