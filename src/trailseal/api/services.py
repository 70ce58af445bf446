"""What the API stands on: engines and services, handed in by the entry point."""

from __future__ import annotations

from dataclasses import dataclass, field

from trailseal.api.credentials import Authenticator
from trailseal.event_consumer.state import PipelineState
from trailseal.ports.clock import Clock
from trailseal.ports.index import EventIndex
from trailseal.ports.ledger import Ledger
from trailseal.ports.log import EventLog
from trailseal.query.service import QueryService
from trailseal.sealing.evidence import Evidence

DEFAULT_MAX_REQUEST_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Services:
    """One process's services.

    Attributes:
        log: where accepted events go.
        index: what `query` asks; here for readiness only.
        ledger: heads, for readiness.
        clock: tells the time.
        query: answers questions.
        authenticator: tells who asks.
        evidence: answers from the seals.
        pipeline: what the pipeline of this process does, or None where it runs elsewhere.
        max_request_bytes: largest body of ``POST /events`` after inflating.
        open_integrity: whether tiles, checkpoints and consistency proofs need no key.
    """

    log: EventLog
    index: EventIndex
    ledger: Ledger
    clock: Clock
    query: QueryService
    authenticator: Authenticator
    evidence: Evidence
    pipeline: PipelineState | None = None
    max_request_bytes: int = field(default=DEFAULT_MAX_REQUEST_BYTES)
    open_integrity: bool = False
