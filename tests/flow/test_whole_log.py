"""Records that rows name, wherever they are kept: what a verification may believe a copy of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from flow.memory_engines import NUMBER, MemoryLog
from trailseal.adapters.ledgers.sqlite import SqliteLedger
from trailseal.model.record import NewRecord, Position, Record
from trailseal.ports.log import Bounds
from trailseal.verification.reading import WholeLog


class ForgetfulLog(MemoryLog):
    """Holds nothing below an offset any more."""

    def __init__(self, first: int) -> None:
        super().__init__()
        self._first, self.number = first, NUMBER

    def bounds(self, partition: int) -> Bounds:
        return Bounds(self._first, super().bounds(partition).next)

    def fetch(self, positions: Sequence[Position]) -> list[Record | None]:
        found = zip(positions, super().fetch(positions), strict=True)
        return [one if at.log == self.number and at.offset >= self._first else None for at, one in found]


class Copies:
    """A `RecordKeeper` that has a copy for every position it is asked for."""

    def records(self, log: int, partition: int, start: int, stop: int) -> Iterator[Record]:
        return self.records_at([Position(log, partition, offset) for offset in range(start, stop)])

    def records_at(self, positions: Sequence[Position]) -> Iterator[Record]:
        return (Record(position, 1, b"key", b"copy", ()) for position in positions)


def test_a_copy_is_believed_only_of_what_the_log_forgot(tmp_path: Path) -> None:
    log = ForgetfulLog(first=2)
    log.append([NewRecord(b"%d" % number, b"key", ()) for number in range(4)])
    log.skip(0, 1)
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as ledger:
        number = ledger.register_log(log.origin)
        places = [Position(number, 0, offset) for offset in (3, 0, 4, 5, 1, 3)]

        found = WholeLog(log, ledger, Copies()).at_all(places)

        assert {at.offset: record.value for at, record in found.items()} == {0: b"copy", 1: b"copy", 3: b"3"}
        assert all(record.position == at for at, record in found.items())


def test_a_copy_of_an_earlier_epoch_goes_before_what_stands_in_its_place_now(tmp_path: Path) -> None:
    log = ForgetfulLog(first=0)
    log.append([NewRecord(b"another", b"key", ())])
    base = log.origin
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as ledger:
        place = Position(ledger.register_log(f"{base}/1"), 0, 0)
        log.origin = f"{base}/2"
        log.number = ledger.register_log(log.origin)

        kept, without = WholeLog(log, ledger, Copies()), WholeLog(log, ledger, None)

        assert [one.at_all([place])[place].value for one in (kept, without)] == [b"copy", b"another"]
        assert [one.value for one in (kept.at(place), without.at(place)) if one is not None] == [
            b"copy",
            b"another",
        ]
