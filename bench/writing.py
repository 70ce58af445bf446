"""Row: `POST /events`, durable, against the same route committing once a request; batches against import."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from pathlib import Path

from bench.ingest_embedded import imported
from bench.load import hammer, median_ratio, post
from bench.row import Row
from bench.servers import peer, trailseal_up
from bench.workload import batched, events

_CLIENTS = 16
_SECONDS = 4.0
_BATCH = 1_000
_VALUES = 40_000
_PART = 5_000
_ROUNDS = 3
_SLOW_SYNC_S = 0.001
_SYNCS = 200


def measure(size: float) -> list[Row]:
    """Requests a second with 16 clients; events a second in batches of 1,000 with 4 clients."""
    seconds = max(1.0, _SECONDS * min(1.0, size))
    values = list(events(_VALUES, seed=11))
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        sync_s = sync_time(base)
        turn = iter(range(1_000))
        alone = peer("commit", str(base / "theirs"), ready="/readyz")
        with trailseal_up(base / "ours") as mine, alone as other:

            def load(port: int) -> float:
                first = next(turn) * _PART % _VALUES
                some = [post("/events", port, value) for value in values[first : first + _PART]]
                return hammer(port, some, _CLIENTS, seconds).per_second

            ours, theirs, ratio = median_ratio(lambda: load(mine), lambda: load(other), _ROUNDS)
        file = base / "events.ndjson"
        file.write_bytes(b"\n".join(values) + b"\n")

        def in_batches() -> float:
            with trailseal_up(base / f"batches-{next(turn)}") as port:
                bodies = [post("/events", port, body, "application/x-ndjson") for body in batched(values, _BATCH)]
                return hammer(port, bodies, 4, seconds).per_second * _BATCH

        batches, by_import, of_import = median_ratio(in_batches, lambda: imported(file, base), _ROUNDS)
    bound = 2.0 if sync_s >= _SLOW_SYNC_S else 0.9
    what = f"POST /events, 1 each, {_CLIENTS} clients (a sync takes {sync_s * 1e3:.2f} ms)"
    return [
        Row(what, f"{ours:,.0f}/s", f"{theirs:,.0f}/s", ratio, bound),
        Row(
            f"POST /events, batches of {_BATCH:,}, against import of {_VALUES:,}",
            f"{batches:,.0f}/s",
            f"{by_import:,.0f}/s",
            of_import,
            0.5,
        ),
    ]


def sync_time(folder: Path) -> float:
    """Seconds of one small SQLite commit that reaches the disk.

    The lower quartile: what the disk costs, not what other processes on the cores add to it.
    """
    store = sqlite3.connect(folder / "sync.sqlite", isolation_level=None)
    store.execute("PRAGMA journal_mode=WAL")
    store.execute("PRAGMA synchronous=FULL")
    store.execute("CREATE TABLE t (a)")
    times = []
    for _ in range(_SYNCS):
        began = time.perf_counter()
        store.execute("INSERT INTO t VALUES (1)")
        times.append(time.perf_counter() - began)
    store.close()
    os.sync()
    return sorted(times)[_SYNCS // 4]
