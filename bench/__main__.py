"""`scripts/bench [row ...]`: measure rows of the speed table and print ours, theirs and the ratio."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console

from bench import (
    cluster_ingest,
    cluster_reading,
    cluster_rsyslog,
    cluster_verifying,
    exporting,
    ingest_embedded,
    memory,
    paging,
    reading,
    verifying,
    visibility,
    writing,
)
from bench.row import Row


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    meaning: str
    measure: Callable[[float], list[Row]]


ROWS = (
    _Entry("import", "import, embedded, against tantivy alone fed the same projections", ingest_embedded.measure),
    _Entry("post", "POST /events, durable, against a commit per request; batches against import", writing.measure),
    _Entry("get", "GET /events from the cache against an empty Flask route", reading.measure),
    _Entry("pages", "a page at the top and deep, small and large index", paging.measure),
    _Entry("export", "export as NDJSON against reading the same records straight from the log", exporting.measure),
    _Entry("cluster-bulk", "our index adapter against ready-made bulk bodies", cluster_ingest.measure_bulk),
    _Entry("cluster-ingest", "Kafka to index against ready-made bulk bodies", cluster_ingest.measure_ingest),
    _Entry("cluster-rsyslog", "Kafka to index against rsyslog with the same events", cluster_rsyslog.measure),
    _Entry("cluster-get", "GET /events, not cached, against the same searches", cluster_reading.measure),
    _Entry("cluster-cached", "GET /events from Redis against an empty Flask route", cluster_reading.measure_cached),
    _Entry(
        "memory", "a million events through API and consumer: memory, second half against first", memory.measure
    ),
    _Entry("verify", "verification against hashlib; proofs and bytes at ten million leaves", verifying.measure),
    _Entry("cluster-verify", "verification of the cluster against hashlib", cluster_verifying.measure),
    _Entry("visible", "accepted until visible against the refresh interval", visibility.measure),
)


def main() -> None:
    """Run the rows named on the command line, or all."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("rows", nargs="*", choices=[entry.name for entry in ROWS] + [[]], metavar="row")
    parser.add_argument(
        "--size", type=float, default=1.0, help="factor on the number of events (0.1 = a quick look)"
    )
    chosen = parser.parse_args()
    console = Console()
    console.print(
        f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} before the first row, Python"
        f" {sys.version.split()[0]}, size {chosen.size:g}",
        style="dim",
    )
    for entry in ROWS:
        if chosen.rows and entry.name not in chosen.rows:
            continue
        console.print(f"{entry.name}: {entry.meaning} ...", style="dim")
        for row in entry.measure(chosen.size):
            verdict = "reached" if row.reached else "NOT REACHED"
            console.print(f"  {row.what}", soft_wrap=True)
            console.print(
                f"    ours {row.ours}, theirs {row.theirs}, ratio {row.ratio:.2f} ({row.asked}): {verdict}",
                soft_wrap=True,
            )


if __name__ == "__main__":
    main()
