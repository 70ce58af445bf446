"""Instants as text, against the standard library's datetime."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trailseal.model.timestamps import DAY_US, day, format_rfc3339, month, parse_rfc3339

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST = (datetime(1, 1, 1, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
LAST = (datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
instants = st.integers(FIRST, LAST)
zones = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(instants)
@example(0)
@example(-1)
def test_every_instant_survives_being_written_and_read(us: int) -> None:
    text = format_rfc3339(us)
    assert parse_rfc3339(text) == us
    assert text.endswith("Z")
    assert ("." in text) == bool(us % 1_000_000)


@given(
    st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=zones),  # noqa: DTZ001 - Hypothesis adds the zone
    st.text("0123456789", max_size=12),
    st.sampled_from("Tt"),
)
def test_reading_agrees_with_datetime(moment: datetime, digits: str, separator: str) -> None:
    moment = moment.replace(microsecond=0)
    base = moment.isoformat()
    text = base[:10] + separator + base[11:19] + (f".{digits}" if digits else "") + base[19:]
    expected = (moment - EPOCH) // timedelta(microseconds=1) + int(digits[:6].ljust(6, "0"))
    assert parse_rfc3339(text) == expected


@given(instants)
def test_day_and_month_are_those_of_utc(us: int) -> None:
    moment = EPOCH + timedelta(microseconds=us)
    assert day(us) == moment.date().isoformat()
    assert month(us) == f"{moment.year:04d}.{moment.month:02d}"


def test_unknown_offset_and_small_letters_are_utc() -> None:
    expected = parse_rfc3339("2026-03-01T12:00:00Z")
    assert parse_rfc3339("2026-03-01t12:00:00z") == expected
    assert parse_rfc3339("2026-03-01T12:00:00-00:00") == expected


def test_nanoseconds_are_cut_not_rounded() -> None:
    assert format_rfc3339(parse_rfc3339("2026-03-01T12:00:00.123456999Z")) == "2026-03-01T12:00:00.123456Z"


@pytest.mark.parametrize("text", ["2016-12-31T23:59:60Z", "2017-01-01T01:29:60+01:30", "2016-12-31T18:59:60-05:00"])
def test_a_leap_second_is_the_first_second_of_the_next_day(text: str) -> None:
    assert format_rfc3339(parse_rfc3339(text)) == "2017-01-01T00:00:00Z"
    assert parse_rfc3339(text) % DAY_US == 0


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("2026-03-01T12:00:00", "zone is missing"),
        ("2026-03-01 12:00:00", "zone is missing"),
        ("2026-03-01T12:00", "zone is missing"),
        ("2026-03-01", "not an RFC 3339"),
        ("2026-03-01 12:00:00Z", "not an RFC 3339"),
        ("2026-03-01T12:00:00.Z", "not an RFC 3339"),
        ("2026-03-01T12:00:00+0100", "not an RFC 3339"),
        ("2026-03-01T12:00:00Z\n", "not an RFC 3339"),
        (" 2026-03-01T12:00:00Z", "not an RFC 3339"),
        ("٢٠٢٦-03-01T12:00:00Z", "not an RFC 3339"),
        ("2026-03-01T12:00:0٣Z", "not an RFC 3339"),
        ("+026-03-01T12:00:00Z", "not an RFC 3339"),
        ("", "not an RFC 3339"),
        ("2026-02-29T12:00:00Z", "no day 2026-02-29"),
        ("2026-13-01T12:00:00Z", "no day 2026-13-01"),
        ("0000-01-01T12:00:00Z", "no day 0000-01-01"),
        ("2026-03-01T24:00:00Z", "hours go to 23"),
        ("2026-03-01T12:60:00Z", "hours go to 23"),
        ("2026-03-01T12:00:61Z", "hours go to 23"),
        ("2026-03-01T12:00:00+24:00", "hours go to 23"),
        ("2026-03-01T12:00:60Z", ":60"),
        ("2016-12-31T23:58:60Z", ":60"),
        ("2016-12-31T23:59:60+01:00", ":60"),
    ],
)
def test_a_wrong_text_is_refused_with_its_rule(text: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        parse_rfc3339(text)


@pytest.mark.parametrize(
    ("us", "text", "its_month"),
    [(2**63 * 1000, "9999-12-31T23:59", "9999.12"), (-(2**63) * 1000, "0001-01-01T00:00", "0001.01")],
)
def test_a_made_up_append_time_outside_the_calendar_is_written_as_its_end(
    us: int, text: str, its_month: str
) -> None:
    assert format_rfc3339(us).startswith(text)
    assert month(us) == its_month
