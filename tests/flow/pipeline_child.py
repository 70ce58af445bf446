"""Runs the embedded pipeline on a folder until it is killed; says `running` once it does."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from flow.embedded import consumer_of, opened
from flow.running import until
from trailseal.telemetry import set_up_logging


def main() -> None:
    set_up_logging("error", "json")
    with opened(Path(sys.argv[1])) as engines:
        consumer = consumer_of(engines)
        pipeline = threading.Thread(target=consumer.run)
        pipeline.start()
        until(lambda: consumer.state.snapshot.phase == "running")
        sys.stdout.write("running\n")
        sys.stdout.flush()
        pipeline.join()


if __name__ == "__main__":
    main()
