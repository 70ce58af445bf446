from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trailseal.merkle.errors import InvalidEncoding
from trailseal.merkle.frame import (
    SALT_HEADER,
    Frame,
    commitment,
    decode_frame,
    derived_salt,
    encode_frame,
    header_salt,
    salt_and_frame,
)

SALT = bytes(range(32))
times = st.integers(-(2**63), 2**63 - 1)
nullable = st.one_of(st.none(), st.binary(max_size=30))
header_names = st.one_of(
    st.sampled_from([SALT_HEADER, "trailseal-id", "traceparent", ""]),
    st.binary(max_size=8).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
)
header_lists = st.lists(st.tuples(header_names, st.one_of(nullable, st.just(SALT))), max_size=5)


def without_counted_salt(headers: list[tuple[str, bytes | None]]) -> tuple[tuple[str, bytes | None], ...]:
    if header_salt(headers) is None:
        return tuple(headers)
    return tuple(header for header in headers if header[0] != SALT_HEADER)


def plain_frame(
    time: int, key: bytes | None, value: bytes | None, headers: tuple[tuple[str, bytes | None], ...]
) -> bytes:
    def nullable_bytes(data: bytes | None) -> bytes:
        return b"\xff" * 4 if data is None else len(data).to_bytes(4, "big") + data

    named = [(name.encode("utf-8", "surrogateescape"), content) for name, content in headers]
    joined = b"".join(nullable_bytes(name) + nullable_bytes(content) for name, content in named)
    start = b"\x01" + time.to_bytes(8, "big", signed=True)
    return start + nullable_bytes(key) + nullable_bytes(value) + len(headers).to_bytes(4, "big") + joined


@settings(deadline=None)
@given(times, nullable, nullable, header_lists)
def test_a_frame_is_read_back_whole(
    time: int, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    frame = decode_frame(encode_frame(time, key, value, headers))
    assert frame == Frame(time, key, value, without_counted_salt(headers))
    assert encode_frame(frame.timestamp_ms, frame.key, frame.value, frame.headers) == encode_frame(
        time, key, value, headers
    )


@settings(deadline=None)
@given(times, nullable, nullable, header_lists)
def test_the_fast_way_gives_what_the_plain_way_gives(
    time: int, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    plain = plain_frame(time, key, value, without_counted_salt(headers))
    assert salt_and_frame(time, key, value, headers) == (header_salt(headers), plain)


@pytest.mark.parametrize("length", [4095, 4096, 70_000])
def test_long_keys_values_and_headers_are_framed_like_short_ones(length: int) -> None:
    long = bytes(length)
    for key, value, content in ((long, b"", b""), (b"", long, b""), (b"", b"", long)):
        headers = [("trailseal-id", content)]
        assert encode_frame(0, key, value, headers) == plain_frame(0, key, value, tuple(headers))
    many = [("trailseal-id", b"")] * length
    assert encode_frame(0, b"", b"", many) == plain_frame(0, b"", b"", tuple(many))


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_bytes_that_are_read_as_a_frame_are_the_only_ones_for_that_record(data: bytes) -> None:
    for candidate in (data, b"\x01" + data):
        try:
            frame = decode_frame(candidate)
        except InvalidEncoding:
            continue
        assert encode_frame(frame.timestamp_ms, frame.key, frame.value, frame.headers) == candidate


def test_a_frame_has_the_documented_bytes() -> None:
    headers = [("trailseal-id", b"7"), (SALT_HEADER, SALT), ("h", None), ("é", b"")]
    assert encode_frame(1_700_000_000_000, None, b"{}", headers) == bytes.fromhex(
        "01"
        "0000018bcfe56800"
        "ffffffff"
        "00000002" + b"{}".hex() + "00000003"
        "0000000c" + b"trailseal-id".hex() + "00000001" + b"7".hex() + "00000001" + b"h".hex() + "ffffffff"
        "00000002c3a9"
        "00000000"
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((0, None, b"v", []), (0, b"", b"v", [])),
        ((0, b"k", None, []), (0, b"k", b"", [])),
        ((0, b"ab", b"c", []), (0, b"a", b"bc", [])),
        ((0, b"k", b"v", [("a", b"b")]), (0, b"k", b"v", [("ab", b"")])),
        ((0, b"k", b"v", [("a", None)]), (0, b"k", b"v", [("a", b"")])),
        ((0, b"k", b"v", [("a", b"1"), ("b", b"2")]), (0, b"k", b"v", [("b", b"2"), ("a", b"1")])),
        ((0, b"k", b"v", []), (1, b"k", b"v", [])),
        ((0, b"k", b"v", [("a", b"1")]), (0, b"k", b"v", [("a", b"1"), ("a", b"1")])),
    ],
)
def test_records_that_differ_anywhere_have_different_frames(first: tuple, second: tuple) -> None:  # type: ignore[type-arg]  # argument lists
    assert encode_frame(*first) != encode_frame(*second)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("a", SALT)],
        [(SALT_HEADER, None)],
        [(SALT_HEADER, SALT[:-1])],
        [(SALT_HEADER, SALT + b"\x00")],
        [(SALT_HEADER, SALT), (SALT_HEADER, SALT)],
        [(SALT_HEADER, SALT), (SALT_HEADER, b"")],
        [(SALT_HEADER, b""), (SALT_HEADER, SALT)],
        [(SALT_HEADER.upper(), SALT)],
    ],
)
def test_a_salt_that_does_not_count_stays_in_the_frame(headers: list[tuple[str, bytes | None]]) -> None:
    assert header_salt(headers) is None
    assert decode_frame(encode_frame(5, b"k", b"v", headers)).headers == tuple(headers)


def test_a_salt_counts_once_with_32_bytes_wherever_it_stands_and_is_left_out() -> None:
    bare = encode_frame(5, b"k", b"v", [("a", b"1"), ("b", None)])
    for at in range(3):
        headers: list[tuple[str, bytes | None]] = [("a", b"1"), ("b", None)]
        headers.insert(at, (SALT_HEADER, SALT))
        assert header_salt(headers) == SALT
        assert encode_frame(5, b"k", b"v", headers) == bare


def test_a_frame_with_a_counting_salt_in_it_is_refused() -> None:
    inside = encode_frame(5, None, None, [("trailseal-sale", SALT)]).replace(b"trailseal-sale", b"trailseal-salt")
    with pytest.raises(InvalidEncoding, match="leaves out"):
        decode_frame(inside)


def test_a_frame_cut_anywhere_or_going_on_is_refused() -> None:
    frame = encode_frame(5, b"key", b"value", [("a", b"1"), ("b", None)])
    for end in range(len(frame)):
        with pytest.raises(InvalidEncoding):
            decode_frame(frame[:end])
    for damaged in (frame + b"\x00", b"\x02" + frame[1:]):
        with pytest.raises(InvalidEncoding):
            decode_frame(damaged)


def test_a_header_without_a_name_is_refused() -> None:
    frame = encode_frame(5, None, None, [("", b"x")])
    nameless = frame[:-9] + b"\xff\xff\xff\xff" + frame[-5:]
    with pytest.raises(InvalidEncoding, match="no name"):
        decode_frame(nameless)


def test_a_time_or_name_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(InvalidEncoding):
        encode_frame(2**63, None, None, [])
    with pytest.raises(InvalidEncoding):
        encode_frame(0, None, None, [("\ud800", None)])


@settings(deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=300))
def test_a_commitment_is_the_hmac_of_the_standard_library(salt: bytes, frame: bytes) -> None:
    assert commitment(salt, frame) == hmac.new(salt, frame, hashlib.sha256).digest()


def test_a_derived_salt_depends_on_key_origin_and_offset() -> None:
    salt = derived_salt(SALT, "audit.example/a", 7)
    assert salt == hmac.new(SALT, b"audit.example/a\x00\x00\x00\x00\x00\x00\x00\x07", hashlib.sha256).digest()
    others = {
        derived_salt(SALT, "audit.example/a", 8),
        derived_salt(SALT, "audit.example/b", 7),
        derived_salt(bytes(32), "audit.example/a", 7),
    }
    assert salt not in others
    assert len(others) == 3


def test_salts_keys_and_offsets_out_of_range_are_refused() -> None:
    for wrong in (b"", bytes(31), bytes(33)):
        with pytest.raises(InvalidEncoding):
            commitment(wrong, b"")
        with pytest.raises(InvalidEncoding):
            derived_salt(wrong, "o", 0)
    for offset in (-1, 2**64):
        with pytest.raises(InvalidEncoding):
            derived_salt(SALT, "o", offset)
