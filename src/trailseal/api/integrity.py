"""``/integrity/…``: what outsiders check us by, served as C2SP tlog-tiles says, and receipts of single events.

Tiles, checkpoints and consistency proofs hold salted commitments, offsets and times, and nothing of any event; but
they tell how much is logged and when. So they need a key like everything else, unless `Services.open_integrity`
gives them to everybody, as public logs do.
"""

from __future__ import annotations

import msgspec
from flask import Flask, Response, request

from trailseal.api.gate import principal_of
from trailseal.api.parameters import single_parameters
from trailseal.api.services import Services
from trailseal.errors import InvalidQuery, NotFound, Problem
from trailseal.merkle.errors import InvalidEncoding
from trailseal.merkle.tiles import TileName
from trailseal.query.times import parse_bound, resolve
from trailseal.sealing.evidence import Evidence

LOG_URL = "/integrity/logs/<int:log>/<int:partition>"
INTEGRITY_ROUTES = frozenset(
    {
        "/integrity/logs",
        "/integrity/checkpoints",
        "/integrity/consistency",
        f"{LOG_URL}/checkpoint",
        f"{LOG_URL}/tile/<path:tile>",
    }
)
RECEIPT = "text/plain; charset=utf-8"
MAX_CHECKPOINTS = 1_000
_CHECKPOINT_S = 1
_EVERYBODY = {"Access-Control-Allow-Origin": "*"}
_FOR_EVER = {**_EVERYBODY, "Cache-Control": "public, max-age=31536000, immutable"}
_MOST_DIGITS = 19


def install_integrity(app: Flask, services: Services) -> None:
    """Add the routes."""
    evidence = services.evidence

    @app.get("/integrity/logs")
    def integrity_logs() -> Response:
        logs = evidence.logs(lambda log, partition: f"/integrity/logs/{log}/{partition}")
        return _json({"logs": logs})

    @app.get(f"{LOG_URL}/checkpoint")
    def integrity_checkpoint(log: int, partition: int) -> Response:
        headers = {**_EVERYBODY, "Cache-Control": f"public, max-age={_CHECKPOINT_S}"}
        return Response(evidence.checkpoint(log, partition), 200, headers, content_type=RECEIPT)

    @app.get(f"{LOG_URL}/tile/<path:tile>")
    def integrity_tile(log: int, partition: int, tile: str) -> Response:
        try:
            data = evidence.tile(log, partition, TileName.parse(f"tile/{tile}"))
        except InvalidEncoding as error:
            raise NotFound(f"The log has no such tile: {error}.") from error
        return Response(data, 200, _FOR_EVER, content_type="application/octet-stream")

    _install_questions(app, evidence)
    _install_receipts(app, services)


def _install_questions(app: Flask, evidence: Evidence) -> None:
    @app.get("/integrity/checkpoints")
    def integrity_checkpoints() -> Response:
        given = _given(("log", "partition", "below", "limit"))
        log, partition = _number(given, "log"), _number(given, "partition", 0)
        below = _number(given, "below") if "below" in given else None
        limit = _number(given, "limit", 100)
        if not 1 <= limit <= MAX_CHECKPOINTS:
            raise InvalidQuery(Problem("invalid-value", f"limit is 1 to {MAX_CHECKPOINTS}.", parameter="limit"))
        return _json({"checkpoints": evidence.checkpoints(log, partition, below, limit)})

    @app.get("/integrity/consistency")
    def integrity_consistency() -> Response:
        given = _given(("log", "partition", "from", "to"))
        log, partition = _number(given, "log"), _number(given, "partition", 0)
        first, second = _number(given, "from"), _number(given, "to")
        return _json(evidence.consistency(log, partition, first, second))


def _install_receipts(app: Flask, services: Services) -> None:
    @app.get("/events/<path:event_id>/proof")
    def event_proof(event_id: str) -> Response:
        principal = principal_of(request.environ)
        principal.require("events:read")
        given = _given(("tenant_id", "timestamp"))
        tenants = principal.tenants
        if "tenant_id" in given:
            wanted = given["tenant_id"]
            tenants = (wanted,) if tenants is None or wanted in tenants else ()
        timestamp_us = None
        if "timestamp" in given:
            timestamp_us = resolve(parse_bound("timestamp", given["timestamp"]), services.clock.now_us())
        hit = services.query.find(event_id, tenants, timestamp_us=timestamp_us)
        headers = {"Cache-Control": "no-store"}
        return Response(services.evidence.receipt(hit.record), 200, headers, content_type=RECEIPT)


def _given(known: tuple[str, ...]) -> dict[str, str]:
    return single_parameters(request.environ["QUERY_STRING"], known)


def _number(given: dict[str, str], name: str, default: int | None = None) -> int:
    text = given.get(name)
    if text is None:
        if default is not None:
            return default
        raise InvalidQuery(Problem("missing-parameter", f"{name} is missing: give a number.", parameter=name))
    if text.isascii() and text.isdecimal() and len(text) < _MOST_DIGITS:
        return int(text)
    raise InvalidQuery(Problem("invalid-value", f"{name} is a whole number; {text!r} is not.", parameter=name))


def _json(value: object) -> Response:
    headers = {**_EVERYBODY, "Cache-Control": "no-store"}
    return Response(msgspec.json.encode(value), 200, headers, content_type="application/json")
