"""Make, check or mend the audit topic through Kafka's admin protocol; `scripts/setup_kafka.sh` runs this file."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from trailseal.adapters.logs.kafka_connection import (
    KafkaOptions,
    Security,
    refused,
    shown_id,
    translate,
    wrong_property,
)
from trailseal.adapters.logs.kafka_topic_plan import (
    PREFIX,
    VARIABLES,
    TopicPlan,
    TopicState,
    judge,
    new_topic,
    plan_from,
    worries,
)
from trailseal.errors import PipelineFault, SettingsError, TrailsealError, Unavailable

ANSWER_SECONDS = 30.0
POLL_SECONDS = 0.05

_PASSING = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.UNKNOWN_TOPIC_ID,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.FENCED_LEADER_EPOCH,
)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class TopicReport:
    """What was found and done.

    Attributes:
        name: the topic.
        topic_id: Kafka's id of it, another one whenever the topic is made anew.
        created: whether it was made just now.
        state: how it is now.
        changes: one sentence for each setting that was changed.
        worries: one sentence for each thing that is legal and may still surprise.
    """

    name: str
    topic_id: str
    created: bool
    state: TopicState
    changes: tuple[str, ...]
    worries: tuple[str, ...]


def ensure_topic(client: Mapping[str, str], plan: TopicPlan, *, wait_s: float = ANSWER_SECONDS) -> TopicReport:
    """Make the topic if it is missing, mend what is safe to mend, refuse the rest. Asking twice is harmless.

    Args:
        client: librdkafka client properties, at least `bootstrap.servers`.
        plan: what is asked of the topic.
        wait_s: seconds to wait for a broker.

    Raises:
        Unavailable: no broker answered in time.
        SettingsError: the plan cannot be carried out on this cluster, or a client property is wrong.
        PipelineFault: the topic is not safe to use, or we are not allowed to look after it.
    """
    link = KafkaOptions(client.get("bootstrap.servers", ""), plan.name, client)
    admin = _admin(link)
    with _translated(link, admin):
        created = _create_missing(admin, plan, wait_s)
        before = _eventually(admin, lambda: _describe(admin, plan.name), f"no description of {plan.name}")
        found = judge(plan, before)
        if found.config:
            _alter(admin, plan.name, found.config)
        if found.partitions:
            _result(admin.create_partitions([NewPartitions(plan.name, found.partitions)])[plan.name])

        def as_planned() -> TopicState | None:
            state = _describe(admin, plan.name)
            left = judge(plan, state)
            return None if left.config or left.partitions else state

        after = _eventually(admin, as_planned, f"{plan.name} does not show its new settings")
        topic_id = shown_id(_result(admin.describe_topics(TopicCollection([plan.name]))[plan.name]).topic_id)
    return TopicReport(plan.name, topic_id, created, after, found.messages, worries(plan, after))


def connection(environment: Mapping[str, str]) -> tuple[dict[str, str], str | None]:
    """Return client properties and the topic named by `TRAILSEAL_LOG`, if it names one.

    Raises:
        SettingsError: there are no brokers, a file cannot be read, or what is given does not go together.
    """
    properties = _security(environment).properties()
    url = urlsplit(environment.get("TRAILSEAL_LOG", ""))
    brokers, topic = "", None
    if url.scheme == "kafka":
        brokers = url.netloc.rpartition("@")[2]
        topic = url.path.strip("/") or None
    brokers = environment.get(f"{PREFIX}BOOTSTRAP") or brokers or properties.get("bootstrap.servers", "")
    if not brokers:
        raise SettingsError(
            f"No brokers: set {PREFIX}BOOTSTRAP=HOST:PORT, or TRAILSEAL_LOG=kafka://HOST:PORT/TOPIC."
        )
    return properties | {"bootstrap.servers": brokers}, topic


def _security(environment: Mapping[str, str]) -> Security:
    def path(name: str) -> Path | None:
        text = environment.get(PREFIX + name)
        return Path(text) if text else None

    return Security(
        protocol=environment.get(f"{PREFIX}SECURITY_PROTOCOL", ""),
        mechanism=environment.get(f"{PREFIX}SASL_MECHANISM", ""),
        username=environment.get(f"{PREFIX}USERNAME", ""),
        password_file=path("PASSWORD_FILE"),
        ca_file=path("CA_FILE"),
        cert_file=path("CERT_FILE"),
        key_file=path("KEY_FILE"),
        key_password_file=path("KEY_PASSWORD_FILE"),
        client_config=path("CLIENT_CONFIG"),
    )


def _admin(link: KafkaOptions) -> AdminClient:
    try:
        return AdminClient(link.properties())
    except KafkaException as error:
        raise wrong_property(error) from error


def _create_missing(admin: AdminClient, plan: TopicPlan, wait_s: float) -> bool:
    cluster = admin.list_topics(timeout=wait_s)
    if plan.name in cluster.topics:
        return False
    partitions, replication, config = new_topic(plan, len(cluster.brokers))
    topic = NewTopic(plan.name, num_partitions=partitions, replication_factor=replication, config=config)
    try:
        _result(admin.create_topics([topic], operation_timeout=ANSWER_SECONDS)[plan.name])
    except KafkaException as error:
        # Another set-up was faster: what it made is checked like any other topic.
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise
        return False
    return True


def _eventually(admin: AdminClient, ask: Callable[[], _T | None], otherwise: str) -> _T:
    """Ask until there is an answer: brokers learn of a new topic one after the other."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            answer = ask()
        except KafkaException as error:
            if error.args[0].code() not in _PASSING or time.monotonic() > deadline:
                raise
            answer = None
        if answer is not None:
            return answer
        if time.monotonic() > deadline:
            raise Unavailable(f"Kafka: {otherwise} after {ANSWER_SECONDS:.0f} s. Look at its brokers.")
        admin.poll(POLL_SECONDS)


def _describe(admin: AdminClient, name: str) -> TopicState:
    resource = ConfigResource(ResourceType.TOPIC, name)
    entries: dict[str, ConfigEntry] = _result(admin.describe_configs([resource])[resource])
    topic = admin.list_topics(name, timeout=ANSWER_SECONDS).topics[name]
    if topic.error is not None:
        raise KafkaException(topic.error)
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call] # the library has no annotation there
    asked = {TopicPartition(name, partition): latest for partition in topic.partitions}
    ends = [_result(end).offset for end in admin.list_offsets(asked).values()]
    return TopicState(
        partitions=len(topic.partitions),
        replication=min(len(partition.replicas) for partition in topic.partitions.values()),
        config={entry.name: entry.value or "" for entry in entries.values()},
        written=any(end > 0 for end in ends),
    )


def _alter(admin: AdminClient, name: str, config: Mapping[str, str]) -> None:
    entries = [
        ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in config.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
    _result(admin.incremental_alter_configs([resource])[resource])


def _result(future: Future[_T] | Any) -> Any:
    return future.result(timeout=ANSWER_SECONDS)


@contextmanager
def _translated(link: KafkaOptions, admin: AdminClient) -> Iterator[None]:
    """Turn Kafka's errors into ours: refused by a rule or a right is ours to mend, the rest may pass."""
    try:
        yield
    except TimeoutError as error:
        admin.poll(0)
        raise _ours(KafkaError(KafkaError._TIMED_OUT), link) from error  # noqa: SLF001 - a constant
    except KafkaException as error:
        admin.poll(0)
        raise _ours(error.args[0], link) from error


def _ours(problem: KafkaError, link: KafkaOptions) -> TrailsealError:
    code = problem.code()
    if code in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED):
        return PipelineFault(
            f"Kafka at {link.brokers} does not let us look after the topic: grant Create, Describe,"
            " DescribeConfigs, Alter and AlterConfigs on it."
        )
    if code in (KafkaError.POLICY_VIOLATION, KafkaError.INVALID_CONFIG, KafkaError.INVALID_REPLICATION_FACTOR):
        return SettingsError(f"Kafka at {link.brokers} refuses these settings: {problem.str()}.")
    if refused(problem, link):
        return translate(problem, link, "look after the topic")
    return Unavailable(f"Kafka at {link.brokers} does not answer ({problem.name()}). Is it started?")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0 where the topic is as asked, 1 where it is not, 2 where the question is wrong.
    """
    names = "\n".join(f"  {PREFIX + name:<36} {meaning}" for name, meaning in VARIABLES.items())
    parser = argparse.ArgumentParser(
        prog="setup_kafka.sh",
        description="Make the audit topic, or check and mend the one there is. Running it again changes nothing.",
        epilog=f"environment:\n{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--add-partitions", action="store_true", help="let an old topic get more partitions")
    parser.add_argument("--repair", action="store_true", help="mend unsafe settings of a topic with records")
    given = parser.parse_args(arguments)
    environment = dict(os.environ)
    for flag, name in ((given.add_partitions, "ADD_PARTITIONS"), (given.repair, "REPAIR")):
        if flag:
            environment[PREFIX + name] = "true"
    try:
        client, topic = connection(environment)
        plan = plan_from(environment, topic=topic)
        report = ensure_topic(client, plan, wait_s=_wait_s(environment))
    except TrailsealError as error:
        sys.stderr.write(f"setup_kafka: {error}\n")
        return 2 if isinstance(error, SettingsError) else 1
    _print(report)
    return 0


def _wait_s(environment: Mapping[str, str]) -> float:
    text = environment.get(f"{PREFIX}WAIT") or str(ANSWER_SECONDS)
    try:
        return float(text)
    except ValueError as error:
        raise SettingsError(f"{PREFIX}WAIT={text} is wrong: give a number of seconds.") from error


def _print(report: TopicReport) -> None:
    done = "created" if report.created else "changed" if report.changes else "is as asked"
    state = report.state
    shown = ("retention.ms", "min.insync.replicas", "message.timestamp.type", "cleanup.policy", "max.message.bytes")
    settings = ", ".join(f"{name}={state.config.get(name)}" for name in shown)
    first = f"{report.name}: {done}; {state.partitions} partitions, replication {state.replication}, {settings}"
    rest = [f"  {line}" for line in report.changes] + [f"  note: {line}" for line in report.worries]
    sys.stdout.write("\n".join([first, *rest]) + "\n")


if __name__ == "__main__":
    sys.exit(main())
