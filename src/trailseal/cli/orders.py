"""What commands share that order a removal: who asks, what Kafka keeps, signed records, and waiting for them."""

from __future__ import annotations

import getpass
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Self

from trailseal import bootstrap
from trailseal.bootstrap import Engines
from trailseal.cli.consumers_elsewhere import ConsumersElsewhere
from trailseal.cli.output import Form, as_table, draw_table, notice, write_ndjson
from trailseal.cli.pipeline import make_consumer
from trailseal.errors import PipelineFault, Unavailable, UsageError
from trailseal.event_consumer.runner import Consumer
from trailseal.model.outcomes import Head
from trailseal.model.record import NewRecord, Position
from trailseal.model.timestamps import format_rfc3339
from trailseal.sealing.admin_records import Clerk, Mandate, is_named
from trailseal.sealing.keys import KeyFile
from trailseal.sealing.origin import SealedLog
from trailseal.sealing.tree import LogTree
from trailseal.settings import Settings

_LOOK_S: Final = 0.1
_PATIENCE_S: Final = 60.0


def user() -> str:
    """Who asks where nobody was named.

    Raises:
        UsageError: this process has no user name.
    """
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise UsageError("This process has no user name: say who asks with --requested-by.") from error


def draw_counts(rows: Sequence[Mapping[str, Any]], form: Form) -> None:
    """Write what was found, a row a partition, all of the same columns."""
    if not as_table(form):
        write_ndjson(rows)
    elif rows:
        columns = {name: name.replace("_", " ") for name in rows[0]}
        counts = frozenset(columns[name] for name in rows[0] if isinstance(rows[0][name], int))
        draw_table(tuple(columns.values()), [tuple(row.values()) for row in rows], numbers=counts)


def heads_of(engines: Engines) -> list[Head]:
    """The heads of the log that is open, and of those that have ended and whose events the index keeps."""
    number = engines.ledger.log_number(engines.log.origin)
    numbers = [*engines.ended_logs(), *([] if number is None else [number])]
    return [head for one in numbers for head in engines.ledger.heads(one)]


def tell_pending(engines: Engines, heads: Sequence[Head]) -> None:
    """Say how many records no head has passed yet, and so nobody has looked at."""
    number = engines.ledger.log_number(engines.log.origin)
    pending = sum(engines.log.bounds(head.partition).next - head.next for head in heads if head.log == number)
    if pending:
        notice(f"{pending:,} records are not taken in yet and were not looked at: run this again afterwards.")


def tell_retention(engines: Engines) -> None:
    """Say by when Kafka has forgotten what is in it now; the embedded log is blanked in place.

    Raises:
        UsageError: a topic keeps its records for ever.
    """
    if engines.profile == "embedded":
        return
    latest_s = 0.0
    for name, log in (("this topic", engines.log), ("the topic of dead letters", engines.dead_letter_log)):
        within_s = 0.0 if log is None else log.forgets_within_s()
        if within_s is None:
            raise UsageError(
                f"Kafka keeps the records of {name} for ever, so nothing can be erased from it: give the topic a"
                " retention shorter than your deadline for erasures (docs/howto/erase.md)."
            )
        latest_s = max(latest_s, within_s)
    gone = format_rfc3339(engines.clock.now_us() + int(latest_s * 1e6))
    notice(f"Kafka's retention has removed every byte of what is in the topic now by {gone}.")


class Ordering:
    """Appends signed records and waits until they are carried out.

    In the embedded profile a running `trailseal up` does that, or else this process; if the one ends, the other
    takes over. In the cluster consumers elsewhere do, and this only says so where none of them runs.
    """

    def __init__(self, settings: Settings, engines: Engines) -> None:
        self._settings, self._engines = settings, engines
        self._ordered: list[Position] = []
        self._unreached: list[str] = []
        self._consumer: Consumer | ConsumersElsewhere
        if engines.profile == "embedded":
            self._consumer = make_consumer(settings, engines)
        else:
            self._consumer = ConsumersElsewhere(engines.log, engines.ledger)
        self._thread = threading.Thread(target=self._consumer.run, name="orders-pipeline", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.stop()
        self._thread.join(_PATIENCE_S)

    def erase(self, head: Head, tombstones: Mapping[int, bytes | None], mandate: Mandate) -> None:
        """Append what has these offsets of one partition erased; in the open log also for one that has ended.

        Raises:
            UsageError: the partition was never sealed.
            SettingsError: the keys cannot be read.
        """
        self._append(head, mandate, lambda clerk: clerk.erasures(tombstones))

    def expire(self, head: Head, offsets: Iterable[int], mandate: Mandate) -> None:
        """The same for offsets that are dropped with their month."""
        self._append(head, mandate, lambda clerk: clerk.expiries(offsets))

    def _append(self, head: Head, mandate: Mandate, records: Callable[[Clerk], Iterable[NewRecord]]) -> None:
        engines = self._engines
        head = engines.ledger.head(head.log, head.partition) or head
        sealed = SealedLog.stored(engines.ledger, head.log, head.partition)
        if sealed is None:
            raise UsageError(
                f"Log {head.log}/{head.partition} was never sealed: start `trailseal up` or `consume` once first."
            )
        ring = KeyFile(bootstrap.key_path(self._settings)).ring()
        number = engines.ledger.log_number(engines.log.origin)
        ended = sealed if head.log != number else None
        log = sealed if ended is None else self._continuing(ended, head, number)
        if log is None:
            self._unreached.append(sealed.origin)
            return
        clerk = Clerk(log, head, ring, mandate, engines.clock.now_us(), ended)
        self._ordered += engines.log.append(list(records(clerk)), log.partition)

    def _continuing(self, ended: SealedLog, head: Head, number: int | None) -> SealedLog | None:
        """The open partition in which an order about one that has ended counts: the same, or else the lowest."""
        ledger = self._engines.ledger
        tree = LogTree.of(head.seal, ledger.seals)
        heads = [] if number is None else ledger.heads(number)
        for one in sorted(heads, key=lambda known: (known.partition != ended.partition, known.partition)):
            log = SealedLog.stored(ledger, one.log, one.partition)
            if log is not None and is_named(ledger, log, ended, tree):
                return log
        return None

    def wait(self) -> None:
        """Return when everything ordered is carried out: the heads have passed the records.

        Raises:
            UsageError: the log did not take an order (it does not know the keys, or a consumer is of an older
                version), or one was not given, since no partition of the open log names the end of its log.
            PipelineFault: the pipeline stopped.
        """
        for at in self._ordered:
            self._wait_past(at)
            rows = self._engines.ledger.outcomes(at.log, at.partition, at.offset, at.offset + 1, ("dead_letter",))
            refused = next(rows, None)
            if refused is not None:
                raise UsageError(
                    f"The log did not take the order at {at} ({refused.detail}): it is a dead letter, and nothing"
                    f" was removed by it. Is {bootstrap.key_path(self._settings)} the log's own key file"
                    " (`trailseal keys show`), and is every consumer of this version?"
                )
        if self._unreached:
            raise UsageError(
                f"Nothing was removed from {', '.join(self._unreached)}, but what was found elsewhere was: no"
                " partition of the open log names its end, so no order about it would count. If none has run since"
                " `trailseal epoch new`, start `trailseal consume` and run this again."
            )

    def _wait_past(self, position: Position) -> None:
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
