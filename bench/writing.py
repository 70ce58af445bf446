"""Row: `POST /events`, durable, against the same route committing once a request; batches against import."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from pathlib import Path

from bench.ingest_embedded import EVENTS
from bench.ingest_embedded import measure as measure_import
from bench.load import hammer, median_ratio, post
from bench.row import Row
from bench.servers import peer, trailseal_up
from bench.workload import batched, events

_CLIENTS = 16
_SECONDS = 5.0
_BATCH = 1_000
_ROUNDS = 3
_SLOW_SYNC_S = 0.001
_SYNCS = 50


def measure(size: float) -> list[Row]:
    """Requests a second with 16 clients; events a second in batches of 1,000 with 4 clients."""
    seconds = max(1.0, _SECONDS * min(1.0, size))
    values = list(events(int(EVENTS * min(size, 1.0)), seed=11))
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        sync_s = sync_time(base)
        turn = iter(range(1_000))
        with trailseal_up(base / "ours") as mine, peer("commit", str(base / "theirs.sqlite")) as other:

            def load(port: int) -> float:
                first = next(turn) * 17
                some = [post("/events", port, value) for value in values[first : first + 5_000] or values]
                return hammer(port, some, _CLIENTS, seconds).per_second

            ours, theirs, ratio = median_ratio(lambda: load(mine), lambda: load(other), _ROUNDS)
            batches = [post("/events", mine, body, "application/x-ndjson") for body in batched(values, _BATCH)]
            in_batches = hammer(mine, batches, 4, seconds).per_second * _BATCH
    bound = 2.0 if sync_s >= _SLOW_SYNC_S else 0.9
    what = f"POST /events, 1 each, {_CLIENTS} clients (a sync takes {sync_s * 1e3:.2f} ms)"
    imported = float(measure_import(size)[0].ours.rstrip("/s").replace(",", ""))
    return [
        Row(what, f"{ours:,.0f}/s", f"{theirs:,.0f}/s", ratio, bound),
        Row(
            "POST /events, batches of 1,000, against import",
            f"{in_batches:,.0f}/s",
            f"{imported:,.0f}/s",
            in_batches / imported,
            0.5,
        ),
    ]


def sync_time(folder: Path) -> float:
    """Seconds of one small SQLite commit that reaches the disk, the median of fifty."""
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
    return sorted(times)[_SYNCS // 2]
