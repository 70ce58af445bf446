"""Which logs of a ledger count as ended, and which as moved into the one after them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from trailseal.adapters.ledgers.sqlite import SqliteLedger
from trailseal.merkle.genesis import Genesis
from trailseal.merkle.notes import Algorithm
from trailseal.merkle.signing import SeedSigner
from trailseal.ports.ledger import Ledger
from trailseal.sealing.ended import MOVED_IN, ended_logs, reason_of_move

OLD, MIDDLE, OPEN = "kafka/c/old/1", "kafka/c/middle/1", "kafka/c/open/1"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as made:
        for origin in (OLD, MIDDLE, OPEN):
            made.open_partition(made.register_log(origin), 0, 0)
        yield made


def begin(ledger: Ledger, number: int, reason: str) -> None:
    origin = f"audit.example/{number}/0"
    key = SeedSigner(origin, Algorithm.ED25519, bytes(32)).key
    statement = Genesis(origin, 0, (key,), (), reason).statement()
    ledger.put_document(f"seal/genesis/{number}/0", b"1\n" + statement, None)


def test_every_log_but_the_open_one_has_ended(ledger: Ledger) -> None:
    assert ended_logs(ledger, OPEN) == [1, 2]


def test_a_log_that_was_moved_into_the_next_one_is_not_looked_for_any_more(ledger: Ledger) -> None:
    ledger.put_document(f"{MOVED_IN}{OLD}", b"", None)
    assert ended_logs(ledger, OPEN) == [2], "nothing is sealed yet in the log after it, so nothing says otherwise"
    begin(ledger, 2, reason_of_move(OLD))
    assert ended_logs(ledger, OPEN) == [2]


@pytest.mark.parametrize("moved", [OLD, MIDDLE])
def test_a_note_alone_does_not_make_an_ended_log_a_moved_one(ledger: Ledger, moved: str) -> None:
    begin(ledger, 2, "the topic was deleted")
    begin(ledger, 3, reason_of_move(OLD))
    ledger.put_document(f"{MOVED_IN}{moved}", b"", None)
    assert ended_logs(ledger, OPEN) == [1, 2]
