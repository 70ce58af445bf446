"""Sealing the log: what turns records into leaves, and trees in a ledger into checkpoints and proofs.

    keys         the file with the secret keys that sign checkpoints: make, rotate, retire
    origin       a partition's name and genesis, agreed on through the ledger
    periods      the weekly secrets of records that came without a salt
    leaves       records and gaps to entries, in bulk
    state        what a head keeps of its tree
    tree         a tree in a ledger: checked tiles, roots, proofs
    checkpoints  signing, and the signatures that come later

The pure parts are in ``trailseal.merkle``; the formats in ``docs/reference/seal-format.md``.
"""
