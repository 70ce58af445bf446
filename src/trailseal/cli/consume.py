"""`trailseal consume`: one member of the group of consumers, in a process of its own."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer

from trailseal import bootstrap
from trailseal.cli.options import Config, settings_from
from trailseal.cli.output import notice
from trailseal.cli.signals import answer_in_a_thread
from trailseal.telemetry import set_up_logging


def consume(
    host: Annotated[
        str | None, typer.Option(help="Address of the health port.", rich_help_panel="Settings")
    ] = None,
    port: Annotated[int | None, typer.Option(help="The health port.", rich_help_panel="Settings")] = None,
    config: Config = None,
) -> None:
    """Take events from Kafka into Elasticsearch, as one of any number of processes.

    SIGTERM or Ctrl-C finishes what was taken in and ends. Exit status 2 with a sentence where our own set-up is
    broken (the topic made anew, a mapping missing): nothing is lost, and it goes on after the repair.
    /healthz, /readyz and /metrics are answered on the port.
    """
    from trailseal.cli.pipeline import make_consumer  # noqa: PLC0415 - commands start fast without the pipeline
    from trailseal.cli.server import listen  # noqa: PLC0415 - the same
    from trailseal.event_consumer.health import HealthServer  # noqa: PLC0415 - the same

    settings = settings_from(config, host=host, port=port)
    set_up_logging(settings.log_level, settings.log_format)
    with ExitStack() as stack:
        listener = listen(settings.host, settings.port)
        stack.callback(listener.close)
        engines = bootstrap.open_engines(settings, "consume")
        stack.callback(engines.close)
        consumer = make_consumer(settings, engines)
        answer_in_a_thread(consumer.stop)
        health = HealthServer(listener, consumer, engines.clock)
        stack.callback(health.close)
        notice(f"Consuming as a member of {settings.consumer_group}; health on {settings.host}:{settings.port}.")
        consumer.run()
    if consumer.fault is not None:
        raise consumer.fault
