"""`trailseal expire`: drop whole months, by a signed order, when they have been kept for long enough."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from trailseal.bootstrap import Engines, open_engines
from trailseal.cli.held_to_seals import held_to_seals, refuse_contradicted, sealed_sources, tell_contradicted
from trailseal.cli.options import Config, Data, settings_from
from trailseal.cli.orders import Ordering, draw_counts, heads_of, tell_pending, tell_retention, user
from trailseal.cli.output import Form, notice
from trailseal.errors import UsageError
from trailseal.event_consumer.leftovers import find_leftovers
from trailseal.event_consumer.retention import MONTH, Expiry, select_before
from trailseal.model.timestamps import month
from trailseal.sealing.admin_records import Mandate
from trailseal.telemetry import set_up_logging


def expire(
    before: Annotated[str, typer.Option("--before", metavar="YYYY-MM", help="The first month that stays.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, for example a policy; stays in the log for ever.")],
    approved_by: Annotated[str | None, typer.Option("--approved-by", help="Who else agreed.")] = None,
    requested_by: Annotated[
        str | None, typer.Option("--requested-by", help="Who asks; default: the user of this process.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without it, only say what would go.")] = False,
    form: Annotated[Form, typer.Option("--form", help="How to write what was found.")] = Form.AUTO,
    data: Data = None,
    config: Config = None,
) -> None:
    """Drop every event of the months before one, from log, index, ledger and cache.

    Nothing expires by itself. Without --yes nothing is changed. With it, records that say who asked and why, signed
    by the log's keys, are appended for each month and partition, and carried out like those of `trailseal erase`.
    An event that arrives later for a dropped month is `expired` at once; run this again, and the log forgets its
    record too. Every proof and checkpoint stays valid.
    Exit status 1 where nothing was found.
    """
    mandate = Mandate(requested_by or user(), reason, approved_by)
    settings = settings_from(config, data=data)
    set_up_logging("error", settings.log_format)
    engines = open_engines(settings, "import" if yes else "read")
    try:
        tell_retention(engines)
        heads = heads_of(engines)
        first = _month(before, month(engines.clock.now_us()))
        sources = sealed_sources(engines, tombstones=False)
        leftovers = find_leftovers(engines.log, sources.records, engines.ledger, heads)
        found = select_before(engines.index, engines.ledger, heads, first, leftovers)
        held = held_to_seals(sources, [(one.head, one.offsets, one.is_of) for one in found])
        for one, looked in zip(found, held, strict=True):
            one.leave_out(looked.contradicted)
        draw_counts(_rows(found), form)
        tell_contradicted([*leftovers, *found])
        tell_pending(engines, heads)
        if not any(one.offsets or one.late for one in found):
            refuse_contradicted(found)
            notice("Nothing was found; nothing is changed.")
            raise typer.Exit(1)
        if not yes:
            notice("Nothing was changed. Add --yes to drop this; it cannot be undone.")
            return
        with Ordering(settings, engines) as ordering:
            for one in found:
                _order(ordering, engines, one, mandate)
            ordering.wait()
    finally:
        engines.close()
    notice("Dropped. The books show it (`trailseal reconcile`), and the log says who asked and why.")
    refuse_contradicted(found)


def _order(ordering: Ordering, engines: Engines, one: Expiry, mandate: Mandate) -> None:
    """A month is dropped once; what came late for it is erased by an order of its own."""

    def saying(**counts: int) -> Mandate:
        return msgspec.structs.replace(mandate, details={"month": one.month, **counts})

    if one.offsets:
        ordering.expire(one.head, one.offsets, saying(events=len(one.events), duplicates=len(one.duplicates)))
    if one.late:
        sources = sealed_sources(engines, tombstones=True)
        (held,) = held_to_seals(sources, [(one.head, sorted(one.late), one.is_of)])
        ordering.erase(one.head, held.tombstones, saying(late=len(held.tombstones)))


def _month(text: str, now: str) -> str:
    named = text.replace("-", ".")
    if not MONTH.fullmatch(named):
        raise UsageError(f"--before {text}: a month is written YYYY-MM, such as 2026-11.")
    if named > now:
        raise UsageError(f"--before {text}: {now.replace('.', '-')} has not ended yet; the current month stays.")
    return named


def _rows(found: list[Expiry]) -> list[dict[str, str | int]]:
    return [
        {
            "month": one.month,
            "partition": f"{one.head.log}/{one.head.partition}",
            "events": len(one.events),
            "duplicates": len(one.duplicates),
            "late": len(one.late),
        }
        for one in found
    ]
