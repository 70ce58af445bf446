"""The event: who did what to which resource, when, for which tenant (``schema_version`` 1)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

SCHEMA_VERSION = 1
RESERVED_TENANT = "_trailseal"
RESERVED_ACTION_PREFIX = "trailseal."
DEFAULT_TENANT = "default"

Outcome = Literal["success", "failure", "denied", "unknown"]
OUTCOMES: tuple[str, ...] = ("success", "failure", "denied", "unknown")


class Actor(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """Who acted. ``id`` is what the filter ``actor`` compares."""

    id: str
    type: str | None = None
    name: str | None = None


class Resource(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """What was acted upon. The filter ``resource`` compares ``type/id``, or ``id`` where there is no type."""

    id: str
    type: str | None = None
    name: str | None = None

    @property
    def path(self) -> str:
        """``type/id``, or the bare id; ``type`` never holds a slash."""
        return self.id if self.type is None else f"{self.type}/{self.id}"


class Context(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """Circumstances as the client reported them.

    Attributes:
        source_ip: an IPv4 or IPv6 address in canonical text, a v4-mapped one as its IPv4 form.
        source: what a foreign format gives as a source that is no address (``cloudtrail.amazonaws.com``).
    """

    source_ip: str | None = None
    source: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    trace_id: str | None = None
    session_id: str | None = None


class Change(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One field of the resource before and after."""

    path: str
    before: Any = None
    after: Any = None


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One audit event in normal form, whatever format it came in.

    Attributes:
        id: unique in (tenant, month of ``timestamp``).
        timestamp_us: when it happened, microseconds since 1970-01-01 UTC.
        tenant_id: whose event it is; never holds a slash.
        actor: who.
        action: what was done; ``noun.verb`` advised.
        resource: to what, or None.
        outcome: how it ended.
        reason: why it ended so, or None.
        context: from where, by which request.
        changes: what the action changed.
        metadata: free JSON, searchable as ``metadata.KEY``.
        flags: what decoding could not keep as it was (``id-hashed``, ``source-not-an-address``, …), for people.
    """

    id: str
    timestamp_us: int
    tenant_id: str
    actor: Actor
    action: str
    resource: Resource | None = None
    outcome: Outcome = "success"
    reason: str | None = None
    context: Context = Context()
    changes: tuple[Change, ...] = ()
    metadata: dict[str, Any] = {}
    flags: tuple[str, ...] = ()
