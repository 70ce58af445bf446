"""``GET /events``, ``/events/count`` and ``/events/{id}``: questions over HTTP."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlencode

from flask import Flask, Response, request

from trailseal.api.gate import principal_of
from trailseal.api.parameters import single_parameters
from trailseal.api.services import Services
from trailseal.errors import InvalidQuery, Problem
from trailseal.query.answers import Answer
from trailseal.query.parsing import parse_query_string
from trailseal.query.plan import Plan, Tenants
from trailseal.query.times import parse_bound, resolve

JSON = "application/json"
_PLANS = 2_048
_PLAIN_QUERY = re.compile(r"(?:(?:^|&)[a-zA-Z0-9_.!-]*=[a-zA-Z0-9_.~!*:/%+-]*)*")
"""Names without escapes, values that may stand in a link as they are."""


class PlanMemory:
    """Plans by query string and tenants; a window that moves with the clock is planned each time."""

    def __init__(self, services: Services, *, beside: tuple[str, ...]) -> None:
        self._services = services
        self._beside = beside
        self._plans = lru_cache(maxsize=_PLANS)(self._make)

    def plan(self, raw: str, tenants: Tenants) -> Plan:
        """The plan of a query string for these tenants.

        Raises:
            InvalidQuery: a parameter breaks a rule.
        """
        question = parse_query_string(raw, beside=self._beside)
        return self._services.query.plan(question, tenants) if question.relative else self._plans(raw, tenants)

    def _make(self, raw: str, tenants: Tenants) -> Plan:
        return self._services.query.plan(parse_query_string(raw, beside=self._beside), tenants)


def find_page(environ: Mapping[str, Any], services: Services, pages: PlanMemory) -> Answer:
    """The page that a request behind the gate asks for.

    Raises:
        NotAllowed: the key may not read.
        InvalidQuery: a parameter breaks a rule.
        Unavailable: the index cannot answer.
    """
    principal = principal_of(environ)
    principal.require("events:read")
    return services.query.search(pages.plan(environ["QUERY_STRING"], principal.tenants))


def install_events(app: Flask, services: Services, pages: PlanMemory) -> None:
    """Add the routes; ``pages`` remembers the plans of ``GET /events``."""
    counts = PlanMemory(services, beside=())

    @app.get("/events")
    def events() -> Response:
        environ = request.environ
        answer = find_page(environ, services, pages)
        return Response(answer.body, 200, answer_headers(answer, environ["QUERY_STRING"]))

    @app.get("/events/count")
    def count() -> Response:
        principal = principal_of(request.environ)
        principal.require("events:read")
        raw = request.environ["QUERY_STRING"]
        answer = services.query.count(counts.plan(raw, principal.tenants))
        return Response(answer.body, 200, answer_headers(answer, raw))

    @app.get("/events/<path:event_id>")
    def event(event_id: str) -> Response:
        principal = principal_of(request.environ)
        principal.require("events:read")
        return _one_event(services, event_id, principal.tenants)


def next_link(raw: str, cursor: str) -> str:
    """The query string of the next page: the same question, another cursor."""
    if _PLAIN_QUERY.fullmatch(raw) is None:
        pairs = [(name, value) for name, value in parse_qsl(raw, keep_blank_values=True) if name != "cursor"]
        return urlencode([*pairs, ("cursor", cursor)])
    kept = [pair for pair in raw.split("&") if pair and not pair.startswith("cursor=")]
    return "&".join([*kept, f"cursor={cursor}"])


def answer_headers(answer: Answer, raw: str) -> list[tuple[str, str]]:
    """The headers of an answer to the query string ``raw``."""
    headers = [("Content-Type", JSON), ("Cache-Control", "no-store")]
    if answer.next_cursor is not None:
        headers.append(("Link", f'</events?{next_link(raw, answer.next_cursor)}>; rel="next"'))
    if answer.stale:
        headers.append(("Trailseal-Stale", "true"))
    return headers


def _one_event(services: Services, event_id: str, tenants: Tenants) -> Response:
    given = single_parameters(request.environ["QUERY_STRING"], ("tenant_id", "timestamp", "record", "seal"))
    if "tenant_id" in given:
        wanted = given["tenant_id"]
        tenants = (wanted,) if tenants is None or wanted in tenants else ()
    timestamp_us = None
    if "timestamp" in given:
        timestamp_us = resolve(parse_bound("timestamp", given["timestamp"]), services.clock.now_us())
    for switch in ("record", "seal"):
        if given.get(switch, "0") not in {"0", "1"}:
            raise InvalidQuery(Problem("invalid-value", f"{switch} is 1 or 0.", parameter=switch))
    body = services.query.event(
        event_id,
        tenants,
        timestamp_us=timestamp_us,
        with_record=given.get("record") == "1",
        with_seal=given.get("seal") == "1",
    )
    response = Response(body, 200, content_type=JSON)
    response.headers["Cache-Control"] = "no-store"
    return response
