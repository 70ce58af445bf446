"""The worked example of docs/reference/seal-format.md is what the code gives."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from trailseal.merkle.checkpoints import Checkpoint
from trailseal.merkle.edge import RightEdge
from trailseal.merkle.frame import commitment, derived_salt, encode_frame
from trailseal.merkle.genesis import Genesis
from trailseal.merkle.hash import leaf_hash, range_root
from trailseal.merkle.leaf import gap_entries, record_entries
from trailseal.merkle.notes import Algorithm
from trailseal.merkle.proofs import prove_inclusion
from trailseal.merkle.receipts import Opening, Receipt, verify_receipt
from trailseal.merkle.signing import SeedSigner, sign_note

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "seal-format.md"
ORIGIN = "audit.example/demo/1"
LOG = SeedSigner(ORIGIN, Algorithm.ED25519, bytes(range(32)))
WITNESS = SeedSigner("witness.example/w1", Algorithm.COSIGNATURE_ED25519, bytes(range(32, 64)))
SALT = bytes(range(64, 96))
PERIOD_KEY = bytes(range(96, 128))
TIME = 1_700_000_000_000
COSIGNED = 1_700_000_010


def worked_example() -> dict[str, str]:
    genesis = Genesis(ORIGIN, 0, (LOG.key,), (), "first epoch")
    first = encode_frame(TIME, b"acme", b'{"a":1}', [("trailseal-id", b"7"), ("trailseal-salt", SALT), ("x", None)])
    second = encode_frame(TIME + 1, None, b"", [])
    derived = derived_salt(PERIOD_KEY, ORIGIN, 1)
    commits = [commitment(SALT, first), commitment(derived, second)]
    entries = [
        genesis.entry(TIME - 1).encode(),
        *record_entries([(0, TIME, commits[0]), (1, TIME + 1, commits[1])]),
        *gap_entries([2]),
    ]
    leaves = [leaf_hash(entry) for entry in entries]
    root = range_root(leaves)
    assert RightEdge().grown(entries).edge.root() == root
    text = Checkpoint(ORIGIN, 4, root).format()
    checkpoint = sign_note(text, [LOG, WITNESS], COSIGNED).to_bytes()
    proof = prove_inclusion(lambda start, stop: range_root(leaves[start:stop]), 1, 4)
    receipt = Receipt(1, proof, checkpoint, Opening(entries[1], SALT, first).to_bytes()).to_bytes()
    assert verify_receipt(receipt, ORIGIN, [LOG.key], [WITNESS.key], quorum=1).entry.offset == 0
    values = {
        "genesis statement": genesis.statement().decode(),
        "frame 0": first.hex(),
        "frame 1": second.hex(),
        "derived salt 1": derived.hex(),
        "checkpoint": checkpoint.decode(),
        "log key": LOG.key.vkey(),
        "witness key": WITNESS.key.vkey(),
        "receipt": receipt.decode(),
    }
    values |= {f"commit {at}": commit.hex() for at, commit in enumerate(commits)}
    values |= {f"entry {at}": entry.hex() for at, entry in enumerate(entries)}
    return values | {f"leaf {at}": leaf.hex() for at, leaf in enumerate(leaves)}


@pytest.mark.parametrize("name", worked_example())
def test_the_page_shows_what_the_code_gives(name: str) -> None:
    page = "".join(PAGE.read_text(encoding="utf-8").split())
    assert "".join(textwrap.dedent(worked_example()[name]).split()) in page
