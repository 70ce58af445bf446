"""What a row says of an event that came late or again."""

from __future__ import annotations

import pytest

from trailseal.model.outcomes import OutcomeRow
from trailseal.model.record import Position

AT = Position(2, 1, 40)


@pytest.mark.parametrize(
    ("of", "again"),
    [
        (Position(2, 1, 41), False),
        (Position(2, 1, 39), True),
        (Position(2, 0, 41), True),
        (Position(3, 0, 7), False),
        (Position(1, 1, 90), True),
        (None, True),
    ],
)
def test_an_event_came_again_where_the_order_of_its_row_cannot_name_it(of: Position | None, *, again: bool) -> None:
    assert OutcomeRow(AT, "erased", of=of).came_again is again
    assert not OutcomeRow(AT, "expired", of=of).came_again
    assert not OutcomeRow(AT, "erased", 2, of=of).came_again


def test_an_event_came_late_where_a_row_of_a_dropped_month_names_it() -> None:
    assert OutcomeRow(AT, "expired", event_id="e").came_late
    assert not OutcomeRow(AT, "expired").came_late
    assert not OutcomeRow(AT, "expired", 2, event_id="e").came_late
    assert not OutcomeRow(AT, "erased", event_id="e").came_late
