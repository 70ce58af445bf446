"""Orders of removals, as they are written."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import pytest

from trailseal.formats import decode_admin
from trailseal.merkle.admin import MAX_RUNS
from trailseal.merkle.errors import UntrustedNote
from trailseal.merkle.genesis import Genesis
from trailseal.model.outcomes import Head
from trailseal.model.record import HEADER_ADMIN, HEADER_TOMBSTONES, NewRecord, Position, Record
from trailseal.sealing.admin_records import Clerk, Mandate
from trailseal.sealing.keys import KeyFile
from trailseal.sealing.origin import SealedLog
from trailseal.sealing.state import SealState
from trailseal.sealing.tombstones import TOMBSTONES_DETAIL, signed_tombstones

ORIGIN = "site/memory/1/0"
SIZE = 2_000_000
NOW_MS = 1_790_000_000_000


def clerk(folder: Path) -> Clerk:
    keys = KeyFile(folder / "seal.key").make("2026-01-02T03:04:05Z")
    head = Head(1, 0, 0, SIZE - 1, "1", SealState().to_bytes())
    log = SealedLog(1, 0, Genesis(ORIGIN, 0, keys.verifiers(ORIGIN), (), "first epoch"), 0)
    return Clerk(log, head, keys, Mandate("officer", "policy"), NOW_MS * 1_000)


def named(record: NewRecord) -> list[range]:
    """The runs of offsets that an order names."""
    header = dict(record.headers)[HEADER_ADMIN] or b""
    runs = [line.split(b" ")[1].split(b"-") for line in header.split(b"\n") if line.startswith(b"offsets ")]
    return [range(int(first), int(last) + 1) for first, last in runs]


def test_an_expiry_names_at_most_half_a_million_offsets_and_ten_thousand_runs(tmp_path: Path) -> None:
    offsets = [*range(700_000), *range(800_000, 800_000 + 2 * MAX_RUNS, 2)]
    made = [named(record) for record in clerk(tmp_path).expiries(offsets)]
    assert [offset for runs in made for run in runs for offset in run] == offsets
    assert [(sum(map(len, runs)), len(runs)) for runs in made] == [(500_000, 1), (209_999, MAX_RUNS), (1, 1)]


def test_an_erasure_says_which_events_it_is_for_in_a_record_that_kafka_takes(tmp_path: Path) -> None:
    tombstones = {2 * offset: sha256(b"%d" % offset).digest() if offset % 3 else None for offset in range(60_000)}
    tombstones |= {offset: sha256(b"%d" % offset).digest() for offset in range(200_000, 260_000)}
    seen: list[int] = []
    for record in clerk(tmp_path).erasures(tombstones):
        offsets = [offset for run in named(record) for offset in run]
        seen += offsets
        stored = Record(Position(1, 0, SIZE), NOW_MS, record.key, record.value, record.headers)
        wanted = {one[:8] for offset in offsets if (one := tombstones[offset]) is not None}
        assert signed_tombstones(stored, decode_admin(stored).event.metadata) == wanted
        assert len(record.value or b"") + sum(len(value or b"") for _, value in record.headers) < 900_000
    assert seen == sorted(tombstones)


def test_tombstones_that_are_not_those_of_the_signed_event_are_refused(tmp_path: Path) -> None:
    made = next(clerk(tmp_path).erasures({3: bytes(range(32)), 5: None, 9: bytes(range(1, 33))}))
    details = {TOMBSTONES_DETAIL: sha256(bytes(range(8)) + bytes(range(1, 9))).hexdigest()}

    def read(header: bytes | None, said: Mapping[str, object] = details) -> frozenset[bytes] | None:
        others = tuple(one for one in made.headers if one[0] != HEADER_TOMBSTONES)
        more = () if header is None else ((HEADER_TOMBSTONES, header),)
        return signed_tombstones(Record(Position(1, 0, 20), 0, made.key, made.value, others + more), said)

    genuine = dict(made.headers)[HEADER_TOMBSTONES]
    assert genuine is not None
    assert read(genuine) == {bytes(range(8)), bytes(range(1, 9))}
    assert read(None, {}) is None  # an order that an older version made
    for header, said in (
        (None, details),
        (genuine, {}),
        (genuine[:8], details),
        (genuine + bytes(8), details),
        *((odd, {TOMBSTONES_DETAIL: sha256(odd).hexdigest()}) for odd in (genuine[8:] + genuine[:8], bytes(16))),
    ):
        with pytest.raises(UntrustedNote):
            read(header, said)
