"""Row: `trailseal export` of everything as NDJSON, against reading the same records straight from the log."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.ingest_embedded import imported, write_events
from bench.load import median_ratio
from bench.row import Row
from trailseal.adapters.clock import SystemClock
from trailseal.adapters.logs.sqlite import SqliteLog
from trailseal.formats.rendering import render
from trailseal.model.projection import Hit, SortKey
from trailseal.model.record import Record

EVENTS = 1_000_000
_PAGE = 1_000
_PAGE_BYTES = 32 << 20
_ROUNDS = 3
_SMALL_SHARE = 10


def measure(size: float) -> list[Row]:
    """Events a second; the peers read in the log's order, one to show the events, one to copy their bytes."""
    count = int(EVENTS * size)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        write_events(base / "events.ndjson", count)
        imported(base / "events.ndjson", base)
        memory: list[int] = []

        def export(*conditions: str) -> float:
            took_s, peak_bytes = _run("trailseal", base, "export", *conditions)
            memory.append(peak_bytes)
            return count / took_s

        shown = median_ratio(export, lambda: count / _run("straight", base, "shown")[0], _ROUNDS)
        copied = median_ratio(export, lambda: count / _run("straight", base, "copied")[0], _ROUNDS)
        whole = max(memory)
        export("tenant_id=tenant-1", "tenant_id=tenant-2")
        part = memory[-1]
    ours = f"export {count:,} events as NDJSON"
    return [
        Row(f"{ours}, against showing them straight from the log", *_rates(shown), shown[2], 0.5),
        Row(f"{ours}, against copying their bytes", *_rates(copied), copied[2], 0.5),
        Row(
            f"the export's peak memory, against that of a {_SMALL_SHARE}th",
            f"{whole >> 20} MB",
            f"{part >> 20} MB",
            whole / part,
            1.25,
            at_most=True,
        ),
    ]


def _rates(measured: tuple[float, float, float]) -> tuple[str, str]:
    return f"{measured[0]:,.0f}/s", f"{measured[1]:,.0f}/s"


def _run(program: str, base: Path, *arguments: str) -> tuple[float, int]:
    """Seconds from start to end of a process that writes to a file, and its peak memory in bytes."""
    if program == "trailseal":
        command = [str(Path(sys.executable).parent / "trailseal"), *arguments, "--data", str(base / "data")]
    else:
        command = [sys.executable, "-m", "bench.exporting", str(base / "data"), *arguments]
    began = time.perf_counter()
    with (base / "out.ndjson").open("wb") as out:
        process = subprocess.Popen(command, stdout=out)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command!r} ended with status {process.returncode}")
    return time.perf_counter() - began, used.ru_maxrss * 1024


def straight(data: Path, how: str) -> None:
    """Write every record of the log to standard output, in the log's order: as events, or as its bytes."""
    log = SqliteLog(data / "log.sqlite", log_number=lambda _: 1, clock=SystemClock(), read_only=True)
    lines = _shown if how == "shown" else _copied
    at = 0
    while records := [item for item in log.read(0, at, _PAGE, _PAGE_BYTES) if isinstance(item, Record)]:
        sys.stdout.buffer.write(lines(records))
        at = records[-1].position.offset + 1
    log.close()


def _shown(records: Sequence[Record]) -> bytes:
    return b"".join([render(Hit(SortKey(0, "", "", record.position), record)) + b"\n" for record in records])


def _copied(records: Sequence[Record]) -> bytes:
    return b"".join([(record.value or b"") + b"\n" for record in records])


if __name__ == "__main__":
    straight(Path(sys.argv[1]), sys.argv[2])
