from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trailseal.adapters.logs.kafka_topic_plan import (
    DEFAULT_MAX_MESSAGE_BYTES,
    TopicPlan,
    TopicState,
    judge,
    new_topic,
    plan_from,
    worries,
)
from trailseal.errors import PipelineFault, SettingsError

DAY_MS = 86_400_000


def _as_made(plan: TopicPlan, brokers: int) -> TopicState:
    partitions, replication, config = new_topic(plan, brokers)
    return TopicState(partitions, replication, config, written=True)


SAFE = _as_made(TopicPlan(), 3)


@given(
    brokers=st.integers(1, 9),
    partitions=st.none() | st.integers(1, 500),
    retention_ms=st.none() | st.integers(60_000, 10**12) | st.just(-1),
)
def test_a_topic_made_to_a_plan_needs_no_change(
    brokers: int, partitions: int | None, retention_ms: int | None
) -> None:
    plan = TopicPlan(partitions=partitions, retention_ms=retention_ms)
    found = judge(plan, _as_made(plan, brokers))
    assert (found.config, found.partitions, found.messages) == ({}, None, ())


@pytest.mark.parametrize(
    ("brokers", "replication", "min_insync"), [(1, 1, "1"), (2, 2, "1"), (3, 3, "2"), (7, 3, "2")]
)
def test_a_new_topic_has_the_copies_that_the_brokers_allow(brokers: int, replication: int, min_insync: str) -> None:
    _, made, config = new_topic(TopicPlan(), brokers)
    assert (made, config["min.insync.replicas"]) == (replication, min_insync)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cleanup.policy", "compact"),
        ("cleanup.policy", "compact,delete"),
        ("message.timestamp.type", "CreateTime"),
        ("unclean.leader.election.enable", "true"),
    ],
)
def test_an_unsafe_topic_with_records_is_refused_and_mended_only_when_asked(name: str, value: str) -> None:
    unsafe = replace(SAFE, config={**SAFE.config, name: value})
    with pytest.raises(PipelineFault, match=f"{name}={value}.*TRAILSEAL_KAFKA_REPAIR=true"):
        judge(TopicPlan(), unsafe)
    wanted = {name: SAFE.config[name]}
    assert judge(TopicPlan(repair=True), unsafe).config == wanted
    assert judge(TopicPlan(), replace(unsafe, written=False)).config == wanted


def test_what_an_operator_set_by_hand_stays_unless_the_environment_asks_for_something_else() -> None:
    by_hand = replace(SAFE, config={**SAFE.config, "retention.ms": str(90 * DAY_MS), "min.insync.replicas": "1"})
    assert judge(TopicPlan(), by_hand).config == {}
    asked = TopicPlan(retention_ms=30 * DAY_MS, min_insync=2)
    assert judge(asked, by_hand).config == {"retention.ms": str(30 * DAY_MS), "min.insync.replicas": "2"}


def test_a_topic_too_small_for_a_legal_record_is_mended_and_a_roomier_one_left_alone() -> None:
    small = replace(SAFE, config={**SAFE.config, "max.message.bytes": "1048588"})
    roomy = replace(SAFE, config={**SAFE.config, "max.message.bytes": "8000000"})
    assert judge(TopicPlan(), small).config == {"max.message.bytes": str(DEFAULT_MAX_MESSAGE_BYTES)}
    assert judge(TopicPlan(), roomy).config == {}


def test_more_partitions_need_a_flag_since_keys_move() -> None:
    with pytest.raises(PipelineFault, match="TRAILSEAL_KAFKA_ADD_PARTITIONS=true"):
        judge(TopicPlan(partitions=7), SAFE)
    assert judge(TopicPlan(partitions=7, add_partitions=True), SAFE).partitions == 7


def test_fewer_partitions_are_a_note_and_change_nothing() -> None:
    assert judge(TopicPlan(partitions=2, add_partitions=True), SAFE).partitions is None
    assert any("cannot take any away" in line for line in worries(TopicPlan(partitions=2), SAFE))


def test_more_copies_than_the_topic_has_are_refused_with_the_way_to_get_them() -> None:
    with pytest.raises(PipelineFault, match="kafka-reassign-partitions"):
        judge(TopicPlan(replication=3), replace(SAFE, replication=1))


def test_a_topic_that_nobody_could_write_to_is_refused() -> None:
    with pytest.raises(SettingsError, match="nothing could ever be written"):
        new_topic(TopicPlan(min_insync=2), 1)
    with pytest.raises(SettingsError, match="start the others"):
        new_topic(TopicPlan(replication=3), 1)


@pytest.mark.parametrize(
    ("replication", "min_insync", "word"),
    [(1, "1", "a lost disk"), (3, "1", "only one disk"), (3, "3", "one broker down")],
)
def test_a_risky_number_of_copies_is_said(replication: int, min_insync: str, word: str) -> None:
    state = replace(SAFE, replication=replication, config={**SAFE.config, "min.insync.replicas": min_insync})
    assert any(word in line for line in worries(TopicPlan(), state))
    assert worries(TopicPlan(), SAFE) == ()


def test_the_environment_is_read_whole() -> None:
    plan = plan_from(
        {
            "TRAILSEAL_KAFKA_TOPIC": "t",
            "TRAILSEAL_KAFKA_PARTITIONS": "12",
            "TRAILSEAL_KAFKA_REPLICATION": "3",
            "TRAILSEAL_KAFKA_MIN_INSYNC_REPLICAS": "2",
            "TRAILSEAL_KAFKA_RETENTION": "36h",
            "TRAILSEAL_KAFKA_MAX_MESSAGE_BYTES": "2000000",
            "TRAILSEAL_KAFKA_ADD_PARTITIONS": "true",
            "TRAILSEAL_KAFKA_REPAIR": "no",
            "PATH": "/bin",
        }
    )
    assert plan == TopicPlan("t", 12, 3, 2, 36 * 3_600_000, 2_000_000, add_partitions=True, repair=False)
    assert plan_from({"TRAILSEAL_KAFKA_RETENTION": "forever"}).retention_ms == -1
    assert plan_from({}, topic="from-url").name == "from-url"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RETENTON", "14d"),
        ("RETENTION", "14"),
        ("RETENTION", "0d"),
        ("PARTITIONS", "0"),
        ("PARTITIONS", "six"),
        ("REPLICATION", "-1"),
        ("MAX_MESSAGE_BYTES", "1000"),
        ("REPAIR", "perhaps"),
        ("TOPIC", "a/b"),
        ("TOPIC", ".."),
    ],
)
def test_a_wrong_variable_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name if name != "TOPIC" else "name a topic"):
        plan_from({f"TRAILSEAL_KAFKA_{name}": value})
