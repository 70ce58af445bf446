"""The index as a whole: documents of no log that is known, and whether it is set up as it was made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trailseal.model.record import Position
from trailseal.ports.index import EventIndex
from trailseal.verification.ends import outside
from trailseal.verification.partition import PartitionCheck
from trailseal.verification.suspicions import Suspicions

_END: Final = 2**62


def check_inventory(index: EventIndex, checks: Sequence[PartitionCheck], suspicions: Suspicions) -> None:
    """Note what no partition's own check looks at.

    Args:
        index: the documents.
        checks: of all partitions, done.
        suspicions: told what is found.

    Raises:
        Unavailable: the index does not answer.
    """
    held = index.inventory()
    known = {check.place: check for check in checks}
    for place, count in sorted(held.documents.items()):
        check = known.get(place)
        more = count if check is None else count - check.documents - outside(index, check.head)
        if check is None:
            at = min(index.offsets(*place, 0, _END), default=0)
            detail = f"{more:,} of a partition that was never taken in"
            suspicions.add_at("foreign-document", Position(*place, at), detail=detail)
        elif more > 0 and check.result and not check.suspicions.all:
            detail = f"{more:,} that stand at no offset of the log"
            suspicions.add_at("foreign-document", Position(*place, check.head.base), detail=detail)
    if held.unplaced:
        suspicions.add("foreign-document", 0, detail=f"{held.unplaced:,} that name no log and partition")
    for sentence in index.alterations():
        suspicions.add("altered-index", 0, detail=sentence.removesuffix("."))
