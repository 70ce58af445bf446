"""Logs that have ended, on the real servers: what is left of them is verified, and attacked, like the open one."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flow.running import event, record
from servers.deployment import PATIENCE_S, Deployment, deployment
from servers.raw_elasticsearch import RawElasticsearch
from servers.test_attacks import ClusterAttacker
from servers.waiting import eventually
from trailseal.adapters.indexes.elasticsearch.documents import event_document
from trailseal.adapters.ledgers.elasticsearch.heads import head_id
from trailseal.event_consumer.epochs import Epoch
from trailseal.merkle.notes import Algorithm
from trailseal.merkle.signing import SeedSigner
from trailseal.model.outcomes import OutcomeRow
from trailseal.model.projection import Entry
from trailseal.model.record import NewRecord, Position, Record
from trailseal.sealing.checkpoints import added_signature, merged
from trailseal.sealing.ended import MOVED_IN
from trailseal.sealing.keys import KeyFile
from trailseal.sealing.origin import SealedLog
from trailseal.sealing.state import SealState
from trailseal.verification.ended import EndedLog
from trailseal.verification.reading import WholeLog, decoded
from trailseal.verification.result import Range, Verification
from trailseal.verification.trust import Trust, trust_from
from trailseal.verification.whole import verify_logs

pytestmark = pytest.mark.timeout(600)

OLD, SHARED = 30, 10
"""Events that the first log holds, and how many of them the second one got again."""


def by_id(event_id: str, **fields: Any) -> NewRecord:
    """A record whose partition follows from the event's id."""
    return msgspec.structs.replace(record(event_id, **fields), key=event_id.encode())


def old_records() -> list[NewRecord]:
    """Events, a duplicate, a collision, a dead letter and a record without a salt."""
    return [
        *(by_id(f"old{number}") for number in range(OLD)),
        by_id("old5"),
        by_id("old6", action="other.thing"),
        NewRecord(b"no event", b"acme", record("x").headers),
        NewRecord(event("saltless"), b"acme"),
    ]


def signed_to_the_end(cluster: Deployment, log: int) -> bool:
    seals = cluster.engines.ledger.seals
    heads = cluster.engines.ledger.heads(log)
    newest = {head.partition: seals.checkpoint(log, head.partition) for head in heads}
    sizes = {head.partition: SealState.of(head.seal).edge.size for head in heads}
    return all(
        not size or ((one := newest[number]) is not None and one.size == size) for number, size in sizes.items()
    )


def taken_in(cluster: Deployment, log: int) -> None:
    cluster.wait_until_taken_in()
    eventually(lambda: signed_to_the_end(cluster, log), PATIENCE_S)


def end_topic(cluster: Deployment, partitions: int | None = None) -> None:
    """The topic is deleted and made anew, and an operator says that a new log begins."""
    cluster.delete_topic()
    cluster.partitions = partitions or cluster.partitions
    cluster.make_topic()
    cluster.forget_engines()
    done = cluster.run("epoch", "new", "--reason", "the topic was deleted")
    assert done.returncode == 0, done.stderr
    cluster.forget_engines()


@pytest.fixture(scope="module")
def cluster(
    kafka_servers: str, elasticsearch_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """A log that ended and the one after it, both taken in and signed to their ends; nobody runs any more."""
    folder = tmp_path_factory.mktemp("ended")
    with deployment(kafka_servers, elasticsearch_url, redis_url, folder, partitions=2) as made:
        consumer = made.consume()
        made.append(old_records())
        taken_in(made, 1)
        assert consumer.stop() == 0, consumer.said()
        end_topic(made)
        after = made.consume()
        made.append([by_id(f"old{number}") for number in range(SHARED)])
        made.append([by_id(f"new{number}") for number in range(20)])
        taken_in(made, 2)
        assert after.stop() == 0, after.said()
        yield made


@pytest.fixture
def attacker(cluster: Deployment, raw: RawElasticsearch) -> Iterator[ClusterAttacker]:
    made = ClusterAttacker(cluster, raw)
    yield made
    made.put_back()


def verified(cluster: Deployment, trust: Trust | None = None, wanted: Range | None = None) -> Verification:
    engines = cluster.engines
    given = Trust() if trust is None else trust
    return verify_logs(engines.log, engines.index, engines.ledger, given, keeper=engines.keeper, wanted=wanted)


def found(cluster: Deployment, trust: Trust | None = None) -> list[tuple[str, Position]]:
    return [(one.kind, one.position) for one in verified(cluster, trust).suspicions]


def old_event(cluster: Deployment, name: str) -> Entry:
    """An event of the first log, as it was indexed."""
    engines = cluster.engines
    whole = WholeLog(EndedLog(engines.ledger, 1), engines.ledger, engines.keeper)
    for head in engines.ledger.heads(1):
        for item in whole.read(head.partition, 0, head.next, 1 << 20):
            made = decoded(item, whole.origin) if isinstance(item, Record) else None
            if made is not None and made.projection.id == name:
                return made
    pytest.fail(f"there is no event {name}")


def keys_of(cluster: Deployment, log: int) -> list[str]:
    """The verifier keys of the logs of one number."""
    ring = KeyFile(cluster.folder / "seal.key").ring()
    ledger = cluster.engines.ledger
    logs = [SealedLog.stored(ledger, log, head.partition) for head in ledger.heads(log)]
    return [key.vkey() for one in logs if one is not None for key in ring.verifiers(one.origin)]


def told(done: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_an_ended_log_is_verified_from_what_is_kept_of_it(cluster: Deployment) -> None:
    done = cluster.run("verify", "--form", "ndjson")
    assert done.returncode == 0, done.stdout + done.stderr
    logs = told(done)
    assert [(log["log"], log["partition"]) for log in logs] == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert sum(log["verified"] for log in logs if log["log"] == 1) == len(old_records())
    assert all(log["signed"] == log["size"] for log in logs)
    assert "is an earlier one" not in done.stderr
    seen: list[tuple[int, int]] = []
    engines = cluster.engines
    verify_logs(
        engines.log,
        engines.index,
        engines.ledger,
        Trust(),
        keeper=engines.keeper,
        progress=lambda *at: seen.append(at),
    )
    total = len(old_records()) + SHARED + 20
    assert seen[-1] == (total, total)


def test_the_books_of_an_ended_log_are_reconciled(cluster: Deployment) -> None:
    done = cluster.run("reconcile", "--form", "ndjson")
    assert done.returncode == 0, done.stdout + done.stderr
    books = [one for one in told(done) if one["log"] == 1]
    sums = {name: sum(one[name] for one in books) for name in ("indexed", "duplicates", "dead_letters", "pending")}
    assert sums == {"indexed": OLD + 2, "duplicates": 1, "dead_letters": 1, "pending": 0}


def test_a_document_that_the_books_of_an_ended_log_lack_is_named_by_reconcile(
    cluster: Deployment, attacker: ClusterAttacker
) -> None:
    attacker.replace_document(old_event(cluster, "old3"), None)
    done = cluster.run("reconcile", "--form", "ndjson")
    assert done.returncode == 1
    assert "missing" in {one.get("kind") for one in told(done)}


@pytest.mark.parametrize("log", [1, 2])
def test_the_keys_of_either_log_are_enough_for_the_one_that_ended(cluster: Deployment, log: int) -> None:
    """Its own keys signed it; those of the log after it signed the leaf that names its end."""
    trust = trust_from(keys_of(cluster, log), (), None, ())
    result = verified(cluster, trust)
    assert result.suspicions == ()
    assert all(one.signed == one.size for one in result.logs if one.log == 1)
    of_the_newer = [one.signed for one in result.logs if one.log == 2 and one.size]
    assert all(of_the_newer) if log == 2 else not any(of_the_newer)


def test_a_witness_of_the_log_after_it_vouches_for_the_one_that_ended(cluster: Deployment) -> None:
    witness = SeedSigner("witness.example/w", Algorithm.COSIGNATURE_ED25519, secrets.token_bytes(32))
    trust = Trust(witnesses=(witness.key,), quorum=1)
    assert not any(one.cosigned for one in verified(cluster, trust).logs)
    seals, now_s = cluster.engines.ledger.seals, int(time.time())
    for partition in range(cluster.partitions):
        newest = seals.checkpoint(2, partition)
        assert newest is not None
        line = witness.sign(merged(newest).text, now_s)
        seals.add_signatures(2, partition, newest.size, [added_signature(line, now_s)])
    logs = verified(cluster, trust).logs
    assert [(one.cosigned, one.cosigned_at) for one in logs] == [(one.size, now_s) for one in logs]


def test_an_event_of_an_ended_log_is_verified_alone(cluster: Deployment) -> None:
    done = cluster.run("verify", "--id", "old12", "--form", "ndjson")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sum(log["verified"] for log in told(done)) == 1


def test_an_edited_record_of_an_ended_log_is_named(cluster: Deployment, attacker: ClusterAttacker) -> None:
    true = old_event(cluster, "old3")
    document = json.loads(json.dumps(_document(true)).replace("alice", "mallory"))
    attacker.put(f"audit-{true.month}", true.document_id, document)
    assert ("edited-record", true.projection.position) in found(cluster)


def test_a_false_field_of_a_document_of_an_ended_log_is_named(
    cluster: Deployment, attacker: ClusterAttacker
) -> None:
    true = old_event(cluster, "old20")
    attacker.put(f"audit-{true.month}", true.document_id, _document(true) | {"actor": "nobody"})
    (one,) = verified(cluster).suspicions
    assert (one.kind, one.position, one.detail) == (
        "edited-projection",
        true.projection.position,
        "the field actor",
    )


@pytest.mark.parametrize("name", ["old3", "old20"])
def test_a_deleted_document_of_an_ended_log_is_named(
    cluster: Deployment, attacker: ClusterAttacker, name: str
) -> None:
    """Also one of which the log after it has a duplicate."""
    true = old_event(cluster, name)
    attacker.replace_document(true, None)
    assert ("deleted-record", true.projection.position) in found(cluster)


def test_a_document_slipped_into_an_ended_log_is_foreign(cluster: Deployment, attacker: ClusterAttacker) -> None:
    true = old_event(cluster, "old3")
    at = true.projection.position
    beyond = len(old_records()) + 5
    forged = _document(true) | {"id": "forged", "offset": beyond}
    attacker.put(f"audit-{true.month}", "acme/forged", forged)
    assert found(cluster) == [("foreign-document", Position(1, at.partition, beyond))]


@pytest.mark.parametrize("kind", ["erased", "expired", "duplicate", "gap"])
def test_a_deletion_in_an_ended_log_sold_as_an_outcome_is_found(
    cluster: Deployment, attacker: ClusterAttacker, kind: Any
) -> None:
    true = old_event(cluster, "old20")
    at = true.projection.position
    of = old_event(cluster, "old21").projection.position if kind == "duplicate" else None
    attacker.replace_document(true, None)
    attacker.add_row(OutcomeRow(at, kind, of=of))
    wanted = {"erased": "unordered-removal", "expired": "unordered-removal"}.get(kind, "deleted-record")
    assert (wanted, at) in found(cluster)


def test_a_dead_letter_of_an_ended_log_whose_bytes_were_changed_is_found(
    cluster: Deployment, attacker: ClusterAttacker
) -> None:
    ledger = cluster.engines.ledger
    (row,) = [row for head in ledger.heads(1) for row in ledger.outcomes(1, head.partition, kinds=("dead_letter",))]
    kept = ledger.kept(row.position)
    assert kept is not None
    attacker.keep(Record(kept.position, kept.timestamp_ms, kept.key, b"another", kept.headers))
    assert ("edited-record", row.position) in found(cluster)


def test_an_ended_partition_without_its_head_is_missed(cluster: Deployment, attacker: ClusterAttacker) -> None:
    at = old_event(cluster, "old3").projection.position
    attacker.put("trailseal-heads", head_id(1, at.partition), None)
    kinds = {kind for kind, _ in found(cluster)}
    assert {"damaged-tree", "foreign-document"} <= kinds


def test_beside_a_damaged_head_of_an_ended_log_everything_else_is_verified(
    cluster: Deployment, attacker: ClusterAttacker
) -> None:
    entry = old_event(cluster, "old3")
    here = entry.projection.position.partition
    attacker.put("trailseal-heads", head_id(1, 1 - here), {"log": 1, "partition": 1 - here})
    attacker.replace_document(entry, None)
    assert {("damaged-tree", 1, 1 - here), ("deleted-record", 1, here)} <= {
        (kind, at.log, at.partition) for kind, at in found(cluster)
    }


def test_an_ended_log_that_a_note_calls_moved_is_verified_all_the_same(
    cluster: Deployment, attacker: ClusterAttacker
) -> None:
    attacker.replace_document(old_event(cluster, "old15"), None)
    name = f"{MOVED_IN}{cluster.engines.ledger.logs()[1]}"
    attacker.put("trailseal-documents", name, {"name": name, "content": {"text": "{}"}})
    assert [kind for kind, _ in found(cluster)] == ["deleted-record"]


def test_a_partition_taken_out_of_the_books_with_its_documents_is_not_clean(
    cluster: Deployment, attacker: ClusterAttacker
) -> None:
    engines = cluster.engines
    for item in engines.log.read(1, 0, 1_000, 1 << 20):
        made = decoded(item, engines.log.origin) if isinstance(item, Record) else None
        if made is not None:
            attacker.replace_document(made, None)
    attacker.put("trailseal-heads", head_id(2, 1), None)
    attacker.put("trailseal-documents", "seal/genesis/2/1", None)
    result = verified(cluster)
    assert any("Partition 1 of the log" in sentence for sentence in result.unsettled)
    assert cluster.run("verify").returncode != 0


def test_a_checkpoint_kept_of_an_ended_log_is_held_against_it(cluster: Deployment) -> None:
    ledger = cluster.engines.ledger
    at = old_event(cluster, "old3").projection.position
    newest = ledger.seals.checkpoint(1, at.partition)
    assert newest is not None
    keys = [*keys_of(cluster, 1), *keys_of(cluster, 2)]
    honest = trust_from(keys, (), None, [("kept", newest.note)])
    assert found(cluster, honest) == []
    origin, size, _, *rest = newest.note.decode().split("\n")
    unsigned = trust_from((), (), None, [("kept", "\n".join([origin, size, "A" * 43 + "=", *rest]).encode())])
    assert ("forked", 1) in {(kind, place.log) for kind, place in found(cluster, unsigned)}


def _document(of: Entry) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(msgspec.json.encode(event_document(of)))
    return made


def test_a_topic_whose_offsets_went_back_is_verified_in_both_epochs(
    kafka_servers: str, elasticsearch_url: str, redis_url: str, tmp_path: Path
) -> None:
    """Events that are taken in anew are duplicates of those of the epoch before; so is an order of then."""
    with deployment(kafka_servers, elasticsearch_url, redis_url, tmp_path, partitions=1) as cluster:
        consumer = cluster.consume()
        cluster.append(old_records())
        taken_in(cluster, 1)
        erase = ("erase", "--tenant", "acme", "--event-id", "old3", "--reason", "ticket 1", "--requested-by", "me")
        done = cluster.run(*erase, "--yes")
        assert done.returncode == 0, done.stderr
        taken_in(cluster, 1)
        assert consumer.stop() == 0, consumer.said()
        ledger = cluster.engines.ledger
        base = cluster.engines.log.origin.rpartition("/")[0]
        body = Epoch(2, "restored from an old disk", "2026-03-04T05:06:07Z")
        ledger.put_document(f"log/epoch/{base}", msgspec.json.encode(body), None)
        ledger.register_log(f"{base}/2")
        cluster.forget_engines()
        again = cluster.consume()
        cluster.append([record("new")])
        taken_in(cluster, 2)
        assert again.stop() == 0, again.said()
        result = verified(cluster)
        assert result.suspicions == ()
        books = {one.log: one for one in cluster.check_books().books}
        assert (books[2].duplicates, books[2].erased, books[2].indexed) == (OLD + 2, 1, 2)


def test_a_log_before_the_one_that_ended_is_verified_too(
    kafka_servers: str, elasticsearch_url: str, redis_url: str, tmp_path: Path, raw: RawElasticsearch
) -> None:
    """With fewer partitions each time, so that no partition of the same number names the end of some."""
    with deployment(kafka_servers, elasticsearch_url, redis_url, tmp_path, partitions=3) as cluster:
        for number, partitions in ((1, 2), (2, 1), (3, 0)):
            consumer = cluster.consume()
            cluster.append([by_id(f"log{number}-{each}") for each in range(20)])
            taken_in(cluster, number)
            assert consumer.stop() == 0, consumer.said()
            if partitions:
                end_topic(cluster, partitions)
        newest = trust_from(keys_of(cluster, 3), (), None, ())
        result = verified(cluster, newest)
        assert result.suspicions == ()
        assert [(one.log, one.signed == one.size) for one in result.logs] == [
            (log, True) for log in (1, 1, 1, 2, 2, 3)
        ]
        attacker = ClusterAttacker(cluster, raw)
        true = old_event(cluster, "log1-7")
        attacker.replace_document(true, None)
        assert found(cluster, newest) == [("deleted-record", true.projection.position)]
