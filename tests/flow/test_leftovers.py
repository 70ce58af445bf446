"""`trailseal erase --leftovers`: what came late or again is named by an order, what only says so is not."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from flow.embedded import assert_balanced, offsets, opened
from flow.running import caught_up, record, until
from flow.test_commands import rows, trailseal
from flow.test_erasure import (
    CANARY,
    MONTHS,
    bytes_of,
    canary,
    dated,
    held,
    killed_at_each_step,
    kinds,
    order,
    piped,
)
from trailseal.event_consumer.decode import decode_one
from trailseal.model.projection import Entry
from trailseal.model.record import NewRecord, Position
from trailseal.sealing.tombstones import known_key, tombstone_of

WORDS = ("erase", "--leftovers", "--reason", "ticket 9", "--requested-by", "me")
ERASURE, EXPIRY, LAST, GOOD = 6, 7, 12, 12
"""Offsets: the order that erased 3, the one that dropped January, the last, and an event that is neither."""
RETRIES, LATE = {8, 9}, {10, 11}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An erased event that came again twice, and two events that came late for a dropped month."""
    folder = tmp_path_factory.mktemp("leftovers") / "data"
    with piped(folder) as engines:
        engines.log.append([dated(number, MONTHS[0]) for number in range(3)])
        engines.log.append([canary("b"), record("kept"), NewRecord(b"no event")])
    who = ("--reason", "12", "--requested-by", "me", "--yes")
    assert trailseal("erase", "--tenant", "acme", "--event-id", f"{CANARY}b", *who, data=folder).returncode == 0
    assert trailseal("expire", "--before", "2026-02", *who, data=folder).returncode == 0
    with piped(folder) as engines:
        engines.log.append([canary("b"), canary("b", action="other.thing")])
        engines.log.append([canary("a", timestamp=f"{MONTHS[0]}-04T05:06:07Z"), dated(9, MONTHS[0])])
        engines.log.append([record("good", metadata={"note": CANARY})])
    return folder


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "data"))


def removals(data: Path) -> dict[int, tuple[str, int | None]]:
    """Kind and order of what was removed, by offset."""
    with opened(data, "read") as engines:
        number = engines.ledger.log_number(engines.log.origin) or 0
        found = engines.ledger.outcomes(number, 0, kinds=("erased", "expired"))
        return {row.position.offset: (row.kind, None if row.of is None else row.of.offset) for row in found}


def counted(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    (row,) = rows(done)
    return {name: row[name] for name in ("retries", "late", "forgotten", "contradicted")}


def test_what_came_late_or_again_is_named_by_one_order_and_found_no_more(data: Path) -> None:
    before = removals(data)
    assert before == {
        0: ("expired", EXPIRY),
        3: ("erased", ERASURE),
        **dict.fromkeys(RETRIES, ("erased", ERASURE)),
        **dict.fromkeys(LATE, ("expired", EXPIRY)),
    }
    with opened(data, "read") as engines:
        kept = engines.ledger.seals.checkpoint(1, 0)
        assert kept is not None
    checkpoint = data.parent / "checkpoint"
    checkpoint.write_bytes(kept.note)
    told = trailseal(*WORDS, data=data)
    assert told.returncode == 0, told.stderr
    assert counted(told) == {"retries": 2, "late": 2, "forgotten": 0, "contradicted": 0}
    assert (removals(data), set(held(data))) == (before, {8, 9, 10, GOOD})
    done = trailseal(*WORDS, "--approved-by", "counsel", "--yes", data=data)
    assert done.returncode == 0, done.stderr
    named = LAST + 1
    assert removals(data) == before | dict.fromkeys(RETRIES | LATE, ("erased", named))
    assert held(data) == [GOOD]
    with opened(data) as engines:
        assert offsets(engines) == [4, ERASURE, EXPIRY, GOOD, named]
        assert_balanced(engines)
    (said, *_) = rows(trailseal("search", "--tenant-id", "_trailseal", data=data))
    assert {name: said["metadata"][name] for name in ("retries", "late", "records")} == {
        "retries": 2,
        "late": 2,
        "records": 4,
    }
    again = trailseal(*WORDS, "--yes", data=data)
    assert again.returncode == 1
    assert counted(again) == {"retries": 0, "late": 0, "forgotten": 0, "contradicted": 0}
    verified = trailseal("verify", "--checkpoint", str(checkpoint), data=data)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_what_comes_again_after_that_is_kept_out_and_found_by_the_next_run(data: Path) -> None:
    assert trailseal(*WORDS, "--yes", data=data).returncode == 0
    with piped(data) as engines:
        engines.log.append([canary("b"), canary("a", timestamp=f"{MONTHS[0]}-04T05:06:07Z"), record("more")])
    told = trailseal(*WORDS, "--yes", data=data)
    assert told.returncode == 0, told.stderr
    assert counted(told) == {"retries": 2, "late": 0, "forgotten": 0, "contradicted": 0}
    assert held(data) == [GOOD]
    assert trailseal("verify", data=data).returncode == 0


def test_leftovers_of_a_log_that_was_restored_are_named_by_an_order_of_the_new_epoch(data: Path) -> None:
    copy, restored = data.parent / "copy", data.parent / "restored"
    for words, folder in ((("backup", str(copy), "--with-keys"), data), (("restore", str(copy)), restored)):
        done = trailseal(*words, data=folder)
        assert done.returncode == 0, done.stderr
    with piped(restored) as engines:
        engines.log.append([canary("b"), dated(8, MONTHS[0])])
    told = trailseal(*WORDS, "--yes", data=restored)
    assert told.returncode == 0, told.stderr
    assert counted(told) == {"retries": 3, "late": 3, "forgotten": 0, "contradicted": 0}
    assert held(restored) == [GOOD]
    verified = trailseal("verify", data=restored)
    assert verified.returncode == 0, verified.stdout + verified.stderr


@contextmanager
def edited(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def add_row(data: Path, kind: int, of: int, event_id: str | None, tombstone: bytes | None) -> None:
    """Have the ledger say it of the good event."""
    with edited(data / "ledger.sqlite") as ledger:
        ledger.execute(
            "INSERT INTO outcomes (log, partition, kind, offset, count, span, of_log, of_partition, of_offset,"
            " event_id, tombstone) VALUES (1, 0, ?, ?, 1, 1, 1, 0, ?, ?, ?)",
            (kind, GOOD, of, event_id, tombstone),
        )


def tombstone_at(data: Path, offset: int) -> bytes:
    with opened(data, "read") as engines:
        (row,) = engines.ledger.outcomes(1, 0, offset, offset + 1, ("erased",))
        assert row.tombstone is not None
        return row.tombstone


def tombstone_made(data: Path) -> bytes:
    """That of the good event, by whoever can read the ledger's key."""
    with opened(data, "read") as engines:
        (found,) = engines.log.fetch([Position(1, 0, GOOD)])
        assert found is not None
        made = decode_one(found, engines.log.origin)
        key = known_key(engines.ledger)
        assert isinstance(made, Entry)
        assert key is not None
        return tombstone_of(made, key)


def late(data: Path) -> None:
    add_row(data, 4, EXPIRY, "good", None)


def late_by_the_wrong_order(data: Path) -> None:
    add_row(data, 4, ERASURE, "good", None)


def late_by_no_order(data: Path) -> None:
    add_row(data, 4, 4, "good", None)


def late_and_edited_to_fit(data: Path) -> None:
    add_row(data, 4, EXPIRY, "good", None)
    with edited(data / "log.sqlite") as log:
        ((value,),) = log.execute("SELECT value FROM records WHERE offset = ?", (GOOD,)).fetchall()
        body = json.loads(value) | {"timestamp": f"{MONTHS[0]}-04T05:06:07Z"}
        log.execute("UPDATE records SET value = ? WHERE offset = ?", (json.dumps(body).encode(), GOOD))


def retry_of_another(data: Path) -> None:
    add_row(data, 5, ERASURE, None, tombstone_at(data, 3))


def retry_of_what_was_never_erased(data: Path) -> None:
    add_row(data, 5, ERASURE, None, tombstone_made(data))


def retry_with_the_erased_row_made_to_fit(data: Path) -> None:
    made = tombstone_made(data)
    with edited(data / "ledger.sqlite") as ledger:
        ledger.execute("UPDATE outcomes SET tombstone = ? WHERE offset = 3", (made,))
    add_row(data, 5, ERASURE, None, made)


def retry_of_what_expired(data: Path) -> None:
    add_row(data, 5, EXPIRY, None, tombstone_made(data))


def retry_without_an_order(data: Path) -> None:
    add_row(data, 5, 4, None, tombstone_made(data))


@pytest.mark.parametrize(
    ("forge", "why"),
    [
        (late, b"its event is of 2026.03"),
        (late_by_the_wrong_order, b"which dropped none"),
        (late_by_no_order, b"no genuine order at 1/0/4"),
        (late_and_edited_to_fit, b"not the one that was sealed"),
        (retry_of_another, b"is another event"),
        (retry_of_what_was_never_erased, b"erased nothing like it"),
        (retry_with_the_erased_row_made_to_fit, b"erased nothing like it"),
        (retry_of_what_expired, b"erased nothing like it"),
        (retry_without_an_order, b"no genuine order at 1/0/4"),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_a_forged_row_over_a_good_event_is_told_and_never_ordered(
    data: Path, forge: Callable[[Path], None], why: bytes
) -> None:
    forge(data)
    expiring = trailseal("expire", "--before", "2026-02", "--reason", "12", "--requested-by", "me", data=data)
    assert [(row["events"], row["late"]) for row in rows(expiring)] == [(0, 2)]
    assert why in expiring.stderr
    told = trailseal(*WORDS, "--yes", data=data)
    assert told.returncode == 0, told.stderr
    assert counted(told) == {"retries": 2, "late": 2, "forgotten": 0, "contradicted": 1}
    assert f"Not ordered: 1/0/{GOOD}, ".encode() in told.stderr
    assert why in told.stderr
    assert held(data) == [GOOD]
    verified = trailseal("verify", "--form", "ndjson", data=data)
    assert verified.returncode == 1
    assert f"1/0/{GOOD}" in {row.get("position") for row in rows(verified)}
    alone = trailseal(*WORDS, "--yes", data=data)
    assert alone.returncode == 1
    assert held(data) == [GOOD]


@pytest.mark.parametrize("words", [("--tenant", "acme"), ("--actor", "alice"), ("--event-id", "e1")])
def test_leftovers_are_of_everybody(tmp_path: Path, words: tuple[str, ...]) -> None:
    refused = trailseal(*WORDS, *words, data=tmp_path / "data")
    assert refused.returncode == 2
    assert refused.stderr.startswith(b"trailseal:")


def test_an_order_of_leftovers_killed_between_any_two_steps_ends_the_same(data: Path, tmp_path: Path) -> None:
    with opened(data, "import") as engines:
        engines.log.append([order(engines, data, *RETRIES, *LATE), canary("b")])
    said = removals(data)
    named, last = LAST + 1, LAST + 2
    for step, after, copy in killed_at_each_step(data, tmp_path):
        with piped(copy) as engines:
            until(lambda engines=engines: caught_up(engines.log, engines.ledger))  # type: ignore[misc] # bound now
            erased = engines.ledger.outcomes(1, 0, kinds=("erased",))
            tombstones = {row.position.offset: row.tombstone for row in erased}
            assert tombstones.keys() == {3, *RETRIES, *LATE, last}, (step, after)
            assert {tombstones[place] for place in (*RETRIES, last)} == {tombstones[3]}, (step, after)
            assert kinds(engines)[5] == "dead_letter"
            assert_balanced(engines)
        expected = dict.fromkeys(RETRIES | LATE, ("erased", named)) | {last: ("erased", ERASURE)}
        assert removals(copy) == said | expected, (step, after)
        assert held(copy) == [GOOD, last], (step, after)
        told = trailseal("verify", data=copy)
        assert told.returncode == 0, (step, after, told.stdout)
    assert CANARY.encode() in bytes_of(data), "nobody carried it out here"
