"""Carries a pending erasure out, and kills itself before or after one of its steps."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from flow.embedded import REFRESH_S, opened
from trailseal.cli.pipeline import make_consumer
from trailseal.settings import Settings

PLACES = {
    "remove": "ledger",
    "index_erase": "index",
    "discard": "ledger",
    "log_erase": "log",
    "clear": "cache",
}


def main(data: Path, step: str, *, after: bool) -> None:
    with opened(data, "import") as engines:
        engine = getattr(engines, PLACES[step])
        name = step.rpartition("_")[2]
        real = getattr(engine, name)

        def deadly(*given: Any) -> Any:
            if not after:
                os.kill(os.getpid(), signal.SIGKILL)
            real(*given)
            return os.kill(os.getpid(), signal.SIGKILL)

        setattr(engine, name, deadly)
        make_consumer(Settings(data=data, refresh_interval=REFRESH_S), engines).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], after=sys.argv[3] == "1")
