"""The index as a whole: documents of no log that is known, and whether it is set up as it was made."""

from __future__ import annotations

from typing import Final

from trailseal.model.record import Position
from trailseal.ports.index import EventIndex
from trailseal.ports.ledger import Ledger
from trailseal.verification.suspicions import Suspicions

_END: Final = 2**62


def check_inventory(index: EventIndex, ledger: Ledger, suspicions: Suspicions) -> None:
    """Note what no partition's own check looks at.

    Raises:
        Unavailable: index or ledger does not answer.
    """
    known = {(head.log, head.partition) for number in ledger.logs() for head in ledger.heads(number)}
    held = index.inventory()
    for log, partition in sorted(held.documents.keys() - known):
        at = index.offsets(log, partition, 0, _END)
        suspicions.add_at(
            "foreign-document",
            Position(log, partition, min(at, default=0)),
            detail=f"{held.documents[log, partition]:,} of a partition that was never taken in",
        )
    if held.unplaced:
        suspicions.add("foreign-document", 0, detail=f"{held.unplaced:,} that name no log and partition")
    for sentence in index.alterations():
        suspicions.add("altered-index", 0, detail=sentence.removesuffix("."))
