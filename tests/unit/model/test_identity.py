"""Ids and hashes: what is the same stays the same, and nothing else is."""

from __future__ import annotations

import struct
import threading
import uuid
from hashlib import sha256
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from trailseal.model.identity import (
    collision_document_id,
    content_hash,
    derived_id,
    document_id,
    hashed_id,
    uuid7,
)
from trailseal.model.record import Position

texts = st.text(max_size=12)
tenants = st.text(min_size=1, max_size=12).filter(lambda text: "/" not in text)
parts = st.tuples(st.none() | st.binary(max_size=12), texts, texts, texts)


@given(st.tuples(tenants, texts), st.tuples(tenants, texts))
def test_two_events_share_a_document_name_only_if_they_share_tenant_and_id(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert (document_id(*one) == document_id(*other)) == (one == other)


@given(tenants, texts)
def test_no_event_has_the_document_name_of_a_collision(tenant: str, event_id: str) -> None:
    assert document_id(tenant, event_id) != collision_document_id(Position(1, 0, 7))
    assert collision_document_id(Position(1, 0, 7)) == "/1/0/7"


@given(parts, parts)
def test_content_hashes_differ_where_any_part_does(
    one: tuple[bytes | None, str, str, str], other: tuple[bytes | None, str, str, str]
) -> None:
    assert (content_hash(*one) == content_hash(*other)) == (one == other)


def test_bytes_cannot_move_between_the_parts_of_a_content_hash() -> None:
    hashes = {
        content_hash(b"ab", "c", "d", "e"),
        content_hash(b"a", "bc", "d", "e"),
        content_hash(b"abc", "", "d", "e"),
        content_hash(b"ab", "cd", "", "e"),
        content_hash(b"", "", "", ""),
        content_hash(None, "", "", ""),
    }
    assert len(hashes) == 6
    assert {len(digest) for digest in hashes} == {32}


def test_the_hashes_are_frozen() -> None:
    lengths = struct.pack(">qIII", 2, 1, 1, 6)
    by_hand = sha256(b"trailseal content 1\n" + lengths + b"{}tinative").hexdigest()
    assert content_hash(b"{}", "t", "i", "native").hex() == by_hand
    assert by_hand == "b8db451d21d3d979cb122ed0d1974e7917d2b66ae9d8b9988bf7faff8ed712ff"
    assert derived_id("origin", 3, 5) == "6ecba145e452585e752caff322583e197018a4f9a68759747941b281f91a11ac"
    assert hashed_id("é") == sha256("é".encode()).hexdigest()


@given(
    st.tuples(texts, st.integers(0, 5), st.integers(0, 5)), st.tuples(texts, st.integers(0, 5), st.integers(0, 5))
)
def test_derived_ids_differ_where_the_place_does(one: tuple[str, int, int], other: tuple[str, int, int]) -> None:
    assert (derived_id(*one) == derived_id(*other)) == (one == other)


def test_a_uuid7_carries_version_variant_and_time() -> None:
    made = uuid.UUID(uuid7(1_772_366_400_123))
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert made.int >> 80 >= 1_772_366_400_123


def test_uuid7s_grow_even_when_the_clock_stands_or_goes_back() -> None:
    start = 4_000_000_000_000
    made = [uuid7(start) for _ in range(5_000)] + [uuid7(start - 1_000) for _ in range(10)]
    assert all(earlier < later for earlier, later in pairwise(made))
    assert (uuid.UUID(made[-1]).int >> 80) - start < 5


def test_uuid7s_of_many_threads_are_distinct() -> None:
    made: list[str] = []

    def work() -> None:
        made.extend([uuid7(1_772_366_400_000) for _ in range(1_000)])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8_000
