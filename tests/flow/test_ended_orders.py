"""Orders about a log that has ended, carried out by whoever owns a partition of the open one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from flow.embedded import REFRESH_S, assert_balanced, offsets, opened
from flow.running import caught_up, record, running, until
from flow.sealing import tombstones_at
from flow.test_commands import trailseal
from flow.test_erasure import MANDATE, piped
from trailseal.bootstrap import Engines
from trailseal.cli.pipeline import make_consumer
from trailseal.model.outcomes import Head, OutcomeRow
from trailseal.model.record import NewRecord, Position, Record
from trailseal.ports.erasure import ErasableLedger
from trailseal.sealing.admin_records import Clerk
from trailseal.sealing.keys import KeyFile
from trailseal.sealing.origin import SealedLog
from trailseal.settings import Settings


class Raced:
    """An `ErasableLedger` in which somebody else moves the ended log's head just before each of the first steps.

    Args:
        ledger: the real one.
        rows: what they write, a step at a time.
    """

    def __init__(self, ledger: ErasableLedger, rows: Sequence[OutcomeRow]) -> None:
        self._ledger, self._rows = ledger, list(rows)

    def remove(self, expected: Head, rows: Sequence[OutcomeRow]) -> Head:
        if self._rows and expected.log == 1:
            self._ledger.remove(expected, [self._rows.pop()])
        return self._ledger.remove(expected, rows)

    def discard(self, positions: Sequence[Position]) -> None:
        self._ledger.discard(positions)


@pytest.fixture
def restored(tmp_path: Path) -> Path:
    """A folder whose first log ended with a restore; the second one has taken everything in anew."""
    data, copy, folder = tmp_path / "data", tmp_path / "copy", tmp_path / "restored"
    with piped(data) as engines:
        engines.log.append([record(f"e{number}") for number in range(10)])
    for words, at in ((("backup", str(copy), "--with-keys"), data), (("restore", str(copy)), folder)):
        done = trailseal(*words, data=at)
        assert done.returncode == 0, done.stderr
    with piped(folder):
        pass
    return folder


@contextmanager
def raced(data: Path, rows: Sequence[OutcomeRow]) -> Iterator[Engines]:
    with opened(data) as engines:
        erasable = engines.erasable
        assert erasable is not None
        against = replace(engines, erasable=replace(erasable, ledger=Raced(erasable.ledger, rows)))
        settings = Settings(data=data, refresh_interval=REFRESH_S)
        with running(make_consumer(settings, against)) as consumer:
            yield engines
            until(lambda: caught_up(engines.log, engines.ledger) or consumer.fault is not None)
        assert consumer.fault is None


def order(engines: Engines, data: Path, *erased: int) -> NewRecord:
    """About the log that has ended, to stand in the open one."""
    ended, log = SealedLog.stored(engines.ledger, 1, 0), SealedLog.stored(engines.ledger, 2, 0)
    head = engines.ledger.head(1, 0)
    assert ended is not None
    assert log is not None
    assert head is not None
    ring = KeyFile(data / "seal.key").ring()
    clerk = Clerk(log, head, ring, MANDATE, engines.clock.now_us(), ended)
    (made,) = clerk.erasures(tombstones_at(engines, 1, erased))
    return made


def removed(engines: Engines, log: int) -> dict[int, Position | None]:
    return {row.position.offset: row.of for row in engines.ledger.outcomes(log, 0, kinds=("erased",))}


def test_an_order_about_an_ended_log_leaves_the_open_one_alone(restored: Path) -> None:
    with piped(restored) as engines:
        (at,) = engines.log.append([order(engines, restored, 2, 4)])
        until(lambda: caught_up(engines.log, engines.ledger))
        assert removed(engines, 1) == {2: at, 4: at}
        assert removed(engines, 2) == {}
        assert offsets(engines) == list(range(11))
        (there,) = engines.log.read(0, 2, 1, 1 << 20)
        assert isinstance(there, Record)
        assert not there.is_erased
        assert_balanced(engines)


def test_two_who_carry_out_orders_about_one_ended_log_do_not_lose_their_partitions(restored: Path) -> None:
    others = Position(2, 3, 7)
    rows = [OutcomeRow(Position(1, 0, offset), "erased", of=others) for offset in (4, 6)]
    with raced(restored, rows) as engines:
        (at,) = engines.log.append([order(engines, restored, 2, 4)])
        until(lambda: caught_up(engines.log, engines.ledger))
        assert removed(engines, 1) == {2: at, 4: others, 6: others}
        assert engines.ledger.totals(1, 0).erased == 3
