"""The audit topic on the real broker, through the script that operators run."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from trailseal.adapters.logs.kafka_topic_plan import TopicPlan
from trailseal.adapters.logs.kafka_topics import TopicReport, connection, ensure_topic
from trailseal.errors import PipelineFault, SettingsError, Unavailable

SCRIPT = Path(__file__).resolve().parent.parent.parent / "scripts" / "setup_kafka.sh"
SAFE = {
    "cleanup.policy": "delete",
    "message.timestamp.type": "LogAppendTime",
    "unclean.leader.election.enable": "false",
}


@pytest.fixture
def client(kafka_servers: str) -> dict[str, str]:
    return {"bootstrap.servers": kafka_servers}


@pytest.fixture
def admin(client: dict[str, str]) -> AdminClient:
    return AdminClient(client)


@pytest.fixture
def topic(admin: AdminClient) -> Iterator[str]:
    name = f"t-{secrets.token_hex(6)}"
    yield name
    if name in admin.list_topics(timeout=30).topics:
        admin.delete_topics([name])[name].result(30)


def make(admin: AdminClient, topic: str, **config: str) -> None:
    settings = {name.replace("_", "."): value for name, value in config.items()}
    asked = NewTopic(topic, num_partitions=2, replication_factor=1, config=settings)
    admin.create_topics([asked], operation_timeout=30)[topic].result(30)


def write_one(client: dict[str, str], topic: str) -> None:
    producer = Producer(client | {"acks": "all"})
    producer.produce(topic, b"{}", key=b"a compacted topic takes no record without one")
    assert producer.flush(30) == 0


def test_a_missing_topic_is_made_safe_and_a_second_run_changes_nothing(client: dict[str, str], topic: str) -> None:
    first = ensure_topic(client, TopicPlan(topic, partitions=3))
    assert first.created
    assert first.state.partitions == 3
    assert {name: first.state.config[name] for name in SAFE} == SAFE
    second = ensure_topic(client, TopicPlan(topic, partitions=3))
    assert (second.created, second.changes) == (False, ())
    assert second.topic_id == first.topic_id


def test_a_topic_made_anew_has_another_id(client: dict[str, str], admin: AdminClient, topic: str) -> None:
    first = ensure_topic(client, TopicPlan(topic))
    admin.delete_topics([topic], operation_timeout=30)[topic].result(30)
    assert ensure_topic(client, TopicPlan(topic)).topic_id != first.topic_id


def test_setups_at_the_same_time_agree(client: dict[str, str], topic: str) -> None:
    def run(_number: int) -> TopicReport:
        return ensure_topic(client, TopicPlan(topic))

    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(run, range(4)))
    assert sum(report.created for report in reports) == 1
    assert len({report.topic_id for report in reports}) == 1


def test_an_unsafe_topic_with_records_is_refused_and_mended_when_asked(
    client: dict[str, str], admin: AdminClient, topic: str
) -> None:
    make(admin, topic, cleanup_policy="compact")
    write_one(client, topic)
    with pytest.raises(PipelineFault, match=r"cleanup\.policy=compact"):
        ensure_topic(client, TopicPlan(topic))
    mended = ensure_topic(client, TopicPlan(topic, repair=True))
    assert {name: mended.state.config[name] for name in SAFE} == SAFE


def test_a_topic_made_by_hand_and_still_empty_is_mended(
    client: dict[str, str], admin: AdminClient, topic: str
) -> None:
    make(admin, topic)
    report = ensure_topic(client, TopicPlan(topic))
    assert not report.created
    assert {name: report.state.config[name] for name in SAFE} == SAFE
    assert any("message.timestamp.type" in line for line in report.changes)


def test_partitions_grow_only_with_the_flag(client: dict[str, str], topic: str) -> None:
    ensure_topic(client, TopicPlan(topic, partitions=2))
    write_one(client, topic)
    with pytest.raises(PipelineFault, match="ADD_PARTITIONS"):
        ensure_topic(client, TopicPlan(topic, partitions=4))
    assert ensure_topic(client, TopicPlan(topic, partitions=4, add_partitions=True)).state.partitions == 4


def test_more_copies_than_brokers_are_refused(client: dict[str, str], topic: str) -> None:
    with pytest.raises(SettingsError, match="start the others"):
        ensure_topic(client, TopicPlan(topic, replication=3))


def test_nobody_listening_is_unavailable() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 "):
        ensure_topic({"bootstrap.servers": "127.0.0.1:1"}, TopicPlan(), wait_s=0.5)


def test_a_wrong_client_property_is_named_without_its_value() -> None:
    wrong = {"bootstrap.servers": "127.0.0.1:1", "sasl.passwrod": "hidden"}
    with pytest.raises(SettingsError) as caught:
        ensure_topic(wrong, TopicPlan())
    assert "sasl.passwrod" in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_brokers_come_from_the_environment_the_url_or_the_client_file(tmp_path: Path) -> None:
    file = tmp_path / "client.properties"
    file.write_text("# TLS\nbootstrap.servers = c:1\nsecurity.protocol=SSL\n")
    from_file = {"TRAILSEAL_KAFKA_CLIENT_CONFIG": str(file)}
    assert connection(from_file) == ({"bootstrap.servers": "c:1", "security.protocol": "SSL"}, None)
    url = {"TRAILSEAL_LOG": "kafka://a:1,b:2/audit"}
    assert connection(url) == ({"bootstrap.servers": "a:1,b:2"}, "audit")
    assert connection(url | {"TRAILSEAL_KAFKA_BOOTSTRAP": "d:4"}) == ({"bootstrap.servers": "d:4"}, "audit")
    with pytest.raises(SettingsError, match="TRAILSEAL_KAFKA_BOOTSTRAP"):
        connection({})


def test_the_script_says_what_it_did_and_what_it_refuses(kafka_servers: str, topic: str) -> None:
    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        mine = {
            "TRAILSEAL_KAFKA_BOOTSTRAP": kafka_servers,
            "TRAILSEAL_KAFKA_TOPIC": topic,
            "PYTHON": sys.executable,
        }
        return subprocess.run(
            [SCRIPT, *arguments], capture_output=True, text=True, check=False, env=os.environ | mine | environment
        )

    made = run(TRAILSEAL_KAFKA_PARTITIONS="2")
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.startswith(f"{topic}: created; 2 partitions")
    assert run().stdout.startswith(f"{topic}: is as asked")
    refused = run(TRAILSEAL_KAFKA_PARTITIONS="3")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
    assert run("--add-partitions", TRAILSEAL_KAFKA_PARTITIONS="3").returncode == 0
    assert run(TRAILSEAL_KAFKA_PARTITIONS="x").returncode == 2
