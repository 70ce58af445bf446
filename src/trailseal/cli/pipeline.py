"""The consumer as commands run it: the settings' options on opened engines."""

from __future__ import annotations

from trailseal.bootstrap import Engines
from trailseal.event_consumer.options import ConsumerOptions
from trailseal.event_consumer.runner import Consumer
from trailseal.settings import Settings


def make_consumer(settings: Settings, engines: Engines, *, drain_s: float = 10.0) -> Consumer:
    """A consumer that has not begun; call `run` in a thread.

    Args:
        settings: group and flush sizes.
        engines: opened for a role that may run the pipeline.
        drain_s: how long stopping may take to finish what was taken in.
    """
    options = ConsumerOptions(
        group=settings.consumer_group,
        flush_records=settings.flush_records,
        flush_bytes=settings.flush_bytes,
        drain_s=drain_s,
    )
    return Consumer(engines.log, engines.index, engines.ledger, engines.cache, engines.clock, options=options)
