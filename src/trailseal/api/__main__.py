"""``python -m trailseal.api`` is `trailseal serve`."""

from __future__ import annotations

import sys

from trailseal.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "serve")
    main()
