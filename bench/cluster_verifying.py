"""Row: `trailseal verify` of a cluster against hashing the same leaves."""

from __future__ import annotations

import os
import subprocess

from bench.cluster_ingest import fill, settings_of, taken_in, until
from bench.cluster_servers import COMMAND, corner, servers
from bench.load import median_ratio
from bench.row import Row
from bench.verifying import Hashing, verify_s
from trailseal.bootstrap import Engines, open_engines
from trailseal.sealing.state import SealState

EVENTS = 100_000
_ROUNDS = 3


def measure(size: float) -> list[Row]:
    """Leaves a second of the command's own processor time, and of the servers' beside it."""
    running, count = servers(), int(EVENTS * size)
    with corner(running) as environment:
        hashed = _taken_in(environment, count)
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


def _taken_in(environment: dict[str, str], count: int) -> Hashing:
    """Events that are taken in and signed to the end; the peer, with the same leaves."""
    engines = open_engines(settings_of(environment), "import")
    try:
        fill(engines.log.append, count)
        process = subprocess.Popen([COMMAND, "consume"], env=os.environ | environment, stderr=subprocess.DEVNULL)
        try:
            number = until(lambda: engines.ledger.log_number(engines.log.origin), process)
            until(lambda: taken_in(engines, number) >= count, process)
            until(lambda: _signed(engines, number), process)
        finally:
            process.terminate()
            process.wait(30)
        return Hashing(engines.log)
    finally:
        engines.close()


def _signed(engines: Engines, number: int) -> bool:
    """Whether a signature covers every leaf."""
    newest = (
        (head, engines.ledger.seals.checkpoint(number, head.partition)) for head in engines.ledger.heads(number)
    )
    return all(one is not None and one.size == SealState.of(head.seal).edge.size for head, one in newest)
