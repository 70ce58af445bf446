"""An outside party that cosigns checkpoints: C2SP tlog-witness, as a port."""

from __future__ import annotations

from typing import Protocol

import msgspec

from trailseal.merkle.notes import VerifierKey


class WitnessAnswer(msgspec.Struct, frozen=True, gc=False):
    """What a witness said.

    Attributes:
        status: the HTTP status.
        body: its body; of a 200 signature lines, of a 409 the size the witness knows.
    """

    status: int
    body: bytes


class Witness(Protocol):
    """One witness. Safe to use from many threads."""

    @property
    def name(self) -> str:
        """The name that its keys have."""
        ...

    @property
    def keys(self) -> tuple[VerifierKey, ...]:
        """The keys whose cosignatures count."""
        ...

    def add_checkpoint(self, body: bytes) -> WitnessAnswer:
        """Send a request ``add-checkpoint``.

        Raises:
            Unavailable: no answer came in time.
        """
