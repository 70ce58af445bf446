"""Dead letters can be listed, looked at byte for byte, and appended anew after a repair."""

from __future__ import annotations

import pytest

from flow.conftest import Bench
from flow.running import caught_up, event, record, running, until
from trailseal.errors import NotFound, Unavailable
from trailseal.event_consumer.dead_letters import DeadLetters
from trailseal.model.record import HEADER_SALT, NewRecord, Position
from trailseal.ports.index import Refused


@pytest.fixture
def refused_once(bench: Bench) -> Bench:
    """One record that the index refused while something was wrong with it, and one that is no event."""
    bench.index.answer = lambda entries: {
        at: Refused("too-odd", "odd") for at, entry in enumerate(entries) if entry.document_id == "acme/a"
    }
    bench.log.append(
        [NewRecord(event("a"), b"acme", (("x", b"1"), (HEADER_SALT, b"s" * 32))), NewRecord(b"\xff"), record("ok")]
    )
    with running(bench.consumer()):
        until(lambda: caught_up(bench.log, bench.ledger))
    bench.index.answer = lambda _: {}
    return bench


def _letters(bench: Bench) -> DeadLetters:
    return DeadLetters(bench.log, bench.ledger, bench.clock)


def test_the_list_tells_position_and_rule(refused_once: Bench) -> None:
    letters = list(_letters(refused_once).list())
    assert letters[0].row.code == "too-odd"
    assert [letter.row.position.offset for letter in letters] == [0, 1]
    assert all(letter.row.detail and letter.replay is None for letter in letters)


def test_one_is_shown_with_its_record_byte_for_byte(refused_once: Bench) -> None:
    letter, record = _letters(refused_once).get(Position(refused_once.number, 0, 1))
    assert record.value == b"\xff"
    assert letter.row.kind == "dead_letter"


def test_what_is_no_dead_letter_is_not_found(refused_once: Bench) -> None:
    with pytest.raises(NotFound):
        _letters(refused_once).get(Position(refused_once.number, 0, 2))


def test_a_replay_appends_the_same_bytes_with_another_salt_and_is_marked(refused_once: Bench) -> None:
    position = Position(refused_once.number, 0, 0)
    to = _letters(refused_once).replay(position)
    (anew,) = refused_once.log.read(0, to.offset, 1, 1 << 20)
    headers = dict(anew.headers)  # type: ignore[union-attr] # a record was appended there
    assert anew.value == event("a")  # type: ignore[union-attr] # the same
    assert headers["x"] == b"1"
    assert len(headers[HEADER_SALT] or b"") == 32
    assert headers[HEADER_SALT] != b"s" * 32
    with running(refused_once.consumer()):
        until(lambda: caught_up(refused_once.log, refused_once.ledger))
    assert "acme/a" in refused_once.documents()
    letter, _ = _letters(refused_once).get(position)
    assert letter.replay is not None
    assert (letter.replay.to, letter.replay.times) == (to, 1)
    assert [left.row.position.offset for left in _letters(refused_once).list(replayed=False)] == [1]


def test_a_second_replay_of_an_event_that_went_in_is_a_duplicate(refused_once: Bench) -> None:
    position = Position(refused_once.number, 0, 0)
    _letters(refused_once).replay(position)
    again = _letters(refused_once).replay(position)
    with running(refused_once.consumer()):
        until(lambda: caught_up(refused_once.log, refused_once.ledger))
    assert refused_once.rows()[-1] == (again.offset, "duplicate")
    letter, _ = _letters(refused_once).get(position)
    assert letter.replay is not None
    assert letter.replay.times == 2


def test_a_replay_that_dies_between_note_and_append_shows_as_one_without_a_position(
    refused_once: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> list[Position]:
        raise Unavailable("The disk is full.")

    position = Position(refused_once.number, 0, 0)
    monkeypatch.setattr(refused_once.log, "append", fail)
    with pytest.raises(Unavailable):
        _letters(refused_once).replay(position)
    letter, _ = _letters(refused_once).get(position)
    assert letter.replay is not None
    assert letter.replay.to is None
