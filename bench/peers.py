"""What ours is compared with: an empty Flask route, and the same route with a commit for each request."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence

from flask import Flask, Response

from trailseal.adapters.logs.sqlite import SqliteLog
from trailseal.cli import main as cli_main
from trailseal.cli.server import OneProcessServer, listen
from trailseal.model.record import NewRecord, Position

_THREADS = 16


def empty() -> Flask:
    """A route that answers the same few bytes."""
    app = Flask("empty")
    app.add_url_rule("/ready", "ready", lambda: "ready")
    app.add_url_rule("/events", "events", lambda: Response(b"{}", mimetype="application/json"))
    return app


def commit_per_request(port: str, data: str) -> None:
    """Serve all of `trailseal up`, its log taking one request at a time: what a commit each costs, only that."""
    turn = threading.Lock()
    append = SqliteLog.append

    def alone(self: SqliteLog, records: Sequence[NewRecord], partition: int | None = None) -> list[Position]:
        with turn:
            return append(self, records, partition)

    SqliteLog.append = alone  # type: ignore[method-assign] # the peer is ours without the sharing of commits
    sys.argv = ["trailseal", "up", "--data", data, "--port", port]
    cli_main()


def main() -> None:
    """Serve the peer named on the command line."""
    name, port, *arguments = sys.argv[1:]
    if name == "commit":
        commit_per_request(port, *arguments)
    else:
        OneProcessServer(empty(), listen("127.0.0.1", int(port)), threads=_THREADS).run()


if __name__ == "__main__":
    main()
