"""Run a consumer in a thread, wait for what it is to do, and make events."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from trailseal.event_consumer.runner import Consumer
from trailseal.model.record import HEADER_SALT, NewRecord
from trailseal.ports.ledger import Ledger
from trailseal.ports.log import EventLog

PATIENCE_S = 30.0


@contextmanager
def running(consumer: Consumer) -> Iterator[Consumer]:
    """The consumer's thread is over when the block is left."""
    thread = threading.Thread(target=consumer.run, name="consumer")
    thread.start()
    try:
        yield consumer
    finally:
        consumer.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "the consumer did not stop"


def until(condition: Callable[[], object], what: str = "what was waited for") -> None:
    """Return once the condition holds; looked at often, given up late."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {PATIENCE_S} s"
        time.sleep(0.002)


def caught_up(log: EventLog, ledger: Ledger) -> bool:
    """Whether every head stands at the end of its partition."""
    number = ledger.log_number(log.origin)
    if number is None:
        return False
    heads = {head.partition: head.next for head in ledger.heads(number)}
    return all(heads.get(partition) == log.bounds(partition).next for partition in log.partitions())


def event(event_id: str | None, tenant: str = "acme", **changes: Any) -> bytes:
    """The JSON of a native event."""
    body = {
        "timestamp": "2026-03-04T05:06:07.000001Z",
        "tenant_id": tenant,
        "actor": {"id": "alice"},
        "action": "document.read",
        "resource": {"type": "document", "id": "42"},
    } | changes
    if event_id is not None:
        body["id"] = event_id
    return json.dumps(body).encode()


def record(event_id: str | None, tenant: str = "acme", **changes: Any) -> NewRecord:
    """A record with a native event, as our own producers append it."""
    return NewRecord(event(event_id, tenant, **changes), tenant.encode(), ((HEADER_SALT, b"s" * 32),))
