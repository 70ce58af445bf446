"""Runs the embedded system under fault plans, one forked child per plan from standard input.

Forking once everything is loaded, but before any thread exists, lets sixty crashes cost seconds instead of minutes.
Each line is a JSON object: mode, data, input, plan; each answer a JSON object with the child's end.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import tantivy  # noqa: F401 - loaded once, before the forks

from flow.embedded import consumer_of, opened
from flow.fault_plans import Deadly, Plan
from flow.running import record
from trailseal.adapters.caches import memory  # noqa: F401 - the same
from trailseal.adapters.indexes import tantivy_index  # noqa: F401 - the same
from trailseal.adapters.logs import sqlite  # noqa: F401 - the same
from trailseal.bootstrap import Engines
from trailseal.errors import Unavailable
from trailseal.event_consumer.import_sources import find_sources
from trailseal.event_consumer.importing import Importer
from trailseal.model.record import NewRecord
from trailseal.telemetry import set_up_logging

SMALL = {"poll_records": 40, "batch_records": 20, "flush_records": 40}
WRITERS = 16
EVENTS_PER_WRITER = 12


def main() -> None:
    set_up_logging("error", "json")
    for line in sys.stdin:
        task = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                run(task)
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(
            json.dumps({"killed": os.WIFSIGNALED(status), "code": os.waitstatus_to_exitcode(status)}) + "\n"
        )
        sys.stdout.flush()


def run(task: dict[str, Any]) -> None:
    plan = Plan(**task["plan"])
    with opened(Path(task["data"]), "import") as real:
        engines = replace(
            real,
            log=Deadly(real.log, "log", plan),
            ledger=Deadly(real.ledger, "ledger", plan),
            index=Deadly(real.index, "index", plan),
            cache=Deadly(real.cache, "cache", plan),
        )
        if task["mode"] == "import":
            import_files(engines, task["input"])
        else:
            write(engines, Path(task["input"]))
    Path(task["data"], "calls.json").write_text(json.dumps(plan.calls))


def import_files(engines: Engines, folder: str) -> None:
    importer = Importer(engines.log, engines.ledger, consumer_of(engines, **SMALL), engines.clock)
    importer.run(find_sources([folder], BytesIO()).sources)


def write(engines: Engines, acknowledged: Path) -> None:
    """Sixteen writers append; what was acknowledged goes into a file line by line, atomically."""
    consumer = consumer_of(engines, **SMALL)
    pipeline = threading.Thread(target=consumer.run)
    pipeline.start()
    file = os.open(acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def writer(number: int) -> None:
        for turn in range(EVENTS_PER_WRITER):
            with suppress(Unavailable):
                positions = engines.log.append(records_of(number, turn))
                os.write(file, "".join(f"{position.offset}\n" for position in positions).encode())

    writers = [threading.Thread(target=writer, args=(number,)) for number in range(WRITERS)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    number = engines.ledger.log_number(engines.log.origin)
    while True:
        head = engines.ledger.head(number or 0, 0)
        if head is not None and head.next == engines.log.bounds(0).next:
            break
        engines.clock.wait(0.01)
    consumer.stop()
    pipeline.join()


def records_of(number: int, turn: int) -> list[NewRecord]:
    """One to three records: events, now and then a duplicate, an id collision, no event at all."""
    made = [record(f"w{number}-{turn}")]
    if turn % 3 == 0:
        made.append(record(f"w{number}-{turn}"))
    if turn % 4 == 1:
        made.append(record(f"w{number}-{turn - 1}", action="other.thing"))
    if turn % 5 == 2:
        made.append(NewRecord(b"not json"))
    return made


if __name__ == "__main__":
    main()
