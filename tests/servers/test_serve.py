"""`trailseal setup` and `trailseal serve` as processes on the real servers."""

from __future__ import annotations

import http.client
import json
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from servers.deployment import COMMAND, PATIENCE_S, Deployment, Process, deployment
from servers.waiting import eventually
from trailseal.api.credentials import create_key

EVENT = {"timestamp": "2026-03-04T05:06:07Z", "actor": "alice", "action": "document.read"}


@pytest.fixture
def cluster(kafka_servers: str, elasticsearch_url: str, redis_url: str, tmp_path: Path) -> Iterator[Deployment]:
    with deployment(
        kafka_servers, elasticsearch_url, redis_url, tmp_path, partitions=2, elasticsearch_replicas="0"
    ) as made:
        yield made


def ask(process: Process, method: str, path: str, key: str, body: Any = None) -> tuple[int, Any]:
    with closing(http.client.HTTPConnection("127.0.0.1", process.port, timeout=30)) as connection:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def key_of(cluster: Deployment, *scopes: str, tenants: list[str] | None) -> str:
    _, text = create_key(cluster.engines.ledger, cluster.engines.clock, scopes=scopes, tenants=tenants)
    return text


def test_setup_twice_changes_nothing_and_makes_one_first_key(cluster: Deployment, tmp_path: Path) -> None:
    (tmp_path / "secret").unlink()
    first = cluster.run("setup", "--key-file", str(tmp_path / "first.key"))
    assert first.returncode == 0, first.stderr
    made = {name: (tmp_path / name).read_bytes() for name in ("secret", "seal.key", "first.key")}
    assert all((tmp_path / name).stat().st_mode & 0o077 == 0 for name in made)
    second = cluster.run("setup")
    assert (second.returncode, second.stdout) == (0, ""), second.stderr
    assert {name: (tmp_path / name).read_bytes() for name in made} == made
    assert "there is one already" in second.stderr


def test_without_the_shared_secret_serve_does_not_start(cluster: Deployment, tmp_path: Path) -> None:
    (tmp_path / "secret").unlink()
    process = cluster.start(str(COMMAND), "serve")
    eventually(lambda: "trailseal setup" in process.said(), PATIENCE_S)
    process.kill()


def test_without_a_key_serve_listens_on_this_machine_only(cluster: Deployment) -> None:
    process = cluster.start(str(COMMAND), "serve", "--host", "0.0.0.0")  # noqa: S104 - it has to be refused
    assert process.exit_status() == 2
    assert "trailseal api-keys create" in process.said()


def test_what_is_posted_is_found_by_its_tenant_alone_whichever_worker_answers(cluster: Deployment) -> None:
    ours, theirs, admin = (
        key_of(cluster, *scopes, tenants=tenants)
        for scopes, tenants in (
            (("events:read", "events:write"), ["acme"]),
            (("events:read",), ["globex"]),
            (("admin",), None),
        )
    )
    cluster.consume()
    served = cluster.start(str(COMMAND), "serve", wait=True, workers="2")
    posted = [EVENT | {"id": f"e{number}", "tenant_id": "acme"} for number in range(250)]
    status, answer = ask(served, "POST", "/events", ours, posted)
    assert (status, answer["accepted"]) == (200, 250)
    eventually(lambda: ask(served, "GET", "/events/count", ours)[1].get("count") == 250, PATIENCE_S)

    found: list[str] = []
    path = "/events?limit=40&order=asc"
    while True:
        status, page = ask(served, "GET", path, ours)
        assert status == 200, page
        found += [event["id"] for event in page["events"]]
        if not page["has_more"]:
            break
        path = f"/events?limit=40&order=asc&cursor={page['next_cursor']}"
    assert sorted(found) == sorted(event["id"] for event in posted)
    assert ask(served, "GET", "/events/count", theirs)[1]["count"] == 0
    assert ask(served, "GET", "/events/e7", theirs)[0] == 404
    assert ask(served, "POST", "/events", theirs, posted[0])[0] == 403
    assert ask(served, "GET", "/events?seal=1&limit=1", admin)[1]["events"][0]["seal"]["index"] >= 1
    assert ask(served, "GET", "/events", "ts_000000000000_no")[0] == 401
    cluster.check_books()
    assert served.stop() == 0


def test_counters_are_those_of_all_workers(cluster: Deployment) -> None:
    admin = key_of(cluster, "admin", tenants=None)
    served = cluster.start(str(COMMAND), "serve", wait=True, workers="2")
    for number in range(30):
        assert ask(served, "POST", "/events", admin, EVENT | {"id": f"m{number}"})[0] == 200
    with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)) as connection:
        connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {admin}"})
        text = connection.getresponse().read().decode()
    (line,) = [line for line in text.splitlines() if line.startswith("trailseal_events_accepted_total")]
    assert float(line.split()[-1]) == 30


def test_a_killed_serve_leaves_no_worker_behind(cluster: Deployment) -> None:
    served = cluster.start(str(COMMAND), "serve", wait=True, workers="2")
    children = Path(f"/proc/{served.pid}/task/{served.pid}/children")
    pids = [int(pid) for pid in children.read_text().split()]
    os.kill(served.pid, signal.SIGKILL)
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), PATIENCE_S)


def test_an_export_whose_worker_is_killed_half_way_is_no_complete_answer(cluster: Deployment) -> None:
    admin = key_of(cluster, "admin", tenants=None)
    cluster.consume()
    served = cluster.start(str(COMMAND), "serve", wait=True, workers="1")
    padding = {"padding": ["x" * 1_000] * 50}
    for number in range(0, 300, 50):
        batch = [EVENT | {"id": f"x{number + place}", "metadata": padding} for place in range(50)]
        assert ask(served, "POST", "/events", admin, batch)[0] == 200
    eventually(lambda: ask(served, "GET", "/events/count", admin)[1].get("count") == 300, PATIENCE_S)

    with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)) as connection:
        connection.request("GET", "/events/export", headers={"Authorization": f"Bearer {admin}"})
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.read(1_000).startswith(b"{")
        for pid in workers_of(served):
            os.kill(pid, signal.SIGKILL)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
    eventually(lambda: served.get("/healthz")[0] == 200, PATIENCE_S)


def workers_of(served: Process) -> list[int]:
    """Its worker processes, without multiprocessing's own helper."""
    children = Path(f"/proc/{served.pid}/task/{served.pid}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
