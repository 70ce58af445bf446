"""Checkpoints beside the pipeline: signed by one thread, cosigned by another, never waited for while polling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from trailseal.errors import Fenced, Unavailable
from trailseal.event_consumer.seal import Seals
from trailseal.model.outcomes import Head
from trailseal.ports.clock import Clock
from trailseal.sealing.checkpoints import CheckpointSigner, Published, cosigned_at
from trailseal.sealing.cosigning import Cosigning
from trailseal.telemetry import CHECKPOINT_AGE, COSIGNED_AGE, logger

CHANGED_S = 5.0
"""Seconds between two checkpoints of a log that grows."""
UNCHANGED_S = 60.0
"""Seconds after which a log that does not grow is signed, and shown to its witnesses, all the same."""
_LAST_S = 3.0


@dataclass(slots=True)
class _Place:
    """What is known of one partition's checkpoints, in monotonic seconds but for ``cosigned_s`` (POSIX)."""

    seal: bytes | None = None
    signed_at: float = float("-inf")
    cosigned_s: int | None = None


class Notary:
    """Signs the heads of our partitions. Its methods belong to the poll thread.

    Args:
        seals: the logs of the partitions.
        signer: signs and stores.
        cosigning: the witnesses.
        clock: for due times.
        changed_s: see `CHANGED_S`.
        unchanged_s: see `UNCHANGED_S`.
    """

    def __init__(
        self,
        seals: Seals,
        signer: CheckpointSigner,
        cosigning: Cosigning,
        clock: Clock,
        *,
        changed_s: float = CHANGED_S,
        unchanged_s: float = UNCHANGED_S,
    ) -> None:
        self.seals = seals
        self._signer, self._cosigning, self._clock = signer, cosigning, clock
        self._changed_s, self._unchanged_s = changed_s, unchanged_s
        self._workers = ThreadPoolExecutor(2, thread_name_prefix="notary")
        self._places: dict[int, _Place] = {}
        self._signing: Future[list[Published]] | None = None
        self._asking: Future[dict[int, int]] | None = None
        self._uncosigned: dict[int, Published] = {}

    def tick(self, now: float, heads: Mapping[int, Head]) -> None:
        """Collect what has ended and start what is due.

        Raises:
            IntegrityViolation: a tree is no continuation of what was signed before.
            SettingsError: the key file cannot be used any more.
        """
        self._collect(now)
        due = [head for head in heads.values() if self._due(head, now)]
        if due and self._signing is None:
            for head in due:
                place = self._places.setdefault(head.partition, _Place())
                place.seal, place.signed_at = head.seal, now
            self._signing = self._workers.submit(self._sign, due)

    def finish(self, heads: Mapping[int, Head]) -> None:
        """Sign what the heads are now, and give the witnesses a last, short chance."""
        _wait(self._signing)
        _wait(self._asking)
        now = self._clock.monotonic()
        self._collect(now)
        changed = [head for head in heads.values() if head.seal != self._place(head).seal]
        if changed and self._signing is None:
            self._signing = self._workers.submit(self._sign, changed)
            _wait(self._signing)
            self._collect(now)
            _wait(self._asking)

    def forget(self, partitions: Sequence[int]) -> None:
        """These partitions are signed by another owner from now on."""
        for number in partitions:
            self._places.pop(number, None)
            self._uncosigned.pop(number, None)

    def tell(self, now: float) -> None:
        """Bring the metrics up to date."""
        for number, place in self._places.items():
            CHECKPOINT_AGE.labels(str(number)).set(max(0.0, now - place.signed_at))
            if place.cosigned_s is not None:
                age_s = self._clock.now_us() / 1e6 - place.cosigned_s
                COSIGNED_AGE.labels(str(number)).set(max(0.0, age_s))

    def close(self) -> None:
        """Wait for the call under way, then end."""
        self._workers.shutdown(wait=True, cancel_futures=True)

    def _place(self, head: Head) -> _Place:
        return self._places.get(head.partition, _Place())

    def _due(self, head: Head, now: float) -> bool:
        place = self._place(head)
        rest = self._changed_s if head.seal != place.seal else self._unchanged_s
        return head.seal is not None and now - place.signed_at >= rest

    def _sign(self, heads: Sequence[Head]) -> list[Published]:
        published = []
        for head in heads:
            try:
                published.append(self._signer.publish(self.seals.log(head.partition), head))
            except Fenced as error:
                logger("sealing").info("checkpoint_overtaken", partition=head.partition, why=str(error))
            except Unavailable as error:
                logger("sealing").warning("checkpoint_late", partition=head.partition, why=str(error))
        return published

    def _collect(self, now: float) -> None:
        if self._signing is not None and self._signing.done():
            call, self._signing = self._signing, None
            self._uncosigned |= {one.log.partition: one for one in call.result()}
        if self._asking is not None and self._asking.done():
            answered, self._asking = self._asking, None
            for number, cosigned_s in answered.result().items():
                if number in self._places:
                    self._places[number].cosigned_s = cosigned_s
        if self._uncosigned and self._asking is None and self._cosigning.witnesses:
            asked, self._uncosigned = list(self._uncosigned.values()), {}
            self._asking = self._workers.submit(self._ask, asked)
        self.tell(now)

    def _ask(self, published: Sequence[Published]) -> dict[int, int]:
        """Newest cosignature's time by partition; of a log that has none, when it began."""
        cosigned: dict[int, int] = {}
        keys = [key for witness in self._cosigning.witnesses for key in witness.keys]
        for one in published:
            lines = self._cosigning.ask(one)
            try:
                self._signer.add_cosignatures(one, lines)
                newest = cosigned_at(one.note.with_signatures(lines), keys) if lines else None
                cosigned[one.log.partition] = newest or self._signer.last_cosigned(one.log, keys)
            except Unavailable as error:
                logger("sealing").warning("cosignature_late", partition=one.log.partition, why=str(error))
        return cosigned


def _wait(call: Future[Any] | None) -> None:
    """Give a call a short time to end."""
    if call is not None:
        wait([call], timeout=_LAST_S)
