"""Rows: full verification against hashing the same leaves, and what a tree of ten million leaves costs."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from hashlib import sha256
from hmac import digest
from pathlib import Path

from bench.ingest_embedded import imported, write_events
from bench.load import median_ratio
from bench.row import Row
from trailseal.adapters.clock import SystemClock
from trailseal.adapters.ledgers.sqlite import SqliteLedger
from trailseal.adapters.logs.sqlite import SqliteLog
from trailseal.merkle.edge import RightEdge
from trailseal.merkle.frame import salt_and_frame
from trailseal.merkle.hash import leaf_hash
from trailseal.merkle.leaf import record_entries
from trailseal.merkle.proofs import verify_inclusion
from trailseal.model.record import Record
from trailseal.ports.log import EventLog
from trailseal.sealing.origin import SealedLog
from trailseal.sealing.state import SealState
from trailseal.sealing.tree import KnownTiles, LogTree
from trailseal.verification.records import RecordCheck

EVENTS = 200_000
LEAVES = 10_000_000
SMALL_TREE = 10_000
_ROUNDS = 3
_AT_ONCE = 4_096
_PROOFS = 300


def measure(size: float) -> list[Row]:
    """Leaves a second of processor time of whole processes and of one thread; then proofs, cold, and bytes."""
    return [*_verification(int(EVENTS * size)), *_large_tree(max(int(LEAVES * size), SMALL_TREE * 2))]


def _verification(count: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        write_events(base / "events.ndjson", count)
        imported(base / "events.ndjson", base)
        log = SqliteLog(base / "data/log.sqlite", log_number=lambda _: 1, clock=SystemClock(), read_only=True)
        hashed = Hashing(log)
        log.close()
        data = {"TRAILSEAL_DATA": str(base / "data")}
        command = median_ratio(lambda: count / verify_s(data, count), hashed.rate, _ROUNDS)
        leaves = median_ratio(lambda: count / _leaves(base / "data", count), hashed.rate, _ROUNDS)
    return [
        Row(
            f"every record of {count:,} against its leaf and the tree",
            f"{leaves[0]:,.0f}/s",
            f"{leaves[1]:,.0f}/s hashed by hashlib, in memory",
            leaves[2],
            0.3,
        ),
        Row(
            "`trailseal verify` of the same: claims, every event decoded anew and its document compared, too",
            f"{command[0]:,.0f}/s",
            f"{command[1]:,.0f}/s hashed by hashlib, in memory",
            command[2],
            0.3,
        ),
    ]


class Hashing:
    """The peer: commitments, leaf hashes and the nodes above them, of frames that lie ready in memory.

    Args:
        log: whose records they are.
    """

    def __init__(self, log: EventLog) -> None:
        self._ready: list[tuple[bytes, bytes, int, int]] = []
        for partition in log.partitions():
            at, end = 0, log.bounds(partition).next
            while at < end:
                items = log.read(partition, at, _AT_ONCE, 32 << 20)
                self._keep(one for one in items if isinstance(one, Record))
                at = items[-1].end

    def _keep(self, records: Iterable[Record]) -> None:
        for record in records:
            salt, frame = salt_and_frame(record.timestamp_ms, record.key, record.value, record.headers)
            # an import's records have no salt: any secret costs the same
            self._ready.append((salt or bytes(32), frame, record.position.offset, record.timestamp_ms))

    def rate(self) -> float:
        """Leaves a second of processor time."""
        began = time.process_time()
        level = []
        for salt, frame, offset, time_ms in self._ready:
            commit = digest(salt, frame, "sha256")
            stated = b"trailseal-leaf/1\0\1" + offset.to_bytes(8, "big") + time_ms.to_bytes(8, "big")
            level.append(sha256(b"\0" + stated + commit).digest())
        while len(level) > 1:
            level = [sha256(b"\1" + b"".join(level[at : at + 2])).digest() for at in range(0, len(level), 2)]
        return len(self._ready) / (time.process_time() - began)


def verify_s(environment: dict[str, str], count: int) -> float:
    """Processor seconds of the whole command, its start included."""
    command = [str(Path(sys.executable).parent / "trailseal"), "verify", "--form", "ndjson"]
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, env=os.environ | environment, stdout=out, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        verified = sum(json.loads(line).get("verified", 0) for line in out)
    if process.returncode or verified != count:
        raise RuntimeError(f"{command!r} ended with status {process.returncode} and verified {verified}")
    return used.ru_utime + used.ru_stime


def _leaves(data: Path, count: int) -> float:
    """Processor seconds of comparing every record with its leaf, in this process."""
    began = time.process_time()
    ledger = SqliteLedger(data / "ledger.sqlite", read_only=True)
    log = SqliteLog(data / "log.sqlite", log_number=ledger.log_number, clock=SystemClock(), read_only=True)  # type: ignore[arg-type] # known
    head, sealed = ledger.head(1, 0), SealedLog.stored(ledger, 1, 0)
    assert head is not None  # noqa: S101 - a bench that measures nothing is worse than none
    assert sealed is not None  # noqa: S101 - the same
    state = SealState.of(head.seal)
    tree, records = LogTree(state.edge, ledger.seals), RecordCheck(log, ledger, sealed, state.weeks)
    seen = 0
    for start in range(1, tree.size, 256):
        entries = [tree.entry(index) for index in range(start, min(start + 256, tree.size))]
        items = records.read(sealed.offset_of(start), sealed.offset_of(start + len(entries)))
        differing = list(records.differences(sealed.offset_of(start), entries, items, records.entries(items)))
        seen += len(entries) - len(differing)
    log.close()
    ledger.close()
    if seen != count:
        raise RuntimeError(f"{seen} of {count} records are what was sealed")
    return time.process_time() - began


def _large_tree(leaves: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        small, _ = _proof_s(Path(folder) / "small.sqlite", SMALL_TREE)
        large, stored = _proof_s(Path(folder) / "large.sqlite", leaves)
    return [
        *(
            Row(
                f"an inclusion proof in a tree of {leaves:,} leaves, {how}, against one of {SMALL_TREE:,}",
                f"{large[at] * 1e3:.2f} ms",
                f"{small[at] * 1e3:.2f} ms",
                large[at] / small[at],
                3,
                at_most=True,
            )
            for at, how in enumerate(("by a reader that has read nothing yet", "by one that keeps upper tiles"))
        ),
        Row(
            "what that tree takes on disk, against the bytes of its entries alone",
            f"{stored / leaves:.1f} bytes a leaf",
            "66 bytes",
            stored / leaves / 66,
            2,
            at_most=True,
        ),
    ]


def _proof_s(path: Path, leaves: int) -> tuple[tuple[float, float], int]:
    """Median processor seconds of a proof, first cold, then with the tiles others read, and the ledger's size."""
    ledger = SqliteLedger(path)
    edge = RightEdge()
    for start in range(0, leaves, _AT_ONCE):
        some = range(start, min(start + _AT_ONCE, leaves))
        grown = edge.grown(record_entries([(n, n, n.to_bytes(32, "big")) for n in some]))
        full = (one for one in (*grown.tiles, *grown.bundles) if one.name.level != 0)
        ledger.seals.keep_tiles({one.root: one.data for one in full})
        edge = grown.edge
    ledger.close()
    ledger = SqliteLedger(path, read_only=True)
    shared = KnownTiles()
    cold = _median_proof_s(leaves, lambda: LogTree(edge, ledger.seals))
    warm = _median_proof_s(leaves, lambda: LogTree(edge, ledger.seals, shared))
    ledger.close()
    return (cold, warm), sum(one.stat().st_size for one in path.parent.glob(f"{path.name}*"))


def _median_proof_s(leaves: int, opened: Callable[[], LogTree]) -> float:
    rng, took = random.Random(7), []
    for _ in range(_PROOFS):
        index = rng.randrange(leaves)
        began = time.process_time()
        tree = opened()
        proof = tree.inclusion(index, leaves)
        took.append(time.process_time() - began)
        verify_inclusion(leaf_hash(tree.entry(index)), index, leaves, proof, tree.root(leaves))
    return sorted(took)[_PROOFS // 2]
