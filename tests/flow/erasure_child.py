"""Carries a pending erasure out, and kills itself before or after one of its steps."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from flow.embedded import REFRESH_S
from trailseal.bootstrap import open_engines
from trailseal.cli.options import settings_from
from trailseal.cli.pipeline import make_consumer
from trailseal.settings import Settings

PLACES = {
    "remove": "ledger",
    "index_erase": "index",
    "discard": "ledger",
    "log_erase": "log",
    "clear": "cache",
}


def main(settings: Settings, step: str, *, after: bool) -> None:
    engines = open_engines(settings, "import")
    engine = getattr(engines, PLACES[step])
    name = step.rpartition("_")[2]
    real = getattr(engine, name)

    def deadly(*given: Any) -> Any:
        if not after:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*given)
        return os.kill(os.getpid(), signal.SIGKILL)

    setattr(engine, name, deadly)
    make_consumer(settings, engines).run()


if __name__ == "__main__":
    (folder,) = sys.argv[3:] or [None]  # without a folder the environment says which deployment it is
    main(
        settings_from(None) if folder is None else Settings(data=Path(folder), refresh_interval=REFRESH_S),
        sys.argv[1],
        after=sys.argv[2] == "1",
    )
