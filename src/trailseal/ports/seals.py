"""Where a ledger keeps what proves the log: tiles and entry bundles by their root, and signed checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from trailseal.model.record import Int64


class AddedSignature(msgspec.Struct, frozen=True, gc=False):
    """A signature line that was added to a checkpoint after it was put: a witness's, or a second key's.

    Attributes:
        key: whose: key name, a space, key id in hexadecimal.
        time: POSIX seconds by the signer's word; 0 where the signature holds no time.
        line: the signature line of a signed note, with its newline.
    """

    key: str
    time: Int64
    line: str


class StoredCheckpoint(msgspec.Struct, frozen=True, gc=False):
    """A checkpoint and the signatures that came later.

    Attributes:
        size: of the tree.
        note: the signed note as it was put first.
        added: the newest added signature of each key, by key.
    """

    size: int
    note: bytes
    added: tuple[AddedSignature, ...] = ()


class SealStore(Protocol):
    """Tiles and checkpoints of every log. Safe to use from many threads.

    Nothing here is believed by anybody: tiles are checked against the root that names them, checkpoints by their
    signatures. Every method raises `Unavailable` where the store cannot be used now, and `UsageError` on a write
    through a ledger opened for reading only.
    """

    def keep_tiles(self, tiles: Mapping[bytes, bytes]) -> None:
        """Store tiles and bundles under their Merkle roots, durable on return.

        A root that is stored already keeps its bytes: keeping again is harmless, and so is what a writer leaves
        behind that lost its place: nothing refers to it.
        """

    def tile(self, root: bytes) -> bytes | None:
        """What is stored under that root, or None."""

    def tiles(self, roots: list[bytes]) -> dict[bytes, bytes]:
        """Those that are stored, by root; one question for up to a few hundred."""

    def put_checkpoint(self, log: int, partition: int, size: int, note: bytes) -> bytes:
        """Store a signed checkpoint unless one of that size is stored; what is stored now, durable on return.

        Where the answer is not ``note``, another owner was first: it must say the same root.
        """

    def add_signatures(self, log: int, partition: int, size: int, added: list[AddedSignature]) -> None:
        """Add signatures to a stored checkpoint; of one key the newest stays, whoever adds it and in what order.

        Additions to a checkpoint that is not stored are lost without an error.
        """

    def checkpoint(self, log: int, partition: int, size: int | None = None) -> StoredCheckpoint | None:
        """The checkpoint of that size, or the largest; None where there is none. Sees every acknowledged put."""

    def checkpoints(
        self, log: int, partition: int, below: int | None = None, limit: int = 100
    ) -> list[StoredCheckpoint]:
        """The largest checkpoints of a size under ``below``, the largest first. Sees every acknowledged put."""
