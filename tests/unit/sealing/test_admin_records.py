"""Orders of removals, as they are written."""

from __future__ import annotations

from pathlib import Path

from trailseal.merkle.admin import MAX_RUNS, AdminKind
from trailseal.merkle.genesis import Genesis
from trailseal.model.outcomes import Head
from trailseal.model.record import HEADER_ADMIN
from trailseal.sealing.admin_records import Clerk, Mandate
from trailseal.sealing.keys import KeyFile
from trailseal.sealing.origin import SealedLog
from trailseal.sealing.state import SealState

ORIGIN = "site/memory/1/0"
SIZE = 2_000_000


def clerk(folder: Path) -> Clerk:
    keys = KeyFile(folder / "seal.key").make("2026-01-02T03:04:05Z")
    head = Head(1, 0, 0, SIZE - 1, "1", SealState().to_bytes())
    log = SealedLog(1, 0, Genesis(ORIGIN, 0, keys.verifiers(ORIGIN), (), "first epoch"), 0)
    return Clerk(log, head, keys, Mandate("officer", "policy"), 1_790_000_000_000_000)


def test_an_order_names_at_most_half_a_million_offsets_and_ten_thousand_runs(tmp_path: Path) -> None:
    made = clerk(tmp_path)
    offsets = [*range(700_000), *range(800_000, 800_000 + 2 * MAX_RUNS, 2)]
    named: list[int] = []
    sizes: list[tuple[int, int]] = []
    for record in made.records(AdminKind.EXPIRE, offsets):
        header = dict(record.headers)[HEADER_ADMIN] or b""
        runs = [line.split(b" ")[1].split(b"-") for line in header.split(b"\n") if line.startswith(b"offsets ")]
        covered = [offset for first, last in runs for offset in range(int(first), int(last) + 1)]
        sizes.append((len(covered), len(runs)))
        named += covered
    assert named == offsets
    assert sizes == [(500_000, 1), (209_999, MAX_RUNS), (1, 1)]
