"""Health of a process that only consumes: ``/healthz``, ``/readyz`` and ``/metrics`` on a small port of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from trailseal.event_consumer.runner import Consumer
from trailseal.ports.clock import Clock

STALLED_S: Final = 60.0
"""A pipeline that neither moved nor was through for this long is not healthy."""
STUCK_S: Final = 120.0
"""A poll loop that did not turn for this long does not live any more."""
_REQUEST_S: Final = 5.0


class ConsumerReadiness(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a consumer does.

    Attributes:
        status: ``ready``; ``degraded`` = events go in or will, but somebody should look; ``unavailable`` = it has
            not begun, or will not go on by itself.
        phase: of the pipeline; ``waiting`` = other members of the group have all partitions.
        detail: one sentence for an operator.
        dead_letters: of this process.
    """

    status: str
    phase: str
    detail: str | None = None
    dead_letters: int = 0


def assess(consumer: Consumer, clock: Clock) -> ConsumerReadiness:
    """Judge the consumer by what it says of itself; no engine is asked."""
    snapshot = consumer.state.snapshot
    phase, detail, dead = str(snapshot.phase), snapshot.detail or snapshot.degraded, snapshot.dead_letters
    if phase in {"starting", "stopped"}:
        return ConsumerReadiness("unavailable", phase, detail, dead)
    stalled = phase == "running" and clock.monotonic() - snapshot.progress_at > STALLED_S
    if stalled:
        detail = detail or f"No head moved for {STALLED_S:.0f} seconds though records wait; see the log."
    if not stalled and dead and detail is None:
        detail = f"{dead} dead letters since the start: `trailseal dead-letters list` shows them."
    return ConsumerReadiness("degraded" if stalled or detail else "ready", phase, detail, dead)


class HealthServer:
    """Answers in threads of its own until it is closed.

    Args:
        listener: a listening socket; closed with the server.
        consumer: whose health it is.
        clock: the consumer's.
    """

    def __init__(self, listener: socket.socket, consumer: Consumer, clock: Clock) -> None:
        def readyz() -> tuple[int, str, bytes]:
            readiness = assess(consumer, clock)
            status = HTTPStatus.SERVICE_UNAVAILABLE if readiness.status == "unavailable" else HTTPStatus.OK
            return status, "application/json", msgspec.json.encode(readiness)

        def healthz() -> tuple[int, str, bytes]:
            if clock.monotonic() - consumer.turned_at > STUCK_S:
                return HTTPStatus.SERVICE_UNAVAILABLE, "application/json", b'{"status":"stuck"}'
            return HTTPStatus.OK, "application/json", b'{"status":"alive"}'

        def metrics() -> tuple[int, str, bytes]:
            return HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest()

        self._server = ThreadingHTTPServer(
            listener.getsockname()[:2],
            _handler({"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}),
            bind_and_activate=False,
        )
        self._server.daemon_threads = True
        self._server.socket.close()
        self._server.socket = listener
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(routes: dict[str, Callable[[], tuple[int, str, bytes]]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _REQUEST_S
        server_version = "trailseal"
        sys_version = ""

        def do_GET(self) -> None:
            route = routes.get(self.path.partition("?")[0])
            if route is None:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            status, kind, body = route()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's signature
            """Say nothing: health checks would fill the log."""

    return Handler
