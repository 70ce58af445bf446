"""`trailseal serve`: the API in any number of worker processes, over Kafka, Elasticsearch and Redis."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from trailseal import bootstrap
from trailseal.cli.options import Config, settings_from
from trailseal.cli.output import notice
from trailseal.settings import Settings
from trailseal.telemetry import set_up_logging

if TYPE_CHECKING:
    from flask import Flask

_METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client's own name: where worker processes share their counters."""


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", rich_help_panel="Settings")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", rich_help_panel="Settings")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes.", rich_help_panel="Settings")] = None,
    config: Config = None,
) -> None:
    """Answer the API in several processes; events go to Kafka, questions to Elasticsearch.

    SIGTERM or Ctrl-C lets requests under way finish. An address that others can reach needs an API key first:
    `trailseal setup` makes one.
    """
    from trailseal.api.credentials import list_keys  # noqa: PLC0415 - commands start fast without the API
    from trailseal.cli.server import refuse_open_door, serve_workers  # noqa: PLC0415 - the same

    settings = settings_from(config, host=host, port=port, workers=workers)
    set_up_logging(settings.log_level, settings.log_format)
    bootstrap.profile(settings, "serve")
    ledger, _ = bootstrap.open_ledger(settings, writing=False)
    try:
        refuse_open_door(settings.host, keyless=not list_keys(ledger))
    finally:
        ledger.close()
    with ExitStack() as stack:
        os.environ[_METRICS_FOLDER] = stack.enter_context(tempfile.TemporaryDirectory(prefix="trailseal-metrics-"))
        notice(f"Serving on {settings.host}:{settings.port} with {settings.workers} workers.")
        serve_workers(
            ServeApp(settings),
            settings.host,
            settings.port,
            workers=settings.workers,
            threads=settings.threads,
        )


@dataclass(frozen=True, slots=True)
class ServeApp:
    """Makes the application inside a worker process."""

    settings: Settings

    def __call__(self) -> Flask:
        """The API with the viewer, on engines of this process."""
        from trailseal.cli.application import make_app  # noqa: PLC0415 - the parent never needs it

        settings = self.settings
        set_up_logging(settings.log_level, settings.log_format)
        engines = bootstrap.open_engines(settings, "serve")
        return make_app(settings, engines)
