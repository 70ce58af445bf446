"""The commands people use, on a cluster: import beside consumers, search, dead letters, the books."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.deployment import Deployment, deployment

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def cluster(kafka_servers: str, elasticsearch_url: str, redis_url: str, tmp_path: Path) -> Iterator[Deployment]:
    with deployment(kafka_servers, elasticsearch_url, redis_url, tmp_path) as made:
        yield made


def lines(count: int) -> str:
    """Native events, one a line, of three tenants."""
    events = (
        {
            "id": f"e{n}",
            "timestamp": f"2026-03-04T05:{n // 60 % 60:02}:{n % 60:02}Z",
            "tenant_id": ("default", "acme", "umbrella")[n % 3],
            "actor": f"user{n % 7}",
            "action": "document.read",
        }
        for n in range(count)
    )
    return "".join(json.dumps(event) + "\n" for event in events)


def test_an_import_follows_the_consumers_and_everything_can_be_looked_at(
    cluster: Deployment, tmp_path: Path
) -> None:
    (tmp_path / "events.ndjson").write_text(lines(3_000) + "no event\n")
    consumer = cluster.consume()
    done = cluster.run("import", "--form", "ndjson", str(tmp_path / "events.ndjson"))
    assert done.returncode == 1, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["read"], summary["new"], summary["dead_letters"]) == (3_001, 3_000, 1)
    assert summary["problems"][0]["line"] == 3_001

    again = json.loads(cluster.run("import", "--form", "ndjson", str(tmp_path / "events.ndjson")).stdout)
    assert (again["read"], again["new"], again["already_there"]) == (3_001, 0, 3_000)

    found = cluster.run("search", "--actor", "user3", "--tenant-id", "acme", "--all", "--form", "ndjson")
    assert found.returncode == 0, found.stderr
    ids = {json.loads(line)["id"] for line in found.stdout.splitlines()}
    assert ids == {f"e{n}" for n in range(3_000) if n % 7 == 3 and n % 3 == 1}

    spread = {head.partition for head in cluster.engines.ledger.heads(1) if head.taken_in}
    assert len(spread) == cluster.partitions

    letters = cluster.run("dead-letters", "list", "--form", "ndjson").stdout.splitlines()
    assert len(letters) == 2
    position = json.loads(letters[0])["position"]
    assert cluster.run("dead-letters", "show", "--raw", position).stdout == "no event"
    replayed = cluster.run("dead-letters", "replay", position)
    assert replayed.returncode == 0, replayed.stderr
    cluster.wait_until_taken_in()
    assert len(cluster.run("dead-letters", "list", "--open", "--form", "ndjson").stdout.splitlines()) == 2

    assert consumer.stop() == 0
    books = cluster.run("reconcile", "--form", "ndjson")
    assert books.returncode == 0, books.stdout + books.stderr
