"""Row: from the answer to `POST /events` until `GET /events` shows the event."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from bench.load import Connection, get, post
from bench.row import Row
from bench.servers import trailseal_up
from bench.workload import events

_EVENTS = 200
_REFRESH_S = 1.0
_ALLOWED_S = 0.5


def measure(size: float) -> list[Row]:
    """The 99th percentile, one event after the other, asking again as soon as an answer is there."""
    count = max(20, int(_EVENTS * size))
    waits = []
    with tempfile.TemporaryDirectory() as folder, trailseal_up(Path(folder) / "data") as port:
        connection = Connection(port)
        for value in events(count, seed=3):
            name = json.loads(value)["id"]
            connection.ask(post("/events", port, value))
            began = time.perf_counter()
            while name.encode() not in connection.ask(get(f"/events?id={name}", port)):
                pass
            waits.append(time.perf_counter() - began)
    slowest = sorted(waits)[int(len(waits) * 0.99)]
    allowed = _REFRESH_S + _ALLOWED_S
    return [
        Row(
            "accepted until visible, p99",
            f"{slowest:.2f} s",
            f"{allowed:.2f} s",
            slowest / allowed,
            1,
            at_most=True,
        )
    ]
