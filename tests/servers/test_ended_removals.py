"""Erasing and expiring in logs that have ended, on the real servers, by orders that stand in the open log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.deployment import COMMAND, Deployment, deployment
from servers.raw_elasticsearch import RawElasticsearch
from servers.test_attacks import ClusterAttacker
from servers.test_ended_logs import end_topic, taken_in, told, verified
from servers.test_erasure import (
    CANARY,
    SUBJECT,
    everything,
    expired_though_a_consumer_is_killed,
    mine,
    ordered,
    record,
)
from servers.waiting import eventually
from trailseal.adapters.ledgers.elasticsearch.heads import head_id
from trailseal.model.record import NewRecord

pytestmark = pytest.mark.timeout(600)

EXPIRE = ("expire", "--before", "2026-03", "--reason", "policy", "--requested-by", "me")


def nameless(number: int) -> NewRecord:
    """An event of the subject whose id follows from where its record stands."""
    body = json.loads(mine("x").value or b"")
    del body["id"]
    return NewRecord(json.dumps(body).encode(), b"%d" % number, mine("x").headers)


@pytest.fixture
def cluster(kafka_servers: str, elasticsearch_url: str, redis_url: str, tmp_path: Path) -> Iterator[Deployment]:
    with deployment(kafka_servers, elasticsearch_url, redis_url, tmp_path, partitions=2) as made:
        yield made


def end(cluster: Deployment, partitions: int | None = None) -> None:
    """The open log is taken in, its consumers stop, and its topic is made anew."""
    taken_in(cluster, max(cluster.engines.ledger.logs()))
    for process in cluster.processes:
        if process.alive:
            assert process.stop() == 0, process.said()
    end_topic(cluster, partitions)


def clean(cluster: Deployment) -> int:
    """How many records a verification of everything finds lawfully removed; it finds nothing else."""
    taken_in(cluster, max(cluster.engines.ledger.logs()))
    done = cluster.run("verify", "--form", "ndjson")
    assert done.returncode == 0, done.stdout + done.stderr
    cluster.check_books()
    return sum(log["removed"] for log in told(done))


def test_what_a_subject_left_in_ended_logs_is_erased_and_does_not_come_back(
    cluster: Deployment, raw: RawElasticsearch
) -> None:
    """Over two ended logs, the topic with fewer partitions each time, though consumers are killed on the way."""
    cluster.consume()
    cluster.append([record(f"e{number}") for number in range(20)])
    cluster.append([mine("m1"), mine("m2", month="2026-04"), mine("m3"), *map(nameless, range(4))])
    cluster.append([mine("m1"), mine("m3", "document.changed"), NewRecord(b'broken "%b@x"' % CANARY.encode())])
    end(cluster)
    cluster.consume()
    cluster.append([record(f"f{number}") for number in range(20)])
    cluster.append([mine("m2", month="2026-04"), mine("m4")])
    end(cluster, partitions=1)
    consumer = cluster.consume()
    cluster.append([record("g"), mine("m3"), mine("m5")])
    cluster.wait_until_taken_in()

    dry = cluster.run(*SUBJECT, "--form", "ndjson")
    assert dry.returncode == 0, dry.stderr
    rows = told(dry)
    sums = {name: sum(row[name] for row in rows) for name in ("events", "duplicates", "dead_letters")}
    assert sums == {"events": 10, "duplicates": 3, "dead_letters": 1}
    by_log = {log: sum(row["events"] for row in rows if row["partition"][0] == log) for log in "123"}
    assert by_log == {"1": 8, "2": 1, "3": 1}

    consumer.kill()
    running = cluster.start(str(COMMAND), *SUBJECT, "--yes")
    eventually(lambda: ordered(cluster, running), 60)
    for _ in range(2):  # killed while it opens or carries an order out, at whatever step that is
        doomed = cluster.consume(wait=False)
        eventually(lambda doomed=doomed: "assigned" in doomed.said(), 60)  # type: ignore[misc] # bound now
        doomed.kill()
    cluster.consume()
    assert running.exit_status() == 0, running.said()
    assert CANARY not in everything(cluster, raw)
    assert clean(cluster) == 12, "Kafka still has what the open log lost"

    cluster.append([mine("m1"), mine("m2", month="2026-04"), mine("m4"), record("late")])
    cluster.wait_until_taken_in()
    books = cluster.check_books().books
    assert sum(one.erased for one in books if one.log < 3) == 12
    assert sum(one.erased for one in books if one.log == 3) == 5
    assert CANARY not in everything(cluster, raw)
    assert clean(cluster) == 12
    again = cluster.run("erase", "--leftovers", "--reason", "ticket 7", "--form", "ndjson", "--yes")
    assert again.returncode == 0, again.stderr
    found = [(row["partition"], row["retries"]) for row in told(again) if row["retries"] or row["contradicted"]]
    assert found == [("3/0", 3)], "of what orders about ended logs erased"
    again = cluster.run(*SUBJECT)
    assert (again.returncode, "Nothing was found" in again.stderr) == (1, True)
    end(cluster)
    cluster.consume()
    cluster.append([mine("m1"), mine("m5"), record("h")])
    cluster.wait_until_taken_in()
    assert CANARY not in everything(cluster, raw)
    assert clean(cluster) == 17, "the log of the orders has ended too, and they count on"


def test_an_ended_log_is_not_ordered_about_before_a_consumer_has_begun_the_next_one(cluster: Deployment) -> None:
    cluster.consume()
    cluster.append([mine("m1")])
    end(cluster)
    refused = cluster.run(*SUBJECT, "--yes")
    assert refused.returncode == 2
    assert "no partition of the open log names its end" in refused.stderr
    assert verified(cluster).suspicions == ()


def test_what_no_order_can_reach_is_told_after_the_rest_is_erased(
    cluster: Deployment, raw: RawElasticsearch
) -> None:
    """The tree of one partition is not the one that the open log names, until its head is put back."""
    cluster.consume()
    cluster.append([*(mine(f"m{number}") for number in range(12)), *(record(f"e{number}") for number in range(12))])
    end(cluster)
    cluster.consume()
    cluster.append([record("f")])
    cluster.wait_until_taken_in()
    attacker = ClusterAttacker(cluster, raw)
    heads = [
        raw("GET", f"/{attacker.prefix}trailseal-heads/_doc/{head_id(1, number)}")["_source"] for number in (0, 1)
    ]
    attacker.put("trailseal-heads", head_id(1, 1), heads[1] | {"seal": heads[0]["seal"]})
    refused = cluster.run(*SUBJECT, "--yes")
    assert refused.returncode == 2
    assert "Not ordered: 1/1/" in refused.stderr
    assert "records were left as they are" in refused.stderr
    attacker.put_back()
    by_partition = {one.partition: one.erased for one in cluster.check_books().books if one.log == 1}
    assert by_partition[0] > by_partition[1] == 0
    assert cluster.run(*SUBJECT, "--yes").returncode == 0
    assert CANARY not in everything(cluster, raw)
    assert clean(cluster) == 12


def test_months_are_dropped_in_ended_logs_too(cluster: Deployment, raw: RawElasticsearch) -> None:
    cluster.consume()
    cluster.append([record(f"e{number}", month=f"2026-0{1 + number % 3}") for number in range(60)])
    cluster.append([record("e0", month="2026-01"), NewRecord(b"no event")])
    end(cluster)
    consumer = cluster.consume()
    cluster.append([record(f"f{number}", month=f"2026-0{1 + number % 3}") for number in range(9)])
    cluster.append([record("e1", month="2026-02")])
    cluster.wait_until_taken_in()
    consumer.kill()
    expired_though_a_consumer_is_killed(cluster, EXPIRE)
    taken_in(cluster, 2)
    books = cluster.check_books().books
    assert [sum(one.expired for one in books if one.log == log) for log in (1, 2)] == [41, 9]
    assert not [name for name in raw.indices(f"{cluster.topic}-audit-") if "2026.01" in name or "2026.02" in name]
    assert clean(cluster) == 41
    again = cluster.run(*EXPIRE, "--form", "ndjson", "--yes")
    assert again.returncode == 0, again.stderr
    assert {(row["month"], row["events"], row["late"]) for row in told(again)} == {
        ("2026.01", 0, 1),
        ("2026.02", 0, 1),
    }
    assert clean(cluster) == 41
    again = cluster.run(*EXPIRE)
    assert (again.returncode, "Nothing was found" in again.stderr) == (1, True)
