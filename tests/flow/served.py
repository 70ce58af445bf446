"""A small app served by worker processes, for the tests of hosting; the port is the only argument."""

from __future__ import annotations

import os
import sys

from flask import Flask

from trailseal.cli.server import serve_workers


def build() -> Flask:
    """An app whose one route names the process that answers."""
    app = Flask("served")

    @app.get("/readyz")
    def readyz() -> dict[str, int]:
        return {"pid": os.getpid()}

    return app


if __name__ == "__main__":
    serve_workers(build, "127.0.0.1", int(sys.argv[1]), workers=2, threads=2)
