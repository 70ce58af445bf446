"""Every limit of an event in one table, and the rules that a native event must keep."""

from __future__ import annotations

from typing import Any, Final

from trailseal.errors import Problem
from trailseal.model.event import RESERVED_ACTION_PREFIX, RESERVED_TENANT, Event
from trailseal.model.timestamps import DAY_US, format_rfc3339

MAX_RECORD_BYTES: Final = 64 * 1024
"""The value of a native record, bytes."""
MAX_FOREIGN_BYTES: Final = 1024 * 1024
"""The value of a record in a foreign format, bytes."""
MAX_FILTERABLE_BYTES: Final = 1024
"""UTF-8 bytes up to which a filterable value is searchable by prefix; longer ones by exact value only."""
MAX_TENANT_BYTES: Final = 256
"""UTF-8 bytes of ``tenant_id``, so that an id of 64 digits always fits beside it."""
MAX_TENANT_AND_ID_BYTES: Final = 500
"""UTF-8 bytes of ``tenant_id`` and ``id`` together (Elasticsearch allows 512 in a document's name)."""
MAX_METADATA_KEYS: Final = 100
"""Keys in ``metadata``, those of nested objects included."""
MAX_METADATA_DEPTH: Final = 5
"""Levels of objects and arrays in ``metadata``, itself being the first."""
MAX_METADATA_TERMS: Final = 1000
"""Scalars of ``metadata`` that can be filtered by, for formats that are never refused."""
MAX_CHANGES: Final = 100
"""Elements of ``changes``."""
MAX_CHANGE_DEPTH: Final = 16
"""Levels of objects and arrays in a change's ``before`` and ``after``."""
MAX_FOREIGN_DEPTH: Final = 64
"""Levels of a foreign record that are read; what lies deeper stays in the record only."""
MAX_WORDS: Final = 4096
"""Distinct words of one event that ``q`` finds."""
MAX_QUERY_WORDS: Final = 64
"""Distinct words of one ``q``."""
MAX_SAFE_INTEGER: Final = 2**53
"""Integers beyond it lose digits in readers that use doubles (RFC 8259 section 6)."""
MIN_TIMESTAMP_US: Final = 946_684_800_000_000
"""2000-01-01T00:00:00Z."""
MAX_FUTURE_US: Final = DAY_US
"""How far ``timestamp`` may lie past the append time."""


def check_event(event: Event, received_us: int, *, ours: bool = False) -> Problem | None:
    """The first rule a native event breaks, or None.

    Args:
        event: decoded, its types already right.
        received_us: the append time (at the door: now), microseconds since 1970 UTC.
        ours: it is an admin record of ours, which bears the names that nobody else may.
    """
    return check_core(event, received_us, ours=ours) or _check_texts(event) or _check_free(event)


def check_core(event: Event, received_us: int, *, ours: bool = False) -> Problem | None:
    """The rules that events of every format must keep: names, time and what is reserved."""
    return (
        check_our_names(event) if ours else check_names(event.tenant_id, event.id) or _check_action(event.action)
    ) or check_time(event.timestamp_us, received_us)


def check_our_names(event: Event) -> Problem | None:
    """An admin record's names: our tenant, our actions."""
    if event.tenant_id != RESERVED_TENANT or not event.action.startswith(RESERVED_ACTION_PREFIX):
        detail = "only Trailseal's own actions, in its own tenant, can be those of admin records"
        return Problem("reserved-tenant", detail, "tenant_id")
    return _check_name_texts(event.tenant_id, event.id)


def check_names(tenant_id: str, event_id: str | None) -> Problem | None:
    """The rules of ``tenant_id`` and, where it is known, ``id``."""
    if not tenant_id:
        return Problem("empty-field", "tenant_id is empty: give a name or leave it out", "tenant_id")
    if "/" in tenant_id:
        return Problem("illegal-character", "tenant_id holds a slash, which no tenant may", "tenant_id")
    if tenant_id == RESERVED_TENANT:
        return Problem("reserved-tenant", f"tenant_id: {RESERVED_TENANT} is Trailseal's own", "tenant_id")
    if event_id is not None and not event_id:
        return Problem("empty-field", "id is empty: give one or leave it out", "id")
    return _check_name_texts(tenant_id, event_id or "")


def _check_name_texts(tenant_id: str, event_id: str) -> Problem | None:
    try:
        tenant_bytes, id_bytes = len(tenant_id.encode()), len(event_id.encode())
    except UnicodeEncodeError:
        field = "id" if tenant_id.isascii() else "tenant_id"
        return Problem("lone-surrogate", f"{field} holds half a surrogate pair, which is no character", field)
    if "\0" in tenant_id or "\0" in event_id:
        field = "tenant_id" if "\0" in tenant_id else "id"
        return Problem("nul-character", f"{field} holds the character NUL", field)
    if tenant_bytes > MAX_TENANT_BYTES:
        return Problem(
            "too-long", f"tenant_id has {tenant_bytes} bytes of UTF-8; {MAX_TENANT_BYTES} are allowed", "tenant_id"
        )
    if tenant_bytes + id_bytes > MAX_TENANT_AND_ID_BYTES:
        detail = (
            f"tenant_id and id together have {tenant_bytes + id_bytes} bytes of UTF-8; "
            f"{MAX_TENANT_AND_ID_BYTES} are allowed"
        )
        return Problem("too-long", detail, "id")
    return None


def _check_action(action: str) -> Problem | None:
    if not action:
        return Problem("empty-field", "action is empty: say what was done, for example document.delete", "action")
    if action.startswith(RESERVED_ACTION_PREFIX):
        return Problem("reserved-action", f"action: {RESERVED_ACTION_PREFIX}* is Trailseal's own", "action")
    return None


def check_time(timestamp_us: int, received_us: int) -> Problem | None:
    """The range of ``timestamp``: from 2000 to one day after the append time."""
    if timestamp_us < MIN_TIMESTAMP_US:
        return Problem("time-out-of-range", "timestamp lies before 2000-01-01T00:00:00Z", "timestamp")
    latest = received_us + MAX_FUTURE_US
    if timestamp_us > latest:
        detail = f"timestamp lies more than a day ahead; the latest taken now is {format_rfc3339(latest)}"
        return Problem("time-out-of-range", detail, "timestamp")
    return None


def _check_texts(event: Event) -> Problem | None:
    actor, resource = event.actor, event.resource
    if not actor.id:
        return Problem("empty-field", "actor.id is empty: say who acted", "actor.id")
    if resource is None:
        return None
    if not resource.id:
        return Problem("empty-field", "resource.id is empty: give one or leave resource out", "resource.id")
    if resource.type is not None:
        if not resource.type:
            return Problem("empty-field", "resource.type is empty: give one or leave it out", "resource.type")
        if "/" in resource.type:
            return Problem("illegal-character", "resource.type holds a slash, which no type may", "resource.type")
    return None


def _check_free(event: Event) -> Problem | None:
    if event.metadata:
        keys: list[str] = []
        problem = _check_value("metadata", event.metadata, MAX_METADATA_DEPTH, keys)
        if problem is not None:
            return problem
        if len(keys) > MAX_METADATA_KEYS:
            detail = f"metadata has {len(keys)} keys; {MAX_METADATA_KEYS} are allowed, nested ones included"
            return Problem("too-many-keys", detail, "metadata")
    return _check_changes(event) if event.changes else None


def _check_changes(event: Event) -> Problem | None:
    if len(event.changes) > MAX_CHANGES:
        return Problem("too-many-changes", f"changes has more than {MAX_CHANGES} elements", "changes")
    keys: list[str] = []
    for number, change in enumerate(event.changes):
        if not change.path:
            return Problem(
                "empty-field", f"changes[{number}].path is empty: say what changed", f"changes[{number}].path"
            )
        for name, value in (("before", change.before), ("after", change.after)):
            problem = _check_value(f"changes[{number}].{name}", value, MAX_CHANGE_DEPTH, keys)
            if problem is not None:
                return problem
    return None


def _check_value(path: str, value: Any, depth_left: int, keys: list[str]) -> Problem | None:
    """Check free JSON below ``path`` and add every key to ``keys``; recursion ends with the depth allowed."""
    kind = type(value)
    if kind is dict:
        keys.extend(value)
        children = [
            (f"{path}.{key}", child)
            for key, child in value.items()
            if type(child) is not str and not _is_plain(child)
        ]
    elif kind is list:
        children = [(f"{path}[{n}]", child) for n, child in enumerate(value) if not _is_plain(child)]
    else:
        return _check_integer(path, value) if kind is int else None
    if not depth_left:
        return Problem("too-deep", f"{path} is nested deeper than is allowed there", path)
    for child_path, child in children:
        problem = _check_value(child_path, child, depth_left - 1, keys)
        if problem is not None:
            return problem
    return None


def _is_plain(value: Any) -> bool:
    """Whether no rule can be broken by it or below it."""
    if type(value) is int:
        return abs(value) <= MAX_SAFE_INTEGER
    return type(value) is not dict and type(value) is not list


def _check_integer(path: str, value: int) -> Problem | None:
    if -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
        return None
    detail = f"{path} is an integer beyond 2^53, which many readers round: send it as a string"
    return Problem("integer-out-of-range", detail, path)
