"""Events as the door appends them, and a producer that goes on appending while a test breaks things."""

from __future__ import annotations

import json
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from servers.deployment import Deployment
from servers.waiting import eventually
from trailseal.model.record import HEADER_SALT, NewRecord


def record(event_id: str, tenant: str = "acme", **more: object) -> NewRecord:
    """A native event that was received at the door."""
    body = {
        "id": event_id,
        "timestamp": "2026-03-04T05:06:07.000001Z",
        "tenant_id": tenant,
        "actor": "alice",
        "action": "document.read",
    } | more
    return NewRecord(json.dumps(body).encode(), tenant.encode(), ((HEADER_SALT, secrets.token_bytes(32)),))


class Load:
    """Appends events in a thread of its own until it is told to stop; what was acknowledged is known."""

    def __init__(self, cluster: Deployment, batch: int = 50, pause_s: float = 0.02) -> None:
        self._cluster, self._batch, self._pause_s = cluster, batch, pause_s
        self.acknowledged: list[str] = []
        self._stopping = threading.Event()
        self._threads = ThreadPoolExecutor(1)
        self._call = self._threads.submit(self._run)

    def _run(self) -> None:
        at = 0
        while not self._stopping.wait(self._pause_s):
            names = [f"load-{n}" for n in range(at, at + self._batch)]
            self._cluster.append([record(name, f"t{hash(name) % 11}") for name in names])
            self.acknowledged += names
            at += self._batch

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._call.result(60)
        self._threads.shutdown()

    def more(self, count: int) -> None:
        """Wait until that many more are acknowledged."""
        goal = len(self.acknowledged) + count
        eventually(lambda: len(self.acknowledged) >= goal or self._call.done(), 60)
