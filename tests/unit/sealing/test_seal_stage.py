"""The seal stage on a real ledger: whatever happens in between, the tree is a function of the records."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trailseal.adapters.clock import SystemClock
from trailseal.adapters.ledgers.sqlite import SqliteLedger
from trailseal.errors import Fenced, IntegrityViolation, PipelineFault, Unavailable
from trailseal.event_consumer.seal import Seals
from trailseal.merkle.frame import commitment, derived_salt, encode_frame
from trailseal.merkle.hash import leaf_hash, range_root
from trailseal.merkle.leaf import EntryType, LeafEntry
from trailseal.model.outcomes import Delta, Head
from trailseal.model.record import HEADER_SALT, Gap, Position, Record
from trailseal.sealing.keys import KeyFile
from trailseal.sealing.leaves import Leaves
from trailseal.sealing.origin import SealedLog
from trailseal.sealing.periods import WEEK_MS
from trailseal.sealing.tree import LogTree

ORIGIN = "memory/0123456789abcdef/1"
T0 = 1_790_000_000_000
Item = Record | Gap


def record(offset: int, *, salt: bytes | None = b"s" * 32, time_ms: int = T0) -> Record:
    headers = () if salt is None else ((HEADER_SALT, salt),)
    return Record(Position(1, 0, offset), time_ms + offset, b"k", b"value %d" % offset, headers)


def plain_root(ledger: SqliteLedger, items: Sequence[Item]) -> bytes:
    """The root computed record by record, with nothing shared but hashing."""
    log = SealedLog.stored(ledger, 1, 0)
    assert log is not None
    entries = [log.entry.encode()]
    for item in items:
        offset = item.position.offset
        if isinstance(item, Gap):
            entries += [LeafEntry(EntryType.GAP, offset + n, 0, bytes(32)).encode() for n in range(item.count)]
            continue
        salt = item.header(HEADER_SALT)
        if salt is None:
            document = ledger.document(f"seal/period/1/{item.timestamp_ms // WEEK_MS}")
            assert document is not None
            salt = derived_salt(document.body, log.origin, offset)
        commit = commitment(salt, encode_frame(item.timestamp_ms, item.key, item.value, item.headers))
        entries.append(LeafEntry(EntryType.RECORD, offset, item.timestamp_ms, commit).encode())
    return range_root([leaf_hash(entry) for entry in entries])


class Owner:
    """A process that seals partition 0 of log 1."""

    def __init__(self, folder: Path) -> None:
        self.ledger = SqliteLedger(folder / "ledger.sqlite")
        self.ledger.register_log(ORIGIN)
        keys = KeyFile(folder / "seal.key")
        keys.make("2026-01-01T00:00:00Z")
        self.seals = Seals(self.ledger, keys, "audit.example", SystemClock())
        self.open()

    def open(self) -> None:
        self.head = self.ledger.open_partition(1, 0, 0)
        self.seals.open(self.head, ORIGIN)

    def prepared(self, items: Sequence[Item]) -> Delta:
        leaves = Leaves()
        self.seals.maker(0).add(leaves, items)
        last = items[-1]
        following = last.position.offset + (last.count if isinstance(last, Gap) else 1)
        return self.seals.sealed(self.head, Delta(following), [leaves])

    def advance(self, items: Sequence[Item]) -> None:
        self.head = self.ledger.advance(self.head, self.prepared(items))

    def tree(self) -> LogTree:
        return LogTree.of(self.head.seal, self.ledger.seals)


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    made = Owner(tmp_path)
    with closing(made.ledger):
        yield made


def test_a_log_begins_with_its_genesis_and_every_offset_is_one_leaf(owner: Owner) -> None:
    items = [record(0), Gap(Position(1, 0, 1), 3), record(4, salt=None)]
    owner.advance(items)
    log = owner.seals.log(0)
    assert (log.origin, log.genesis.base) == (f"audit.example/{ORIGIN}/0", 0)
    types = [LeafEntry.decode(owner.tree().entry(index)).type for index in range(6)]
    assert types == [0, 1, 2, 2, 2, 1]
    assert owner.tree().root(6) == plain_root(owner.ledger, items)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_crashes_replays_and_two_writers_give_the_tree_of_the_records(data: st.DataObject) -> None:
    salts = st.sampled_from([None, b"a" * 32])
    weeks = st.integers(0, 2).map(lambda week: T0 + week * WEEK_MS)
    count = data.draw(st.integers(1, 700))
    items: list[Item] = []
    offset = 0
    while offset < count:
        if data.draw(st.integers(0, 30)) == 0:
            run = data.draw(st.integers(1, 300))
            items.append(Gap(Position(1, 0, offset), run))
            offset += run
        else:
            stop = offset + data.draw(st.integers(1, 200))
            salt, time_ms = data.draw(salts), data.draw(weeks)
            items += [record(at, salt=salt, time_ms=time_ms) for at in range(offset, stop)]
            offset = stop
    with TemporaryDirectory() as folder:
        owners = [Owner(Path(folder)), Owner(Path(folder))]
        try:
            while max(owner.head.next for owner in owners) < offset:
                _step(data, data.draw(st.sampled_from(owners)), items)
            final = max(owners, key=lambda owner: owner.head.next)
            assert final.tree().root(offset + 1) == plain_root(final.ledger, items)
        finally:
            for owner in owners:
                owner.ledger.close()


def _step(data: st.DataObject, owner: Owner, items: Sequence[Item]) -> None:
    left = [item for item in items if item.position.offset >= owner.head.next]
    if not left:
        return
    delta = owner.prepared(left[: data.draw(st.integers(1, len(left)))])
    what = data.draw(st.sampled_from(["advance", "crash"]))
    if what == "crash":
        owner.open()
        return
    try:
        owner.head = owner.ledger.advance(owner.head, delta)
    except Fenced:
        owner.open()


def test_every_tile_and_every_root_on_the_way_can_be_read_back(owner: Owner) -> None:
    items = [record(offset) for offset in range(1_100)]
    sizes = []
    for start in range(0, 1_100, 137):
        owner.advance(items[start : start + 137])
        sizes.append(owner.head.next + 1)
    tree = owner.tree()
    for size in sizes:
        assert tree.root(size) == plain_root(owner.ledger, items[: size - 1])


def test_a_secret_that_was_replaced_is_noticed_before_anything_is_sealed_with_it(owner: Owner) -> None:
    owner.advance([record(0, salt=None)])
    name = f"seal/period/1/{T0 // WEEK_MS}"
    document = owner.ledger.document(name)
    assert document is not None
    owner.ledger.put_document(name, secrets.token_bytes(32), document.version)
    late = Seals(owner.ledger, KeyFile(owner.seals._keys.path), "audit.example", SystemClock())
    late.open(owner.head, ORIGIN)
    leaves = Leaves()
    late.maker(0).add(leaves, [record(1, salt=None)])
    with pytest.raises(IntegrityViolation, match="week"):
        late.sealed(owner.head, Delta(2), [leaves])


def test_a_secret_that_leaves_were_made_with_is_never_made_anew(owner: Owner) -> None:
    owner.advance([record(0, salt=None)])
    name = f"seal/period/1/{T0 // WEEK_MS}"
    document = owner.ledger.document(name)
    assert document is not None
    owner.ledger.delete_document(name, document.version)
    late = Seals(owner.ledger, KeyFile(owner.seals._keys.path), "audit.example", SystemClock())
    late.open(owner.head, ORIGIN)
    leaves = Leaves()
    late.maker(0).add(leaves, [record(1, salt=None)])
    with pytest.raises(IntegrityViolation, match="week"):
        late.sealed(owner.head, Delta(2), [leaves])
    assert owner.ledger.document(name) is None


def test_leaves_of_other_offsets_than_the_steps_are_refused(owner: Owner) -> None:
    leaves = Leaves()
    owner.seals.maker(0).add(leaves, [record(0), record(1)])
    with pytest.raises(PipelineFault, match="leaves"):
        owner.seals.sealed(owner.head, Delta(3), [leaves])


def test_a_head_whose_tree_was_cut_off_is_not_opened(owner: Owner) -> None:
    owner.advance([record(offset) for offset in range(10)])
    short = Head(1, 0, 0, 9, owner.head.version, owner.head.seal)
    with pytest.raises(IntegrityViolation, match="do not belong together"):
        owner.seals.open(short, ORIGIN)
    with pytest.raises(IntegrityViolation, match="damaged"):
        owner.seals.open(Head(1, 0, 0, 10, owner.head.version, b"nonsense"), ORIGIN)


def test_a_tile_that_was_altered_or_removed_is_never_read_as_true(owner: Owner) -> None:
    owner.advance([record(offset) for offset in range(600)])
    with owner.ledger._transaction("damage a tile") as connection:
        connection.execute("UPDATE tiles SET data = zeroblob(length(data)) WHERE rowid = 1")
        connection.execute("DELETE FROM tiles WHERE rowid = 2")
    tree = owner.tree()
    with pytest.raises(IntegrityViolation, match=r"altered|damaged"):
        tree.inclusion(5, 601)
    with pytest.raises(IntegrityViolation, match="missing"):
        tree.inclusion(300, 601)


def test_the_next_log_names_the_last_state_of_the_one_before(owner: Owner) -> None:
    owner.advance([record(offset) for offset in range(5)])
    number = owner.ledger.register_log("memory/anew/2")
    head = owner.ledger.open_partition(number, 0, 0)
    owner.seals.open(head, "memory/anew/2")
    (previous,) = owner.seals.log(0).genesis.previous
    assert (previous.origin, previous.size) == (f"audit.example/{ORIGIN}/0", 6)
    assert previous.root == owner.tree().root(6)


def test_a_ledger_that_is_away_while_secrets_are_made_moves_nothing(owner: Owner) -> None:
    leaves = Leaves()
    owner.seals.maker(0).add(leaves, [record(0, salt=None)])
    owner.ledger.close()
    with pytest.raises(Unavailable):
        owner.seals.sealed(owner.head, Delta(1), [leaves])
    assert leaves.entries == [b""]


def test_a_header_name_that_is_no_text_is_sealed_too(owner: Owner) -> None:
    odd = Record(Position(1, 0, 0), T0, None, None, (("\ud800", b"x"), (HEADER_SALT, b"s" * 32)))
    owner.advance([odd])
    assert owner.tree().size == 2
