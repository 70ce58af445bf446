"""What a verification is asked for, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from trailseal.verification.suspicions import Suspicion


@dataclass(frozen=True, slots=True)
class Range:
    """What is asked for.

    Attributes:
        from_ms: append time from which on, milliseconds since 1970 UTC, or None.
        to_ms: append time before which, or None.
        only: these positions alone, (log, partition, offset), or None.
        event_id: by which an index found those, or None.
    """

    from_ms: int | None = None
    to_ms: int | None = None
    only: frozenset[tuple[int, int, int]] | None = None
    event_id: str | None = None

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return self.from_ms is None and self.to_ms is None and self.only is None


class VerifiedLog(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of one partition.

    Attributes:
        log: the log's number.
        partition: the partition.
        origin: the log's name in checkpoints.
        as_of: POSIX seconds when its signatures were read.
        size: leaves of its tree.
        root: of that tree, hexadecimal.
        signed: leaves that a checkpoint signed by the log covers.
        unsigned_since_ms: append time of the oldest record of what was asked for that those do not cover, sealed or
            not, milliseconds since 1970 UTC, or None.
        unsigned_until_ms: of the newest.
        cosigned: leaves that a quorum of witnesses cosigned, or None where none was named.
        cosigned_at: POSIX seconds of the newest of those cosignatures.
        verified: records that are what was sealed.
        gaps: offsets that never held a record.
        removed: records that are gone by a genuine signed order.
        unopened: records that nobody can compare with their leaves: the secret of their week is gone.
        unprovable: claims that nobody outside can check: a retry, a duplicate or a collision of an erased event.
        unvouched: orders of removal that no key given can be held against: they are signed with Ed25519 only.
    """

    log: int
    partition: int
    origin: str
    as_of: int
    size: int
    root: str
    signed: int
    verified: int
    gaps: int
    removed: int
    unopened: int
    unprovable: int
    cosigned: int | None = None
    cosigned_at: int | None = None
    unvouched: int = 0
    unsigned_since_ms: int | None = None
    unsigned_until_ms: int | None = None


class Verification(msgspec.Struct, frozen=True):
    """The whole result.

    Attributes:
        logs: one per partition.
        suspicions: what is not as it was sealed.
        untold: how many more there were.
        unsettled: sentences on what was asked for and could not be looked at, or is explained by nothing that was
            sealed: with one of them nothing is clean.
        open_questions: sentences on what else could not be checked.
    """

    logs: tuple[VerifiedLog, ...]
    suspicions: tuple[Suspicion, ...]
    untold: int
    unsettled: tuple[str, ...]
    open_questions: tuple[str, ...]
