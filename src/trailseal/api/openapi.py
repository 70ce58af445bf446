"""The OpenAPI 3.1 document, made from the structs that the routes really speak."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import version
from typing import Any

import msgspec
from flask import Flask, Response

from trailseal.api.health import Readiness
from trailseal.api.ingest import IngestAnswer
from trailseal.api.openapi_integrity import INTEGRITY_STRUCTS, integrity_paths
from trailseal.api.problems import MEDIA_TYPE, ProblemDocument
from trailseal.formats import FORMATS
from trailseal.formats.native import NativeEvent
from trailseal.formats.rendering import RenderedEvent
from trailseal.model.event import OUTCOMES
from trailseal.model.query import Count
from trailseal.query.export import EXPORT_FORMATS, CsvLines, NdjsonLines
from trailseal.query.parsing import FILTERS
from trailseal.query.question import DEFAULT_LIMIT, MAX_LIMIT

_STAR = "A trailing * asks for a prefix, * alone for any value, \\* is a star."
_FILTERS = {
    "actor": f"Who acted: the actor's id. {_STAR}",
    "action": f"What was done. {_STAR}",
    "resource": f"To what: type/id, or the bare id where there is no type. {_STAR}",
    "resource_type": f"The resource's type. {_STAR}",
    "tenant_id": f"Whose event; narrows what the API key allows, never widens it. {_STAR}",
    "outcome": f"How it ended: {', '.join(OUTCOMES)}.",
    "source_ip": "From where: an address or a network (10.0.0.0/8); a v4-mapped address is its IPv4 form.",
    "request_id": f"By which request. {_STAR}",
    "id": f"The producer's id. {_STAR}",
}
_TIMES = "RFC 3339 with a zone, a UTC date, or relative to now (-24h; units s m h d w), frozen while paging."


class Page(msgspec.Struct, frozen=True):
    """One page of events.

    Attributes:
        events: in the order asked for.
        next_cursor: where the next page begins, or null on the last one.
        has_more: whether there is a next page.
        stale: only where the index does not answer: these are the events of up to a minute ago.
    """

    events: list[RenderedEvent]
    next_cursor: str | None
    has_more: bool
    stale: bool = False


class CountAnswer(msgspec.Struct, frozen=True):
    """How many events match; ``exact`` is false where counting stopped at a ceiling."""

    count: int
    exact: bool
    stale: bool = False


class Alive(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str


@lru_cache(maxsize=1)
def document() -> bytes:
    """The document as JSON."""
    structs = (
        Page,
        CountAnswer,
        Count,
        IngestAnswer,
        NativeEvent,
        Readiness,
        Alive,
        ProblemDocument,
        RenderedEvent,
        *INTEGRITY_STRUCTS,
    )
    _, schemas = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Trailseal",
                "version": version("trailseal"),
                "description": "An audit log: who did what to which resource, when, for which tenant.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "security": [{"key": []}, {}],
            "paths": _paths(),
            "components": {
                "schemas": schemas,
                "securitySchemes": {
                    "key": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "An API key. Until the first one is made, none is needed on this machine.",
                    }
                },
                "responses": {"Problem": _problem()},
            },
        }
    )


def _paths() -> dict[str, Any]:
    return {
        "/events": {"get": _search(), "post": _ingest()},
        "/events/count": {"get": _count()},
        "/events/export": {"get": _export()},
        "/events/{id}": {"get": _event()},
        **integrity_paths(),
        "/healthz": {"get": _plain("alive", "Whether the process answers.", "Alive")},
        "/readyz": {"get": _ready()},
        "/metrics": {"get": _metrics()},
    }


def _order() -> dict[str, Any]:
    schema = {"type": "string", "enum": ["desc", "asc"], "default": "desc"}
    return _parameter("order", "Newest or oldest first.", schema)


def _record() -> dict[str, Any]:
    return _parameter(
        "record", "1 brings the original record of each event.", {"type": "string", "enum": ["0", "1"]}
    )


def _search() -> dict[str, Any]:
    own = [
        _order(),
        _parameter(
            "limit",
            "Events a page.",
            {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        ),
        _parameter("cursor", "next_cursor of the page before, with the same filters.", _text()),
        _record(),
        _parameter(
            "seal", "1 brings each event's leaf and covering checkpoint.", {"type": "string", "enum": ["0", "1"]}
        ),
    ]
    ok = _json_response("A page of events.", "Page")
    ok["headers"] = {"Link": {"description": 'rel="next": the next page.', "schema": {"type": "string"}}}
    return _operation("searchEvents", "Find events.", [*_filters(), *own], ok)


def _count() -> dict[str, Any]:
    ok = _json_response("How many there are.", "CountAnswer")
    return _operation("countEvents", "Count events.", _filters(), ok)


def _export() -> dict[str, Any]:
    formats = {"type": "string", "enum": list(EXPORT_FORMATS), "default": EXPORT_FORMATS[0]}
    own = [_order(), _record(), _parameter("format", "How the rows are written.", formats)]
    lines = {kind.media_type: {"schema": {"type": "string"}} for kind in (NdjsonLines, CsvLines)}
    ok = {
        "description": "The events, streamed. Where the rest is missing, the last line says so.",
        "content": lines,
    }
    return _operation("exportEvents", "Everything that matches and was taken in by now.", [*_filters(), *own], ok)


def _event() -> dict[str, Any]:
    parameters = [
        {"name": "id", "in": "path", "required": True, "schema": _text(), "description": "The producer's id."},
        _parameter("tenant_id", "Whose event, where several tenants have the id.", _text()),
        _parameter("timestamp", "When it happened, as a hint; its month is looked at first.", _text()),
        _parameter("record", "1 brings the original record.", {"type": "string", "enum": ["0", "1"]}),
        _parameter("seal", "1 brings leaf and covering checkpoint.", {"type": "string", "enum": ["0", "1"]}),
    ]
    return _operation("getEvent", "Fetch one event.", parameters, _json_response("The event.", "RenderedEvent"))


def _ingest() -> dict[str, Any]:
    one = {"$ref": "#/components/schemas/NativeEvent"}
    operation = _operation(
        "postEvents",
        "Take events in. Accepted means durable; searches find them one refresh later.",
        [
            _parameter("tenant_id", "Whose events these are, where they do not say.", _text()),
            _parameter(
                "format", "The wire format.", {"type": "string", "enum": sorted(FORMATS), "default": "native"}
            ),
        ],
        _json_response("A verdict for each event.", "IngestAnswer"),
    )
    operation["requestBody"] = {
        "required": True,
        "description": "One event, an array, or one event a line. Content-Encoding gzip is understood.",
        "content": {
            "application/json": {"schema": {"oneOf": [one, {"type": "array", "items": one}]}},
            "application/x-ndjson": {"schema": {"type": "string"}},
            "application/cloudevents+json": {"schema": {"type": "object"}},
            "application/cloudevents-batch+json": {"schema": {"type": "array", "items": {"type": "object"}}},
        },
    }
    return operation


def _ready() -> dict[str, Any]:
    operation = _plain("ready", "Whether questions are answered, and how far taking in is.", "Readiness")
    operation["responses"]["503"] = _json_response(
        "Not now: rebuilding, or an engine does not answer.", "Readiness"
    )
    return operation


def _metrics() -> dict[str, Any]:
    ok = {"description": "Prometheus text.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    return _operation("metrics", "Metrics for Prometheus.", [], ok)


def _plain(name: str, summary: str, schema: str) -> dict[str, Any]:
    return _operation(name, summary, [], _json_response(summary, schema))


def _operation(name: str, summary: str, parameters: list[Any], ok: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "parameters": parameters,
        "responses": {"200": ok, "default": {"$ref": "#/components/responses/Problem"}},
    }


def _filters() -> list[dict[str, Any]]:
    repeated = {"type": "array", "items": _text()}
    found = [_parameter(name, f"{_FILTERS[name]} Repeated: any of them.", repeated) for name in FILTERS]
    negated = [_parameter(f"{name}!", f"None of these ({name}).", repeated) for name in FILTERS]
    return [
        *found,
        *negated,
        _parameter("q", "Words, all of which must be found; a trailing * asks for a beginning.", _text()),
        _parameter("time_from", f"Inclusive. {_TIMES}", _text()),
        _parameter("time_to", f"Exclusive. {_TIMES}", _text()),
        {
            "name": "metadata",
            "in": "query",
            "style": "form",
            "explode": True,
            "description": "metadata.KEY=value for any KEY (dotted paths); metadata.KEY!=value negates.",
            "schema": {"type": "object", "maxProperties": 0},
        },
    ]


def _parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _text() -> dict[str, Any]:
    return {"type": "string", "minLength": 1}


def _json_response(description: str, schema: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": description, "content": content}


def _problem() -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/ProblemDocument"}
    return {"description": "RFC 9457 problem details.", "content": {MEDIA_TYPE: {"schema": schema}}}


def install_openapi(app: Flask) -> None:
    """Add ``/openapi.json``."""

    @app.get("/openapi.json")
    def openapi() -> Response:
        return Response(document(), 200, content_type="application/json")
