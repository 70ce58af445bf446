"""What somebody with every right on the stores does to documents, rows and trees, whatever the engines.

One test for each row of the threat model that is about the index or the ledger. A profile gives an `Attacker`, who
edits its real files or documents; what only one profile can have done to it stands beside its attacker.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
import pytest

from flow.running import event, record
from trailseal.bootstrap import Engines
from trailseal.cli.verify import is_clean
from trailseal.formats import decode_record
from trailseal.merkle.checkpoints import Checkpoint
from trailseal.merkle.edge import RightEdge
from trailseal.merkle.leaf import LeafEntry
from trailseal.merkle.notes import Note
from trailseal.merkle.signing import sign_note
from trailseal.merkle.tiles import TileName
from trailseal.model.outcomes import OutcomeRow
from trailseal.model.projection import Entry, entry
from trailseal.model.record import NewRecord, Position, Record
from trailseal.sealing.keys import KeyRing
from trailseal.sealing.origin import SealedLog
from trailseal.sealing.state import SealState
from trailseal.sealing.tree import LogTree
from trailseal.verification.result import Range, Verification
from trailseal.verification.trust import Trust
from trailseal.verification.whole import verify_logs

EVENTS = 700
EARLIER = 300
"""Offsets that were taken in and signed before the others came."""
DUPLICATE, COLLISION, DEAD, SALTLESS = EVENTS, EVENTS + 1, EVENTS + 2, EVENTS + 3
RECORDS = EVENTS + 4
_READ_BYTES = 1 << 20


def honest_records() -> list[NewRecord]:
    """Events, a duplicate, a collision, a dead letter and a record without a salt."""
    return [
        *(record(f"e{number}", metadata={"n": number}) for number in range(EVENTS)),
        record("e5", metadata={"n": 5}),
        record("e6", action="other.thing"),
        NewRecord(b"no event", b"acme", record("x").headers),
        NewRecord(event("saltless")),
    ]


class Attacker(Protocol):
    """Somebody with every right on the stores of a sealed log of `honest_records`, partition 0 of log 1."""

    def engines(self) -> Engines:
        """The log's engines, for reading."""

    def keys(self) -> KeyRing:
        """The log's own signing keys."""

    def replace_document(self, of: Entry, instead: Entry | None) -> None:
        """Put another document in the place of an entry's, or none."""

    def add_document(self, more: Entry) -> None:
        """Put a document where none was."""

    def add_row(self, row: OutcomeRow) -> None:
        """Have the ledger say so."""

    def keep(self, record: Record) -> None:
        """Keep a record's bytes as those of a dead letter, in place of those that are kept."""

    def put_tile(self, root: bytes, data: bytes | None) -> None:
        """Store other bytes, or none, under the root of a full tile or bundle."""

    def put_head(self, following: int, seal: bytes) -> None:
        """Let the head stand there, with this tree."""

    def put_checkpoints(self, notes: Sequence[tuple[int, bytes]]) -> None:
        """Let these be all the checkpoints there are, by size."""

    def put_genesis(self, body: bytes) -> None:
        """Replace the statement of the first leaf."""


def sealed_log(engines: Engines) -> SealedLog:
    log = SealedLog.stored(engines.ledger, 1, 0)
    assert log is not None
    return log


def tree_of(engines: Engines) -> LogTree:
    head = engines.ledger.head(1, 0)
    assert head is not None
    return LogTree.of(head.seal, engines.ledger.seals)


def entry_at(engines: Engines, offset: int) -> Entry:
    (item,) = engines.log.read(0, offset, 1, _READ_BYTES)
    assert isinstance(item, Record)
    made = decode_record(item, engines.log.origin)
    return entry(item, made.event, made.format, made.words)


def changed(of: Entry, **fields: Any) -> Entry:
    """The entry with another projection."""
    return msgspec.structs.replace(of, projection=msgspec.structs.replace(of.projection, **fields))


FALSE_PROJECTIONS: dict[str, Any] = {
    "actor": "nobody",
    "action": "something.else",
    "outcome": "denied",
    "timestamp_us": 1_772_600_767_000_002,
    "words": "nothing",
}


class AttackContract:
    """Every profile's attack suite."""

    @pytest.fixture
    def attacker(self) -> Attacker:
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _at(self, attacker: Attacker) -> None:
        self.attacker = attacker

    def verified(self, wanted: Range | None = None, *, later_s: float = 0, **trust: object) -> Verification:
        engines = self.attacker.engines()
        keys = self.attacker.keys().verifiers(sealed_log(engines).origin)
        given = Trust(**({"keys": tuple(keys)} | trust))  # type: ignore[arg-type] # as each test names them
        return verify_logs(
            engines.log, engines.index, engines.ledger, given, wanted=wanted, now_s=lambda: time.time() + later_s
        )

    def clean(self, wanted: Range | None = None, **trust: object) -> bool:
        """Whether `trailseal verify` would end with 0, an hour after the pipeline has stopped."""
        return is_clean(self.verified(wanted, later_s=3_600, **trust), Trust())

    def found(self, **trust: object) -> list[tuple[str, int]]:
        return [(one.kind, one.position.offset) for one in self.verified(**trust).suspicions]

    def entry_at(self, offset: int) -> Entry:
        return entry_at(self.attacker.engines(), offset)

    def test_an_untouched_log_is_clean_and_every_leaf_is_accounted_for(self) -> None:
        result = self.verified()
        (log,) = result.logs
        assert (result.suspicions, result.open_questions) == ((), ())
        assert (log.verified, log.gaps, log.size, log.signed) == (RECORDS, 0, RECORDS + 1, RECORDS + 1)

    @pytest.mark.parametrize("name", FALSE_PROJECTIONS)
    def test_an_edited_searchable_field_is_named(self, name: str) -> None:
        true = self.entry_at(41)
        self.attacker.replace_document(true, changed(true, **{name: FALSE_PROJECTIONS[name]}))
        assert [
            (one.kind, one.position.offset, one.tenant_id, one.event_id, one.detail)
            for one in self.verified().suspicions
        ] == [("edited-projection", 41, "acme", "e41", f"the field {name.removesuffix('_us')}")]

    @pytest.mark.parametrize(
        ("field", "more"),
        [("words", " zebra"), ("words", " e300"), ("metadata", ("n\x1fn300",)), ("metadata", ("secret\x1fs1",))],
    )
    def test_a_false_term_beside_the_true_ones_is_named(self, field: str, more: Any) -> None:
        true = self.entry_at(41)
        terms = getattr(true.projection, field) + more
        self.attacker.replace_document(true, changed(true, **{field: terms}))
        lies = [one for one in self.verified().suspicions if one.position.offset == 41]
        assert [(one.kind, one.event_id) for one in lies] == [("edited-projection", "e41")]
        assert lies[0].detail in {f"the field {field}", "the field has"}

    def test_an_event_taken_out_of_the_index_is_missing(self) -> None:
        self.attacker.replace_document(self.entry_at(41), None)
        (one,) = self.verified().suspicions
        assert (one.kind, one.position.offset, one.event_id) == ("missing-document", 41, "e41")

    @pytest.mark.parametrize(
        ("offset", "partition", "log"), [(DEAD, 0, 1), (EVENTS + 50, 0, 1), (3, 7, 1), (3, 0, 9)]
    )
    def test_a_document_slipped_in_is_foreign(self, offset: int, partition: int, log: int) -> None:
        true = self.entry_at(41)
        forged = changed(true, position=Position(log, partition, offset), id="forged")
        self.attacker.add_document(msgspec.structs.replace(forged, document_id="acme/forged"))
        (one,) = self.verified().suspicions
        assert (one.kind, one.position) == ("foreign-document", Position(log, partition, offset))

    def test_a_second_document_of_a_genuine_event_is_foreign(self) -> None:
        forged = changed(self.entry_at(41), id="forged")
        self.attacker.add_document(msgspec.structs.replace(forged, document_id="acme/forged"))
        assert self.found() == [("foreign-document", 41)]

    @pytest.mark.parametrize(
        ("kind", "of"), [("duplicate", 300), ("duplicate", None), ("dead_letter", None), ("gap", None)]
    )
    def test_a_deletion_sold_as_an_outcome_is_a_false_outcome(self, kind: Any, of: int | None) -> None:
        true = self.entry_at(41)
        self.attacker.replace_document(true, None)
        if kind == "dead_letter":
            self.attacker.keep(true.record)
        at = None if of is None else Position(1, 0, of)
        code = "malformed-json" if kind == "dead_letter" else None
        self.attacker.add_row(OutcomeRow(Position(1, 0, 41), kind, of=at, code=code))
        assert self.found() == [("false-outcome", 41)]

    @pytest.mark.parametrize("kind", ["erased", "expired"])
    @pytest.mark.parametrize("of", [None, 300])
    def test_a_removal_without_a_signed_order_is_found(self, kind: Any, of: int | None) -> None:
        self.attacker.replace_document(self.entry_at(41), None)
        at = None if of is None else Position(1, 0, of)
        self.attacker.add_row(OutcomeRow(Position(1, 0, 41), kind, of=at, tenant_id="acme", event_id="e41"))
        suspicions = self.verified().suspicions
        assert ("unordered-removal", 41, "e41") in [
            (one.kind, one.position.offset, one.event_id) for one in suspicions
        ]

    def test_a_dead_letter_whose_kept_bytes_were_changed_is_found(self) -> None:
        (dead,) = self.attacker.engines().log.read(0, DEAD, 1, _READ_BYTES)
        assert isinstance(dead, Record)
        self.attacker.keep(msgspec.structs.replace(dead, value=b"another"))
        assert self.found() == [("false-outcome", DEAD)]

    @pytest.mark.parametrize("what", ["longer", "gone", "its own tile", "another bundle"])
    def test_a_bundle_that_is_not_what_it_was_is_damage_of_the_tree(self, what: str) -> None:
        tree = tree_of(self.attacker.engines())
        root, other = tree.tile_root(0, 1), tree.tile_root(0, 0)
        seals = self.attacker.engines().ledger.seals
        data = {
            "longer": (seals.tile(root) or b"") + b"\0",
            "gone": None,
            "its own tile": tree.tile(TileName(0, 1)),
            "another bundle": seals.tile(other),
        }[what]
        self.attacker.put_tile(root, data)
        assert {kind for kind, _ in self.found()} == {"damaged-tree"}

    def forge(self, offset: int) -> tuple[RightEdge, int]:
        """Make the tree anew with another leaf at an offset, its tiles stored; not signed."""
        engines = self.attacker.engines()
        tree, log = tree_of(engines), sealed_log(engines)
        entries = [tree.entry(index) for index in range(tree.size)]
        at = log.index_of(offset)
        entries[at] = entries[at][:-32] + bytes(32)
        grown = RightEdge().grown(entries)
        for full in (*grown.tiles, *grown.bundles):
            if full.name.level != 0:
                self.attacker.put_tile(full.root, full.data)
        head = engines.ledger.head(1, 0)
        assert head is not None
        weeks = SealState.of(head.seal).weeks
        self.attacker.put_head(head.next, SealState(grown.edge, weeks).to_bytes())
        return grown.edge, grown.edge.size

    def test_a_leaf_made_anew_with_its_tree_does_not_fit_the_signed_root(self) -> None:
        self.forge(41)
        kinds = self.found()
        assert kinds[0][0] == "forked"
        assert ("edited-record", 41) in kinds

    def test_a_tree_made_anew_and_signed_with_the_stolen_key_is_found_by_a_kept_checkpoint(self) -> None:
        kept = self.newest()
        edge, size = self.forge(41)
        text = Checkpoint(kept.origin, size, edge.root()).format()
        signer = self.attacker.keys().signers(kept.origin)
        self.attacker.put_checkpoints([(size, sign_note(text, signer, 1).to_bytes())])
        assert self.found() == [("edited-record", 41)]
        assert self.found(kept=(kept,))[0] == ("forked", RECORDS - 1)

    def test_a_checkpoint_with_another_signature_is_bad(self) -> None:
        seals = self.attacker.engines().ledger.seals
        newest, *others = seals.checkpoints(1, 0)
        at = newest.note.rindex(b"=") - 9
        forged = newest.note[:at] + (b"A" if newest.note[at : at + 1] != b"A" else b"B") + newest.note[at + 1 :]
        self.attacker.put_checkpoints([(newest.size, forged), *((one.size, one.note) for one in others)])
        assert self.found() == [("bad-signature", RECORDS - 1)]

    def test_a_log_rolled_back_with_its_tree_and_checkpoints_is_found_by_a_kept_one(self) -> None:
        engines = self.attacker.engines()
        kept = self.newest()
        earlier = [one for one in engines.ledger.seals.checkpoints(1, 0) if one.size <= EARLIER + 1]
        size = earlier[0].size
        entries = [tree_of(engines).entry(index) for index in range(size)]
        log, head = sealed_log(engines), engines.ledger.head(1, 0)
        assert head is not None
        state = SealState(RightEdge().grown(entries).edge, SealState.of(head.seal).weeks)
        self.attacker.put_head(log.offset_of(size), state.to_bytes())
        self.attacker.put_checkpoints([(one.size, one.note) for one in earlier])
        left = self.found()
        assert left in ([], [("false-outcome", DUPLICATE)]), "but for rows, nothing catches the holder of all"
        assert not self.clean(), "what stands behind the head is older than a running pipeline leaves it"
        assert self.found(kept=(kept,)) == [("rolled-back", log.offset_of(size)), *left]

    def without_the_newest_signature(self) -> None:
        stored = self.attacker.engines().ledger.seals.checkpoints(1, 0)
        self.attacker.put_checkpoints([(one.size, one.note) for one in stored if one.size <= EARLIER + 1])

    def test_what_the_newest_signature_does_not_cover_is_not_clean_whatever_is_asked_for(self) -> None:
        tree = tree_of(self.attacker.engines())
        first = LeafEntry.decode(tree.entry(1)).time_ms
        before, behind = Range(only=frozenset({(1, 0, 41)})), Range(only=frozenset({(1, 0, EARLIER + 41)}))
        asked = (None, before, behind, Range(from_ms=first), Range(to_ms=first))
        assert [self.clean(one) for one in asked] == [True] * len(asked)
        self.without_the_newest_signature()
        assert [self.clean(one) for one in asked] == [False, True, False, False, True]
        assert self.found() == []

    @pytest.mark.parametrize(("log", "partition", "offset"), [(1, 0, RECORDS), (1, 7, 0), (9, 0, 0)])
    def test_a_forged_document_that_is_asked_for_by_itself_is_foreign(
        self, log: int, partition: int, offset: int
    ) -> None:
        forged = changed(self.entry_at(41), position=Position(log, partition, offset), id="forged")
        self.attacker.add_document(msgspec.structs.replace(forged, document_id="acme/forged"))
        asked = Range(only=frozenset({(log, partition, offset)}))
        (one,) = self.verified(asked).suspicions
        assert (one.kind, one.position) == ("foreign-document", Position(log, partition, offset))

    @pytest.mark.parametrize("kind", ["gap", "dead_letter"])
    def test_two_rows_of_one_record_contradict_each_other(self, kind: Any) -> None:
        self.attacker.add_row(OutcomeRow(Position(1, 0, DUPLICATE), kind))
        assert ("false-outcome", DUPLICATE) in self.found()

    def test_a_row_of_what_was_never_taken_in_is_a_false_outcome(self) -> None:
        self.attacker.add_row(OutcomeRow(Position(1, 0, RECORDS + 9), "duplicate", of=Position(1, 0, 5)))
        assert self.found() == [("false-outcome", RECORDS + 9)]

    def test_an_event_that_is_called_refused_by_its_index_is_not_clean(self) -> None:
        true = self.entry_at(41)
        self.attacker.replace_document(true, None)
        self.attacker.keep(true.record)
        row = OutcomeRow(Position(1, 0, 41), "dead_letter", code="too-large", tenant_id="acme", event_id="e41")
        self.attacker.add_row(row)
        result = self.verified()
        assert [one.kind for one in result.suspicions] == []
        assert ["1/0/41" in sentence for sentence in result.unsettled] == [True]
        assert not self.clean()

    def test_a_checkpoint_kept_of_a_log_that_is_not_here_is_not_clean(self) -> None:
        kept = dataclasses.replace(self.newest(), origin="audit.example/embedded/other/1/0")
        assert not self.clean(kept=(kept,))
        assert self.clean(kept=(self.newest(),))

    def test_an_altered_genesis_is_damage_of_the_tree(self) -> None:
        document = self.attacker.engines().ledger.document("seal/genesis/1/0")
        assert document is not None
        self.attacker.put_genesis(document.body.replace(b"first", b"other", 1))
        assert {kind for kind, _ in self.found()} == {"damaged-tree"}

    def newest(self) -> Checkpoint:
        stored = self.attacker.engines().ledger.seals.checkpoint(1, 0)
        assert stored is not None
        return Checkpoint.parse(Note.parse(stored.note).text)
