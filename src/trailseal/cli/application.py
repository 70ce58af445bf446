"""The API with the viewer on opened engines, as `up` and `serve` run it."""

from __future__ import annotations

from flask import Flask

from trailseal.api.app import create_app
from trailseal.api.credentials import Authenticator
from trailseal.api.services import Services
from trailseal.bootstrap import Engines
from trailseal.event_consumer.state import PipelineState
from trailseal.query.service import QueryService
from trailseal.sealing.evidence import Evidence
from trailseal.settings import Settings
from trailseal.viewer.pages import install_viewer


def make_app(settings: Settings, engines: Engines, pipeline: PipelineState | None = None) -> Flask:
    """The application.

    Args:
        settings: limits, and who may read tiles.
        engines: opened for a role that appends.
        pipeline: what the pipeline of this process does, or None where it runs elsewhere.
    """
    evidence = Evidence(engines.ledger, engines.clock.monotonic)
    services = Services(
        log=engines.log,
        index=engines.index,
        ledger=engines.ledger,
        clock=engines.clock,
        query=QueryService(engines.index, engines.cache, engines.clock, engines.secret, evidence),
        authenticator=Authenticator(engines.ledger, engines.clock, settings.key_grace),
        evidence=evidence,
        pipeline=pipeline,
        max_request_bytes=settings.max_request_bytes,
        open_integrity=settings.open_integrity,
    )
    app = create_app(services)
    install_viewer(app, services)
    return app
