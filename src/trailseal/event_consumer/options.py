"""What an operator or a profile may choose about the pipeline."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConsumerOptions:
    """How much at once, how often, how patiently. The defaults are those of the embedded profile.

    Attributes:
        group: the name under which consumers share the log.
        poll_records: the most records taken from the log at once.
        batch_records: the most records put into the index in one call.
        batch_bytes: the most bytes of values put into the index in one call (one record may be more).
        in_flight: index calls under way at the same time; 1 where the index has one writing thread.
        ahead_records: records decoded and waiting for their put above which nothing more is read; as many as a
            flush holds can be decoded while it lasts.
        ahead_bytes: the same in bytes of values.
        flush_records: unflushed records after which the index is flushed, whatever the time.
        flush_bytes: the same in bytes of values.
        flush_s: seconds after which the index is flushed; None = the index's own refresh interval.
        backlog_flush_s: the same while what is taken in has waited longer than the refresh interval anyway:
            few large flushes then catch up sooner than many small ones.
        refresh_after_flush: make what was flushed visible at once; False where the index does it by itself.
        advance_rows: the most rows written by one step of a head.
        rows_held: rows waiting for their head to move above which nothing more is read.
        rebuilds: the log keeps everything, so an index that is not complete is rebuilt from it.
        drain_s: how long a stop or a revoked partition waits for what is under way.
        retry_first_s: longest wait before the first repeat of a failed call; doubles each time.
        retry_most_s: longest wait before any repeat.
        alike: from how many entries on a batch that fails as a whole for one reason is our own fault.
    """

    group: str = "trailseal"
    poll_records: int = 5_000
    batch_records: int = 5_000
    batch_bytes: int = 16 << 20
    in_flight: int = 1
    ahead_records: int = 50_000
    ahead_bytes: int = 64 << 20
    flush_records: int = 50_000
    flush_bytes: int = 64 << 20
    flush_s: float | None = None
    backlog_flush_s: float = 10.0
    refresh_after_flush: bool = True
    advance_rows: int = 5_000
    rows_held: int = 200_000
    rebuilds: bool = True
    drain_s: float = 10.0
    retry_first_s: float = 0.1
    retry_most_s: float = 30.0
    alike: int = 100
