"""`trailseal erase`: remove what the log holds of one subject, lawfully and for good."""

from __future__ import annotations

import getpass
import threading
from collections import Counter
from typing import Annotated, Any, Self

import typer

from trailseal import bootstrap
from trailseal.bootstrap import Engines, open_engines
from trailseal.cli.options import Config, Data, settings_from
from trailseal.cli.output import Form, as_table, draw_table, notice, write_ndjson
from trailseal.cli.pipeline import make_consumer
from trailseal.errors import PipelineFault, Unavailable, UsageError
from trailseal.event_consumer.selection import Selection, Subject, select
from trailseal.merkle.admin import AdminKind
from trailseal.model.record import Position
from trailseal.model.timestamps import format_rfc3339, month
from trailseal.ports.erasure import Erasable
from trailseal.sealing.admin_records import Clerk, Mandate
from trailseal.sealing.keys import KeyFile
from trailseal.sealing.origin import SealedLog
from trailseal.settings import Settings
from trailseal.telemetry import set_up_logging

_LOOK_S = 0.1
_PATIENCE_S = 60.0


def erase(
    tenant: Annotated[str, typer.Option("--tenant", help="Whose records.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, for example a ticket; stays in the log for ever.")],
    actor: Annotated[str | None, typer.Option("--actor", help="Everything that this actor did.")] = None,
    event_id: Annotated[
        list[str] | None, typer.Option("--event-id", help="A single event instead; may be repeated.")
    ] = None,
    approved_by: Annotated[str | None, typer.Option("--approved-by", help="Who else agreed.")] = None,
    requested_by: Annotated[
        str | None, typer.Option("--requested-by", help="Who asks; default: the user of this process.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without it, only say what would go.")] = False,
    form: Annotated[Form, typer.Option("--form", help="How to write what was found.")] = Form.AUTO,
    data: Data = None,
    config: Config = None,
) -> None:
    """Erase one subject's records from log, index, ledger and cache.

    Without --yes nothing is changed: the records, duplicates and dead letters that would go are counted. With it, a
    record that says who asked and why, signed by the log's keys, is appended; whoever runs the pipeline carries it
    out, a running `trailseal up` or else this command. Every proof and checkpoint stays valid. Backups, exports
    and imported files are not reached: docs/howto/erase.md.
    """
    subject = _subject(tenant, actor, event_id or [])
    mandate = Mandate(requested_by or _user(), reason, approved_by)
    _refuse_personal(subject, mandate)
    settings = settings_from(config, data=data)
    set_up_logging("error", settings.log_format)
    engines = open_engines(settings, "import" if yes else "read")
    try:
        erasable = _erasable(engines)
        found = _found(engines, erasable, subject)
        _write(found, form)
        pending = sum(engines.log.bounds(one.head.partition).next - one.head.next for one in found)
        if pending:
            notice(f"{pending:,} records are not taken in yet and were not looked at: run this again afterwards.")
        if not any(one.offsets for one in found):
            notice("Nothing was found; nothing is changed.")
            raise typer.Exit(1)
        if not yes:
            notice("Nothing was changed. Add --yes to erase this; it cannot be undone.")
            return
        with _Pipeline(settings, engines) as pipeline:
            for one in found:
                if one.offsets:
                    _order(settings, engines, one, mandate, pipeline)
    finally:
        engines.close()
    notice("Erased. The books show it (`trailseal reconcile`), and the log says who asked and why.")


def _subject(tenant: str, actor: str | None, event_ids: list[str]) -> Subject:
    if (actor is None) == (not event_ids):
        raise UsageError("Say whose records: either --actor, or --event-id (once or more).")
    return Subject(tenant, actor, frozenset(event_ids))


def _refuse_personal(subject: Subject, mandate: Mandate) -> None:
    """What the admin record says stays for ever, so the subject's name must not be in it."""
    said = " ".join((mandate.requested_by, mandate.reason, mandate.approved_by or ""))
    if subject.actor is not None and subject.actor in said:
        raise UsageError(
            "The reason, or who asks or approves, holds the subject's name, and would stay in the log for ever:"
            " name a ticket instead, and say who asks with --requested-by."
        )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise UsageError("This process has no user name: say who asks with --requested-by.") from error


def _erasable(engines: Engines) -> Erasable:
    if engines.erasable is not None:
        return engines.erasable
    retention_s = engines.log.retention_s()
    if retention_s is None:
        raise UsageError(
            "Kafka keeps this topic's records for ever, so nothing can be erased from it: give the topic a"
            " retention shorter than your deadline for erasures (docs/howto/erase.md)."
        )
    gone = format_rfc3339(engines.clock.now_us() + int(retention_s * 1e6))
    raise UsageError(
        f"In the cluster profile this version cannot erase yet. Kafka's retention has removed what is in the topic"
        f" now by {gone}; Elasticsearch, the ledger and Redis keep theirs until a version that can erase there."
    )


def _found(engines: Engines, erasable: Erasable, subject: Subject) -> list[Selection]:
    number = engines.ledger.log_number(engines.log.origin)
    heads = [] if number is None else engines.ledger.heads(number)
    return [select(erasable.log, engines.index, engines.ledger, head, subject) for head in heads]


def _write(found: list[Selection], form: Form) -> None:
    rows = [_row(one) for one in found]
    if not as_table(form):
        write_ndjson(rows)
        return
    months = Counter(month(at) for one in found for at in one.events.values())
    draw_table(
        ("partition", "events", "duplicates", "dead letters", "retries", "first", "last"),
        [tuple(row[name] for name in ("partition", *_COUNTS, "first", "last")) for row in rows],
        numbers=frozenset(("events", "duplicates", "dead letters", "retries")),
    )
    if months:
        draw_table(("month", "events"), sorted(months.items()), numbers=frozenset(("events",)))


_COUNTS = ("events", "duplicates", "dead_letters", "retries")


def _row(one: Selection) -> dict[str, Any]:
    times = one.events.values()
    row: dict[str, Any] = {"partition": f"{one.head.log}/{one.head.partition}"}
    row |= {name: len(getattr(one, name)) for name in _COUNTS}
    row["first"] = format_rfc3339(min(times)) if times else None
    row["last"] = format_rfc3339(max(times)) if times else None
    return row


def _order(settings: Settings, engines: Engines, one: Selection, mandate: Mandate, pipeline: _Pipeline) -> None:
    """Append the signed records, and wait until the head has passed them."""
    head = engines.ledger.head(one.head.log, one.head.partition) or one.head
    log = SealedLog.stored(engines.ledger, head.log, head.partition)
    if log is None:
        raise UsageError(
            f"Log {head.log}/{head.partition} was never sealed: start `trailseal up` once, then erase."
        )
    counts: dict[str, int | str] = {name: len(getattr(one, name)) for name in _COUNTS}
    said = Mandate(mandate.requested_by, mandate.reason, mandate.approved_by, counts)
    ring = KeyFile(bootstrap.key_path(settings)).ring()
    clerk = Clerk(log, head, ring, said, engines.clock.now_us())
    positions = engines.log.append(list(clerk.records(AdminKind.ERASE, one.offsets)))
    pipeline.wait_past(positions[-1])
    for position in positions:
        rows = engines.ledger.outcomes(position.log, position.partition, position.offset, position.offset + 1)
        if any(row.kind == "dead_letter" for row in rows):
            raise UsageError(
                f"The log does not know the key in {bootstrap.key_path(settings)}: {position} is a dead letter, and"
                " nothing was erased. Use the log's own key file (`trailseal keys show`)."
            )


class _Pipeline:
    """Carries the order out, unless a running `trailseal up` does; if that one ends, this one takes over."""

    def __init__(self, settings: Settings, engines: Engines) -> None:
        self._engines = engines
        self._consumer = make_consumer(settings, engines)
        self._thread = threading.Thread(target=self._consumer.run, name="erase-pipeline", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.stop()
        self._thread.join(_PATIENCE_S)

    def wait_past(self, position: Position) -> None:
        """Return when the head has passed the position: then the order is carried out."""
        while True:
            if self._consumer.fault is not None:
                raise PipelineFault(str(self._consumer.fault)) from self._consumer.fault
            try:
                head = self._engines.ledger.head(position.log, position.partition)
            except Unavailable:
                head = None
            if head is not None and head.next > position.offset:
                return
            self._engines.clock.wait(_LOOK_S)
