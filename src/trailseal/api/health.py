"""``/healthz`` alive, ``/readyz`` progress, ``/metrics`` for Prometheus."""

from __future__ import annotations

import os

import msgspec
from flask import Flask, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from trailseal.api.gate import principal_of
from trailseal.api.services import Services
from trailseal.errors import Unavailable

STALLED_S = 60.0
"""A pipeline that neither moved nor was through for this long is not healthy."""


class Readiness(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether questions are answered and events taken in, and how far along that is.

    Attributes:
        status: ``ready``; ``degraded`` = works, but somebody should look; ``rebuilding`` and ``unavailable`` =
            questions are not answered now.
        phase: what the pipeline does, or ``elsewhere`` where another process runs it.
        detail: one sentence for an operator.
        pending: records accepted and not yet taken in.
        rebuilt: records put back into the index so far.
        rebuild_total: how many there are to put back.
        dead_letters: records of this process's time that could not be taken in.
    """

    status: str
    phase: str
    detail: str | None = None
    pending: int | None = None
    rebuilt: int | None = None
    rebuild_total: int | None = None
    dead_letters: int = 0


def install_health(app: Flask, services: Services) -> None:
    """Add the routes."""

    @app.get("/healthz")
    def healthz() -> Response:
        return _json({"status": "alive"}, 200)

    @app.get("/readyz")
    def readyz() -> Response:
        readiness = assess(services)
        return _json(readiness, 200 if readiness.status in {"ready", "degraded"} else 503)

    @app.get("/metrics")
    def metrics() -> Response:
        principal_of(request.environ).require("admin")
        return Response(generate_latest(_registry()), 200, content_type=CONTENT_TYPE_LATEST)


def _registry() -> CollectorRegistry:
    """This process's metrics; where worker processes share a folder, those of all of them."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    shared = CollectorRegistry()
    MultiProcessCollector(shared)  # type: ignore[no-untyped-call] # the library has no annotation there
    return shared


def assess(services: Services) -> Readiness:
    """The readiness of this process, read from the engines themselves."""
    phase, detail, rebuilt, total, dead, alarm, stalled = "elsewhere", None, None, None, 0, None, False
    if services.pipeline is not None:
        snapshot = services.pipeline.snapshot
        phase, detail, dead = str(snapshot.phase), snapshot.detail, snapshot.dead_letters
        alarm = snapshot.degraded
        if phase == "rebuilding":
            rebuilt, total = snapshot.rebuilt, snapshot.rebuild_total
        stalled = phase == "running" and services.clock.monotonic() - snapshot.progress_at > STALLED_S
    try:
        pending: int | None = _pending(services)
        complete = services.index.is_complete()
    except Unavailable as error:
        keys = services.authenticator.trouble()
        return Readiness(
            "unavailable", phase, f"{error}" if keys is None else f"{error}. {keys}", dead_letters=dead
        )
    if phase == "rebuilding" or not complete:
        return Readiness("rebuilding", phase, detail, pending, rebuilt, total, dead)
    if stalled and pending:
        detail = f"{pending} records wait, and none was taken in for {STALLED_S:.0f} seconds; see the log."
        return Readiness("degraded", phase, detail, pending, dead_letters=dead)
    if dead and alarm is None:
        alarm = f"{dead} dead letters since the start: `trailseal dead-letters list` shows them."
    detail = detail or alarm
    status = "degraded" if phase in {"retrying", "stopped"} or alarm else "ready"
    return Readiness(status, phase, detail, pending, dead_letters=dead)


def _pending(services: Services) -> int:
    number = services.ledger.log_number(services.log.origin)
    heads = {} if number is None else {head.partition: head.next for head in services.ledger.heads(number)}
    total = 0
    for partition in services.log.partitions():
        bounds = services.log.bounds(partition)
        total += max(0, bounds.next - heads.get(partition, bounds.first))
    return total


def _json(value: object, status: int) -> Response:
    response = Response(msgspec.json.encode(value), status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
