"""Row: import into the embedded profile, until all is in the ledger and visible, against tantivy alone."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tantivy

from bench.load import median_ratio
from bench.row import Row
from bench.workload import APPENDED_MS, events
from trailseal.adapters.indexes.tantivy_index.schema import build_schema, document
from trailseal.formats import decode_record
from trailseal.model.projection import Entry, entry
from trailseal.model.record import Position, Record

EVENTS = 200_000
_COMMIT = 50_000
_ROUNDS = 3


def measure(size: float) -> list[Row]:
    """Events a second, ours and theirs in turn, each in a process of its own, with the processor time."""
    count = int(EVENTS * size)
    spent: list[float] = []
    alone: list[float] = []

    def theirs() -> float:
        rate, cost = _alone(count)
        alone.append(cost)
        return rate

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "events.ndjson"
        write_events(source, count)

        def ours() -> float:
            before = _children_s()
            rate = imported(source, Path(folder))
            spent.append((_children_s() - before) / count)
            return rate

        mine, other, ratio = median_ratio(ours, theirs, _ROUNDS)
    cost, cost_alone = sorted(spent)[_ROUNDS // 2], sorted(alone)[_ROUNDS // 2]
    return [
        Row(
            f"import {count:,} events",
            f"{mine:,.0f}/s ({cost * 1e6:.0f} us of processor time each)",
            f"{other:,.0f}/s ({cost_alone * 1e6:.0f} us)",
            ratio,
            0.6,
        )
    ]


def write_events(path: Path, count: int) -> None:
    """So many events as NDJSON."""
    with path.open("wb") as file:
        file.writelines(line + b"\n" for line in events(count))


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def imported(source: Path, folder: Path) -> float:
    """Events a second of `trailseal import` into an empty data folder, until all is in the ledger and visible."""
    data = folder / "data"
    shutil.rmtree(data, ignore_errors=True)
    command = [
        str(Path(sys.executable).parent / "trailseal"),
        "import",
        "--data",
        str(data),
        "--form",
        "ndjson",
        str(source),
    ]
    summary = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert summary["new"] == summary["read"]  # noqa: S101 - a bench that counts errors as speed is worse than none
    return float(summary["read"] / summary["seconds"])


def _alone(count: int) -> tuple[float, float]:
    command = [sys.executable, "-m", "bench.ingest_embedded", str(count)]
    rate, cost = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(rate), float(cost)


def tantivy_alone(count: int) -> tuple[float, float]:
    """Events a second, seconds of processor time each: ready projections, one writer, a commit per 50,000."""
    ready = list(_entries(count))
    with tempfile.TemporaryDirectory() as folder:
        writer = tantivy.Index(build_schema(), folder).writer(128_000_000, 1)
        began, used = time.perf_counter(), time.process_time()
        for number, each in enumerate(ready, 1):
            writer.add_json(document(each, number))
            if number % _COMMIT == 0:
                writer.commit()
        writer.commit()
        return count / (time.perf_counter() - began), (time.process_time() - used) / count


def _entries(count: int) -> list[Entry]:
    made = []
    for offset, value in enumerate(events(count)):
        record = Record(Position(1, 0, offset), APPENDED_MS, None, value, ())
        decoded = decode_record(record, "bench")
        made.append(entry(record, decoded.event, decoded.format, decoded.words))
    return made


if __name__ == "__main__":
    sys.stdout.write("{} {}".format(*tantivy_alone(int(sys.argv[1]))))
