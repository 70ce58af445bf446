"""Engines for the flow tests: a real ledger; log and index in memory where a test decides their answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flow.memory_cache import RecordingCache
from flow.memory_engines import MemoryIndex, MemoryLog
from trailseal.adapters.clock import SystemClock
from trailseal.adapters.ledgers.sqlite import SqliteLedger
from trailseal.event_consumer.options import ConsumerOptions
from trailseal.event_consumer.runner import Consumer


class Bench:
    """One consumer's engines, and the options tests change."""

    def __init__(self, ledger: SqliteLedger, partitions: int = 1) -> None:
        self.log = MemoryLog(partitions)
        self.index = MemoryIndex()
        self.ledger = ledger
        self.cache = RecordingCache()
        self.clock = SystemClock()
        self.number = ledger.register_log(self.log.origin)

    def consumer(self, *give: int, **options: object) -> Consumer:
        """A consumer whose subscription is assigned these partitions when it comes."""
        made = Consumer(
            self.log,
            self.index,
            self.ledger,
            self.cache,
            self.clock,
            options=ConsumerOptions(**{"retry_first_s": 0.005, "retry_most_s": 0.02, "drain_s": 2.0} | options),  # type: ignore[arg-type] # tests give what the options take
        )
        self.log.give_at_subscribe = give or (0,)
        return made

    def rows(self, partition: int = 0) -> list[tuple[int, str]]:
        """Offset and kind of every row."""
        return [(row.position.offset, row.kind) for row in self.ledger.outcomes(self.number, partition)]

    def head(self, partition: int = 0) -> int:
        """The next offset to take in; -1 before there is a head."""
        head = self.ledger.head(self.number, partition)
        return -1 if head is None else head.next

    def documents(self) -> list[str]:
        """Names of everything indexed, flushed or not."""
        return sorted(name for _, name in self.index.documents)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    opened = SqliteLedger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def bench(ledger: SqliteLedger) -> Bench:
    return Bench(ledger)


@pytest.fixture
def two(ledger: SqliteLedger) -> Bench:
    return Bench(ledger, partitions=2)
