"""The tree that makes the log checkable by an outsider: pure functions, no I/O.

    hash         RFC 6962 hashing of leaves, nodes and whole ranges
    frame        the bytes of a record that a commitment covers, salts, commitments
    leaf         the entries that are hashed into the tree: genesis, record, gap
    frontier     the peaks of a growing tree: append, root, merge
    tiles        C2SP tlog-tiles: paths, widths, entry bundles, node hashes read from tiles
    edge         the ragged right edge of a tiled tree: what grows with each batch, what becomes full
    proofs       inclusion and consistency proofs, made and verified
    notes        C2SP signed-note: the text form, key names, key ids, verifier keys
    checkpoints  the body of a checkpoint: origin, size, root
    signing      Ed25519, timestamped cosignatures, ML-DSA-44; opening notes and checkpoints
    receipts     C2SP tlog-proof: one record's proof, checked offline
    admin        the signed statement by which records are removed lawfully
    witness      the decision of a C2SP tlog-witness on a submitted checkpoint

The formats are described byte by byte in ``docs/reference/seal-format.md``.
"""
