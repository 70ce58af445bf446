"""Which log the books are of, and how a new one begins where the old one is gone.

A log's origin ends in its epoch. The ledger numbers the origins; the newest number is the log that is taken in.
A topic that was made anew, or whose offsets went back, is never taken for it: the consumer stops, and an operator
says with `trailseal epoch new --reason …` that the old log has ended where its heads stand.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import msgspec

from trailseal.errors import Fenced, PipelineFault, UsageError
from trailseal.model.timestamps import format_rfc3339
from trailseal.ports.clock import Clock
from trailseal.ports.ledger import Ledger
from trailseal.ports.log import EventLog
from trailseal.sealing.ended import reason_of_move

_FIRST: Final = 1


class Epoch(msgspec.Struct, frozen=True):
    """Why a log has begun that is not the first one.

    Attributes:
        epoch: the last part of the log's origin.
        reason: what the operator gave.
        at: when, RFC 3339.
    """

    epoch: int
    reason: str
    at: str


def epoch_of(ledger: Ledger, base: str) -> int:
    """The epoch of the log whose origin begins with ``base``; 1 where none was ever begun by hand."""
    stored = ledger.document(_name(base))
    return _FIRST if stored is None else stored.read(Epoch, _name(base)).epoch


def reason_of(ledger: Ledger, origin: str) -> str | None:
    """Why that log began, where an operator began it."""
    stored = ledger.document(_name(_base(origin)))
    if stored is None:
        return None
    epoch = stored.read(Epoch, _name(_base(origin)))
    return epoch.reason if origin.endswith(f"/{epoch.epoch}") else None


def number_of(ledger: Ledger, origin: str) -> int:
    """The number of the log that is taken in; the first log ever gets one here.

    Raises:
        PipelineFault: the books are of another log, or the log was moved.
    """
    logs = ledger.logs()
    if not logs:
        return ledger.register_log(origin)
    newest = max(logs)
    if logs[newest] != origin:
        raise PipelineFault(
            f"The ledger's books are of the log {logs[newest]}, and this is {origin}: it was made anew, replaced or"
            " restored. If the old one has ended, run `trailseal epoch new --reason …`, then start again; else"
            " restore log and ledger from one backup."
        )
    moved = ledger.document(_moved_name(origin))
    if moved is not None:
        raise PipelineFault(
            f"This log was moved to {moved.body.decode(errors='replace')} and has ended: nothing may be appended to"
            " it or signed any more. Its records and proofs can still be read."
        )
    return newest


class NewEpoch(msgspec.Struct, frozen=True):
    """What `begin_epoch` did.

    Attributes:
        log: the new log's number.
        origin: its origin.
        ended: the number of the log that has ended.
    """

    log: int
    origin: str
    ended: int


def begin_epoch(log: EventLog, ledger: Ledger, clock: Clock, reason: str) -> NewEpoch:
    """End the log that the books are of and begin the one that is there now. No consumer may be running.

    Raises:
        UsageError: nothing has ended, or no reason is given.
        Unavailable: an engine does not answer.
    """
    reason = reason.strip()
    if not reason or not reason.isprintable():
        raise UsageError("Say why in --reason, in one line: auditors read it in the first leaf of the new log.")
    logs = ledger.logs()
    if not logs:
        raise UsageError("Nothing was ever taken in, so no log has ended: start the consumer.")
    newest = max(logs)
    origin = log.origin
    base, epoch = _base(origin), int(origin.rpartition("/")[2])
    known = ledger.log_number(origin)
    if known == newest and not _went_back(log, ledger, newest):
        raise UsageError(
            f"The log is the one the books are of ({origin}), and it holds everything they say: no new epoch is"
            " needed. Start the consumer."
        )
    if known is not None:
        if not origin.startswith("kafka/"):
            raise UsageError("The embedded log and its ledger belong together: restore both from one backup.")
        epoch += 1
    stored = ledger.document(_name(base))
    body = msgspec.json.encode(Epoch(epoch, reason, _now(clock)))
    ledger.put_document(_name(base), body, None if stored is None else stored.version)
    begun = f"{base}/{epoch}"
    return NewEpoch(ledger.register_log(begun), begun, newest)


def begin_moved(ledger: Ledger, origin: str, source: str, clock: Clock) -> int:
    """Give a log the next number, and note that another one was moved into it; its number. Idempotent."""
    body = msgspec.json.encode(Epoch(int(origin.rpartition("/")[2]), reason_of_move(source), _now(clock)))
    with suppress(Fenced):
        ledger.put_document(_name(_base(origin)), body, None)
    return ledger.register_log(origin)


def end_moved(ledger: Ledger, origin: str, target: str) -> None:
    """Note that a log was moved and has ended. Idempotent."""
    with suppress(Fenced):
        ledger.put_document(_moved_name(origin), target.encode(), None)


def _now(clock: Clock) -> str:
    return format_rfc3339(clock.now_us())


def _moved_name(origin: str) -> str:
    return f"log/moved/{origin}"


def _went_back(log: EventLog, ledger: Ledger, number: int) -> bool:
    present = set(log.partitions())
    heads = ledger.heads(number)
    return any(head.partition not in present or head.next > log.bounds(head.partition).next for head in heads)


def _base(origin: str) -> str:
    return origin.rpartition("/")[0]


def _name(base: str) -> str:
    return f"log/epoch/{base}"
