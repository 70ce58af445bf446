"""An embedded log moved into a real cluster: nothing lost, nothing doubled, the proofs linked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from msgspec.structs import replace

from servers.deployment import COMMAND, Deployment, deployment
from servers.raw_elasticsearch import RawElasticsearch
from trailseal.bootstrap import open_engines
from trailseal.errors import PipelineFault
from trailseal.merkle.checkpoints import Checkpoint
from trailseal.model.record import HEADER_MOVED, NewRecord, Record
from trailseal.sealing.origin import SealedLog
from trailseal.settings import PREFIX, Settings

pytestmark = pytest.mark.timeout(300)
EVENTS = 5_000
DIES_AFTER_AN_APPEND = """
import os
from trailseal.adapters.logs.kafka import KafkaLog
real = KafkaLog.append
calls = []
def dying(log, records):
    calls.append(None)
    if len(calls) == 2:
        real(log, records[:700])
        os._exit(9)
    return real(log, records)
KafkaLog.append = dying
from trailseal.cli import main
main()
"""


@pytest.fixture
def cluster(kafka_servers: str, elasticsearch_url: str, redis_url: str, tmp_path: Path) -> Iterator[Deployment]:
    with deployment(kafka_servers, elasticsearch_url, redis_url, tmp_path) as made:
        yield made


def embedded(*words: str, data: Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    command = [str(COMMAND), *words, "--data", str(data)]
    return subprocess.run(command, env=kept, input=stdin, capture_output=True, timeout=120, check=False)


def line(number: int) -> bytes:
    body = {"timestamp": "2026-03-04T05:06:07Z", "tenant_id": f"t{number % 7}", "actor": "a", "action": "x.y"}
    return json.dumps(body | {"id": f"e{number}"}).encode()


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A signed log with events, a duplicate of one, and a dead letter."""
    data = tmp_path / "old"
    lines = [*(line(number) for number in range(EVENTS)), b'{"id":"bad"}']
    assert embedded("import", "-", data=data, stdin=b"\n".join(lines)).returncode == 1
    with_again = embedded("import", "-", data=data, stdin=b"\n".join([line(0) + b" ", line(EVENTS)]))
    assert with_again.returncode == 0, with_again.stderr
    return data


def test_a_log_is_moved_once_however_often_the_move_dies(cluster: Deployment, old: Path) -> None:
    died = subprocess.run(
        [sys.executable, "-c", DIES_AFTER_AN_APPEND, "move", "--from", str(old)],
        env={**os.environ, **cluster.environment},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert died.returncode == 9, died.stderr
    consumer = cluster.consume()
    done = cluster.run("move", "--from", str(old))
    assert done.returncode == 0, done.stderr
    assert f"{EVENTS + 3 - 2_700:,} records were moved" in done.stderr
    cluster.wait_until_taken_in()
    assert consumer.stop() == 0
    found = cluster.indexed()
    assert {name: count for name, count in found.items() if name != "e0"} == {
        f"e{number}": 1 for number in range(1, EVENTS + 1)
    }
    books = cluster.check_books().books
    assert {one.log for one in books} == {2}
    assert sum(one.taken_in for one in books) == EVENTS + 3
    assert sum(one.dead_letters for one in books) == 1
    _check_links(cluster, old)
    _check_ended(cluster, old)
    _check_verified(cluster)


def _check_verified(cluster: Deployment) -> None:
    """The new log verifies, and against what an auditor kept of the old one as well."""
    final = cluster.engines.ledger.seals.checkpoint(1, 0)
    assert final is not None
    kept = cluster.folder / "kept"
    kept.write_bytes(final.note)
    verified = cluster.run("verify", "--checkpoint", str(kept))
    assert verified.returncode == 0, verified.stdout + verified.stderr
    text, _, signatures = final.note.decode().partition("\n\n")
    origin, size, root = text.split("\n")
    for other in (
        (origin, size, "A" + root[1:] if root[0] != "A" else "B" + root[1:]),
        (origin, str(int(size) + 1), root),
    ):
        kept.write_text("\n".join(other) + "\n\n" + signatures)
        refused = cluster.run("verify", "--checkpoint", str(kept))
        assert refused.returncode == 1, refused.stdout + refused.stderr


def _check_links(cluster: Deployment, old: Path) -> None:
    """The old log is in the new ledger as it was, and every new one begins with its end."""
    here = open_engines(Settings(data=old), "read")
    try:
        was, final = SealedLog.stored(here.ledger, 1, 0), here.ledger.seals.checkpoint(1, 0)
        head, records = here.ledger.head(1, 0), here.log.read(0, 0, EVENTS + 3, 1 << 30)
        rows = list(here.ledger.outcomes(1, 0))
    finally:
        here.close()
    assert was is not None
    assert final is not None
    assert head is not None
    ledger = cluster.engines.ledger
    moved = ledger.head(1, 0)
    assert moved is not None
    assert (moved.base, moved.next, moved.seal) == (head.base, head.next, head.seal)
    assert list(ledger.outcomes(1, 0)) == [replace(row, tenant_id=None, event_id=None) for row in rows]
    copied = ledger.seals.checkpoint(1, 0)
    assert copied is not None
    assert copied.note == final.note
    signed = Checkpoint.parse(final.note.decode().partition("\n\n")[0] + "\n")
    begun = [SealedLog.stored(ledger, 2, number) for number in range(cluster.partitions)]
    assert [log.genesis.previous for log in begun if log] == [(signed,)] * cluster.partitions
    assert {log.genesis.reason.partition("/")[0] for log in begun if log} == {"moved from embedded"}
    were = {record.position.offset: record for record in records if isinstance(record, Record)}
    log = cluster.engines.log
    for number in range(cluster.partitions):
        for item in log.read(number, 0, EVENTS + 3, 1 << 30):
            assert isinstance(item, Record)
            assert item.headers[-1][0] == HEADER_MOVED
            origin, partition, offset, time_ms = (item.header(HEADER_MOVED) or b"").split(b" ")
            record = were.pop(int(offset))
            assert (was.origin.endswith(f"{origin.decode()}/0"), partition) == (True, b"0")
            assert (record.value, record.key, record.timestamp_ms) == (item.value, item.key, int(time_ms))
            assert record.headers == item.headers[:-1]
    assert were == {}


def _check_ended(cluster: Deployment, old: Path) -> None:
    again = cluster.run("move", "--from", str(old))
    assert (again.returncode, "\n0 records were moved" in f"\n{again.stderr}") == (0, True)
    here = open_engines(Settings(data=old), "import")
    try:
        with pytest.raises(PipelineFault, match="was moved to"):
            here.log.append([NewRecord(line(1))])
    finally:
        here.close()


def test_a_log_that_is_not_at_rest_or_a_cluster_that_is_not_new_is_refused(cluster: Deployment, old: Path) -> None:
    here = open_engines(Settings(data=old), "import")
    try:
        here.log.append([NewRecord(line(EVENTS + 1))])
    finally:
        here.close()
    pending = cluster.run("move", "--from", str(old))
    assert (pending.returncode, "not taken in to its end" in pending.stderr) == (2, True)
    assert embedded("import", "-", data=old, stdin=line(EVENTS + 2)).returncode == 0
    cluster.append([NewRecord(line(1))])
    used = cluster.run("move", "--from", str(old))
    assert (used.returncode, "has a log of its own" in used.stderr) == (2, True)
    nowhere = embedded("move", "--from", str(old), data=old)
    assert nowhere.returncode == 2


def about(subject: str, event_id: str, month: str = "2026-03") -> bytes:
    body = {"timestamp": f"{month}-04T05:06:07Z", "tenant_id": "t1", "actor": subject, "action": "x.y"}
    return json.dumps(body | {"id": event_id}).encode()


def order(*words: str) -> tuple[str, ...]:
    return (*words, "--reason", "ticket 7", "--requested-by", "me", "--yes")


@pytest.fixture
def thinned(tmp_path: Path) -> Path:
    """A log from which somebody was erased, and a month dropped; another subject's events are still in it."""
    data = tmp_path / "old"
    lines = [line(number) for number in range(50)]
    lines += [about("4711gone", "g1"), about("4711gone", "g2"), about("4712later", "l1")]
    lines.append(lines[-1] + b" ")  # a duplicate, whose row names it
    lines.append(about("bob", "b1", "2026-01"))
    lines += [b'broken "4711gone"', b'broken "4712later"']
    assert embedded("import", "-", data=data, stdin=b"\n".join(lines)).returncode == 1
    for words in (("erase", "--tenant", "t1", "--actor", "4711gone"), ("expire", "--before", "2026-02")):
        done = embedded(*order(*words), data=data)
        assert done.returncode == 0, done.stderr
    late = [about("4711gone", "g1"), about("bob", "b2", "2026-01")]  # their records stay in the log
    assert embedded("import", "-", data=data, stdin=b"\n".join(late)).returncode == 0
    return data


def test_what_was_removed_stays_removed_after_the_move_and_the_rest_can_still_be(
    cluster: Deployment, thinned: Path, raw: RawElasticsearch
) -> None:
    done = cluster.run("move", "--from", str(thinned))
    assert done.returncode == 0, done.stderr
    assert "4 are erased or expired" in done.stderr
    consumer = cluster.consume()
    cluster.wait_until_taken_in()
    kept = {f"e{number}" for number in range(50)} | {"l1"}
    assert {name for name in cluster.indexed() if len(name) < 36} == kept
    cluster.append([NewRecord(about("4711gone", "g2"), b"t1"), NewRecord(about("bob", "b3", "2026-01"), b"t1")])
    cluster.wait_until_taken_in()
    assert {name for name in cluster.indexed() if len(name) < 36} == kept
    assert _sums(cluster) == (2, 2, 1)
    listed = cluster.run("dead-letters", "list").stdout.splitlines()
    assert [json.loads(row)["position"].partition("/")[0] for row in listed] == ["2"]
    _verified(cluster)

    done = cluster.run(*order("erase", "--tenant", "t1", "--actor", "4712later"))
    assert done.returncode == 0, done.stderr
    assert _sums(cluster) == (5, 2, 0)
    raw("POST", f"/{cluster.topic}-*/_refresh")
    found = raw("POST", f"/{cluster.topic}-*/_search?expand_wildcards=all", {"size": 10_000})
    everything = json.dumps(found["hits"])
    assert "4712later" not in everything
    assert b64encode(b'broken "4712later"').decode() not in everything
    _verified(cluster)

    cluster.append([NewRecord(about("bob", "after", "2026-04"), b"t1")])
    cluster.wait_until_taken_in()
    done = cluster.run(*order("expire", "--before", "2026-04"))
    assert done.returncode == 0, done.stderr
    assert {name for name in cluster.indexed() if len(name) < 36} == {"after"}
    assert _sums(cluster) == (7, len(kept) - 1, 0), "what came late for January is erased"
    _verified(cluster)
    _check_orders_are_needed(cluster, raw)
    done = cluster.run(*order("erase", "--leftovers", "--form", "ndjson"))
    assert done.returncode == 0, done.stderr
    found = [json.loads(row) for row in done.stdout.splitlines()]
    assert sum(row["retries"] for row in found) == 2, "by an order of the log that was moved"
    assert not any(row["late"] or row["contradicted"] for row in found)
    assert consumer.stop() == 0
    for number in cluster.engines.log.partitions():
        cut = TopicPartition(cluster.topic, number, cluster.engines.log.bounds(number).next)
        for result in cluster.admin.delete_records([cut]).values():
            result.result(30)
    _verified(cluster)


def _check_orders_are_needed(cluster: Deployment, raw: RawElasticsearch) -> None:
    """Without the old log's orders nobody can tell a lawful removal."""
    kept = f"/{cluster.topic}-trailseal-kept"
    raw("POST", f"{kept}/_refresh")
    found = raw("POST", f"{kept}/_search", {"size": 1_000})["hits"]["hits"]
    orders = {hit["_id"]: hit["_source"] for hit in found if hit["_id"].startswith("1.")}
    assert len(orders) == 2
    for name in orders:
        raw("DELETE", f"{kept}/_doc/{name}?refresh=true")
    done = cluster.run("verify")
    assert (done.returncode, done.stdout.count("there is no order at 1/0/")) == (1, 2), done.stdout + done.stderr
    done = cluster.run("erase", "--leftovers", "--reason", "ticket 7", "--form", "ndjson")
    assert (done.returncode, done.stderr.count("there is no genuine order at 1/0/")) == (1, 2), done.stderr
    for name, source in orders.items():
        raw("PUT", f"{kept}/_doc/{name}?refresh=true", source)


def _sums(cluster: Deployment) -> tuple[int, int, int]:
    books = cluster.check_books().books
    return (
        sum(one.erased for one in books),
        sum(one.expired for one in books),
        sum(one.dead_letters for one in books),
    )


def _verified(cluster: Deployment) -> None:
    done = cluster.run("verify")
    assert done.returncode == 0, done.stdout + done.stderr
