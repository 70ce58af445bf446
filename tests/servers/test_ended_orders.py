"""Orders about logs that have ended: which count, and which launder no deletion, on the real servers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import msgspec
import pytest

from flow.sealing import tombstones_at
from servers.deployment import Deployment, deployment
from servers.raw_elasticsearch import RawElasticsearch
from servers.test_attacks import ClusterAttacker
from servers.test_ended_logs import by_id, end_topic, found, keys_of, old_event, taken_in, verified
from trailseal.model.outcomes import Head, OutcomeRow
from trailseal.model.record import NewRecord, Position
from trailseal.sealing.admin_records import Clerk, Mandate
from trailseal.sealing.keys import KeyFile
from trailseal.sealing.origin import SealedLog
from trailseal.verification.trust import trust_from

pytestmark = pytest.mark.timeout(600)

GONE, VICTIM = 3, 7
"""The offset that a genuine order erased in the first log, and one that nobody may remove."""
FALSE = ("another tree", "an unknown log", "a foreign key", "past its end", "itself")
ELSEWHERE = ("the log between", "the open log", "another offset")


@dataclass
class Ended:
    """Two logs that have ended and one that is open, and where each kind of order stands in that."""

    cluster: Deployment
    orders: dict[str, Position]

    @property
    def genuine(self) -> Position:
        return self.orders["another offset"]


def sealed(cluster: Deployment, log: int) -> tuple[SealedLog, Head]:
    ledger = cluster.engines.ledger
    known, head = SealedLog.stored(ledger, log, 0), ledger.head(log, 0)
    assert known is not None
    assert head is not None
    return known, head


def orders_of(cluster: Deployment) -> dict[str, NewRecord]:
    """Orders to erase the victim in the first log that are wrong in one thing each, and genuine ones elsewhere."""
    (first, first_head), (second, second_head), (open_log, open_head) = (sealed(cluster, log) for log in (1, 2, 3))
    ring = KeyFile(cluster.folder / "seal.key").ring()
    foreign = KeyFile(cluster.folder / "foreign.key")
    foreign.make("2026-03-04T05:06:07Z")
    right = Clerk(open_log, first_head, ring, Mandate("me", "ticket 7"), 1_772_600_000_000_000, first)
    unknown = msgspec.structs.replace(first, genesis=replace(first.genesis, origin=f"{first.origin}9"))
    clerks = {
        "another tree": (replace(right, head=second_head), VICTIM),
        "an unknown log": (replace(right, ended=unknown), VICTIM),
        "a foreign key": (replace(right, ring=foreign.ring()), VICTIM),
        "past its end": (right, first_head.next),
        "the log between": (replace(right, head=second_head, ended=second), VICTIM),
        "the open log": (replace(right, head=open_head, ended=None), VICTIM),
        "another offset": (right, GONE),
    }
    made = {
        name: next(clerk.erasures(tombstones_at(cluster.engines, clerk.head.log, [offset])))
        for name, (clerk, offset) in clerks.items()
    }
    # the statement of the log in which it stands cannot call itself ended: a genuine one with the line edited in
    (header,) = [value for name, value in made["the open log"].headers if name == "trailseal-admin"]
    assert header is not None
    edited = header.replace(b"kind erase\n", b"kind erase\nended %b\n" % open_log.origin.encode())
    made["itself"] = msgspec.structs.replace(
        made["the open log"],
        headers=tuple(
            (name, edited if name == "trailseal-admin" else value) for name, value in made["the open log"].headers
        ),
    )
    return made


@pytest.fixture(scope="module")
def ended(
    kafka_servers: str, elasticsearch_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ended]:
    folder = tmp_path_factory.mktemp("orders")
    with deployment(kafka_servers, elasticsearch_url, redis_url, folder, partitions=1) as cluster:
        for number, many in ((1, 20), (2, 30), (3, 40)):
            consumer = cluster.consume()
            cluster.append([by_id(f"log{number}-{each}") for each in range(many)])
            taken_in(cluster, number)
            if number < 3:
                assert consumer.stop() == 0, consumer.said()
                end_topic(cluster)
        orders = orders_of(cluster)
        positions = dict(zip(orders, cluster.append(list(orders.values())), strict=True))
        taken_in(cluster, 3)
        assert consumer.stop() == 0, consumer.said()
        yield Ended(cluster, positions)


@pytest.fixture
def attacker(ended: Ended, raw: RawElasticsearch) -> Iterator[ClusterAttacker]:
    made = ClusterAttacker(ended.cluster, raw)
    yield made
    made.put_back()


def test_only_genuine_orders_removed_anything_and_the_others_are_dead_letters(ended: Ended) -> None:
    ledger = ended.cluster.engines.ledger
    dead = {row.position for row in ledger.outcomes(3, 0, kinds=("dead_letter",))}
    assert dead == {ended.orders[name] for name in FALSE}
    gone = {
        (row.position.log, row.position.offset): row.of
        for log in (1, 2, 3)
        for row in ledger.outcomes(log, 0, kinds=("erased",))
    }
    assert gone == {
        (1, GONE): ended.orders["another offset"],
        (2, VICTIM): ended.orders["the log between"],
        (3, VICTIM): ended.orders["the open log"],
    }
    ended.cluster.check_books()


@pytest.mark.parametrize("logs", [(), (3,), (1, 2, 3)], ids=str)
def test_lawful_removals_in_ended_logs_are_clean_and_counted(ended: Ended, logs: tuple[int, ...]) -> None:
    """Also for whom the keys of the open log are the only ones."""
    keys = [key for log in logs for key in keys_of(ended.cluster, log)]
    result = verified(ended.cluster, trust_from(keys, (), None, ()))
    assert result.suspicions == ()
    assert [(one.log, one.removed, one.unvouched, one.unprovable) for one in result.logs if one.log < 3] == [
        (1, 1, 0, 0),
        (2, 1, 0, 0),
    ]


@pytest.mark.parametrize("kind", ["erased", "expired"])
@pytest.mark.parametrize("name", [*FALSE, *ELSEWHERE])
def test_no_order_but_one_for_this_very_offset_launders_a_deletion(
    ended: Ended, attacker: ClusterAttacker, name: str, kind: str
) -> None:
    victim = old_event(ended.cluster, f"log1-{VICTIM}")
    at = victim.projection.position
    attacker.replace_document(victim, None)
    stolen = next(ended.cluster.engines.ledger.outcomes(1, 0, kinds=("erased",))).tombstone
    attacker.add_row(
        OutcomeRow(at, kind, of=ended.orders[name], tombstone=stolen)  # type: ignore[arg-type] # as the ledger has it
    )
    assert ("unordered-removal", at) in found(ended.cluster)


def test_an_order_whose_record_was_never_appended_removes_nothing_lawfully(
    ended: Ended, attacker: ClusterAttacker
) -> None:
    victim = old_event(ended.cluster, f"log1-{VICTIM}")
    attacker.replace_document(victim, None)
    beyond = Position(3, 0, 10_000)
    attacker.add_row(OutcomeRow(victim.projection.position, "erased", of=beyond))
    assert ("unordered-removal", victim.projection.position) in found(ended.cluster)


def test_something_put_where_an_erased_record_of_an_ended_log_was_is_found(
    ended: Ended, attacker: ClusterAttacker
) -> None:
    other = old_event(ended.cluster, "log1-4")
    forged = msgspec.structs.replace(other.projection, position=Position(1, 0, GONE), id="forged")
    attacker.add_document(msgspec.structs.replace(other, projection=forged, document_id="acme/forged"))
    assert ("foreign-document", Position(1, 0, GONE)) in found(ended.cluster)


def test_an_order_deleted_from_the_open_log_is_missed(ended: Ended, attacker: ClusterAttacker) -> None:
    """Kafka has its record still, so what it removed stays lawful; its document is what is missing."""
    (hit,) = attacker.call(
        "POST",
        f"/{attacker.prefix}audit-*/_search",
        {"query": {"bool": {"filter": [{"term": {"log": 3}}, {"term": {"offset": ended.genuine.offset}}]}}},
    )["hits"]["hits"]
    month = hit["_index"].removeprefix(f"{attacker.prefix}audit-")[:7]
    attacker.put(f"audit-{month}", hit["_id"], None)
    assert found(ended.cluster) == [("missing-document", ended.genuine)]
