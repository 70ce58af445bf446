"""The seal stage: every offset one leaf, hashed before anybody parses it; the tree moves with the head.

The poll thread makes the entries of what is delivered (`Seals.maker`). A worker grows the tree when the head is to
move (`Seals.sealed`): full tiles and bundles are stored first, under their roots, and the new right edge goes into
the head with its compare-and-set. The tree follows from the records' bytes, the genesis and the weekly secrets
alone, so a replay, a second consumer or a crash in between gives the same one, and a writer that lost its place
leaves tiles that nothing refers to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from trailseal.errors import IntegrityViolation, PipelineFault
from trailseal.event_consumer.epochs import reason_of
from trailseal.merkle.edge import Growth
from trailseal.merkle.errors import InvalidEncoding
from trailseal.model.outcomes import Delta, Head
from trailseal.ports.clock import Clock
from trailseal.ports.ledger import Ledger
from trailseal.sealing.keys import KeyFile
from trailseal.sealing.leaves import LeafMaker, Leaves
from trailseal.sealing.origin import SealedLog, open_log
from trailseal.sealing.periods import PeriodSecrets
from trailseal.sealing.state import SealState, fingerprint
from trailseal.telemetry import SEALED_LEAVES


class Seals:
    """The trees of the partitions that are ours.

    Args:
        ledger: heads, tiles, genesis and secrets.
        keys: who signs; named in the genesis of a log that begins.
        site: what the name of a log that begins starts with.
        clock: tells when it began.
    """

    def __init__(self, ledger: Ledger, keys: KeyFile, site: str, clock: Clock) -> None:
        self._ledger, self._keys, self._site, self._clock = ledger, keys, site, clock
        self._logs: dict[int, SealedLog] = {}
        self._makers: dict[int, LeafMaker] = {}
        self._secrets: dict[int, PeriodSecrets] = {}

    def open(self, head: Head, log_origin: str, partitions: Collection[int] = ()) -> None:
        """Get ready to seal what follows this head. Runs in a worker thread, before the partition is read.

        Args:
            head: of the partition.
            log_origin: the event log's own identity.
            partitions: all that the log has.

        Raises:
            IntegrityViolation: head, tree and genesis do not belong together.
            SettingsError: the keys cannot be read, or the site cannot be in a log's name.
            Unavailable: the ledger does not answer.
        """
        now_ms = self._clock.now_us() // 1_000
        log = open_log(
            self._ledger,
            head,
            log_origin,
            site=self._site,
            keys=self._keys.ring(),
            now_ms=now_ms,
            partitions=partitions,
            reason=reason_of(self._ledger, log_origin),
        )
        secrets = self._secrets.setdefault(head.log, PeriodSecrets(self._ledger, head.log))
        self._makers[head.partition] = LeafMaker(log.origin, secrets)
        self._logs[head.partition] = log

    def maker(self, partition: int) -> LeafMaker:
        """Makes the leaves of a partition that was opened."""
        return self._makers[partition]

    def log(self, partition: int) -> SealedLog:
        """The log of a partition that was opened."""
        return self._logs[partition]

    def sealed(self, head: Head, delta: Delta, leaves: Iterable[Leaves]) -> Delta:
        """The same step with the tree's new right edge; everything the edge refers to is stored before.

        Args:
            head: where the step begins.
            delta: the step.
            leaves: of the offsets from ``head.next`` to ``delta.next``.

        Raises:
            PipelineFault: the leaves are not those of the step.
            IntegrityViolation: the head's tree is damaged, or a weekly secret was replaced.
            Unavailable: the ledger does not answer; nothing moved.
        """
        log, maker = self._logs[head.partition], self._makers[head.partition]
        state = SealState.of(head.seal)
        weeks = dict(state.weeks)
        entries = [] if state.edge.size else [log.entry.encode()]
        for piece in leaves:
            maker.settle(piece, weeks)
            self._note_weeks(head.log, piece, weeks)
            entries += piece.entries
        if state.edge.size + len(entries) != log.size_at(delta.next):
            raise PipelineFault(
                f"A step of {head.log}/{head.partition} to offset {delta.next} came with {len(entries)} leaves for"
                f" a tree of {state.edge.size}: this version is at fault; nothing was written. Report it."
            )
        try:
            growth = state.edge.grown(entries)
        except InvalidEncoding as error:
            raise IntegrityViolation(f"The tree of {log.origin} cannot grow: {error}.") from error
        self._ledger.seals.keep_tiles(_full(growth))
        SEALED_LEAVES.labels(str(head.partition)).inc(len(entries))
        return msgspec.structs.replace(delta, seal=SealState(growth.edge, weeks).to_bytes())

    def _note_weeks(self, log: int, leaves: Leaves, weeks: dict[int, bytes]) -> None:
        for week in leaves.weeks:
            secret = self._secrets[log].obtain(week, weeks.get(week))
            weeks[week] = fingerprint(secret)


def _full(growth: Growth) -> dict[bytes, bytes]:
    """What has to be stored: bundles, and tiles from level 1 up; a tile of level 0 follows from its bundle."""
    tiles = {tile.root: tile.data for tile in growth.tiles if tile.name.level}
    return tiles | {bundle.root: bundle.data for bundle in growth.bundles}
