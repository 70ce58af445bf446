"""The order of a removal, genuine or not: a verifier made from the page alone judges as ours does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from interop.public_client import PublicClient, built
from trailseal.merkle.admin import ADMIN_HEADER, open_admin
from trailseal.merkle.checkpoints import Checkpoint
from trailseal.merkle.errors import MerkleError
from trailseal.merkle.frame import commitment, encode_frame
from trailseal.merkle.genesis import Genesis
from trailseal.merkle.hash import leaf_hash, range_root
from trailseal.merkle.leaf import record_entries
from trailseal.merkle.notes import Algorithm, encode_base64
from trailseal.merkle.proofs import prove_inclusion
from trailseal.merkle.receipts import Opening
from trailseal.merkle.signing import SeedSigner, sign_note
from trailseal.model.record import HEADER_TOMBSTONES, Position, Record
from trailseal.sealing.evidence_file import end_text
from trailseal.sealing.tombstones import signed_tombstones

ORIGIN = "audit.example/demo/1"
LOG = SeedSigner(ORIGIN, Algorithm.ED25519, bytes(range(32)))
STRANGER = SeedSigner(ORIGIN, Algorithm.ED25519, bytes(32))
OTHER = SeedSigner("audit.example/demo/2", Algorithm.ED25519, bytes(range(32)))
BASE, OFFSET = 100, 120
BEFORE = OFFSET - BASE + 1
"""Leaves of the tree before the order."""
TIME, SALT = 1_772_600_000_000, b"s" * 32
EVENT = {
    "id": "order",
    "timestamp": "2026-03-04T05:06:07Z",
    "tenant_id": "_trailseal",
    "actor": {"id": "root"},
    "action": "trailseal.erased",
}
TOMBSTONES = bytes(range(16))


@dataclass(frozen=True)
class Order:
    """The lines of a statement, each to be spoiled by itself, and how it is signed and stands in the record."""

    label: str = "trailseal-admin/1"
    origin: str = f"origin {ORIGIN}"
    kind: str = "kind erase"
    size: str = f"size {BEFORE}"
    runs: tuple[str, ...] = ("offsets 100-100", "offsets 102-119")
    value: str = "value {}"
    more: str = ""
    signers: tuple[SeedSigner, ...] = (LOG,)
    spoil: Callable[[bytes], bytes] = bytes
    times: int = 1
    tombstones: tuple[bytes | None, ...] = ()
    named: bytes | None = None

    def event(self) -> dict[str, Any]:
        digest = None if self.named is None else sha256(self.named).hexdigest()
        return EVENT if digest is None else EVENT | {"metadata": {"tombstones": digest}}

    def body(self) -> bytes:
        return json.dumps(self.event()).encode()

    def headers(self) -> tuple[tuple[str, bytes | None], ...]:
        value = self.value.format(sha256(self.body()).hexdigest())
        lines = (self.label, self.origin, self.kind, self.size, *self.runs, value)
        note = sign_note("\n".join(lines) + "\n" + self.more, self.signers, TIME // 1_000)
        more = tuple((HEADER_TOMBSTONES, one) for one in self.tombstones)
        return ((ADMIN_HEADER, self.spoil(note.to_bytes())),) * self.times + more

    def is_genuine(self) -> bool:
        """As the consumer judges it."""
        if self.times != 1:
            return False
        header = self.headers()[0][1]
        assert header is not None
        record = Record(Position(1, 0, OFFSET), TIME, b"_trailseal", self.body(), self.headers())
        try:
            open_admin(header, self.body(), origin=ORIGIN, base=BASE, offset=OFFSET, keys=[LOG.key])
            signed_tombstones(record, self.event().get("metadata", {}))
        except MerkleError:
            return False
        return True


def evidence_of(order: Order) -> bytes:
    """A log whose last record is the order, exported by whoever has its keys."""
    frame = encode_frame(TIME, b"_trailseal", order.body(), order.headers())
    genesis = Genesis(ORIGIN, BASE, (LOG.key,), (), "first epoch")
    earlier = [(offset, TIME, bytes(32)) for offset in range(BASE, OFFSET)]
    records = record_entries([*earlier, (OFFSET, TIME, commitment(SALT, frame))])
    entries = [genesis.entry(TIME).encode(), *records]
    leaves = [leaf_hash(entry) for entry in entries]
    index, position = len(leaves) - 1, f"1/0/{OFFSET}"
    proof = prove_inclusion(lambda start, stop: range_root(leaves[start:stop]), index, len(leaves))
    checkpoint = (
        sign_note(Checkpoint(ORIGIN, len(leaves), range_root(leaves)).format(), [LOG], 0).to_bytes().decode()
    )
    shown = {"received_at": "2026-03-04T04:53:20Z", "format": "native", "outcome": "success"}
    body = [
        {
            "trailseal-evidence": 1,
            "made_at": "2026-03-05T00:00:00Z",
            "query": [],
            "tenants": None,
            "logs": [{"log": 1, "partition": 0, "origin": ORIGIN, "checkpoint": checkpoint}],
        },
        {
            "event": order.event() | shown | {"position": position, "schema_version": 1},
            "position": position,
            "index": index,
            "opening": encode_base64(Opening(entries[index], SALT, frame).to_bytes()),
            "proof": [encode_base64(node) for node in proof],
        },
    ]
    before = b"".join(json.dumps(line).encode() + b"\n" for line in body)
    digest = sha256(before).hexdigest()
    note = sign_note(end_text(1, digest), [LOG], 0).to_bytes().decode()
    return before + json.dumps({"end": {"rows": 1, "sha256": digest, "note": note}}).encode() + b"\n"


GENUINE = {
    "erase": Order(),
    "expire": Order(kind="kind expire"),
    "smaller tree": Order(size=f"size {BEFORE - 1}", runs=("offsets 100-118",)),
    "another key too": Order(signers=(STRANGER, LOG)),
    "tombstones": Order(tombstones=(TOMBSTONES,), named=TOMBSTONES),
    "only dead letters": Order(tombstones=(b"",), named=b""),
}
FALSE = {
    "label": Order(label="trailseal-admin/2"),
    "another log": Order(origin="origin audit.example/demo/2"),
    "another log's key": Order(origin="origin audit.example/demo/2", signers=(OTHER,)),
    "kind": Order(kind="kind forget"),
    "about a log of which nothing is known": Order(kind="kind erase\nended audit.example/demo/0"),
    "tree after it": Order(size=f"size {BEFORE + 1}"),
    "size spelled otherwise": Order(size=f"size 0{BEFORE}"),
    "no tree with the leaf": Order(size=f"size {BEFORE - 1}"),
    "itself": Order(runs=("offsets 100-120",)),
    "below the base": Order(runs=("offsets 99-101",)),
    "backwards": Order(runs=("offsets 105-104",)),
    "out of order": Order(runs=("offsets 102-103", "offsets 100-100")),
    "touching": Order(runs=("offsets 100-101", "offsets 102-103")),
    "overlapping": Order(runs=("offsets 100-103", "offsets 102-105")),
    "no runs": Order(runs=()),
    "a run without its name": Order(runs=("100-101",)),
    "a run spelled otherwise": Order(runs=("offsets +100-101",)),
    "a run of one": Order(runs=("offsets 100",)),
    "another value": Order(value=f"value {sha256(b'another').hexdigest()}"),
    "capitals": Order(value=f"value {sha256(json.dumps(EVENT).encode()).hexdigest().upper()}"),
    "a line more": Order(more="reason none\n"),
    "stranger": Order(signers=(STRANGER,)),
    "forged": Order(spoil=lambda note: note.replace(b"102-119", b"102-118")),
    "bytes after it": Order(spoil=lambda note: note + b"\n"),
    "twice": Order(times=2),
    "tombstones left out": Order(named=TOMBSTONES),
    "tombstones of another event": Order(tombstones=(TOMBSTONES,), named=TOMBSTONES[:8]),
    "tombstones that were not signed": Order(tombstones=(TOMBSTONES,)),
    "tombstones twice": Order(tombstones=(TOMBSTONES, TOMBSTONES), named=TOMBSTONES),
    "tombstones of null": Order(tombstones=(None,), named=b""),
    "tombstones cut off": Order(tombstones=(TOMBSTONES[:15],), named=TOMBSTONES[:15]),
    "tombstones descending": Order(tombstones=(TOMBSTONES[8:] + bytes(8),), named=TOMBSTONES[8:] + bytes(8)),
    "a tombstone twice": Order(tombstones=(bytes(16),), named=bytes(16)),
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> PublicClient:
    return built(tmp_path_factory.mktemp("program"))


@pytest.mark.parametrize("order", GENUINE.values(), ids=GENUINE.keys())
def test_both_find_an_order_genuine(client: PublicClient, tmp_path: Path, order: Order) -> None:
    assert order.is_genuine()
    (tmp_path / "evidence").write_bytes(evidence_of(order))
    summary = client.summary("evidence", str(tmp_path / "evidence"), LOG.key.vkey())
    runs = [run.removeprefix("offsets ") for run in order.runs]
    assert summary["orders"] == [{"kind": order.kind.removeprefix("kind "), "offsets": runs}]


@pytest.mark.parametrize("order", FALSE.values(), ids=FALSE.keys())
def test_both_find_an_order_false(client: PublicClient, tmp_path: Path, order: Order) -> None:
    assert not order.is_genuine()
    (tmp_path / "evidence").write_bytes(evidence_of(order))
    summary = client.summary("evidence", str(tmp_path / "evidence"), LOG.key.vkey())
    assert (summary["orders"], len(summary["orders_not_genuine"])) == (None, 1)
