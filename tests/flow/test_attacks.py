"""Somebody edits the real files of a sealed log: one test per row of the threat model, each found and named.

What is about the index and the ledger is in `AttackContract`, for both profiles; the records are here.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from flow.attack_contract import COLLISION, EARLIER, EVENTS, SALTLESS, AttackContract, entry_at, honest_records
from flow.embedded import opened
from flow.running import caught_up, record, running, until
from flow.sealing import tombstones_at, witness
from trailseal.adapters.ledgers.sqlite_rows import KINDS
from trailseal.bootstrap import Engines, open_engines
from trailseal.cli.pipeline import make_consumer
from trailseal.merkle.checkpoints import Checkpoint
from trailseal.merkle.notes import VerifierKey
from trailseal.model.outcomes import OutcomeRow
from trailseal.model.projection import Entry, colliding
from trailseal.model.record import NewRecord, Position, Record
from trailseal.sealing.admin_records import Clerk, Mandate
from trailseal.sealing.checkpoints import merged
from trailseal.sealing.keys import KeyFile, KeyRing
from trailseal.sealing.origin import SealedLog
from trailseal.settings import Settings
from trailseal.verification.result import Range, Verification
from trailseal.verification.suspicions import Suspicion
from trailseal.verification.trust import Trust
from trailseal.verification.whole import verify_logs


def settings_of(data: Path, **more: str) -> Settings:
    return Settings(data=data, refresh_interval=0.1, **more)  # type: ignore[arg-type] # texts, as from a file


def run_pipeline(data: Path, *records: NewRecord, **more: str) -> None:
    """Append, take in, seal and sign, as `up` does, then stop."""
    with opened(data) as engines:
        if records:
            engines.log.append(list(records))
        with running(make_consumer(settings_of(data, **more), engines)):
            until(lambda: caught_up(engines.log, engines.ledger))


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed log of `honest_records`, signed twice."""
    data = tmp_path_factory.mktemp("sealed") / "data"
    records = honest_records()
    run_pipeline(data, *records[:EARLIER])
    run_pipeline(data, *records[EARLIER:])
    return data


@pytest.fixture
def data(sealed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sealed, tmp_path / "data"))


@contextmanager
def edited(file: Path) -> Iterator[sqlite3.Connection]:
    """The file as whoever owns the machine can write it."""
    connection = sqlite3.connect(file)
    try:
        with connection:
            yield connection
    finally:
        connection.close()


def log_key(data: Path, number: int = 1) -> VerifierKey:
    with opened(data, "read") as engines:
        log = SealedLog.stored(engines.ledger, number, 0)
        assert log is not None
        return KeyFile(data / "seal.key").ring().verifiers(log.origin)[0]


def verified(
    data: Path, wanted: Range | None = None, now_s: Callable[[], float] = time.time, **trust: object
) -> Verification:
    given = Trust(**({"keys": (log_key(data),)} | trust))  # type: ignore[arg-type] # as each test names them
    with opened(data, "read") as engines:
        return verify_logs(engines.log, engines.index, engines.ledger, given, wanted=wanted, now_s=now_s)


def found(data: Path, **trust: object) -> list[tuple[str, int]]:
    return [(one.kind, one.position.offset) for one in verified(data, **trust).suspicions]


def only(data: Path, **trust: object) -> Suspicion:
    (one,) = verified(data, **trust).suspicions
    return one


def test_an_edited_value_is_named_with_its_event(data: Path) -> None:
    with edited(data / "log.sqlite") as log:
        log.execute("UPDATE records SET value = replace(value, 'alice', 'mallory') WHERE offset = 41")
    one = only(data)
    assert (one.kind, one.position.offset, one.tenant_id, one.event_id) == ("edited-record", 41, "acme", "e41")


@pytest.mark.parametrize("column", ["timestamp_ms = timestamp_ms + 1", "key = x'00'", "headers = NULL"])
def test_everything_beside_the_value_is_sealed_too(data: Path, column: str) -> None:
    with edited(data / "log.sqlite") as log:
        log.execute(f"UPDATE records SET {column} WHERE offset = 41")  # noqa: S608 - literals above
    assert found(data) == [("edited-record", 41)]


def test_a_record_without_a_salt_is_sealed_like_the_others(data: Path) -> None:
    with edited(data / "log.sqlite") as log:
        log.execute("UPDATE records SET value = replace(value, 'alice', 'mallory') WHERE offset = ?", (SALTLESS,))
    assert found(data) == [("edited-record", SALTLESS)]


def test_a_deleted_record_is_named_even_if_its_document_and_a_row_are_made_to_fit(data: Path) -> None:
    with edited(data / "log.sqlite") as log:
        log.execute("DELETE FROM records WHERE offset = 41")
    with edited(data / "ledger.sqlite") as ledger:
        insert_row(ledger, "gap", 41)
    assert found(data)[0] == ("deleted-record", 41)


def test_swapped_records_are_found_at_both_places(data: Path) -> None:
    with edited(data / "log.sqlite") as log:
        log.execute("UPDATE records SET offset = -1 WHERE offset = 41")
        log.execute("UPDATE records SET offset = 41 WHERE offset = 300")
        log.execute("UPDATE records SET offset = 300 WHERE offset = -1")
    assert [(one.kind, one.position.offset, one.detail) for one in verified(data).suspicions] == [
        ("moved-record", 41, "offset 300"),
        ("moved-record", 300, "offset 41"),
    ]


def test_a_record_copied_over_another_is_named_with_where_it_comes_from(data: Path) -> None:
    with edited(data / "log.sqlite") as log:
        log.execute("DELETE FROM records WHERE offset = 41")
        log.execute(
            "INSERT INTO records SELECT 41, timestamp_ms, key, value, headers FROM records WHERE offset = 300"
        )
    one = only(data)
    assert (one.kind, one.position.offset, one.detail) == ("moved-record", 41, "offset 300")


def test_a_cut_off_tail_is_found(data: Path) -> None:
    with edited(data / "log.sqlite") as log:
        log.execute("DELETE FROM records WHERE offset >= 690")
        log.execute("UPDATE state SET next = 690")
    kinds = found(data)
    assert kinds[0] == ("cut-off-log", 690)
    assert verified(data).suspicions[0].count == EVENTS + 4 - 690


def insert_row(ledger: sqlite3.Connection, kind: str, offset: int, of: int | None = None, **more: str) -> None:
    """A row as the ledger writes it, its totals included."""
    columns = {"log": 1, "partition": 0, "kind": KINDS.index(kind), "offset": offset, "count": 1, "span": 1}  # type: ignore[arg-type] # a kind
    columns |= {} if of is None else {"of_log": 1, "of_partition": 0, "of_offset": of}
    columns |= more  # type: ignore[arg-type] # texts
    marks = ", ".join(f":{name}" for name in columns)
    ledger.execute(f"INSERT INTO outcomes ({', '.join(columns)}) VALUES ({marks})", columns)  # noqa: S608 - names
    total = {"gap": "gaps"}.get(kind, kind if kind in {"expired", "erased"} else f"{kind}s")
    ledger.execute(f"UPDATE heads SET {total} = {total} + 1")  # noqa: S608 - a name


class EmbeddedAttacker:
    """Writes to the files of a data folder; see `flow.attack_contract.Attacker`."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._opened: Engines | None = None

    def engines(self) -> Engines:
        if self._opened is None:
            self._opened = open_engines(settings_of(self._data), "read")
        return self._opened

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def keys(self) -> KeyRing:
        return KeyFile(self._data / "seal.key").ring()

    def replace_document(self, of: Entry, instead: Entry | None) -> None:
        self._reindex(without=of, more=instead)

    def add_document(self, more: Entry) -> None:
        self._reindex(without=None, more=more)

    def _reindex(self, without: Entry | None, more: Entry | None) -> None:
        """The index written anew by somebody with write access to it."""
        self.close()
        with opened(self._data) as engines:
            entries = []
            for offset in engines.index.offsets(1, 0, 0, 2**62):
                made = entry_at(engines, offset)
                entries.append(colliding(made) if offset == COLLISION else made)
            engines.index.begin_rebuild()
            kept = [one for one in entries if without is None or one.document_id != without.document_id]
            engines.index.put([*kept, *([] if more is None else [more])])
            engines.index.flush()
            engines.index.mark_complete()

    def add_row(self, row: OutcomeRow) -> None:
        of = row.of
        named = {"tenant_id": row.tenant_id, "event_id": row.event_id, "code": row.code}
        with self._edited() as ledger:
            more = {name: text for name, text in named.items() if text is not None}
            insert_row(ledger, row.kind, row.position.offset, None if of is None else of.offset, **more)

    def keep(self, record: Record) -> None:
        self.close()
        with self._edited() as ledger:
            ledger.execute("DELETE FROM kept WHERE offset = ?", (record.position.offset,))
        with opened(self._data) as engines:
            engines.ledger.keep([record])

    def put_tile(self, root: bytes, data: bytes | None) -> None:
        with self._edited() as ledger:
            ledger.execute("DELETE FROM tiles WHERE root = ?", (root,))
            if data is not None:
                ledger.execute("INSERT INTO tiles VALUES (?, ?)", (root, data))

    def put_head(self, following: int, seal: bytes) -> None:
        with self._edited() as ledger:
            ledger.execute("UPDATE heads SET next = ?, seal = ?", (following, seal))

    def put_checkpoints(self, notes: Sequence[tuple[int, bytes]]) -> None:
        with self._edited() as ledger:
            ledger.execute("DELETE FROM checkpoints")
            ledger.executemany("INSERT INTO checkpoints VALUES (1, 0, ?, ?)", notes)

    def put_genesis(self, body: bytes) -> None:
        with self._edited() as ledger:
            ledger.execute("UPDATE documents SET body = ? WHERE name = 'seal/genesis/1/0'", (body,))

    @contextmanager
    def _edited(self) -> Iterator[sqlite3.Connection]:
        with edited(self._data / "ledger.sqlite") as ledger:
            yield ledger


class TestEmbeddedAttacks(AttackContract):
    """The contract, on SQLite and tantivy."""

    @pytest.fixture
    def attacker(self, data: Path) -> Iterator[EmbeddedAttacker]:
        made = EmbeddedAttacker(data)
        yield made
        made.close()


def test_a_leaf_that_is_altered_with_its_record_does_not_fit_the_signed_root(data: Path) -> None:
    """Whoever owns the files makes tree and head anew for an edited record: the signature stays the old one."""
    with edited(data / "log.sqlite") as log:
        log.execute("UPDATE records SET value = replace(value, 'alice', 'mallory') WHERE offset = 41")
    reseal(data)
    assert found(data)[0][0] == "forked"


def reseal(data: Path) -> None:
    """The tree made anew from what the log holds now, under the genesis there is; not signed."""
    with edited(data / "ledger.sqlite") as ledger:
        ledger.execute("DELETE FROM tiles")
        ledger.execute("UPDATE heads SET next = base, seal = NULL, duplicates=0, dead_letters=0, id_collisions=0")
        ledger.execute("DELETE FROM outcomes")
        notes = ledger.execute("SELECT log, partition, size, note FROM checkpoints").fetchall()
        ledger.execute("DELETE FROM checkpoints")
    shutil.rmtree(data / "index")
    run_pipeline(data)
    with edited(data / "ledger.sqlite") as ledger:
        ledger.execute("DELETE FROM checkpoints")
        ledger.executemany("INSERT INTO checkpoints VALUES (?, ?, ?, ?)", notes)


def newest_checkpoint(data: Path, number: int = 1) -> Checkpoint:
    with opened(data, "read") as engines:
        stored = engines.ledger.seals.checkpoint(number, 0)
        assert stored is not None
        return Checkpoint.parse(merged(stored).text)


@pytest.fixture
def forked(tmp_path: Path) -> tuple[Path, Path]:
    """A log, and an earlier copy of it with its keys."""
    data, copy = tmp_path / "true", tmp_path / "copy"
    run_pipeline(data, *(record(f"e{number}") for number in range(20)))
    shutil.copytree(data, copy)
    run_pipeline(data, *(record(f"true{number}") for number in range(10)))
    return data, copy


def test_a_log_rolled_back_with_all_its_keys_is_found_by_a_checkpoint_the_auditor_kept(
    forked: tuple[Path, Path],
) -> None:
    data, copy = forked
    kept = newest_checkpoint(data)
    assert found(copy) == []
    assert found(copy, kept=(kept,)) == [("rolled-back", 20)]


def test_a_log_forked_with_all_its_keys_is_found_by_a_checkpoint_the_auditor_kept(
    forked: tuple[Path, Path],
) -> None:
    data, copy = forked
    kept = newest_checkpoint(data)
    run_pipeline(copy, *(record(f"false{number}") for number in range(15)))
    assert found(copy) == [], "the holder of all stores and keys cannot be caught by them alone"
    assert found(copy, kept=(kept,)) == [("forked", kept.size - 2)]


def test_a_witness_does_not_cosign_a_fork_and_so_gives_it_away(tmp_path: Path) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    run_pipeline(data, record("e0"))
    with witness(tmp_path / "witness") as (folder, client):
        folder.watch([log_key(data).vkey()])
        given = {"witnesses": f"{client.url} {client.keys[0].vkey()}"}
        run_pipeline(data, record("e1"), **given)
        shutil.copytree(data, copy)
        run_pipeline(data, *(record(f"true{number}") for number in range(5)), **given)
        run_pipeline(copy, *(record(f"false{number}") for number in range(9)), **given)
    vouched = {"witnesses": client.keys, "quorum": 1}
    (true,) = verified(data, **vouched).logs
    (false,) = verified(copy, **vouched).logs
    assert true.cosigned == true.size == 8
    assert (false.size, false.signed, false.cosigned) == (12, 12, 3)


def test_a_range_of_time_and_one_event_are_verified_alone(data: Path) -> None:
    with edited(data / "log.sqlite") as log:
        log.execute("UPDATE records SET value = replace(value, 'alice', 'mallory') WHERE offset IN (41, 300)")
    one = verified(data, Range(only=frozenset({(1, 0, 41)})))
    assert ([each.position.offset for each in one.suspicions], one.logs[0].verified) == ([41], 0)
    other = verified(data, Range(only=frozenset({(1, 0, 42)})))
    assert (other.suspicions, other.logs[0].verified) == ((), 1)
    assert verified(data, Range(to_ms=1)).suspicions == ()
    assert len(verified(data, Range(from_ms=1)).suspicions) == 2


def test_keys_of_another_log_say_nothing(data: Path, forked: tuple[Path, Path]) -> None:
    result = verified(data, keys=(log_key(forked[0]),))
    assert result.logs[0].signed == 0
    assert "None of the keys" in result.open_questions[0]


@pytest.fixture(scope="module")
def ordered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log in which a genuine order had offsets 2 and 4 erased, and which saw a copy of it and a forged one."""
    data = tmp_path_factory.mktemp("ordered") / "data"
    run_pipeline(data, *[record(f"e{number}") for number in range(10)])
    stranger = KeyFile(data / "stranger.key")
    stranger.make("2026-01-02T03:04:05Z")
    with opened(data, "import") as engines:
        genuine = removal_order(engines, data, 2, 4)
        forged = removal_order(engines, data, 6, keys=stranger)
    run_pipeline(data, genuine, forged, record("e2"), record("later"))
    return data


ORDER, FORGED, RETRY = 10, 11, 12


@pytest.fixture
def erased(ordered: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ordered, tmp_path / "data"))


def removal_order(engines: Engines, data: Path, *offsets: int, keys: KeyFile | None = None) -> NewRecord:
    log, head = SealedLog.stored(engines.ledger, 1, 0), engines.ledger.head(1, 0)
    assert log is not None
    assert head is not None
    ring = (keys or KeyFile(data / "seal.key")).ring()
    mandate = Mandate(requested_by="officer", reason="ticket 12")
    clerk = Clerk(log, head, ring, mandate, engines.clock.now_us())
    (made,) = clerk.erasures(tombstones_at(engines, 1, offsets))
    return made


def test_what_a_genuine_order_removed_is_counted_and_no_tampering(erased: Path) -> None:
    result = verified(erased)
    (log,) = result.logs
    assert (result.suspicions, result.open_questions) == ((), ())
    assert (log.removed, log.verified, log.unprovable, log.size) == (2, 12, 1, 15)


@pytest.mark.parametrize(("offset", "of"), [(7, ORDER), (6, FORGED), (7, None), (7, RETRY)])
def test_no_order_for_something_else_and_no_forged_one_launders_a_deletion(
    erased: Path, offset: int, of: int | None
) -> None:
    with edited(erased / "log.sqlite") as log:
        (blank,) = log.execute("SELECT headers FROM records WHERE offset = 2").fetchone()
        log.execute("UPDATE records SET key = NULL, value = NULL, headers = ? WHERE offset = ?", (blank, offset))
    with edited(erased / "ledger.sqlite") as ledger:
        insert_row(ledger, "erased", offset, of)
    assert {("unordered-removal", offset), ("edited-record", offset)} <= set(found(erased))


LATER = 13
"""An event that came after the order, and is another one than it erased."""


def sold_as_a_retry(data: Path, offset: int) -> None:
    """The row of a genuine retry, and no document."""
    with edited(data / "ledger.sqlite") as ledger:
        (tombstone,) = ledger.execute("SELECT tombstone FROM outcomes WHERE offset = ?", (RETRY,)).fetchone()
        insert_row(ledger, "erased", offset, ORDER, tombstone=tombstone)
    with opened(data) as engines:
        assert engines.erasable is not None
        engines.erasable.index.erase([Position(1, 0, offset)], lambda _: [])


def test_an_event_that_is_hidden_as_the_retry_of_an_erased_one_is_another_event(erased: Path) -> None:
    sold_as_a_retry(erased, LATER)
    assert found(erased) == [("unordered-removal", LATER)]


@pytest.mark.parametrize("offset", [RETRY, LATER])
def test_no_record_is_gone_as_the_retry_of_an_erased_event_without_an_order_that_names_it(
    erased: Path, offset: int
) -> None:
    if offset != RETRY:
        sold_as_a_retry(erased, offset)
    with edited(erased / "log.sqlite") as log:
        log.execute("DELETE FROM records WHERE offset = ?", (offset,))
    assert found(erased) == [("unordered-removal", offset)]


def test_the_record_of_a_retry_goes_by_an_order_of_its_own(erased: Path) -> None:
    with opened(erased, "import") as engines:
        order = removal_order(engines, erased, RETRY)
    run_pipeline(erased, order)
    with edited(erased / "log.sqlite") as log:
        assert log.execute("SELECT substr(headers, 1, 1) FROM records WHERE offset = ?", (RETRY,)).fetchone()
    result = verified(erased)
    assert (result.suspicions, result.logs[0].removed, result.open_questions) == ((), 3, ())


def test_a_head_that_says_that_the_log_began_later_is_found(erased: Path) -> None:
    with edited(erased / "ledger.sqlite") as ledger:
        ledger.execute("UPDATE heads SET base = 2")
    assert found(erased) == [("damaged-tree", 2)]


def test_an_order_that_was_edited_orders_nothing(erased: Path) -> None:
    with edited(erased / "log.sqlite") as log:
        log.execute("UPDATE records SET value = replace(value, 'officer', 'nobody') WHERE offset = ?", (ORDER,))
    kinds = set(found(erased))
    assert {("edited-record", ORDER), ("unordered-removal", 2), ("unordered-removal", 4)} <= kinds


def test_something_else_in_the_place_of_an_erased_record_is_found(erased: Path) -> None:
    with edited(erased / "log.sqlite") as log:
        log.execute(
            "UPDATE records SET (value, headers) = (SELECT value, NULL FROM records WHERE offset = 3)"
            " WHERE offset = 2"
        )
    assert ("edited-record", 2) in found(erased)


def test_a_record_stripped_of_its_salt_is_edited_not_unprovable(erased: Path) -> None:
    """In a week in which nothing without a salt was sealed, no secret can be missing."""
    with edited(erased / "log.sqlite") as log:
        log.execute("UPDATE records SET headers = NULL WHERE offset = 3")
    assert ("edited-record", 3) in found(erased)


def test_without_the_secret_of_a_week_its_records_are_said_to_be_unverified(data: Path) -> None:
    with edited(data / "ledger.sqlite") as ledger:
        ledger.execute("DELETE FROM documents WHERE name LIKE 'seal/period/%'")
    result = verified(data)
    assert (result.suspicions, result.logs[0].unopened, result.logs[0].verified) == ((), 1, EVENTS + 3)
    assert "the secret of their week is gone" in result.open_questions[0]
