"""Row: `GET /events` answered from the cache, against an empty Flask route on the same server."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.load import Connection, get, hammer, median_ratio, post
from bench.row import Row
from bench.servers import peer, trailseal_up
from bench.workload import batched, events

_CLIENTS = 8
_SECONDS = 5.0
_ROUNDS = 3
_PATH = (
    "/events?tenant_id=tenant-3&action=document.viewed"
    "&time_from=2026-01-01T00:00:00Z&time_to=2026-01-02T00:00:00Z&limit=20"
)


def measure(size: float) -> list[Row]:
    """Requests a second; the answer is twenty events, asked for again and again."""
    seconds = max(1.0, _SECONDS * min(1.0, size))
    with (
        tempfile.TemporaryDirectory() as folder,
        trailseal_up(Path(folder) / "data") as mine,
        peer("empty") as other,
    ):
        connection = Connection(mine)
        for body in batched(events(20_000), 5_000):
            connection.ask(post("/events", mine, body, "application/x-ndjson"))
        while len(connection.ask(get(_PATH, mine))) < 5_000:
            pass
        ours, theirs, ratio = median_ratio(
            lambda: hammer(mine, [get(_PATH, mine)], _CLIENTS, seconds).per_second,
            lambda: hammer(other, [get("/events", other)], _CLIENTS, seconds).per_second,
            _ROUNDS,
        )
    return [Row("GET /events, cached in memory", f"{ours:,.0f}/s", f"{theirs:,.0f}/s", ratio, 0.7)]
