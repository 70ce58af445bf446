"""The whole pipeline with seals: trees, checkpoints and witnesses beside a running consumer."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from flow.conftest import Bench
from flow.running import caught_up, record, running, until
from flow.sealing import NOW, sealing_consumer, witness
from trailseal.adapters.ledgers.sqlite import SqliteLedger
from trailseal.adapters.witness import HttpWitness, witnesses_from
from trailseal.errors import IntegrityViolation, SettingsError
from trailseal.merkle.checkpoints import Checkpoint
from trailseal.merkle.leaf import EntryType, LeafEntry
from trailseal.merkle.notes import Algorithm, VerifierKey
from trailseal.merkle.signing import OpenedCheckpoint, SeedSigner, open_checkpoint
from trailseal.model.outcomes import Delta
from trailseal.model.record import NewRecord
from trailseal.sealing.checkpoints import CheckpointSigner, merged
from trailseal.sealing.keys import KeyFile
from trailseal.sealing.origin import SealedLog
from trailseal.sealing.state import SealState
from trailseal.sealing.tree import LogTree

WITNESS = "witness.example/1"


def sealed_log(bench: Bench, partition: int = 0) -> SealedLog:
    log = SealedLog.stored(bench.ledger, bench.number, partition)
    assert log is not None
    return log


def newest(bench: Bench, folder: Path, witnesses: tuple[VerifierKey, ...] = ()) -> OpenedCheckpoint | None:
    stored = bench.ledger.seals.checkpoint(bench.number, 0)
    if stored is None:
        return None
    log = sealed_log(bench)
    keys = KeyFile(folder / "seal.key").ring().verifiers(log.origin)
    return open_checkpoint(merged(stored).to_bytes(), log.origin, keys, witnesses)


def tree(bench: Bench, partition: int = 0) -> LogTree:
    head = bench.ledger.head(bench.number, partition)
    assert head is not None
    return LogTree.of(head.seal, bench.ledger.seals)


def signed_size(bench: Bench, folder: Path) -> int:
    found = newest(bench, folder)
    return 0 if found is None else found.checkpoint.size


def test_what_is_taken_in_is_sealed_and_signed_events_dead_letters_and_gaps_alike(
    bench: Bench, tmp_path: Path
) -> None:
    bench.log.append([record("a"), NewRecord(b"no event"), NewRecord(None)])
    bench.log.skip(0, 2)
    bench.log.append([record("b"), record("a")])
    with running(sealing_consumer(bench, tmp_path)):
        until(lambda: signed_size(bench, tmp_path) == 8, "a checkpoint of everything")
    kinds = [LeafEntry.decode(tree(bench).entry(index)).type for index in range(8)]
    assert kinds == [EntryType.GENESIS] + [EntryType.RECORD] * 3 + [EntryType.GAP] * 2 + [EntryType.RECORD] * 2
    opened = newest(bench, tmp_path)
    assert opened is not None
    assert opened.checkpoint.root == tree(bench).root(8)


def test_each_partition_has_a_log_of_its_own(two: Bench, tmp_path: Path) -> None:
    for partition in (0, 1):
        two.log.append_to(partition, record(f"p{partition}"))
    with running(sealing_consumer(two, tmp_path, 0, 1)):
        until(lambda: caught_up(two.log, two.ledger))
    assert sealed_log(two, 0).origin != sealed_log(two, 1).origin
    assert [two.ledger.seals.checkpoint(two.number, p) is not None for p in (0, 1)] == [True, True]
    assert [tree(two, partition).size for partition in (0, 1)] == [2, 2]


def test_a_second_run_goes_on_with_the_same_tree(bench: Bench, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        bench.log.append([record(name)])
        with running(sealing_consumer(bench, tmp_path)):
            until(lambda: caught_up(bench.log, bench.ledger))
    sizes = [one.size for one in bench.ledger.seals.checkpoints(bench.number, 0)]
    assert sizes == [4, 3, 2]
    roots = [Checkpoint.parse(merged(one).text).root for one in bench.ledger.seals.checkpoints(bench.number, 0)]
    assert roots == [tree(bench).root(size) for size in sizes]


def test_a_witness_cosigns_what_grows_and_again_what_does_not(bench: Bench, tmp_path: Path) -> None:
    with witness(tmp_path / "w") as (folder, client):
        bench.log.append([record("a")])
        with running(sealing_consumer(bench, tmp_path, witnesses=[client])):
            until(lambda: signed_size(bench, tmp_path) == 2)
            (key,) = KeyFile(tmp_path / "seal.key").ring().verifiers(sealed_log(bench).origin)
            folder.watch([key.vkey()])
            until(lambda: _cosigned(bench, tmp_path, client, 2), "the witness's first cosignature")
            bench.log.append([record(f"b{n}") for n in range(700)])
            until(lambda: _cosigned(bench, tmp_path, client, 702), "one of the larger tree")
    assert folder.head(sealed_log(bench).origin).size == 702


def _cosigned(bench: Bench, folder: Path, client: HttpWitness, size: int) -> bool:
    opened = newest(bench, folder, client.keys)
    return opened is not None and opened.checkpoint.size == size and len(opened.cosignatures) == 1


def test_before_the_first_cosignature_the_age_told_is_that_of_the_log(bench: Bench, tmp_path: Path) -> None:
    with witness(tmp_path / "w") as (folder, client):
        bench.log.append([record("a")])
        with running(sealing_consumer(bench, tmp_path, witnesses=[client])):
            until(lambda: signed_size(bench, tmp_path) == 2)
            log = sealed_log(bench)
            signer = CheckpointSigner(bench.ledger, KeyFile(tmp_path / "seal.key").ring, lambda: 0)
            assert signer.last_cosigned(log, client.keys) == log.begun_ms // 1_000
            until(lambda: cosigned_age() is not None, "an age although the witness refuses")
            folder.watch([key.vkey() for key in KeyFile(tmp_path / "seal.key").ring().verifiers(log.origin)])
            until(lambda: _cosigned(bench, tmp_path, client, 2))
            opened = newest(bench, tmp_path, client.keys)
            assert opened is not None
            assert signer.last_cosigned(log, client.keys) == opened.cosignatures[0].time


def cosigned_age() -> float | None:
    return REGISTRY.get_sample_value("trailseal_cosigned_checkpoint_age_seconds", {"partition": "0"})


def test_a_witness_that_is_away_holds_nothing_up(bench: Bench, tmp_path: Path) -> None:
    with witness(tmp_path / "w") as (_, client):
        pass
    bench.log.append([record("a")])
    with running(sealing_consumer(bench, tmp_path, witnesses=[client])):
        until(lambda: signed_size(bench, tmp_path) == 2)
        bench.log.append([record("b")])
        until(lambda: signed_size(bench, tmp_path) == 3)


def test_both_keys_of_an_overlap_sign_without_a_restart(bench: Bench, tmp_path: Path) -> None:
    bench.log.append([record("a")])
    with running(sealing_consumer(bench, tmp_path)):
        until(lambda: signed_size(bench, tmp_path) == 2)
        KeyFile(tmp_path / "seal.key").rotate(NOW)
        until(lambda: len(_signers(bench, tmp_path)) == 2, "a second signature below the same tree")
        bench.log.append([record("b")])
        until(lambda: signed_size(bench, tmp_path) == 3)
        assert len(_signers(bench, tmp_path)) == 2


def _signers(bench: Bench, folder: Path) -> set[str]:
    opened = newest(bench, folder)
    assert opened is not None
    return {signature.key.vkey() for signature in opened.log_signatures}


def test_a_ledger_set_back_behind_what_was_signed_is_not_signed_again(
    bench: Bench, tmp_path: Path, ledger: SqliteLedger
) -> None:
    bench.log.append([record("a")])
    with running(sealing_consumer(bench, tmp_path)):
        until(lambda: signed_size(bench, tmp_path) == 2)
    kept = bench.ledger.head(bench.number, 0)
    assert kept is not None
    bench.log.append([record("b")])
    with running(sealing_consumer(bench, tmp_path)):
        until(lambda: signed_size(bench, tmp_path) == 3)
    forged = record("forged")
    bench.log.held[0][1] = bench.log.held[0][0].__class__(
        bench.log.held[0][1].position, 1_790_000_000_000, forged.key, forged.value, forged.headers
    )
    with ledger._transaction("roll back") as connection:
        connection.execute("UPDATE heads SET next = ?, seal = ?", (kept.next, kept.seal))
    consumer = sealing_consumer(bench, tmp_path)
    with running(consumer):
        until(lambda: consumer.fault is not None, "an alarm")
    assert isinstance(consumer.fault, IntegrityViolation)
    assert "rolled back or altered" in str(consumer.fault)


def test_a_head_whose_tree_does_not_belong_to_it_stops_the_consumer(bench: Bench, tmp_path: Path) -> None:
    bench.log.append([record("a"), record("b")])
    with running(sealing_consumer(bench, tmp_path)):
        until(lambda: caught_up(bench.log, bench.ledger))
    head = bench.ledger.head(bench.number, 0)
    assert head is not None
    bench.ledger.advance(head, Delta(head.next, seal=SealState().to_bytes()))
    consumer = sealing_consumer(bench, tmp_path)
    with running(consumer):
        until(lambda: consumer.fault is not None, "an alarm")
    assert isinstance(consumer.fault, IntegrityViolation)


ONE, OTHER = (
    SeedSigner(name, Algorithm.COSIGNATURE_ED25519, bytes(32)).key.vkey() for name in ("w.example/1", "w.example/2")
)


@pytest.mark.parametrize(
    "text", ["nonsense", "ftp://w.example x+00000000+AA", "http://w.example", f"http://w.example {ONE} {OTHER}"]
)
def test_a_setting_that_names_no_witness_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="witnesses"):
        witnesses_from(text)
