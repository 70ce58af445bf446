"""What the tree's functions raise: one small tree of ``ValueError``.

    MerkleError
    ├── InvalidEncoding    bytes or text that do not follow their format: frame, entry, tile, path, receipt
    ├── InvalidProof       a proof that does not show what it claims, or that no tree could have
    ├── InvalidNote        a note, checkpoint or verifier key that does not follow its format
    └── UntrustedNote      a well-formed note that no trusted key vouches for, or a trusted key's bad signature
        ├── UnsignedNote   no trusted key has a signature below it at all
        └── ForgedNote     a trusted key's signature fails

The boundary that calls this package translates them into ``trailseal.errors``.
"""

from __future__ import annotations


class MerkleError(ValueError):
    """The root of the tree. Its text says what was wrong and where, never a record's contents."""


class InvalidEncoding(MerkleError):
    """Bytes or text that do not follow their format: they cannot be judged, only refused."""


class InvalidProof(MerkleError):
    """A proof that does not lead to the given root, or that no tree of these sizes could have."""


class InvalidNote(MerkleError):
    """A note, checkpoint body or verifier key that does not follow its format."""


class UntrustedNote(MerkleError):
    """A well-formed note without a trusted signature, or with a trusted key's signature that fails."""


class UnsignedNote(UntrustedNote):
    """A well-formed note below which no trusted key has a signature, good or bad."""


class ForgedNote(UntrustedNote):
    """A well-formed note with a signature under a trusted key's name that this key never made for this text."""
