"""Errors as RFC 9457 problem details: one shape on every route, for our own errors and for HTTP's."""

from __future__ import annotations

import uuid

import msgspec
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from trailseal.api.problem_types import title_of
from trailseal.errors import (
    IntegrityViolation,
    InvalidEvent,
    InvalidQuery,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    Overloaded,
    Problem,
    Rebuilding,
    TrailsealError,
    Unavailable,
)
from trailseal.telemetry import logger, place_of

MEDIA_TYPE = "application/problem+json"
TYPE_PAGE = "/docs/errors"
_log = logger("api")


class Flaw(msgspec.Struct, frozen=True, omit_defaults=True):
    """One broken rule.

    Attributes:
        code: stable name; the errors reference explains it.
        detail: what is wrong and what to do.
        field: dotted path in the event, where one is at fault.
        parameter: the query parameter, where one is at fault.
    """

    code: str
    detail: str
    field: str | None = None
    parameter: str | None = None


class ProblemDocument(msgspec.Struct, frozen=True):
    """The body of every answer that is an error (RFC 9457).

    Attributes:
        type: where the kind of problem is explained; a path on this server.
        title: the kind of problem in words.
        status: the HTTP status.
        detail: this problem in words: what is wrong, which rule, what to do.
        code: the kind of problem as a stable name.
        request_id: names this answer in our log.
        errors: every broken rule that is known, with its field or parameter.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: tuple[Flaw, ...] = ()


_BY_ERROR: tuple[tuple[type[TrailsealError], int, str], ...] = (
    (NotAuthenticated, 401, "not-authenticated"),
    (NotAllowed, 403, "not-allowed"),
    (NotFound, 404, "not-found"),
    (Rebuilding, 503, "rebuilding"),
    (Overloaded, 503, "overloaded"),
    (Unavailable, 503, "unavailable"),
    (IntegrityViolation, 500, "integrity-violation"),
)
_BY_STATUS = {
    400: "bad-request",
    404: "no-such-route",
    405: "method-not-allowed",
    413: "too-large",
    415: "unsupported-media-type",
    500: "internal-error",
}
_DETAILS = {
    404: "There is no such route; /docs lists them.",
    405: "This route does not know that method; the header Allow lists those it knows.",
    500: "The server failed on its own account; its log has the details under this request_id.",
}


class Refusal(Exception):
    """A request refused for its form: ``code`` and ``status`` name why."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code


def flaw_of(problem: Problem) -> Flaw:
    """A broken rule as it appears in answers."""
    return Flaw(problem.code, problem.detail, problem.field, problem.parameter)


def problem_response(
    status: int, code: str, detail: str, *, errors: tuple[Flaw, ...] = (), headers: dict[str, str] | None = None
) -> Response:
    """One problem as an HTTP answer."""
    document = ProblemDocument(
        type=f"{TYPE_PAGE}#{code}",
        title=title_of(code),
        status=status,
        detail=detail,
        code=code,
        request_id=uuid.uuid4().hex,
        errors=errors,
    )
    response = Response(msgspec.json.encode(document), status, content_type=MEDIA_TYPE)
    response.headers["Cache-Control"] = "no-store"
    response.headers.update(headers or {})
    response.headers["Trailseal-Request-Id"] = document.request_id
    return response


def install_problems(app: Flask) -> None:
    """Answer every error of this app in the one shape."""
    app.register_error_handler(TrailsealError, _of_ours)
    app.register_error_handler(Refusal, _of_form)
    app.register_error_handler(HTTPException, _of_http)
    app.register_error_handler(Exception, _of_anything)


def _of_ours(error: TrailsealError) -> Response:
    if isinstance(error, InvalidEvent | InvalidQuery):
        return problem_response(400, error.problem.code, error.problem.detail, errors=(flaw_of(error.problem),))
    for kind, status, code in _BY_ERROR:
        if isinstance(error, kind):
            return problem_response(status, code, str(error), headers=_headers(error))
    return _of_anything(error)


def _headers(error: TrailsealError) -> dict[str, str]:
    if isinstance(error, Unavailable):
        return {"Retry-After": str(max(1, round(error.retry_after_s)))}
    if isinstance(error, NotAuthenticated):
        return {"WWW-Authenticate": 'Bearer realm="Trailseal", Basic realm="Trailseal: the key is the password"'}
    return {}


def _of_form(error: Refusal) -> Response:
    return problem_response(error.status, error.code, str(error))


def _of_http(error: HTTPException) -> Response:
    status = error.code or 500
    headers = {name: value for name, value in error.get_headers() if name in {"Allow", "Location"}}
    code = _BY_STATUS.get(status, f"http-{status}")
    return problem_response(status, code, _DETAILS.get(status) or error.description or code, headers=headers)


def _of_anything(error: Exception) -> Response:
    response = problem_response(500, "internal-error", _DETAILS[500])
    _log.error(
        "request failed",
        request_id=response.headers["Trailseal-Request-Id"],
        method=request.method,
        route=str(request.url_rule),
        error=type(error).__name__,
        where=place_of(error),
    )
    return response
