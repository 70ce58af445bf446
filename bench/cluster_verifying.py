"""Row: `trailseal verify` of a cluster against hashing the same leaves."""

from __future__ import annotations

from bench.cluster_ingest import consumed, until
from bench.cluster_servers import corner, servers
from bench.load import median_ratio
from bench.row import Row
from bench.verifying import Hashing, verify_s
from trailseal.bootstrap import Engines
from trailseal.sealing.state import SealState

EVENTS = 100_000
_ROUNDS = 3


def measure(size: float) -> list[Row]:
    """Leaves a second of the command's own processor time, and of the servers' beside it."""
    running, count = servers(), int(EVENTS * size)
    with corner(running) as environment:
        with consumed(environment, count) as (engines, number, process):
            until(lambda: _signed(engines, number), process)
            hashed = Hashing(engines.log)
        before = {name: running.processor_s(name) for name in running.pids}
        mine, theirs, ratio = median_ratio(lambda: count / verify_s(environment, count), hashed.rate, _ROUNDS)
        beside = ", ".join(
            f"{name} {(running.processor_s(name) - used) / _ROUNDS / count * 1e6:.0f} us"
            for name, used in before.items()
        )
    return [
        Row(
            f"`trailseal verify` of {count:,} events in the cluster; an event takes the servers {beside} beside it",
            f"{mine:,.0f}/s",
            f"{theirs:,.0f}/s hashed by hashlib, in memory",
            ratio,
            0.3,
        )
    ]


def _signed(engines: Engines, number: int) -> bool:
    """Whether a signature covers every leaf."""
    newest = (
        (head, engines.ledger.seals.checkpoint(number, head.partition)) for head in engines.ledger.heads(number)
    )
    return all(one is not None and one.size == SealState.of(head.seal).edge.size for head, one in newest)
