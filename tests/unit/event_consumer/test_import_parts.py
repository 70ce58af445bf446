"""The pieces of an import: inputs, places, headers."""

from __future__ import annotations

import gzip
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trailseal.event_consumer.import_records import RecordMaker
from trailseal.event_consumer.import_results import Origins
from trailseal.event_consumer.import_sources import BrokenSource, chunks
from trailseal.model.record import HEADER_ID, Position


def _read(data: bytes) -> bytes:
    return b"".join(chunks(BytesIO(data), lambda _: None))


@given(st.lists(st.binary(max_size=2_000), min_size=1, max_size=4))
def test_several_gzip_members_are_read_one_after_the_other(members: list[bytes]) -> None:
    assert _read(b"".join(gzip.compress(member) for member in members)) == b"".join(members)


@given(st.binary(max_size=2_000).filter(lambda data: not data.startswith(b"\x1f\x8b")))
def test_what_is_not_compressed_passes_as_it_is(data: bytes) -> None:
    assert _read(data) == data


@pytest.mark.parametrize("cut", [5, 30, -1])
def test_a_cut_off_gzip_input_is_broken_not_shorter(cut: int) -> None:
    with pytest.raises(BrokenSource):
        _read(gzip.compress(b"x" * 1_000 + bytes(range(256)))[:cut])


def test_damage_inside_a_gzip_input_is_broken() -> None:
    data = bytearray(gzip.compress(bytes(range(256)) * 40))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(BrokenSource):
        _read(bytes(data))


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2), st.integers(0, 50)), min_size=1, max_size=60))
def test_every_position_leads_back_to_its_input_and_line(steps: list[tuple[int, int, int]]) -> None:
    origins = Origins()
    places: dict[int, tuple[int, int]] = {}
    offset = line = source = 0
    for gap, change, lines in steps:
        offset += gap
        if change == 2:
            source, line = source + 1, 0
        line += lines if change else 1
        places[offset] = (source, line)
        origins.add(Position(1, 0, offset), source, line)
    for at in range(offset + 5):
        assert origins.find(Position(1, 0, at)) == places.get(at)
    assert origins.find(Position(2, 0, offset)) is None
    assert origins.count == len(places)


_APPENDED = st.tuples(st.sampled_from((0, 0, 0, 1)), st.sampled_from((1, 1, 1, 1, 2, 0)))


@given(st.lists(st.lists(_APPENDED, min_size=1, max_size=12), min_size=1, max_size=5))
def test_noting_an_append_is_noting_its_records(appends: list[list[tuple[int, int]]]) -> None:
    origins = Origins()
    places: dict[Position, tuple[int, int]] = {}
    following = [0, 0]
    line = 0
    for source, append in enumerate(appends):
        positions, lines = [], []
        for partition, step in append:
            line += step
            positions.append(Position(1, partition, following[partition]))
            lines.append(line)
            following[partition] += 1
        origins.extend(positions, source, lines)
        places |= zip(positions, zip([source] * len(lines), lines, strict=True), strict=True)
    assert origins.count == len(places)
    for position, place in places.items():
        assert origins.find(position) == place


@pytest.mark.parametrize(
    ("value", "given_id"),
    [
        (b'{"id": "a", "timestamp": "2026-01-01T00:00:00Z", "actor": "x", "action": "y"}', False),
        (b'{"timestamp": "2026-01-01T00:00:00Z", "actor": "x", "action": "y"}', True),
        (b'{"id": null, "timestamp": "2026-01-01T00:00:00Z", "actor": "x", "action": "y"}', True),
        (b'{"id": 7, "timestamp": "2026-01-01T00:00:00Z", "actor": "x", "action": "y"}', False),
        (b"nonsense", False),
        (b'{"eventVersion":"1","eventSource":"s3.amazonaws.com","eventName":"Get","eventID":"e"}', False),
        (
            (
                b'{"eventVersion":"1","eventSource":"s3.amazonaws.com","eventName":"Get","eventID":"",'
                b'"eventTime":"2026-01-01T00:00:00Z","userIdentity":{"type":"Root"}}'
            ),
            True,
        ),
        (b'{"specversion":"1.0","type":"t","source":"/s","id":"1","time":"2026-01-01T00:00:00Z"}', False),
    ],
)
def test_an_id_is_given_exactly_where_the_format_misses_one(value: bytes, given_id: bool) -> None:
    made = RecordMaker(None, None).make(value, lambda: "f" * 64)
    assert (dict(made.headers).get(HEADER_ID) == b"f" * 64) is given_id


def test_every_record_has_a_salt_of_its_own() -> None:
    maker = RecordMaker(None, None)
    salts = {maker.make(b"{}", lambda: "x").headers[-1] for _ in range(3_000)}
    assert len(salts) == 3_000
