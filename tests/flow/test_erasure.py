"""Lawful removal in the embedded system: what is erased is gone, the rest is as it was, nothing comes back."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from flow.embedded import REFRESH_S, assert_balanced, offsets, opened
from flow.erasure_child import PLACES as STEPS
from flow.running import caught_up, record, running, until
from flow.sealing import tombstones_at
from flow.test_attacks import verified
from flow.test_commands import rows, trailseal
from trailseal.bootstrap import Engines
from trailseal.cli.pipeline import make_consumer
from trailseal.model.outcomes import Head, OutcomeRow
from trailseal.model.query import Query
from trailseal.model.record import HEADER_ADMIN, NewRecord, Position
from trailseal.sealing.admin_records import Clerk, Mandate
from trailseal.sealing.keys import KeyFile
from trailseal.sealing.origin import SealedLog
from trailseal.settings import Settings

CANARY = "4711canary"
NOW = "2026-01-02T03:04:05Z"
MANDATE = Mandate(requested_by="officer", reason="ticket 12", approved_by="counsel")


@contextmanager
def piped(data: Path) -> Iterator[Engines]:
    """The system with its pipeline, as `up` runs it; caught up when the block is left."""
    with opened(data) as engines, running(make_consumer(Settings(data=data, refresh_interval=REFRESH_S), engines)):
        yield engines
        until(lambda: caught_up(engines.log, engines.ledger))


def clerk(engines: Engines, data: Path, keys: KeyFile | None = None) -> Clerk:
    number = engines.ledger.log_number(engines.log.origin)
    assert number is not None
    head = engines.ledger.head(number, 0)
    log = SealedLog.stored(engines.ledger, number, 0)
    assert head is not None
    assert log is not None
    ring = (keys or KeyFile(data / "seal.key")).ring()
    return Clerk(log, head, ring, MANDATE, engines.clock.now_us())


def order(engines: Engines, data: Path, *erased: int, keys: KeyFile | None = None) -> NewRecord:
    made = clerk(engines, data, keys)
    (one,) = made.erasures(tombstones_at(engines, made.log.log, erased))
    return one


def head_of(engines: Engines) -> Head:
    head = engines.ledger.head(engines.ledger.log_number(engines.log.origin) or 0, 0)
    assert head is not None
    return head


def kinds(engines: Engines) -> dict[int, str]:
    return {row.position.offset: row.kind for row in engines.ledger.outcomes(head_of(engines).log, 0)}


def bytes_of(data: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file())


def canary(name: str, **changes: object) -> NewRecord:
    """A record that says the canary wherever it can."""
    made = record(f"{CANARY}{name}", actor={"id": f"{CANARY}@x"}, metadata={"note": CANARY}, **changes)
    return NewRecord(made.value, CANARY.encode(), (*made.headers, ("x", CANARY.encode())))


def fill(engines: Engines) -> None:
    """Offsets 2 event, 4 duplicate, 6 collision, 8 dead letter: all of the canary's; the others are not."""
    others = [record(f"e{number}") for number in range(40)]
    mine = {
        2: canary("a"),
        4: canary("a"),
        6: canary("a", action="other.thing"),
        8: NewRecord(b"broken " + CANARY.encode()),
    }
    engines.log.append([mine.get(number, others[number]) for number in range(40)])
    until(lambda: caught_up(engines.log, engines.ledger))


def test_nothing_of_an_erased_subject_is_left_and_the_books_balance(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with piped(data) as engines:
        fill(engines)
        assert kinds(engines) == {4: "duplicate", 6: "id_collision", 8: "dead_letter"}
        assert CANARY.encode() in bytes_of(data)
        before = head_of(engines)
        engines.log.append([order(engines, data, 2, 4, 6, 8)])
        until(lambda: caught_up(engines.log, engines.ledger))
        assert kinds(engines) == dict.fromkeys((2, 4, 6, 8), "erased")
        assert offsets(engines) == [number for number in range(41) if number not in {2, 4, 6, 8}]
        assert_balanced(engines)
        assert head_of(engines).seal != before.seal
        hits = engines.index.search(Query(tenants=("_trailseal",)), None, 10)
        assert [hit.key.position.offset for hit in hits] == [40]
        (blank, kept) = engines.log.read(0, 2, 2, 1 << 20)  # type: ignore[misc] # records
        assert [blank.is_erased, kept.is_erased] == [True, False]  # type: ignore[union-attr] # records
        assert engines.ledger.kept(Position(before.log, 0, 8)) is None
        assert CANARY.encode() not in bytes_of(data)
    assert CANARY.encode() not in bytes_of(data)


def test_another_event_under_the_id_of_an_erased_one_stays_a_collision(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with piped(data) as engines:
        fill(engines)
        engines.log.append([order(engines, data, 2, 4)])
        until(lambda: caught_up(engines.log, engines.ledger))
        assert kinds(engines) == {2: "erased", 4: "erased", 6: "id_collision", 8: "dead_letter"}
    result = verified(data)
    assert (result.suspicions, result.logs[0].unprovable) == ((), 1)


def test_a_retry_and_a_rebuild_do_not_bring_it_back(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with piped(data) as engines:
        fill(engines)
        retries = [canary("a"), canary("a", action="new.thing"), record("z")]
        engines.log.append([order(engines, data, 2, 4, 6, 8), *retries])
        until(lambda: caught_up(engines.log, engines.ledger))
        expected = dict.fromkeys((2, 4, 6, 8, 41, 42), "erased")
        assert kinds(engines) == expected
    for path in (data / "index").iterdir():
        path.unlink()
    with piped(data) as engines:
        until(engines.index.is_complete)
        engines.log.append([canary("a")])
        until(lambda: caught_up(engines.log, engines.ledger))
        assert kinds(engines) == expected | {44: "erased"}
        assert offsets(engines) == [number for number in range(44) if number not in expected]
        assert_balanced(engines)
        engines.log.append([order(engines, data, 41, 42, 44)])
        until(lambda: caught_up(engines.log, engines.ledger))
        assert_balanced(engines)
        assert CANARY.encode() not in bytes_of(data)


def test_what_only_pretends_to_be_an_order_is_a_dead_letter(tmp_path: Path) -> None:
    data = tmp_path / "data"
    stranger = KeyFile(tmp_path / "stranger.key")
    stranger.make(NOW)
    with piped(data) as engines:
        fill(engines)
        genuine = order(engines, data, 2)
        foreign = order(engines, data, 2, keys=stranger)
        body = json.loads(genuine.value or b"")
        edited = NewRecord(json.dumps(body | {"actor": {"id": "me"}}).encode(), genuine.key, genuine.headers)
        bare = NewRecord(genuine.value, genuine.key, tuple(h for h in genuine.headers if h[0] != HEADER_ADMIN))
        twice = NewRecord(genuine.value, genuine.key, (*genuine.headers, genuine.headers[2]))
        engines.log.append([foreign, edited, bare, twice, record("later")])
        until(lambda: caught_up(engines.log, engines.ledger))
        assert {offset: kind for offset, kind in kinds(engines).items() if offset >= 40} == dict.fromkeys(
            (40, 41, 42, 43), "dead_letter"
        )
        assert 2 in offsets(engines)
        assert_balanced(engines)
    with piped(tmp_path / "other") as engines:
        fill(engines)
        engines.log.append([genuine])
        until(lambda: caught_up(engines.log, engines.ledger))
        assert kinds(engines)[40] == "dead_letter"


@pytest.mark.parametrize("times", [1, 2])
def test_an_order_given_again_changes_nothing_more(tmp_path: Path, times: int) -> None:
    data = tmp_path / "data"
    with piped(data) as engines:
        fill(engines)
        made = order(engines, data, 2, 4)
        engines.log.append([made] * (times + 1))
        until(lambda: caught_up(engines.log, engines.ledger))
        again = {41 + number: "duplicate" for number in range(times)}
        assert kinds(engines) == {2: "erased", 4: "erased", 6: "id_collision", 8: "dead_letter"} | again
        assert_balanced(engines)


def test_the_command_says_what_would_go_and_then_erases_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with piped(data) as engines:
        fill(engines)
        engines.log.append([NewRecord(b'not json: "%b"' % f"{CANARY}@x".encode())])
    who = ("--tenant", "acme", "--actor", f"{CANARY}@x")
    subject = ("erase", *who, "--reason", "ticket 7", "--requested-by", "me")
    told = trailseal(*subject, data=data)
    assert told.returncode == 0
    (counted,) = rows(told)
    assert [counted[name] for name in ("events", "duplicates", "dead_letters", "retries")] == [2, 1, 1, 0]
    assert rows(trailseal(*subject, data=data)) == [counted]
    done = trailseal(*subject, "--yes", data=data)
    assert done.returncode == 0, done.stderr
    assert trailseal("reconcile", data=data).returncode == 0
    assert trailseal(*subject, data=data).returncode == 1
    (said,) = rows(trailseal("search", "--tenant-id", "_trailseal", data=data))
    assert (said["actor"]["id"], said["action"]) == ("me", "trailseal.erased")
    assert said["metadata"]["reason"] == "ticket 7"
    assert said["metadata"]["records"] == 4
    assert f"{CANARY}@x".encode() not in bytes_of(data)


def test_the_command_has_a_running_system_carry_it_out(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with piped(data) as engines:
        fill(engines)
        words = ("--event-id", f"{CANARY}a", "--tenant", "acme", "--reason", "ticket 7", "--yes")
        assert trailseal("erase", *words, data=data).returncode == 0
        assert kinds(engines) == {2: "erased", 4: "erased", 6: "erased", 8: "dead_letter"}
        assert_balanced(engines)


@pytest.mark.parametrize(
    "words",
    [
        ("--tenant", "acme", "--reason", "x"),
        ("--tenant", "acme", "--reason", "x", "--actor", "a", "--event-id", "b"),
        ("--tenant", "acme", "--reason", "because alice asked", "--actor", "alice"),
        ("--tenant", "_trailseal", "--reason", "x", "--actor", "alice"),
    ],
)
def test_an_erasure_that_makes_no_sense_is_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    with piped(tmp_path) as engines:
        engines.log.append([record("a")])
    refused = trailseal("erase", *words, "--requested-by", "me", data=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith(b"trailseal:")


def killed_at_each_step(data: Path, folder: Path) -> Iterator[tuple[str, bool, Path]]:
    """Copies of a log in which a child that carried the pending order out was killed before or after a step."""
    for number, (step, after) in enumerate((step, after) for step in STEPS for after in (False, True)):
        copy = folder / str(number)
        shutil.copytree(data, copy)
        child = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("erasure_child.py")), step, str(int(after)), str(copy)],
            check=False,
            timeout=60,
        )
        assert child.returncode == -signal.SIGKILL, (step, after)
        yield step, after, copy


def test_an_erasure_killed_between_any_two_steps_ends_the_same(tmp_path: Path) -> None:
    """Every step before and after; the child carries the order out, the parent goes on where it died."""
    data = tmp_path / "data"
    with piped(data) as engines:
        fill(engines)
        made = order(engines, data, 2, 4, 6, 8)
    with opened(data, "import") as engines:
        engines.log.append([made, record("after")])
    for step, after, copy in killed_at_each_step(data, tmp_path):
        with piped(copy) as engines:
            until(lambda engines=engines: caught_up(engines.log, engines.ledger))  # type: ignore[misc] # bound now
            assert kinds(engines) == dict.fromkeys((2, 4, 6, 8), "erased"), (step, after)
            assert offsets(engines) == [place for place in range(42) if place not in {2, 4, 6, 8}], (step, after)
            assert_balanced(engines)
            tombstones = [row.tombstone for row in engines.ledger.outcomes(head_of(engines).log, 0)]
            assert [tombstone is not None for tombstone in tombstones] == [True, True, True, False], (step, after)
        assert CANARY.encode() not in bytes_of(copy), (step, after)


def test_after_a_restore_old_orders_are_events_and_copies_of_them_order_nothing(tmp_path: Path) -> None:
    data, copy, restored = tmp_path / "data", tmp_path / "copy", tmp_path / "restored"
    with piped(data) as engines:
        fill(engines)
        made = order(engines, data, 2, 4, 6, 8)
        engines.log.append([made, canary("a"), made])
        until(lambda: caught_up(engines.log, engines.ledger))
        expected = dict.fromkeys((2, 4, 6, 8, 41), "erased") | {42: "duplicate"}
        assert kinds(engines) == expected
    for words, folder in ((("backup", str(copy), "--with-keys"), data), (("restore", str(copy)), restored)):
        done = trailseal(*words, data=folder)
        assert done.returncode == 0, done.stderr
    with piped(restored) as engines:
        until(lambda: caught_up(engines.log, engines.ledger))
        assert head_of(engines).log == 2
        assert kinds(engines) == expected
        engines.log.append([made, record("later")])
        until(lambda: caught_up(engines.log, engines.ledger))
        assert kinds(engines) == expected | {43: "dead_letter"}
        hits = engines.index.search(Query(tenants=("_trailseal",)), None, 10)
        assert [hit.key.position.offset for hit in hits] == [40]
        assert_balanced(engines)
        orders = {row.of for row in engines.ledger.outcomes(2, 0, kinds=("erased",))}
        assert orders == {Position(1, 0, 40)}
    told = trailseal("verify", data=restored)
    assert told.returncode == 0, told.stdout + told.stderr


def span(row: OutcomeRow) -> range:
    return range(row.position.offset, row.position.offset + row.count)


def held(data: Path) -> list[int]:
    """The offsets at which the log's file holds the canary."""
    with closing(sqlite3.connect(data / "log.sqlite")) as log:
        found = log.execute("SELECT offset FROM records WHERE instr(value, ?)", (CANARY.encode(),)).fetchall()
    return [place for (place,) in found]


MONTHS = ("2026-01", "2026-02", "2026-03")


def dated(number: int, month: str, **changes: object) -> NewRecord:
    return record(f"e{number}", timestamp=f"{month}-04T05:06:07Z", **changes)


def test_months_are_dropped_by_an_order_and_what_comes_late_for_them_is_expired(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with piped(data) as engines:
        engines.log.append([dated(number, MONTHS[number % 3], metadata={"note": CANARY}) for number in range(30)])
        engines.log.append([dated(3, MONTHS[0], metadata={"note": CANARY}), record("kept"), NewRecord(b"no event")])
    words = ("expire", "--reason", "policy", "--requested-by", "me", "--before")
    told = trailseal(*words, "2026-03", data=data)
    assert [(row["month"], row["events"], row["duplicates"]) for row in rows(told)] == [
        ("2026.01", 10, 1),
        ("2026.02", 10, 0),
    ]
    assert trailseal(*words, "2026-01", data=data).returncode == 1
    assert trailseal(*words, "2999-01", data=data).returncode == 2
    done = trailseal(*words, "2026-03", "--yes", data=data)
    assert done.returncode == 0, done.stderr
    with piped(data) as engines:
        assert engines.log.bounds(0).next == 35
        engines.log.append(
            [dated(99, MONTHS[1]), dated(98, MONTHS[2]), record("e3", timestamp="2026-01-04T05:06:07Z")]
        )
        until(lambda: caught_up(engines.log, engines.ledger))
        gone = {place: row.of for row in engines.ledger.outcomes(1, 0, kinds=("expired",)) for place in span(row)}
        january, february = Position(1, 0, 33), Position(1, 0, 34)
        expected = {place: (january, february)[place % 3] for place in range(30) if place % 3 < 2}
        assert gone == expected | {30: january, 35: february, 37: january}
        assert offsets(engines) == [*range(2, 30, 3), 31, 33, 34, 36]
        assert_balanced(engines)
    assert trailseal("verify", data=data).returncode == 0
    assert held(data) == list(range(2, 30, 3))
    with closing(sqlite3.connect(data / "ledger.sqlite", isolation_level=None)) as ledger:
        ledger.execute("UPDATE outcomes SET of_offset = 34 WHERE offset = 37")
    told = trailseal("verify", "--form", "ndjson", data=data)
    assert told.returncode == 1
    assert ("unordered-removal", "1/0/37") in [(row.get("kind"), row.get("position")) for row in rows(told)]


def late_for_a_dropped_month(data: Path) -> None:
    """January is dropped by the order at 5; the canary's event at 6, its twin at 7 and another's at 8 are late."""
    with piped(data) as engines:
        engines.log.append([dated(number, MONTHS[0]) for number in range(3)])
        engines.log.append([record("kept"), NewRecord(b"no event")])
    words = ("--reason", "policy", "--requested-by", "me", "--before", "2026-02", "--yes")
    assert trailseal("expire", *words, data=data).returncode == 0
    with piped(data) as engines:
        engines.log.append([canary("a", timestamp=f"{MONTHS[0]}-04T05:06:07Z")] * 2 + [dated(9, MONTHS[0])])
        until(lambda: caught_up(engines.log, engines.ledger))
        assert kinds(engines) == {4: "dead_letter", **dict.fromkeys((0, 6, 7, 8), "expired")}
        assert_balanced(engines)
    assert held(data) == [6, 7]


def test_what_came_late_for_a_dropped_month_is_erased_by_the_next_expiry(tmp_path: Path) -> None:
    data = tmp_path / "data"
    late_for_a_dropped_month(data)
    words = ("expire", "--reason", "policy", "--requested-by", "me", "--before")
    assert trailseal(*words, "2026-01", data=data).returncode == 1
    told = trailseal(*words, "2026-02", data=data)
    assert rows(told) == [{"month": "2026.01", "partition": "1/0", "events": 0, "duplicates": 0, "late": 3}]
    assert held(data) == [6, 7]
    assert trailseal(*words, "2026-02", "--yes", data=data).returncode == 0
    assert CANARY.encode() not in bytes_of(data)
    with opened(data) as engines:
        assert kinds(engines) == {4: "dead_letter", 0: "expired", **dict.fromkeys((6, 7, 8), "erased")}
        assert {row.of for row in engines.ledger.outcomes(1, 0, kinds=("erased",))} == {Position(1, 0, 9)}
        assert_balanced(engines)
    assert trailseal(*words, "2026-02", "--yes", data=data).returncode == 1
    with piped(data) as engines:
        engines.log.append([canary("a", timestamp=f"{MONTHS[0]}-04T05:06:07Z")])
        until(lambda: caught_up(engines.log, engines.ledger))
        assert kinds(engines)[10] == "erased"
        assert offsets(engines) == [3, 5, 9]
    assert trailseal("verify", data=data).returncode == 0


def test_a_subject_is_erased_from_what_came_late_too(tmp_path: Path) -> None:
    data = tmp_path / "data"
    late_for_a_dropped_month(data)
    words = ("erase", "--tenant", "acme", "--actor", f"{CANARY}@x", "--reason", "12", "--requested-by", "me")
    (found,) = rows(trailseal(*words, data=data))
    assert [found[name] for name in ("events", "retries", "late")] == [0, 0, 2]
    assert trailseal(*words, "--yes", data=data).returncode == 0
    assert CANARY.encode() not in bytes_of(data)
    with opened(data) as engines:
        assert kinds(engines) == {
            4: "dead_letter",
            **dict.fromkeys((0, 8), "expired"),
            **dict.fromkeys((6, 7), "erased"),
        }
        assert_balanced(engines)
    assert trailseal("verify", data=data).returncode == 0


def test_an_erasure_of_what_came_late_killed_between_any_two_steps_ends_the_same(tmp_path: Path) -> None:
    data = tmp_path / "data"
    late_for_a_dropped_month(data)
    with opened(data, "import") as engines:
        engines.log.append([order(engines, data, 6, 7), record("after")])
    for step, after, copy in killed_at_each_step(data, tmp_path):
        with piped(copy) as engines:
            until(lambda engines=engines: caught_up(engines.log, engines.ledger))  # type: ignore[misc] # bound now
            assert {place for place, kind in kinds(engines).items() if kind == "erased"} == {6, 7}, (step, after)
            assert_balanced(engines)
        assert CANARY.encode() not in bytes_of(copy), (step, after)


def test_what_came_right_before_an_order_is_the_same_though_carrying_it_out_was_killed(tmp_path: Path) -> None:
    """A duplicate of the erased event, taken in with the order, came before it and so is no retry."""
    data = tmp_path / "data"
    with piped(data) as engines:
        fill(engines)
        made = order(engines, data, 2, 6)
    with opened(data, "import") as engines:
        engines.log.append([canary("a"), made])
    for step, after, copy in killed_at_each_step(data, tmp_path):
        with piped(copy) as engines:
            until(lambda engines=engines: caught_up(engines.log, engines.ledger))  # type: ignore[misc] # bound now
            expected = {2: "erased", 4: "duplicate", 6: "erased", 8: "dead_letter", 40: "duplicate"}
            assert kinds(engines) == expected, (step, after)
            assert_balanced(engines)
        told = trailseal("verify", data=copy)
        assert told.returncode == 0, (step, after, told.stdout)
