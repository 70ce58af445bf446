"""A lane past Flask for the two requests that come most: the same gate, the same bytes, none of the machinery.

Pages are most of an audit log's reading (dashboards, reloads), one event in one request most of its writing, and
routing, contexts and response objects cost several times what either takes. What goes wrong with a question is
handed to Flask, which makes the problem's answer of it; what is not a plain good event it takes from the beginning.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any, Final

from trailseal.api.events import JSON, PlanMemory, answer_headers, find_page
from trailseal.api.gate import FAILURE, STARTED, admit, principal_of
from trailseal.api.ingest import take_plain
from trailseal.api.problems import Refusal
from trailseal.api.services import Services
from trailseal.errors import TrailsealError
from trailseal.model.limits import MAX_RECORD_BYTES
from trailseal.telemetry import HTTP_REQUESTS, HTTP_SECONDS

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]
_ROUTE: Final = "/events"
_SPACE: Final = b" \t\r\n"


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
        self._most_bytes = min(MAX_RECORD_BYTES, services.max_request_bytes)
        self._counts = {name: HTTP_REQUESTS.labels(name, _ROUTE, "200") for name in ("GET", "POST")}
        self._seconds = {name: HTTP_SECONDS.labels(name, _ROUTE) for name in ("GET", "POST")}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """One request."""
        method = environ["REQUEST_METHOD"]
        if environ["PATH_INFO"] != _ROUTE or method not in self._counts:
            return self._application(environ, start_response)
        started = time.perf_counter()
        answer = self._found(environ, started) if method == "GET" else self._taken(environ)
        if answer is None:
            return self._application(environ, start_response)
        headers, body = answer
        start_response("200 OK", [*headers, ("Content-Length", str(len(body)))])
        self._counts[method].inc()
        self._seconds[method].observe(time.perf_counter() - started)
        return [body]

    def _found(self, environ: dict[str, Any], started: float) -> tuple[list[tuple[str, str]], bytes] | None:
        """The page that is asked for."""
        try:
            admit(environ, _ROUTE, self._services.authenticator)
            answer = find_page(environ, self._services, self._pages)
            return answer_headers(answer, environ["QUERY_STRING"]), answer.body
        except Exception as error:  # noqa: BLE001 - Flask's handlers know every kind
            environ[STARTED], environ[FAILURE] = started, error
            return None

    def _taken(self, environ: dict[str, Any]) -> tuple[list[tuple[str, str]], bytes] | None:
        """The answer to one good event that comes as plain JSON."""
        length = environ.get("CONTENT_LENGTH", "")
        if (
            environ.get("CONTENT_TYPE") != JSON
            or environ.get("QUERY_STRING")
            or "HTTP_CONTENT_ENCODING" in environ
            or not (length.isdecimal() and int(length) <= self._most_bytes)
        ):
            return None
        try:
            admit(environ, _ROUTE, self._services.authenticator)
            principal = principal_of(environ)
            principal.require("events:write")
        except (TrailsealError, Refusal):
            return None
        sent = environ["wsgi.input"].read(int(length))
        environ["wsgi.input"] = BytesIO(sent)
        value = sent.strip(_SPACE)
        if len(sent) != int(length) or not value.startswith(b"{"):
            return None
        body = take_plain(self._services, principal, environ, value)
        return None if body is None else ([("Content-Type", JSON)], body)
