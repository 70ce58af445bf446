"""Hosting the API: granian in this very process for `up`, granian with worker processes for `serve`."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from granian import Granian
from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.server.mt import MTServer

from trailseal.api.gate import is_loopback
from trailseal.cli.signals import answer_in_a_thread, ignore
from trailseal.errors import UsageError

if TYPE_CHECKING:
    from flask import Flask

BACKLOG = 1_024
DRAIN_S = 1
"""Seconds that requests under way get to finish when the server stops."""
_PARENT_POLL_S = 0.25
_TCP = False
"""What granian's socket holder takes for "no Unix socket"."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket that nobody shares.

    Raises:
        UsageError: the address is taken, not ours, or not an address.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise UsageError(f"{host!r} is no address to listen on: {error.strerror}.") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        hint = (
            "stop what listens there, or choose another --port" if _taken(host, port) else "choose another --host"
        )
        raise UsageError(f"Cannot listen on {host}:{port} ({error.strerror}): {hint}.") from error
    listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return listener


def refuse_open_door(host: str, *, keyless: bool) -> None:
    """Insist that a server without keys listens on this machine only.

    Raises:
        UsageError: no key was ever made, and others could reach the address.
    """
    if keyless and not is_loopback(host):
        raise UsageError(
            f"{host} can be reached from other machines, and no API key exists yet: make one with"
            " `trailseal api-keys create`, or listen on 127.0.0.1."
        )


class WholeAnswers:
    """Hands complete answers to granian as lists, which it sends in one piece without calling back for more.

    An answer that names its length is complete; anything else streams on as it is.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """One request (PEP 3333)."""
        whole = False

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal whole
            whole = any(name == "Content-Length" for name, _ in headers)
            return start_response(status, headers, exc_info)

        answer: Any = self._app(environ, start)
        if not whole or isinstance(answer, list):
            return answer
        try:
            return list(answer)
        finally:
            answer.close()


class OneProcessServer(MTServer):
    """granian's threaded server on a socket of ours, in the calling process: nothing is forked.

    granian ships this server for interpreters without a GIL, where it runs several workers. One worker in one
    thread needs no such interpreter, so the check for it is left out (docs/decisions/0201).
    """

    def __init__(
        self, app: Flask, listener: socket.socket, *, threads: int, on_stop: Callable[[], None] = lambda: None
    ) -> None:
        host, port = listener.getsockname()[:2]
        super().__init__(
            target="",
            address=host,
            port=port,
            interface=Interfaces.WSGI,
            workers=1,
            blocking_threads=threads,
            backpressure=max(threads * 8, 128),
            http=HTTPModes.http1,
            websockets=False,
            backlog=BACKLOG,
            log_level=LogLevels.error,
            workers_kill_timeout=DRAIN_S,
        )
        self._app = app
        self._listener = listener
        self._on_stop = on_stop

    def signal_handler_interrupt(self, *_: Any, **__: Any) -> None:
        """Nothing: a thread answers."""

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM; requests under way get `DRAIN_S` to finish. Main thread only."""
        answer_in_a_thread(self._stop)
        self.serve(target_loader=self._load, wrap_loader=False)

    def _stop(self) -> None:
        self._on_stop()
        super().signal_handler_interrupt()  # type: ignore[no-untyped-call] # granian leaves it untyped

    def _load(self) -> WholeAnswers:
        return WholeAnswers(self._app)

    def _check_gil(self) -> None:
        """One worker needs no interpreter without a GIL."""

    def _init_shared_socket(self) -> None:
        holder: Any = SocketHolder  # its stub lacks two of the three arguments
        # The holder closes the descriptor at its end, so it becomes its only owner.
        self._ssp = None
        self._sfd = self._listener.detach()  # type: ignore[assignment] # granian initialises it with None
        self._shd = holder(self._sfd, _TCP, BACKLOG)


@dataclass(frozen=True, slots=True)
class _Worker:
    """Builds the app inside a worker process and ties the worker's life to its parent's."""

    build: Callable[[], Flask]
    parent: int

    def __call__(self) -> WholeAnswers:
        threading.Thread(target=self._outlive_nobody, name="lifeline", daemon=True).start()
        return WholeAnswers(self.build())

    def _outlive_nobody(self) -> None:
        pause = threading.Event()
        while os.getppid() == self.parent:
            pause.wait(_PARENT_POLL_S)
        os.kill(os.getpid(), signal.SIGTERM)
        pause.wait(DRAIN_S)
        os._exit(1)


def serve_workers(build: Callable[[], Flask], host: str, port: int, *, workers: int, threads: int) -> None:
    """Serve with worker processes until SIGINT or SIGTERM; a worker that dies is replaced.

    Args:
        build: makes the app inside each worker; picklable.
        host: address to listen on.
        port: port to listen on.
        workers: processes.
        threads: requests each answers at the same time.

    Raises:
        UsageError: the address cannot be listened on.
    """
    listen(host, port).close()
    # A fresh interpreter for each worker: what this one has imported and started is not carried over half-alive.
    multiprocessing.set_start_method("spawn", force=True)
    server: Any = Granian(
        target="",
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=threads,
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        log_level=LogLevels.error,
        workers_kill_timeout=DRAIN_S,
        respawn_failed_workers=True,
    )
    answer_in_a_thread(server.signal_handler_interrupt)
    server.signal_handler_interrupt = ignore
    server.serve(target_loader=_Worker(build, os.getpid()), wrap_loader=False)


def _taken(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=0.2):
            return True
    except OSError:
        return False
