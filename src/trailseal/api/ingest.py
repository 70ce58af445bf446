"""``POST /events``: judge each event, append the good ones durably, answer with a verdict for each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from flask import Flask, Request, Response, request

from trailseal.api.bodies import read_body
from trailseal.api.credentials import Principal
from trailseal.api.gate import principal_of
from trailseal.api.parameters import single_parameters
from trailseal.api.problems import Flaw, Refusal, flaw_of, problem_response
from trailseal.api.services import Services
from trailseal.errors import InvalidEvent, InvalidQuery, NotAllowed, Problem
from trailseal.formats import FORMATS
from trailseal.formats.decoding import DecodeContext
from trailseal.formats.slicing import Slicer
from trailseal.model.event import DEFAULT_TENANT
from trailseal.model.identity import uuid7
from trailseal.model.limits import check_names
from trailseal.model.record import HEADER_FORMAT, HEADER_ID, HEADER_SALT, HEADER_TENANT, SALT_BYTES, NewRecord
from trailseal.telemetry import EVENTS_ACCEPTED, EVENTS_REJECTED

MAX_EVENTS = 10_000
"""Events in one request."""
FAILED = "trailseal.failed"
"""Where `take_plain` leaves in the environment what the log said; the route raises it and appends nothing."""
TENANT_NOT_ALLOWED = "tenant-not-allowed"
_NDJSON = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"})
_CLOUDEVENTS = frozenset({"application/cloudevents+json", "application/cloudevents-batch+json"})
_SPACE = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"
_encode: Final = msgspec.json.Encoder().encode


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one event of the request.

    Attributes:
        index: its place in the request, from 0.
        status: ``accepted`` = durable in the log; ``rejected`` = nothing of it was kept.
        id: the event's id, given or made.
        position: where its record stands: ``log/partition/offset``.
        problem: why it was rejected.
    """

    index: int
    status: str
    id: str | None = None
    position: str | None = None
    problem: Flaw | None = None


class IngestAnswer(msgspec.Struct, frozen=True):
    """The answer of ``POST /events``.

    Attributes:
        accepted: how many events are durable now.
        rejected: how many were refused.
        results: one verdict for each, in the order of the request.
    """

    accepted: int
    rejected: int
    results: list[Verdict]


@dataclass(frozen=True, slots=True)
class _Door:
    """What holds for every event of one request.

    Attributes:
        format: the wire format's name.
        tenants: whose events may be written; None = every tenant's.
        tenant: whose event one is that does not say, or None where it has to.
        now_us: microseconds since 1970 UTC.
    """

    format: str
    tenants: tuple[str, ...] | None
    tenant: str | None
    now_us: int


def install_ingest(app: Flask, services: Services) -> None:
    """Add the route."""

    @app.post("/events")
    def post_events() -> Response:
        if FAILED in request.environ:
            raise request.environ[FAILED]
        principal = principal_of(request.environ)
        principal.require("events:write")
        lines, content_format = _media_type(request)
        door = _door(request, principal, content_format, services.clock.now_us())
        body = read_body(request, services.max_request_bytes)
        values = _lines(body) if lines else _slices(body)
        if isinstance(values, bytes):
            return _take_one(services, door, values)
        if len(values) > MAX_EVENTS:
            detail = f"The request holds {len(values)} events; {MAX_EVENTS} are allowed: send several requests."
            raise Refusal(413, "too-many-events", detail)
        return _json(_take(services, door, values))


def take_plain(services: Services, principal: Principal, environ: dict[str, Any], value: bytes) -> bytes | None:
    """Take in one good native event: the same verdict as the route's, as JSON.

    Args:
        services: the log and the clock.
        principal: may write events.
        environ: of the request; where the log refuses, it holds the error under `FAILED`.
        value: the event's bytes, without white space around them.

    Returns:
        The answer's body; None where the route has to say what is wrong. Nothing was kept then, or, where appending
        failed, nothing that may be appended once more.
    """
    door = _Door("native", principal.tenants, _default_tenant(principal.tenants), services.clock.now_us())
    verdict = _judge(value, door, os.urandom(SALT_BYTES))
    if isinstance(verdict, Problem):
        return None
    event_id, record = verdict
    try:
        (position,) = services.log.append((record,))
    except Exception as error:  # noqa: BLE001 - the route raises it again, where every error gets its shape
        environ[FAILED] = error
        return None
    EVENTS_ACCEPTED.inc()
    return _encode(IngestAnswer(1, 0, [Verdict(0, "accepted", event_id, str(position))]))


def _media_type(incoming: Request) -> tuple[bool, str | None]:
    """Whether the body is lines, and the format that the media type names."""
    media = incoming.mimetype
    if media in _NDJSON:
        return True, None
    if media in _CLOUDEVENTS:
        return False, "cloudevents"
    if media == "application/json" or (media.startswith("application/") and media.endswith("+json")):
        return False, None
    detail = (
        f"Content-Type {media or '(none)'!r} is not JSON: send application/json for one event or an array, or"
        " application/x-ndjson for one event a line."
    )
    raise Refusal(415, "unsupported-media-type", detail)


def _door(incoming: Request, principal: Principal, content_format: str | None, now_us: int) -> _Door:
    given = single_parameters(incoming.environ["QUERY_STRING"], ("tenant_id", "format"))
    wire = given.get("format") or content_format or "native"
    if wire not in FORMATS:
        detail = f"format is one of {', '.join(sorted(FORMATS))}; {wire!r} is not."
        raise InvalidQuery(Problem("unknown-format", detail, parameter="format"))
    tenants, tenant = principal.tenants, given.get("tenant_id")
    if tenant is not None:
        problem = check_names(tenant, None)
        if problem is not None:
            raise InvalidQuery(Problem(problem.code, problem.detail, parameter="tenant_id"))
        if tenants is not None and tenant not in tenants:
            raise NotAllowed("This key does not reach that tenant: leave tenant_id out, or use another key.")
    else:
        tenant = _default_tenant(tenants)
    return _Door(wire, tenants, tenant, now_us)


def _default_tenant(tenants: tuple[str, ...] | None) -> str | None:
    """Whose event one is that does not say; None where the credential leaves it open."""
    if tenants is None:
        return DEFAULT_TENANT
    return tenants[0] if len(tenants) == 1 else None


def _lines(body: bytes) -> list[bytes]:
    lines = [line.strip(_SPACE) for line in body.removeprefix(_BOM).split(b"\n")]
    values = [line for line in lines if line]
    if not values:
        raise Refusal(400, "empty-body", "The body holds no event.")
    return values


def _slices(body: bytes) -> bytes | Sequence[bytes | Problem]:
    """The one value, or the values of an array: cut out of the body, never encoded anew."""
    value = body.removeprefix(_BOM).strip(_SPACE)
    if not value:
        raise Refusal(400, "empty-body", "The body holds no event.")
    if not value.startswith(b"["):
        return value
    try:
        return [bytes(raw) for raw in msgspec.json.decode(value, type=list[msgspec.Raw])]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        parts = [part.problem or part.value for part in Slicer((value,))]
        if any(_is_object(part) for part in parts):
            return parts
        detail = f"No element of the array can be read, so nothing of it was taken: {error}."
        raise Refusal(400, "malformed-json", detail) from error


def _is_object(part: bytes | Problem) -> bool:
    try:
        return isinstance(part, bytes) and part[:1] == b"{" and bool(msgspec.json.decode(part, type=msgspec.Raw))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


def _take_one(services: Services, door: _Door, value: bytes) -> Response:
    answer = _take(services, door, (value,))
    problem = answer.results[0].problem
    if problem is None:
        return _json(answer)
    status = 403 if problem.code == TENANT_NOT_ALLOWED else 400
    return problem_response(status, problem.code, problem.detail, errors=(problem,))


def _take(services: Services, door: _Door, values: Sequence[bytes | Problem]) -> IngestAnswer:
    salts = os.urandom(SALT_BYTES * len(values))
    records: list[NewRecord] = []
    judged: list[str | Problem] = []
    for index, value in enumerate(values):
        salt = salts[index * SALT_BYTES : (index + 1) * SALT_BYTES]
        verdict = value if isinstance(value, Problem) else _judge(value, door, salt)
        if isinstance(verdict, Problem):
            judged.append(verdict)
            EVENTS_REJECTED.labels(code=verdict.code).inc()
        else:
            event_id, record = verdict
            judged.append(event_id)
            records.append(record)
    positions = iter(services.log.append(records) if records else ())
    EVENTS_ACCEPTED.inc(len(records))
    results = [
        Verdict(index, "rejected", problem=flaw_of(outcome))
        if isinstance(outcome, Problem)
        else Verdict(index, "accepted", outcome, str(next(positions)))
        for index, outcome in enumerate(judged)
    ]
    return IngestAnswer(len(records), len(values) - len(records), results)


def _judge(value: bytes, door: _Door, salt: bytes) -> tuple[str, NewRecord] | Problem:
    """The event's id and its record, or the rule it breaks."""
    made: list[str] = []

    def make_id() -> str:
        made.append(uuid7(door.now_us // 1_000))
        return made[0]

    try:
        context = DecodeContext(received_us=door.now_us, derived_id=make_id, with_words=False)
        event = FORMATS[door.format].decode(value, context).event
    except InvalidEvent as error:
        return error.problem
    tenant = _tenant(event.tenant_id, value, door)
    if isinstance(tenant, Problem):
        return tenant
    problem = check_names(tenant, event.id)
    if problem is not None:
        return problem
    encoded = tenant.encode()
    headers: list[tuple[str, bytes | None]] = [(HEADER_TENANT, encoded), (HEADER_FORMAT, door.format.encode())]
    if made:
        headers.append((HEADER_ID, made[0].encode()))
    headers.append((HEADER_SALT, salt))
    return event.id, NewRecord(value=value, key=encoded, headers=tuple(headers))


class _TenantOnly(msgspec.Struct):
    tenant_id: str | None = None


def _tenant(decoded: str, value: bytes, door: _Door) -> str | Problem:
    """Whose event it is: what it says, if the credential holds that, else what the door fills in."""
    if decoded == DEFAULT_TENANT and not (door.format == "native" and _names_a_tenant(value)):
        if door.tenant is not None:
            return door.tenant
        detail = "tenant_id is missing, and the key holds several tenants: name one in the event or as ?tenant_id=."
        return Problem("missing-field", detail, "tenant_id")
    if door.tenants is None or decoded in door.tenants:
        return decoded
    return Problem(TENANT_NOT_ALLOWED, "The key does not hold this tenant: name one it holds.", "tenant_id")


def _names_a_tenant(value: bytes) -> bool:
    return msgspec.json.decode(value, type=_TenantOnly).tenant_id is not None


def _json(answer: IngestAnswer) -> Response:
    return Response(_encode(answer), 200, content_type="application/json")
