"""What ours is compared with: an empty Flask route, and a route that commits once a request."""

from __future__ import annotations

import sqlite3
import sys
import threading

import msgspec
from flask import Flask, Response, request

from trailseal.cli.server import OneProcessServer, listen
from trailseal.formats import FORMATS, DecodeContext
from trailseal.model.identity import uuid7

_THREADS = 16


def empty() -> Flask:
    """A route that answers the same few bytes."""
    app = Flask("empty")
    app.add_url_rule("/ready", "ready", lambda: "ready")
    app.add_url_rule("/events", "events", lambda: Response(b"{}", mimetype="application/json"))
    return app


def commit_per_request(path: str) -> Flask:
    """The same door in front of a SQLite file: decode, check, insert, commit, one request at a time."""
    app = Flask("commit")
    lock = threading.Lock()
    store = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    store.execute("PRAGMA journal_mode=WAL")
    store.execute("PRAGMA synchronous=FULL")
    store.execute(
        "CREATE TABLE records (offset INTEGER PRIMARY KEY, at INTEGER, key BLOB, value BLOB, headers BLOB)"
    )
    decode = FORMATS["native"].decode

    def take() -> Response:
        value = request.get_data()
        event = decode(value, DecodeContext(received_us=1_900_000_000_000_000, derived_id=uuid7(1))).event
        with lock:
            store.execute("BEGIN IMMEDIATE")
            row = store.execute(
                "INSERT INTO records (at, key, value, headers) VALUES (?, ?, ?, ?)",
                (0, event.tenant_id, value, b""),
            )
            store.execute("COMMIT")
        return Response(msgspec.json.encode({"accepted": 1, "id": event.id, "position": row.lastrowid}))

    app.add_url_rule("/ready", "ready", lambda: "ready")
    app.add_url_rule("/events", view_func=take, methods=["POST"])
    return app


def main() -> None:
    """Serve the peer named on the command line."""
    name, port, *arguments = sys.argv[1:]
    app = empty() if name == "empty" else commit_per_request(*arguments)
    OneProcessServer(app, listen("127.0.0.1", int(port)), threads=_THREADS).run()


if __name__ == "__main__":
    main()
