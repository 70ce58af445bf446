"""Records that are not what was sealed at their offsets: what each of them is called."""

from __future__ import annotations

from collections.abc import Sequence

from trailseal.merkle.leaf import EntryType
from trailseal.sealing.tree import LogTree
from trailseal.verification.reading import decoded
from trailseal.verification.records import Difference, sealed_elsewhere
from trailseal.verification.suspicions import Suspicions


class Differing:
    """Collects the differences of one partition and names them.

    Args:
        origin: the event log's identity, from which ids are derived.
        suspicions: told the names.
    """

    def __init__(self, origin: str, suspicions: Suspicions) -> None:
        self._origin, self._suspicions = origin, suspicions
        self._edited: list[Difference] = []

    def note(self, differences: Sequence[Difference], end: int) -> None:
        """Name those that are plain, and keep the others for `name_edited`.

        Args:
            differences: none of them lawful.
            end: where the log ends, as far as it was read.
        """
        for difference in differences:
            offset = difference.offset
            if difference.found is None and offset >= end:
                self._suspicions.add("cut-off-log", offset)
            elif difference.found is None:
                self._suspicions.add("deleted-record", offset)
            elif difference.sealed.type is not EntryType.RECORD:
                self._suspicions.add("inserted-record", offset)
            else:
                self._edited.append(difference)

    def name_edited(self, tree: LogTree) -> None:
        """Tell records that were moved or copied from those that were edited.

        Raises:
            IntegrityViolation: the tree cannot be read.
        """
        commits = frozenset(difference.commit for difference in self._edited if difference.commit is not None)
        elsewhere = sealed_elsewhere(tree, commits) if commits else {}
        for difference in self._edited:
            event = None if difference.found is None else decoded(difference.found, self._origin)
            origin = None if difference.commit is None else elsewhere.get(difference.commit)
            self._suspicions.add_event(
                "edited-record" if origin is None else "moved-record",
                difference.offset,
                None if event is None else event.projection,
                detail=None if origin is None else f"offset {origin}",
            )
