"""Believable demo events: three small companies over the last 30 days, the same ones at every start."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from trailseal.model.record import HEADER_SALT, HEADER_TENANT, SALT_BYTES, NewRecord
from trailseal.model.timestamps import format_rfc3339

DEMO_EVENTS = 3_000
_SEED = 20_260_101
_WRONG_PASSWORDS = 0.08
_MISSING_PERMISSIONS = 0.02
_DAY_US = 86_400_000_000
_HOUR_US = 3_600_000_000
_MINUTE_US = 60_000_000


@dataclass(frozen=True, slots=True)
class _Company:
    tenant: str
    share: float
    people: tuple[tuple[str, str], ...]
    network: str


_COMPANIES = (
    _Company(
        "demo-acme",
        0.5,
        (
            ("alice@acme.example", "Alice Moreau"),
            ("bob@acme.example", "Bob Okafor"),
            ("carol@acme.example", "Carol Lindgren"),
            ("dmitri@acme.example", "Dmitri Ivanov"),
        ),
        "203.0.113",
    ),
    _Company(
        "demo-globex",
        0.35,
        (
            ("erin@globex.example", "Erin Walsh"),
            ("farid@globex.example", "Farid Haddad"),
            ("gina@globex.example", "Gina Rossi"),
        ),
        "198.51.100",
    ),
    _Company(
        "demo-initech",
        0.15,
        (("hana@initech.example", "Hana Sato"), ("ivan@initech.example", "Ivan Petrov")),
        "192.0.2",
    ),
)
_ACTIONS: tuple[tuple[str, str, int], ...] = (
    ("document.viewed", "document", 30),
    ("document.updated", "document", 14),
    ("document.shared", "document", 6),
    ("invoice.viewed", "invoice", 10),
    ("invoice.approved", "invoice", 4),
    ("user.signed_in", "user", 16),
    ("user.signed_out", "user", 8),
    ("user.invited", "user", 2),
    ("role.assigned", "role", 2),
    ("api_key.created", "api_key", 1),
    ("report.exported", "report", 3),
    ("project.settings_changed", "project", 2),
)
_AGENTS = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/126.0",
    "acme-mobile/4.2 (iOS 17.5)",
    "curl/8.5.0",
)


def demo_records(now_us: int) -> Iterator[NewRecord]:
    """`DEMO_EVENTS` records in order of time, the last one a few minutes before ``now_us``.

    The seed is fixed: only the times move with the clock. One small incident is hidden among them.
    """
    rng = random.Random(_SEED)  # noqa: S311 - a story that must repeat, not a secret
    events = [_everyday(rng, now_us) for _ in range(DEMO_EVENTS - len(_INCIDENT))]
    events += _incident(now_us)
    events.sort(key=lambda event: event["timestamp"])
    for number, event in enumerate(events):
        yield _record(rng, number, event)


def _record(rng: random.Random, number: int, event: dict[str, Any]) -> NewRecord:
    stamped = {"id": f"demo-{number:04d}", **event, "timestamp": format_rfc3339(event["timestamp"])}
    tenant = event["tenant_id"].encode()
    headers = ((HEADER_TENANT, tenant), (HEADER_SALT, rng.randbytes(SALT_BYTES)))
    return NewRecord(value=msgspec.json.encode(stamped), key=tenant, headers=headers)


def _everyday(rng: random.Random, now_us: int) -> dict[str, Any]:
    company = rng.choices(_COMPANIES, [each.share for each in _COMPANIES])[0]
    actor, name = rng.choice(company.people)
    action, kind, _ = rng.choices(_ACTIONS, [weight for _, _, weight in _ACTIONS])[0]
    event: dict[str, Any] = {
        "timestamp": now_us - _working_time(rng),
        "tenant_id": company.tenant,
        "actor": {"id": actor, "type": "user", "name": name},
        "action": action,
        "resource": _resource(rng, kind, actor, name),
        "context": {
            "source_ip": f"{company.network}.{rng.randint(2, 60)}",
            "user_agent": rng.choice(_AGENTS),
            "request_id": f"req-{rng.getrandbits(40):010x}",
        },
    }
    _add_outcome(rng, event)
    _add_details(rng, event)
    return event


def _working_time(rng: random.Random) -> int:
    """Microseconds back from now; most of them at day time, some in the last hour."""
    hour = min(23.0, max(0.0, rng.gauss(11, 3.5)))
    back = rng.randint(0, 29) * _DAY_US + int(hour * _HOUR_US) + rng.randint(0, 3_599) * 1_000_000
    return max(back, rng.randint(3, 90) * _MINUTE_US)


def _resource(rng: random.Random, kind: str, actor: str, name: str) -> dict[str, str]:
    if kind == "user":
        return {"type": "user", "id": actor, "name": name}
    number = rng.randint(1, 40)
    return {"type": kind, "id": f"{kind}-{number:03d}", "name": f"{kind.replace('_', ' ').capitalize()} {number}"}


def _add_outcome(rng: random.Random, event: dict[str, Any]) -> None:
    draw = rng.random()
    if event["action"] == "user.signed_in" and draw < _WRONG_PASSWORDS:
        event |= {"outcome": "failure", "reason": "wrong password"}
    elif draw < _MISSING_PERMISSIONS:
        event |= {"outcome": "denied", "reason": "missing permission"}


def _add_details(rng: random.Random, event: dict[str, Any]) -> None:
    if event["action"] == "document.updated":
        revision = rng.randint(1, 30)
        event["changes"] = [{"path": "revision", "before": revision, "after": revision + 1}]
    elif event["action"] == "role.assigned":
        event["changes"] = [{"path": "role", "before": "member", "after": rng.choice(("editor", "admin"))}]
    elif event["action"] == "report.exported":
        event["metadata"] = {"format": rng.choice(("csv", "pdf")), "rows": rng.randint(10, 5_000)}


_INCIDENT = (
    (312, "user.signed_in", "failure", "user", "bob@acme.example", "wrong password"),
    (311, "user.signed_in", "failure", "user", "bob@acme.example", "wrong password"),
    (310, "user.signed_in", "failure", "user", "bob@acme.example", "wrong password"),
    (309, "user.signed_in", "success", "user", "bob@acme.example", None),
    (305, "role.assigned", "denied", "role", "role-admin", "missing permission"),
    (301, "api_key.created", "success", "api_key", "api_key-999", None),
    (297, "report.exported", "success", "report", "report-payroll", None),
    (296, "audit_trail.disabled", "denied", "project", "project-001", "missing permission"),
)
"""Minutes back, action, outcome, resource type and id, reason: someone else uses Bob's account."""


def _incident(now_us: int) -> list[dict[str, Any]]:
    events = []
    for minutes, action, outcome, kind, resource, reason in _INCIDENT:
        event: dict[str, Any] = {
            "timestamp": now_us - minutes * _MINUTE_US,
            "tenant_id": "demo-acme",
            "actor": {"id": "bob@acme.example", "type": "user", "name": "Bob Okafor"},
            "action": action,
            "outcome": outcome,
            "resource": {"type": kind, "id": resource},
            "context": {
                "source_ip": "45.83.64.7",
                "user_agent": "python-requests/2.31",
                "session_id": "s-incident",
            },
        }
        if reason:
            event["reason"] = reason
        events.append(event)
    return events
