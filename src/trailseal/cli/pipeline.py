"""The consumer as commands run it: the settings' options on opened engines."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Final

from trailseal import bootstrap
from trailseal.bootstrap import Engines
from trailseal.event_consumer.notary import Notary
from trailseal.event_consumer.options import ConsumerOptions
from trailseal.event_consumer.runner import Consumer
from trailseal.event_consumer.seal import Seals
from trailseal.model.timestamps import format_rfc3339
from trailseal.sealing.checkpoints import CheckpointSigner
from trailseal.sealing.cosigning import Cosigning
from trailseal.sealing.keys import KeyFile
from trailseal.settings import Settings

_FRESH_OBJECTS = 50_000
"""New containers after which the collector looks for cycles among them."""


_BULKS_AHEAD: Final = 4
_BACKLOG_FLUSH_S: Final = 2.0
"""What an index on servers acknowledged is durable, so a flush costs no more than moving the heads."""


def make_consumer(settings: Settings, engines: Engines, *, drain_s: float = 10.0) -> Consumer:
    """A consumer that has not begun; call `run` in a thread. The garbage collector is slowed down for it.

    Args:
        settings: group and flush sizes, who signs and who cosigns.
        engines: opened for a role that may run the pipeline.
        drain_s: how long stopping may take to finish what was taken in.

    Raises:
        SettingsError: the seal keys or the witnesses cannot be used.
    """
    calm_the_collector()
    return Consumer(
        engines.log,
        engines.index,
        engines.ledger,
        engines.cache,
        engines.clock,
        notary=make_notary(settings, engines),
        dead_letter_log=engines.dead_letter_log,
        erasable=engines.erasable,
        options=_options(settings, engines, drain_s),
    )


def _options(settings: Settings, engines: Engines, drain_s: float) -> ConsumerOptions:
    """An index on servers takes several bulks at once, keeps what it acknowledged, and refreshes by itself."""
    common = ConsumerOptions(
        group=settings.consumer_group,
        flush_records=settings.flush_records,
        flush_bytes=settings.flush_bytes,
        drain_s=drain_s,
    )
    if engines.profile == "embedded":
        return common
    return replace(
        common,
        in_flight=settings.bulks_in_flight,
        batch_records=settings.bulk_records,
        batch_bytes=settings.bulk_bytes,
        ahead_records=_BULKS_AHEAD * settings.bulk_records,
        ahead_bytes=_BULKS_AHEAD * settings.bulk_bytes,
        backlog_flush_s=_BACKLOG_FLUSH_S,
        refresh_after_flush=False,
        rebuilds=False,
    )


def calm_the_collector() -> None:
    """Look for cycles of garbage a seventieth as often.

    A batch keeps tens of thousands of containers alive for a moment, and the pipeline makes no cycles: by default
    the collector walks them again and again, for a tenth of the pipeline's time (docs/decisions/0360).
    """
    gc.freeze()
    gc.set_threshold(_FRESH_OBJECTS, *gc.get_threshold()[1:])


def make_notary(settings: Settings, engines: Engines) -> Notary:
    """Seals and signs what the consumer takes in; the embedded profile makes its key at the first start.

    Raises:
        SettingsError: the seal keys or the witnesses cannot be used.
    """
    keys = KeyFile(bootstrap.key_path(settings))
    clock = engines.clock
    if engines.profile == "embedded" and settings.seal_key_file is None:
        keys.make(format_rfc3339(clock.now_us()))
    else:
        keys.ring()
    signer = CheckpointSigner(engines.ledger, keys.ring, lambda: clock.now_us() // 1_000_000)
    cosigning = Cosigning(bootstrap.witnesses(settings))
    return Notary(Seals(engines.ledger, keys, settings.seal_origin, clock), signer, cosigning, clock)
