"""``python -m trailseal.event_consumer`` is `trailseal consume`."""

from __future__ import annotations

import sys

from trailseal.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "consume")
    main()
