"""`trailseal up`: the whole system in one process."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Annotated

import typer

from trailseal import bootstrap
from trailseal.cli.demo import DEMO_EVENTS, demo_records
from trailseal.cli.options import Config, Data, settings_from
from trailseal.cli.output import notice
from trailseal.errors import Unavailable
from trailseal.model.query import Query
from trailseal.telemetry import logger, set_up_logging

if TYPE_CHECKING:
    from trailseal.bootstrap import Engines
    from trailseal.event_consumer.runner import Consumer
    from trailseal.settings import Settings

_DRAIN_S = 1.0
_CLOSING_S = 0.5
_STOP_S = 4.0
_DEMO_S = 5.0
_DEMO_LOOK_S = 0.05
_SAMPLE = '{"timestamp":"\'$(date -u +%FT%TZ)\'","actor":"you","action":"demo.tried","resource":"trailseal"}'


def up(
    data: Data = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", rich_help_panel="Settings")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", rich_help_panel="Settings")] = None,
    config: Config = None,
    demo: Annotated[bool, typer.Option("--demo", help="Fill an empty log with demo events.")] = False,
) -> None:
    """Run the whole system in one process: log, pipeline, index, cache and API."""
    settings = settings_from(config, data=data, host=host, port=port)
    set_up_logging(settings.log_level, settings.log_format)
    _host(settings, demo=demo)


def _host(settings: Settings, *, demo: bool) -> None:
    from trailseal.api.credentials import list_keys  # noqa: PLC0415 - commands start fast without the API
    from trailseal.cli.application import make_app  # noqa: PLC0415 - as above
    from trailseal.cli.pipeline import make_consumer  # noqa: PLC0415 - as above
    from trailseal.cli.server import OneProcessServer, listen, refuse_open_door  # noqa: PLC0415 - as above

    with ExitStack() as stack:
        lock = bootstrap.lock_server(settings)
        stack.callback(lock.release)
        listener = listen(settings.host, settings.port)
        stack.callback(listener.close)
        engines = bootstrap.open_engines(settings, "up")
        stack.callback(engines.close)
        consumer = make_consumer(settings, engines, drain_s=_DRAIN_S)
        app = make_app(settings, engines, consumer.state)
        refuse_open_door(settings.host, keyless=not list_keys(engines.ledger))
        filled = demo and _fill(engines)
        pipeline = threading.Thread(target=consumer.run, name="pipeline", daemon=True)
        stack.callback(_stop, consumer, pipeline)
        pipeline.start()
        if filled:
            _await_demo(engines)
        notice(_greeting(settings, demo=demo))
        OneProcessServer(app, listener, threads=settings.threads, on_stop=_insist).run()
    _leave()


def _fill(engines: Engines) -> bool:
    """Demo events, if nothing was ever written; whether they were needed."""
    log = engines.log
    if any(log.bounds(partition).next for partition in log.partitions()):
        return False
    log.append(list(demo_records(engines.clock.now_us())))
    notice(f"The log was empty: {DEMO_EVENTS} demo events of the last 30 days are in it now.")
    return True


def _await_demo(engines: Engines) -> None:
    """So that the first thing a newcomer tries finds something; a slow machine greets after five seconds."""
    end = time.monotonic() + _DEMO_S
    while time.monotonic() < end:
        with suppress(Unavailable):  # an index that is only being made
            if engines.index.count(Query()).value >= DEMO_EVENTS:
                return
        engines.clock.wait(_DEMO_LOOK_S)


def _stop(consumer: Consumer, pipeline: threading.Thread) -> None:
    consumer.stop()
    pipeline.join(_DRAIN_S + _CLOSING_S)
    if pipeline.is_alive():
        logger("up").warning("pipeline_cut_short", why="it goes on from its head at the next start")


def _greeting(settings: Settings, *, demo: bool) -> str:
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    base = f"http://{shown}:{settings.port}"
    lines = [f"Trailseal listens on {base} with its data in {settings.data}. Ctrl-C stops it."]
    if demo:
        lines += [
            f"  open  {base}/",
            f"  curl '{base}/events?actor=bob@acme.example&outcome=denied'",
            f"  curl '{base}/events/count?time_from=-24h'",
            f"  curl {base}/events -H 'Content-Type: application/json' -d '{_SAMPLE}'",
        ]
    return "\n".join(lines)


def _insist() -> None:
    """From now on the process has `_STOP_S` to end by itself; what a crash may cost, a forced end may cost."""

    def end() -> None:
        logger("up").warning("forced_end", why=f"not through after {_STOP_S:g} seconds; these are the threads")
        faulthandler.dump_traceback(all_threads=True)
        os._exit(1)

    countdown = threading.Timer(_STOP_S, end)
    countdown.daemon = True
    countdown.start()


def _leave() -> None:
    """End the process even where a request still holds a thread: everything that counts is closed by now."""
    if any(thread.name == "granian-worker" for thread in threading.enumerate()):
        sys.stderr.flush()
        os._exit(0)
