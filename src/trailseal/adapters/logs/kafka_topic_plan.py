"""What the audit topic must look like, and what to do about one that does not. Pure: no connection here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from trailseal.errors import PipelineFault, SettingsError

PREFIX = "TRAILSEAL_KAFKA_"
DAY_MS = 86_400_000
DEFAULT_TOPIC = "audit-events"
DEFAULT_PARTITIONS = 6
DEFAULT_RETENTION_MS = 14 * DAY_MS
DEFAULT_MAX_MESSAGE_BYTES = (1 << 20) + (64 << 10)
"""Foreign formats may have records of 1 MiB; the rest is for key, headers and the batch's own frame."""

FOREVER_MS = -1
_UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": DAY_MS, "w": 7 * DAY_MS}
_TRUE, _FALSE = ("1", "true", "yes"), ("", "0", "false", "no")
_TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")

VARIABLES = {
    "BOOTSTRAP": "Brokers, HOST:PORT[,HOST:PORT]; default: those of TRAILSEAL_LOG.",
    "TOPIC": "The topic's name; default: that of TRAILSEAL_LOG, else audit-events.",
    "PARTITIONS": f"Partitions; default: {DEFAULT_PARTITIONS} for a new topic, as it is for an old one.",
    "ADD_PARTITIONS": "true: an old topic may get more partitions, though keys then move to others.",
    "REPLICATION": "Copies of each record; default: one per broker, at most 3.",
    "MIN_INSYNC_REPLICAS": "Copies that must exist before a write is acknowledged; default: 2 of 3, else 1.",
    "RETENTION": "How long Kafka keeps records: 14d, 336h, forever; default: 14d for a new topic.",
    "MAX_MESSAGE_BYTES": f"Largest batch, in bytes; default: {DEFAULT_MAX_MESSAGE_BYTES}, at least.",
    "REPAIR": "true: also mend what may already have harmed records that the topic holds.",
    "WAIT": "Seconds to wait for a broker; default: 30.",
    "SECURITY_PROTOCOL": "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL; default: what the rest implies.",
    "SASL_MECHANISM": "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 (the default).",
    "USERNAME": "Who we are, for SASL.",
    "PASSWORD_FILE": "File with the password.",
    "CA_FILE": "PEM file of the authorities to trust; default: the system's.",
    "CERT_FILE": "PEM file of our certificate, where brokers ask for one.",
    "KEY_FILE": "PEM file of its key.",
    "KEY_PASSWORD_FILE": "File with the key's password.",
    "CLIENT_CONFIG": "File of more librdkafka client properties, one NAME=VALUE a line.",
}
"""Every environment name of the topic's set-up without its prefix `TRAILSEAL_KAFKA_`, and its meaning."""

_OF_OTHERS = ("SPREAD", "SESSION_TIMEOUT")
"""Settings of the processes that use the topic, which may stand in the same environment."""


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """What is asked of the topic. None: a default for a new topic, left alone on an old one.

    Attributes:
        name: the topic.
        partitions: number of partitions; each has its own Merkle tree and at most one consumer.
        replication: copies of each record.
        min_insync: copies that must be written before a producer with `acks=all` gets its answer.
        retention_ms: milliseconds Kafka keeps a record, -1 for ever.
        max_message_bytes: largest record batch, in bytes.
        add_partitions: an old topic may grow; records of a key then continue in another partition.
        repair: settings may be mended although they may have cost records of this topic already.
    """

    name: str = DEFAULT_TOPIC
    partitions: int | None = None
    replication: int | None = None
    min_insync: int | None = None
    retention_ms: int | None = None
    max_message_bytes: int | None = None
    add_partitions: bool = False
    repair: bool = False


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as the cluster describes it.

    Attributes:
        partitions: number of partitions.
        replication: the smallest number of copies any partition has.
        config: effective settings by Kafka's names.
        written: whether a record was ever appended, also one that is gone again.
    """

    partitions: int
    replication: int
    config: Mapping[str, str]
    written: bool


@dataclass(frozen=True, slots=True)
class Changes:
    """What has to be done to a topic, and what to tell the operator.

    Attributes:
        config: settings to alter, by Kafka's names.
        partitions: the new number of partitions, or None.
        messages: one sentence for each change or worry.
    """

    config: Mapping[str, str] = field(default_factory=dict)
    partitions: int | None = None
    messages: tuple[str, ...] = ()


def plan_from(environment: Mapping[str, str], *, topic: str | None = None) -> TopicPlan:
    """Read the plan from the names in `VARIABLES`.

    Args:
        environment: for example `os.environ`.
        topic: the topic's name where `TRAILSEAL_KAFKA_TOPIC` does not give one.

    Raises:
        SettingsError: an unknown name or a value that breaks its rule.
    """
    given = {k.removeprefix(PREFIX): v.strip() for k, v in environment.items() if k.startswith(PREFIX)}
    for name in given:
        if name not in VARIABLES and name not in _OF_OTHERS:
            raise SettingsError(f"{PREFIX}{name} is not known; there are {', '.join(VARIABLES)}.")
    plan = TopicPlan(
        name=given.get("TOPIC") or topic or DEFAULT_TOPIC,
        partitions=_whole_number(given, "PARTITIONS"),
        replication=_whole_number(given, "REPLICATION"),
        min_insync=_whole_number(given, "MIN_INSYNC_REPLICAS"),
        retention_ms=_duration_ms(given, "RETENTION"),
        max_message_bytes=_whole_number(given, "MAX_MESSAGE_BYTES"),
        add_partitions=_switch(given, "ADD_PARTITIONS"),
        repair=_switch(given, "REPAIR"),
    )
    if not _TOPIC_NAME.fullmatch(plan.name) or plan.name in {".", ".."}:
        raise SettingsError(f"{plan.name!r} cannot name a topic: use letters, digits, '.', '_' and '-'.")
    if (plan.max_message_bytes or DEFAULT_MAX_MESSAGE_BYTES) < DEFAULT_MAX_MESSAGE_BYTES:
        raise SettingsError(
            f"{PREFIX}MAX_MESSAGE_BYTES={plan.max_message_bytes} would refuse records of 1 MiB, which are legal:"
            f" give at least {DEFAULT_MAX_MESSAGE_BYTES}."
        )
    return plan


def new_topic(plan: TopicPlan, brokers: int) -> tuple[int, int, dict[str, str]]:
    """Return partitions, replication and settings of a topic to be made.

    Raises:
        SettingsError: the plan asks for more copies than there are brokers, or than are made.
    """
    replication = plan.replication or min(3, brokers)
    if replication > brokers:
        raise SettingsError(
            f"{PREFIX}REPLICATION={replication} needs as many brokers, and {brokers} answered: start the others."
        )
    min_insync = plan.min_insync or (2 if replication >= 3 else 1)  # noqa: PLR2004 - a majority of three
    _refuse_unwritable(min_insync, replication)
    config = {
        "cleanup.policy": "delete",
        "message.timestamp.type": "LogAppendTime",
        "unclean.leader.election.enable": "false",
        "min.insync.replicas": str(min_insync),
        "retention.ms": str(plan.retention_ms or DEFAULT_RETENTION_MS),
        "retention.bytes": "-1",
        "max.message.bytes": str(plan.max_message_bytes or DEFAULT_MAX_MESSAGE_BYTES),
    }
    return plan.partitions or DEFAULT_PARTITIONS, replication, config


def judge(plan: TopicPlan, state: TopicState) -> Changes:
    """Compare a topic with the plan.

    Raises:
        PipelineFault: the topic may have lost or misdated records, or cannot become what is asked;
            the text says what to do.
        SettingsError: the plan contradicts itself on this topic.
    """
    _refuse_unsafe(plan, state)
    partitions = _more_partitions(plan, state)
    if plan.replication and plan.replication > state.replication:
        raise PipelineFault(
            f"Topic {plan.name} has {state.replication} copies of a record and {plan.replication} are asked for:"
            " move its replicas with Kafka's kafka-reassign-partitions, then run this again."
        )
    _refuse_unwritable(plan.min_insync or 1, state.replication)
    config: dict[str, str] = {}
    messages: list[str] = []
    for name, wanted in _wanted(plan, state).items():
        if state.config.get(name) != wanted:
            config[name] = wanted
            messages.append(f"{name} set from {state.config.get(name, 'nothing')} to {wanted}")
    if partitions:
        messages.append(f"partitions raised from {state.partitions} to {partitions}; keys move to other partitions")
    return Changes(config, partitions, tuple(messages))


def worries(plan: TopicPlan, state: TopicState) -> tuple[str, ...]:
    """What is legal and may still surprise, one sentence each."""
    found: list[str] = []
    if state.replication == 1:
        found.append(
            "replication is 1: a lost disk loses records that were acknowledged; production wants 3 brokers"
        )
    elif state.config.get("min.insync.replicas") == "1":
        found.append("min.insync.replicas is 1: a record may be acknowledged when only one disk has it")
    elif state.config.get("min.insync.replicas") == str(state.replication):
        found.append("min.insync.replicas equals the replication: one broker down stops all writes")
    retention = int(state.config.get("retention.ms", FOREVER_MS))
    if 0 <= retention < 7 * DAY_MS:
        found.append("retention is below 7 days: consumers that stand still longer lose events to it")
    if plan.partitions and plan.partitions < state.partitions:
        found.append(f"{plan.partitions} partitions were asked for, and Kafka cannot take any away")
    return tuple(found)


def _wanted(plan: TopicPlan, state: TopicState) -> dict[str, str]:
    wanted = {
        "cleanup.policy": "delete",
        "message.timestamp.type": "LogAppendTime",
        "unclean.leader.election.enable": "false",
        "retention.bytes": "-1",
    }
    if plan.min_insync:
        wanted["min.insync.replicas"] = str(plan.min_insync)
    if plan.retention_ms:
        wanted["retention.ms"] = str(plan.retention_ms)
    now = int(state.config.get("max.message.bytes", 0))
    if plan.max_message_bytes or now < DEFAULT_MAX_MESSAGE_BYTES:
        wanted["max.message.bytes"] = str(plan.max_message_bytes or DEFAULT_MAX_MESSAGE_BYTES)
    return wanted


def _refuse_unsafe(plan: TopicPlan, state: TopicState) -> None:
    """Refuse what may already have harmed records: mending it in silence would hide that."""
    if not state.written or plan.repair:
        return
    harms = {
        "cleanup.policy": ("delete", "compaction removes records whose key comes again"),
        "message.timestamp.type": ("LogAppendTime", "producers choose when their records were received"),
        "unclean.leader.election.enable": ("false", "a replica that lacks acknowledged records may lead"),
    }
    found = [
        f"{name}={state.config.get(name)} ({harm})"
        for name, (safe, harm) in harms.items()
        if state.config.get(name) != safe
    ]
    if found:
        raise PipelineFault(
            f"Topic {plan.name} holds records and was unsafe for them: {'; '.join(found)}. Use a new topic, or set"
            f" {PREFIX}REPAIR=true to mend the settings and keep what is there as it is."
        )


def _more_partitions(plan: TopicPlan, state: TopicState) -> int | None:
    if plan.partitions is None or plan.partitions <= state.partitions:
        return None
    if not plan.add_partitions:
        raise PipelineFault(
            f"Topic {plan.name} has {state.partitions} partitions and {plan.partitions} are asked for. More of them"
            f" move keys to other partitions, so that an actor's events lose their order across the change: set"
            f" {PREFIX}ADD_PARTITIONS=true if that is meant."
        )
    return plan.partitions


def _refuse_unwritable(min_insync: int, replication: int) -> None:
    if min_insync > replication:
        raise SettingsError(
            f"{PREFIX}MIN_INSYNC_REPLICAS={min_insync} is more than the {replication} copies there are, so nothing"
            " could ever be written: lower it or raise the replication."
        )


def _whole_number(given: Mapping[str, str], name: str) -> int | None:
    text = given.get(name, "")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 1 << 31:
        raise SettingsError(f"{PREFIX}{name}={text} is wrong: give a whole number from 1.")
    return int(text)


def _duration_ms(given: Mapping[str, str], name: str) -> int | None:
    text = given.get(name, "")
    if not text:
        return None
    if text == "forever":
        return FOREVER_MS
    found = re.fullmatch(r"([1-9][0-9]{0,8})([mhdw])", text)
    if not found:
        raise SettingsError(f"{PREFIX}{name}={text} is wrong: give a number and a unit (14d, 336h) or forever.")
    return int(found[1]) * _UNITS_MS[found[2]]


def _switch(given: Mapping[str, str], name: str) -> bool:
    text = given.get(name, "").lower()
    if text not in _TRUE + _FALSE:
        raise SettingsError(f"{PREFIX}{name}={text} is wrong: give true or false.")
    return text in _TRUE
