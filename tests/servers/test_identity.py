"""What is one event and what is another: ids that collide, keys that are shared, retries after a month moved."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.deployment import Deployment, deployment
from servers.load import record

pytestmark = pytest.mark.timeout(300)
COLLIDING = 1_001


@pytest.fixture
def cluster(kafka_servers: str, elasticsearch_url: str, redis_url: str, tmp_path: Path) -> Iterator[Deployment]:
    with deployment(kafka_servers, elasticsearch_url, redis_url, tmp_path) as made:
        yield made


def test_colliding_ids_are_all_found_and_a_late_retry_meets_its_event_where_its_month_moved(
    cluster: Deployment,
) -> None:
    cluster.consume()
    cluster.append([record("same", metadata={"n": number}) for number in range(COLLIDING)])
    cluster.append([record(f"other{number}") for number in range(50)])
    cluster.wait_until_taken_in()

    assert cluster.indexed() == {"same": COLLIDING} | {f"other{number}": 1 for number in range(50)}
    books = cluster.check_books().books
    assert sum(one.id_collisions for one in books) == COLLIDING - 1
    assert sum(one.duplicates + one.dead_letters for one in books) == 0
    found = cluster.run("search", "id=same", "--all", "--form", "ndjson")
    assert found.returncode == 0, found.stderr
    told = Counter(json.loads(line)["metadata"]["n"] for line in found.stdout.splitlines())
    assert told == Counter(range(COLLIDING))
    _check_retries_after_a_move(cluster)


def _check_retries_after_a_move(cluster: Deployment) -> None:
    """Where others roll over to a new index and take the same id again."""
    events = [record(f"e{number}") for number in range(300)]
    cluster.append(events)
    cluster.wait_until_taken_in()
    moved = cluster.run("reproject", "--all")
    assert moved.returncode == 0, moved.stderr
    april = [record(f"a{number}", timestamp="2026-04-01T00:00:00Z") for number in range(10)]
    cluster.append([*april, *events, record("e7", timestamp="2026-04-04T05:06:07Z")])
    cluster.wait_until_taken_in()

    found = cluster.indexed()
    assert [found[f"e{number}"] for number in range(300) if number != 7] == [1] * 299
    assert [found[f"a{number}"] for number in range(10)] == [1] * 10
    assert found["e7"] == 2  # an id is unique in its month: a retry keeps its timestamp
    assert found["same"] == COLLIDING
    assert sum(one.duplicates for one in cluster.check_books().books) == 300
