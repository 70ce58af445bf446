"""The Flask application: every route, the gate before them, and how each answer is counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, request
from prometheus_client import Counter, Histogram

from trailseal.api.events import PlanMemory, install_events
from trailseal.api.export import install_export
from trailseal.api.fast_lane import FastLane
from trailseal.api.gate import FAILURE, OPEN_ROUTES, STARTED, admit
from trailseal.api.health import install_health
from trailseal.api.ingest import install_ingest
from trailseal.api.integrity import INTEGRITY_ROUTES, install_integrity
from trailseal.api.openapi import install_openapi
from trailseal.api.problems import install_problems
from trailseal.api.services import Services
from trailseal.query.parsing import PAGE
from trailseal.telemetry import HTTP_REQUESTS, HTTP_SECONDS


class ApiApp(Flask):
    """Flask for views that are plain functions: the question whether one is a coroutine is never asked."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The view itself."""
        return func


def create_app(services: Services) -> Flask:
    """The HTTP API over these services; nothing is started or connected here."""
    app = ApiApp("trailseal.api", static_folder=None)
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    pages = PlanMemory(services, beside=PAGE)
    install_problems(app)
    _install_gate(app, services)
    _install_metrics(app)
    install_ingest(app, services)
    install_events(app, services, pages)
    install_integrity(app, services)
    install_export(app, services)
    install_health(app, services)
    install_openapi(app)
    lane: Any = FastLane(app.wsgi_app, services, pages)
    app.wsgi_app = lane  # type: ignore[method-assign] # Flask's documented place for WSGI middleware
    return app


def _install_gate(app: Flask, services: Services) -> None:
    authenticator = services.authenticator
    open_routes = OPEN_ROUTES | INTEGRITY_ROUTES if services.open_integrity else OPEN_ROUTES

    @app.before_request
    def gate() -> None:
        asked = request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - one look-up, not six
        environ = asked.environ
        environ.setdefault(STARTED, time.perf_counter())
        failure = environ.get(FAILURE)
        if failure is not None:
            raise failure
        rule = asked.url_rule
        admit(environ, None if rule is None else rule.rule, authenticator, open_routes)


def _install_metrics(app: Flask) -> None:
    series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    @app.after_request
    def observe(response: Response) -> Response:
        asked = request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - as above
        rule = asked.url_rule
        method, route = ("any", "none") if rule is None else (asked.method, rule.rule)
        key = (method, route, response.status_code)
        known = series.get(key)
        if known is None:
            known = series[key] = (
                HTTP_REQUESTS.labels(method=method, route=route, status=str(response.status_code)),
                HTTP_SECONDS.labels(method=method, route=route),
            )
        known[0].inc()
        started = asked.environ.get(STARTED)
        if started is not None:
            known[1].observe(time.perf_counter() - started)
        return response
