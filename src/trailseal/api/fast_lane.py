"""A lane past Flask for what the cache holds: the same gate, the same bytes, none of the machinery.

A page that was asked before is most of an audit log's traffic (dashboards, reloads), and routing, contexts and
response objects cost several times what looking it up does. Whatever is not a plain hit, every error included,
goes to Flask, which starts from the beginning.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from trailseal.api.events import PlanMemory, answer_headers
from trailseal.api.gate import admit, principal_of
from trailseal.api.problems import Refusal
from trailseal.api.services import Services
from trailseal.errors import TrailsealError
from trailseal.query.answers import Answer
from trailseal.telemetry import HTTP_REQUESTS, HTTP_SECONDS

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]
_ROUTE = "/events"


class FastLane:
    """WSGI in front of the application (PEP 3333).

    Args:
        application: answers everything else.
        services: as the application's.
        pages: the plans that ``GET /events`` remembers.
    """

    def __init__(self, application: Application, services: Services, pages: PlanMemory) -> None:
        self._application = application
        self._services = services
        self._pages = pages
        self._requests = HTTP_REQUESTS.labels(method="GET", route=_ROUTE, status="200")
        self._seconds = HTTP_SECONDS.labels(method="GET", route=_ROUTE)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """One request."""
        if environ["PATH_INFO"] != _ROUTE or environ["REQUEST_METHOD"] != "GET":
            return self._application(environ, start_response)
        started = time.perf_counter()
        raw = environ.get("QUERY_STRING", "")
        answer = self._remembered(environ, raw)
        if answer is None:
            return self._application(environ, start_response)
        start_response("200 OK", [*answer_headers(answer, raw), ("Content-Length", str(len(answer.body)))])
        self._requests.inc()
        self._seconds.observe(time.perf_counter() - started)
        return [answer.body]

    def _remembered(self, environ: dict[str, Any], raw: str) -> Answer | None:
        try:
            admit(environ, _ROUTE, self._services.authenticator)
            principal = principal_of(environ)
            principal.require("events:read")
            return self._services.query.remembered(self._pages.plan(raw, principal.tenants))
        except (TrailsealError, Refusal):
            return None
