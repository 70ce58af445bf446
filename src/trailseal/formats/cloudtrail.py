"""AWS CloudTrail records, one a value. What becomes what: `docs/reference/formats.md`.

Fields and their meaning: AWS CloudTrail user guide, "CloudTrail record contents" (eventVersion 1.x).
"""

from __future__ import annotations

import re
from typing import Any, Final

from trailseal.formats.cloudtrail_resources import resource_of
from trailseal.formats.decoding import DecodeContext, Decoded, refuse
from trailseal.formats.foreign import SOURCE_NOT_AN_ADDRESS, finish, load, names_of, need_time, text_of
from trailseal.model.addresses import canonical_address
from trailseal.model.event import Actor, Context, Event, Outcome

NAME: Final = "cloudtrail"
_DENIED: Final = re.compile("AccessDenied|Unauthorized|NotAuthorized")
_TOLD_ELSEWHERE: Final = frozenset(
    {
        "eventVersion",
        "eventTime",
        "eventName",
        "eventID",
        "requestID",
        "sourceIPAddress",
        "userAgent",
        "errorMessage",
    }
)


def decode(value: bytes, context: DecodeContext) -> Decoded:
    """Decode one CloudTrail record.

    Raises:
        InvalidEvent: no JSON object, ``eventTime`` or ``eventName`` missing, or a time out of range.
    """
    loaded = load(value)
    body, flags = loaded.body, loaded.flags
    time_text = text_of(body, "eventTime")
    timestamp_us = need_time(time_text, "eventTime")
    action = text_of(body, "eventName")
    if action is None:
        raise refuse("missing-field", "eventName is missing: it is required", "eventName")
    account = text_of(body, "recipientAccountId") or text_of(body, "userIdentity", "accountId")
    tenant_id, event_id = names_of(context, account, text_of(body, "eventID"), flags)
    event = Event(
        id=event_id,
        timestamp_us=timestamp_us,
        tenant_id=tenant_id,
        actor=_actor(body),
        action=action,
        resource=resource_of(body),
        outcome=_outcome(body),
        reason=text_of(body, "errorMessage") or text_of(body, "errorCode"),
        context=_context(body, flags),
        metadata={key: child for key, child in body.items() if child is not None and key not in _TOLD_ELSEWHERE},
    )
    return finish(event, loaded, time_text, context, NAME)


def _actor(body: dict[str, Any]) -> Actor:
    user = body.get("userIdentity")
    actor_id = (
        text_of(user, "arn")
        or text_of(user, "principalId")
        or text_of(user, "invokedBy")
        or text_of(user, "userName")
        or text_of(user, "accountId")
        or text_of(body, "eventSource")
        or "unknown"
    )
    name = text_of(user, "userName") or text_of(user, "sessionContext", "sessionIssuer", "userName")
    return Actor(actor_id, text_of(user, "type"), name)


def _outcome(body: dict[str, Any]) -> Outcome:
    code = text_of(body, "errorCode")
    if code is not None and _DENIED.search(code):
        return "denied"
    failed_login = text_of(body, "responseElements", "ConsoleLogin") == "Failure"
    return "failure" if code is not None or failed_login or text_of(body, "errorMessage") else "success"


def _context(body: dict[str, Any], flags: list[str]) -> Context:
    source = text_of(body, "sourceIPAddress")
    address = None if source is None else canonical_address(source)
    if source is not None and address is None:
        flags.append(SOURCE_NOT_AN_ADDRESS)
    return Context(
        source_ip=address,
        source=source if address is None else None,
        user_agent=text_of(body, "userAgent"),
        request_id=text_of(body, "requestID"),
    )
