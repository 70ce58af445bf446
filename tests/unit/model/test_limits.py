"""The rules of a native event that its types do not say."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from trailseal.model.event import Actor, Change, Context, Event, Resource
from trailseal.model.limits import (
    MAX_CHANGES,
    MAX_FUTURE_US,
    MAX_METADATA_KEYS,
    MIN_TIMESTAMP_US,
    check_core,
    check_event,
    check_names,
)

NOW_US = 1_772_366_400_000_000
GOOD = Event("id-1", NOW_US, "acme", Actor("alice"), "document.delete")


def nested(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"k": value}
    return value


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"timestamp_us": MIN_TIMESTAMP_US},
        {"timestamp_us": NOW_US + MAX_FUTURE_US},
        {"tenant_id": "t" * 256, "id": "i" * 244},
        {"tenant_id": "é" * 128},
        {"action": "user_logged_in"},
        {"action": "trailsealed"},
        {"actor": Actor("x" * 5000)},
        {"resource": Resource("a/b/c", "file")},
        {"context": Context(source="AWS Internal")},
        {"metadata": {f"k{number}": number for number in range(MAX_METADATA_KEYS)}},
        {"metadata": {"a": nested(4)}},
        {"metadata": {"a": 2**53, "b": -(2**53), "c": 1e300}},
        {"changes": (Change("p", nested(16)),) * MAX_CHANGES},
    ],
)
def test_what_keeps_the_rules_passes(changes: dict[str, Any]) -> None:
    assert check_event(msgspec.structs.replace(GOOD, **changes), NOW_US) is None


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"tenant_id": ""}, "empty-field", "tenant_id"),
        ({"tenant_id": "a/b"}, "illegal-character", "tenant_id"),
        ({"tenant_id": "_trailseal"}, "reserved-tenant", "tenant_id"),
        ({"tenant_id": "a\0"}, "nul-character", "tenant_id"),
        ({"tenant_id": "a\ud800"}, "lone-surrogate", "tenant_id"),
        ({"tenant_id": "é" * 129}, "too-long", "tenant_id"),
        ({"id": ""}, "empty-field", "id"),
        ({"id": "a\0"}, "nul-character", "id"),
        ({"id": "\udfff"}, "lone-surrogate", "id"),
        ({"id": "i" * 497}, "too-long", "id"),
        ({"action": ""}, "empty-field", "action"),
        ({"action": "trailseal.erase"}, "reserved-action", "action"),
        ({"timestamp_us": MIN_TIMESTAMP_US - 1}, "time-out-of-range", "timestamp"),
        ({"timestamp_us": NOW_US + MAX_FUTURE_US + 1}, "time-out-of-range", "timestamp"),
        ({"actor": Actor("")}, "empty-field", "actor.id"),
        ({"resource": Resource("")}, "empty-field", "resource.id"),
        ({"resource": Resource("x", "")}, "empty-field", "resource.type"),
        ({"resource": Resource("x", "a/b")}, "illegal-character", "resource.type"),
        ({"metadata": {f"k{number}": 1 for number in range(101)}}, "too-many-keys", "metadata"),
        ({"metadata": {"a": [{str(number): 1} for number in range(100)]}}, "too-many-keys", "metadata"),
        ({"metadata": {"a": nested(5)}}, "too-deep", "metadata.a.k[0].k[0]"),
        ({"metadata": {"a": {"b": [2**53 + 1]}}}, "integer-out-of-range", "metadata.a.b[0]"),
        ({"metadata": {"a": -(2**53) - 1}}, "integer-out-of-range", "metadata.a"),
        ({"changes": (Change("p"), Change(""))}, "empty-field", "changes[1].path"),
        ({"changes": (Change("p"),) * 101}, "too-many-changes", "changes"),
        ({"changes": (Change("p", after=[2**60]),)}, "integer-out-of-range", "changes[0].after[0]"),
        ({"changes": (Change("p", 2**60),)}, "integer-out-of-range", "changes[0].before"),
    ],
)
def test_a_broken_rule_is_named_with_its_field(changes: dict[str, Any], code: str, field: str) -> None:
    problem = check_event(msgspec.structs.replace(GOOD, **changes), NOW_US)
    assert problem is not None
    assert (problem.code, problem.field) == (code, field)
    assert field.partition("[")[0].partition(".")[0] in problem.detail


def test_a_change_nested_too_deep_is_refused() -> None:
    problem = check_event(msgspec.structs.replace(GOOD, changes=(Change("p", nested(17)),)), NOW_US)
    assert problem is not None
    assert problem.code == "too-deep"


def test_foreign_events_keep_the_core_rules_only() -> None:
    odd = msgspec.structs.replace(GOOD, metadata={"a": nested(50), "b": 2**70}, actor=Actor(""))
    assert check_core(odd, NOW_US) is None
    problem = check_core(msgspec.structs.replace(odd, tenant_id="_trailseal"), NOW_US)
    assert problem is not None
    assert problem.code == "reserved-tenant"


def test_a_tenant_alone_can_be_checked() -> None:
    assert check_names("acme", None) is None
    problem = check_names("a/b", None)
    assert problem is not None
    assert problem.field == "tenant_id"
