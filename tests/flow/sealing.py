"""A consumer that seals and signs, and a witness on a real port."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from flow.conftest import Bench
from trailseal.adapters.witness import HttpWitness
from trailseal.bootstrap import Engines
from trailseal.cli.held_to_seals import sealed_sources
from trailseal.cli.witness import witness_server
from trailseal.event_consumer.notary import Notary
from trailseal.event_consumer.options import ConsumerOptions
from trailseal.event_consumer.runner import Consumer
from trailseal.event_consumer.seal import Seals
from trailseal.sealing.checkpoints import CheckpointSigner
from trailseal.sealing.cosigning import Cosigning
from trailseal.sealing.keys import KeyFile
from trailseal.sealing.witness_folder import WitnessFolder
from trailseal.verification.nameable import anything

NOW = "2026-01-02T03:04:05Z"


def sealing_consumer(
    bench: Bench,
    folder: Path,
    *give: int,
    witnesses: Sequence[HttpWitness] = (),
    changed_s: float = 0.02,
    unchanged_s: float = 0.05,
) -> Consumer:
    """As `Bench.consumer`, with seals; its key is in the folder."""
    keys = KeyFile(folder / "seal.key")
    keys.make(NOW)
    clock = bench.clock
    notary = Notary(
        Seals(bench.ledger, keys, "audit.example", clock),
        CheckpointSigner(bench.ledger, keys.ring, lambda: clock.now_us() // 1_000_000),
        Cosigning(witnesses),
        clock,
        changed_s=changed_s,
        unchanged_s=unchanged_s,
    )
    bench.log.give_at_subscribe = give or (0,)
    return Consumer(
        bench.log,
        bench.index,
        bench.ledger,
        bench.cache,
        clock,
        notary=notary,
        options=ConsumerOptions(retry_first_s=0.005, retry_most_s=0.02, drain_s=2.0),
    )


@contextmanager
def witness(
    folder: Path, name: str = "witness.example/1", *, post_quantum: bool = False
) -> Iterator[tuple[WitnessFolder, HttpWitness]]:
    """A witness that serves until the block is left."""
    made = WitnessFolder.make(folder, name, NOW, post_quantum=post_quantum)
    server = witness_server(made, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield made, HttpWitness(f"http://127.0.0.1:{server.server_port}", made.keys)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def tombstones_at(engines: Engines, log: int, offsets: Iterable[int]) -> dict[int, bytes | None]:
    """What an order says of these offsets of partition 0, as the commands find it; nothing of what never was."""
    sources = sealed_sources(engines, tombstones=True)
    return dict.fromkeys(offsets) | sources.nameable(log, 0, offsets, anything).tombstones
