"""An embedded log moved into a real cluster: nothing lost, nothing doubled, the proofs linked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.deployment import COMMAND, Deployment, deployment
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
    assert list(ledger.outcomes(1, 0)) == rows
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
