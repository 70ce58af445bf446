"""`trailseal erase`: remove what the log holds of one subject, lawfully and for good."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import typer

from trailseal.bootstrap import Engines, open_engines
from trailseal.cli.held_to_seals import held_to_seals, refuse_contradicted, sealed_sources, tell_contradicted
from trailseal.cli.leftovers import found_leftovers
from trailseal.cli.options import Config, Data, settings_from
from trailseal.cli.orders import Ordering, draw_counts, heads_of, tell_pending, tell_retention, user
from trailseal.cli.output import Form, as_table, draw_table, notice
from trailseal.errors import UsageError
from trailseal.event_consumer.leftovers import Leftovers
from trailseal.event_consumer.selection import Selection, Subject, select
from trailseal.model.outcomes import Head
from trailseal.model.timestamps import format_rfc3339, month
from trailseal.sealing.admin_records import Mandate
from trailseal.telemetry import set_up_logging
from trailseal.verification.nameable import Nameable, SealedSources, anything


def erase(
    reason: Annotated[str, typer.Option("--reason", help="Why, for example a ticket; stays in the log for ever.")],
    tenant: Annotated[str | None, typer.Option("--tenant", help="Whose records.")] = None,
    actor: Annotated[str | None, typer.Option("--actor", help="Everything that this actor did.")] = None,
    event_id: Annotated[
        list[str] | None, typer.Option("--event-id", help="A single event instead; may be repeated.")
    ] = None,
    leftovers: Annotated[
        bool,
        typer.Option(
            "--leftovers", help="Instead, of all tenants: what came late or again, and no order names yet."
        ),
    ] = False,
    approved_by: Annotated[str | None, typer.Option("--approved-by", help="Who else agreed.")] = None,
    requested_by: Annotated[
        str | None, typer.Option("--requested-by", help="Who asks; default: the user of this process.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without it, only say what would go.")] = False,
    form: Annotated[Form, typer.Option("--form", help="How to write what was found.")] = Form.AUTO,
    data: Data = None,
    config: Config = None,
) -> None:
    """Erase one subject's records from log, index, ledger and cache; or what no index has and the log still holds.

    Without --yes nothing is changed: the records, duplicates and dead letters that would go are counted. Each has
    to be what was sealed at its offset, and the subject's; what is not is told and left as it is, and the exit
    status is 2. With --yes, a record that says who asked and why, signed by the log's keys, is appended; whoever
    runs the pipeline carries it out, a running `trailseal up` or else this command, in the cluster the consumers.
    Every proof and checkpoint stays valid. Kafka's own copy goes with its retention: the command says by when, and
    refuses where it never does. Events of logs that have ended are reached too. Backups, exports and imported files
    are not: docs/howto/erase.md.

    With --leftovers, run by a timer more often than Kafka's retention, what came again after it was erased, or
    after its month was dropped, is named by an order while its record can still show that it did. What a record
    contradicts is told and never ordered. Exit status 1 where nothing was found.
    """
    subject = _subject(tenant, actor, event_id or [], leftovers=leftovers)
    mandate = Mandate(requested_by or user(), reason, approved_by)
    if subject is not None:
        _refuse_personal(subject, mandate)
    settings = settings_from(config, data=data)
    set_up_logging("error", settings.log_format)
    engines = open_engines(settings, "import" if yes else "read")
    try:
        tell_retention(engines)
        sources, heads = sealed_sources(engines, tombstones=yes), heads_of(engines)
        found = _found(engines, sources, heads, subject, form)
        tell_pending(engines, heads)
        asked_for = [] if subject is None else [one for one, _ in found]
        if not any(one.offsets for one, _ in found):
            refuse_contradicted(asked_for)
            notice("Nothing was found; nothing is changed.")
            raise typer.Exit(1)
        if not yes:
            notice("Nothing was changed. Add --yes to erase this; it cannot be undone.")
            return
        with Ordering(settings, engines) as ordering:
            for one, held in found:
                if held.tombstones:
                    said = msgspec.structs.replace(mandate, details=dict(one.counts))
                    ordering.erase(one.head, held.tombstones, said)
            ordering.wait()
    finally:
        engines.close()
    notice("Erased. The books show it (`trailseal reconcile`), and the log says who asked and why.")
    refuse_contradicted(asked_for)


def _subject(tenant: str | None, actor: str | None, event_ids: list[str], *, leftovers: bool) -> Subject | None:
    """Whose records; None where leftovers of all are meant."""
    if leftovers:
        if tenant is not None or actor is not None or event_ids:
            raise UsageError("--leftovers are of everybody: leave --tenant, --actor and --event-id out.")
        return None
    if tenant is None or (actor is None) == (not event_ids):
        raise UsageError("Say whose records: --tenant, and either --actor or --event-id (once or more).")
    return Subject(tenant, actor, frozenset(event_ids))


def _refuse_personal(subject: Subject, mandate: Mandate) -> None:
    """What the admin record says stays for ever, so the subject's name must not be in it."""
    said = " ".join((mandate.requested_by, mandate.reason, mandate.approved_by or ""))
    if subject.actor is not None and subject.actor in said:
        raise UsageError(
            "The reason, or who asks or approves, holds the subject's name, and would stay in the log for ever:"
            " name a ticket instead, and say who asks with --requested-by."
        )


def _found(
    engines: Engines, sources: SealedSources, heads: Sequence[Head], subject: Subject | None, form: Form
) -> list[tuple[Selection | Leftovers, Nameable]]:
    """What there is, partition by partition, and what an order may name of it; and write it."""
    if subject is None:
        left = found_leftovers(engines, sources, heads, form)
        return list(
            zip(left, held_to_seals(sources, [(one.head, one.offsets, anything) for one in left]), strict=True)
        )
    found = select(engines.log, engines.index, engines.ledger, heads, subject)
    held = held_to_seals(sources, [(one.head, one.offsets, subject.owns) for one in found])
    for one, looked in zip(found, held, strict=True):
        one.leave_out(looked.contradicted)
    draw_counts([_row(one) for one in found], form)
    months = Counter(month(at) for one in found for at in one.events.values())
    if months and as_table(form):
        draw_table(("month", "events"), sorted(months.items()), numbers=frozenset(("events",)))
    tell_contradicted(found)
    return list(zip(found, held, strict=True))


def _row(one: Selection) -> dict[str, Any]:
    times = one.events.values()
    row: dict[str, Any] = {"partition": f"{one.head.log}/{one.head.partition}"} | one.counts
    row["first"] = format_rfc3339(min(times)) if times else None
    row["last"] = format_rfc3339(max(times)) if times else None
    return row
