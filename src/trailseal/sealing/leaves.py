"""Records and gaps to the entries of their leaves, in bulk and from their bytes alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from trailseal.merkle.errors import InvalidEncoding
from trailseal.merkle.frame import commitment, derived_salt, salt_and_frame
from trailseal.merkle.leaf import gap_entries, record_entries
from trailseal.model.record import Gap, Record
from trailseal.sealing.periods import PeriodSecrets, week_of


@dataclass(slots=True)
class Leaves:
    """Entries of consecutive offsets; some may wait for a secret that has to be read first.

    Attributes:
        entries: one for each offset, in order; empty bytes where one waits.
        waiting: of those: index in ``entries`` -> offset, append time, frame.
        weeks: the weeks whose secrets the entries needed.
    """

    entries: list[bytes] = field(default_factory=list)
    waiting: dict[int, tuple[int, int, bytes]] = field(default_factory=dict)
    weeks: set[int] = field(default_factory=set)


class LeafMaker:
    """Makes the leaves of one partition.

    Args:
        origin: the name of its log.
        secrets: for records without a salt.
    """

    def __init__(self, origin: str, secrets: PeriodSecrets) -> None:
        self._origin, self._secrets = origin, secrets

    def add(self, leaves: Leaves, items: Sequence[Record | Gap]) -> None:
        """Append the entries of records and gaps; asks no engine: what needs a secret unseen so far waits."""
        run: list[tuple[int, int, bytes]] = []
        entries = leaves.entries
        for item in items:
            offset = item.position.offset
            if type(item) is Gap:
                entries += record_entries(run)
                run = []
                entries += gap_entries(range(offset, offset + item.count))
                continue
            time_ms = item.timestamp_ms  # type: ignore[union-attr] # only a Gap has none
            salt, frame = _salt_and_frame(item)  # type: ignore[arg-type] # the same
            if salt is None:
                salt = self._derived(leaves, offset, time_ms)
            if salt is None:
                entries += record_entries(run)
                run = []
                leaves.waiting[len(entries)] = (offset, time_ms, frame)
                entries.append(b"")
            else:
                run.append((offset, time_ms, commitment(salt, frame)))
        entries += record_entries(run)

    def settle(self, leaves: Leaves, marks: dict[int, bytes]) -> None:
        """Make the entries that waited, reading or making the secrets they need.

        Args:
            leaves: of this partition.
            marks: the fingerprints of secrets that the head has.

        Raises:
            IntegrityViolation: a secret is not the one that earlier leaves were made with.
            Unavailable: the ledger does not answer.
        """
        for index, (offset, time_ms, frame) in leaves.waiting.items():
            week = week_of(time_ms)
            secret = self._secrets.known(week) or self._secrets.obtain(week, marks.get(week))
            commit = commitment(derived_salt(secret, self._origin, offset), frame)
            leaves.entries[index] = record_entries([(offset, time_ms, commit)])[0]
            leaves.weeks.add(week)
        leaves.waiting.clear()

    def opening(self, record: Record) -> tuple[bytes, bytes] | None:
        """The salt and the frame that give a record's commitment; None where its secret is gone."""
        salt, frame = _salt_and_frame(record)
        if salt is None:
            secret = self._secrets.find(week_of(record.timestamp_ms))
            salt = None if secret is None else derived_salt(secret, self._origin, record.position.offset)
        return None if salt is None else (salt, frame)

    def entry(self, record: Record) -> bytes | None:
        """The entry of a record's leaf; None where its secret is gone."""
        opening = self.opening(record)
        if opening is None:
            return None
        return record_entries([(record.position.offset, record.timestamp_ms, commitment(*opening))])[0]

    def _derived(self, leaves: Leaves, offset: int, time_ms: int) -> bytes | None:
        week = week_of(time_ms)
        secret = self._secrets.known(week)
        if secret is None:
            return None
        leaves.weeks.add(week)
        return derived_salt(secret, self._origin, offset)


def _salt_and_frame(record: Record) -> tuple[bytes | None, bytes]:
    try:
        return salt_and_frame(record.timestamp_ms, record.key, record.value, record.headers)
    except InvalidEncoding:
        # A header name that no bytes on a wire can have given: spelled as the embedded log stores it.
        names = [
            name.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape") for name, _ in record.headers
        ]
        headers = [(name, value) for name, (_, value) in zip(names, record.headers, strict=True)]
        return salt_and_frame(record.timestamp_ms, record.key, record.value, headers)
