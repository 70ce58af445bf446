"""The number that positions in a log carry, given by the ledger."""

from __future__ import annotations

from trailseal.bootstrap.engines import Role
from trailseal.errors import PipelineFault, Unavailable
from trailseal.event_consumer.epochs import number_of
from trailseal.ports.ledger import Ledger


def number_of_log(ledger: Ledger, origin: str, *, read_only: bool) -> int:
    """The number of the log that is written to and read from."""
    if not read_only:
        return number_of(ledger, origin)
    known = ledger.log_number(origin)
    if known is None:
        raise Unavailable("Nothing of this log was ever taken in; start `trailseal up` or `trailseal consume`.")
    return known


def number_at_the_door(ledger: Ledger, origin: str, role: Role) -> int:
    """As `number_of_log`; whoever stands at the API's door can only come back when an operator has acted."""
    try:
        return number_of_log(ledger, origin, read_only=role == "read")
    except PipelineFault as fault:
        if role != "serve":
            raise
        raise Unavailable(str(fault)) from fault
