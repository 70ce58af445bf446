"""Row: import into the embedded profile, until all is in the ledger and visible, against tantivy alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tantivy

from bench.load import median_ratio
from bench.row import Row
from bench.workload import events
from trailseal.adapters.indexes.tantivy_index.schema import build_schema, document
from trailseal.formats import decode_record
from trailseal.model.projection import Entry, entry
from trailseal.model.record import Position, Record

EVENTS = 200_000
_COMMIT = 50_000
_ROUNDS = 3


def measure(size: float) -> list[Row]:
    """Events a second, ours and theirs in turn, each in a process of its own."""
    count = int(EVENTS * size)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "events.ndjson"
        with source.open("wb") as file:
            file.writelines(line + b"\n" for line in events(count))
        ours, theirs, ratio = median_ratio(lambda: _import(source, Path(folder)), lambda: _alone(count), _ROUNDS)
    return [Row(f"import {count:,} events", f"{ours:,.0f}/s", f"{theirs:,.0f}/s", ratio, 0.6)]


def _import(source: Path, folder: Path) -> float:
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


def _alone(count: int) -> float:
    command = [sys.executable, "-m", "bench.ingest_embedded", str(count)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def tantivy_alone(count: int) -> float:
    """Events a second: ready projections into documents, one writer thread, a commit per 50,000."""
    ready = list(_entries(count))
    with tempfile.TemporaryDirectory() as folder:
        writer = tantivy.Index(build_schema(), folder).writer(128_000_000, 1)
        began = time.perf_counter()
        for number, each in enumerate(ready, 1):
            writer.add_json(document(each, number))
            if number % _COMMIT == 0:
                writer.commit()
        writer.commit()
        return count / (time.perf_counter() - began)


def _entries(count: int) -> list[Entry]:
    made = []
    for offset, value in enumerate(events(count)):
        record = Record(Position(1, 0, offset), 1_767_225_600_000, None, value, ())
        decoded = decode_record(record, "bench")
        made.append(entry(record, decoded.event, decoded.format, decoded.words))
    return made


if __name__ == "__main__":
    sys.stdout.write(str(tantivy_alone(int(sys.argv[1]))))
