"""What an order may name: the pass over what was sealed that `erase` and `expire` make, and what it contradicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from trailseal.bootstrap import Engines
from trailseal.cli.output import notice, progress_bar
from trailseal.errors import UsageError
from trailseal.model.outcomes import Head
from trailseal.sealing.tombstones import tombstone_key
from trailseal.verification.nameable import IsMeant, Nameable, SealedSources
from trailseal.verification.reading import WholeLog

_TOLD: Final = 20


def sealed_sources(engines: Engines, *, tombstones: bool) -> SealedSources:
    """What an order is held against before it is signed.

    Args:
        engines: opened for writing where tombstones are asked for.
        tombstones: whether an order of erasure is to be signed, which names them.

    Raises:
        UsageError: these engines cannot remove anything.
        Unavailable: the ledger does not answer.
    """
    if engines.erasable is None:
        raise UsageError("These engines cannot remove records.")
    whole = WholeLog(engines.log, engines.ledger, engines.keeper)
    key = tombstone_key(engines.ledger) if tombstones else None
    return SealedSources(whole, engines.erasable.records, engines.ledger, key)


def held_to_seals(sources: SealedSources, wanted: Sequence[tuple[Head, Sequence[int], IsMeant]]) -> list[Nameable]:
    """What orders may name of these offsets, for each head, under a progress bar.

    Raises:
        IntegrityViolation: a genesis or a tree is damaged.
        Unavailable: an engine does not answer.
    """
    columns = (TextColumn("Held against the seals"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with progress_bar(*columns) as bar:
        task = bar.add_task("", total=sum(len(offsets) for _, offsets, _ in wanted))
        return [
            sources.nameable(head.log, head.partition, offsets, is_meant, lambda more: bar.advance(task, more))
            for head, offsets, is_meant in wanted
        ]


class Contradicted(Protocol):
    """What was found in one partition, with what no order may name.

    Attributes:
        head: of the partition.
        contradicted: offsets, and why not.
    """

    head: Head
    contradicted: dict[int, str]


def tell_contradicted(found: Sequence[Contradicted]) -> None:
    """Name the records of which index or ledger say what is not so."""
    told = [
        f"{one.head.log}/{one.head.partition}/{offset}, {why}"
        for one in found
        for offset, why in sorted(one.contradicted.items())
    ]
    for sentence in told[:_TOLD]:
        notice(f"Not ordered: {sentence}.")
    if told:
        notice(f"{len(told):,} rows or documents are not true of their records: run `trailseal verify`.")


def refuse_contradicted(found: Sequence[Contradicted]) -> None:
    """Not everything that was asked for is done, whatever else was.

    Raises:
        UsageError: some records were not ordered away.
    """
    left = sum(len(one.contradicted) for one in found)
    if left:
        raise UsageError(
            f"{left:,} records were left as they are, since index or ledger say of them what is not so: find out by"
            " `trailseal verify` what was done to them, put it right, and run this again."
        )
