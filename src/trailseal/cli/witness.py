"""`trailseal witness`: cosign another site's checkpoints, from another machine or another company."""

from __future__ import annotations

import re
import socket
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any

import typer

from trailseal.cli.output import notice
from trailseal.cli.signals import answer_in_a_thread
from trailseal.errors import TrailsealError, UsageError
from trailseal.merkle.witness import MAX_REQUEST_SIZE
from trailseal.model.timestamps import format_rfc3339
from trailseal.sealing.witness_folder import Reply, WitnessFolder
from trailseal.telemetry import logger, set_up_logging

witness = typer.Typer(
    help="Cosign checkpoints of logs that belong to somebody else (C2SP tlog-witness).", no_args_is_help=True
)
_PATIENCE_S = 10
"""For the next byte."""
_REQUEST_S = 30
"""For all of a request."""
_CONNECTIONS = 64
_LENGTH = re.compile(r"[0-9]{1,10}", re.ASCII)
_ONLY_RESOURCE = b"the only resource here is POST /add-checkpoint\n"
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The witness's own folder.")]


@witness.command("init")
def init(
    folder: Folder,
    name: Annotated[str, typer.Option("--name", help="The witness's name, for example witness.example/w1.")],
    post_quantum: Annotated[
        bool, typer.Option("--post-quantum", help="An ML-DSA-44 key beside it, also in a folder that is there.")
    ] = False,
) -> None:
    """Make a witness and print the key that its cosignatures are checked with, with --post-quantum both."""
    now = format_rfc3339(time.time_ns() // 1_000)
    _tell_keys(WitnessFolder.make(folder, name, now, post_quantum=post_quantum))


@witness.command("add")
def add(
    folder: Folder,
    vkeys: Annotated[list[str], typer.Argument(metavar="VKEY", help="Keys of logs, of `trailseal keys show`.")],
) -> None:
    """Watch logs from now on, or accept more keys of them; a running witness sees it at once."""
    for name in WitnessFolder(folder).watch(vkeys):
        notice(f"{name} is watched.")


@witness.command("show")
def show(folder: Folder) -> None:
    """Print the witness's keys, and every log with the size last cosigned."""
    found = WitnessFolder(folder)
    _tell_keys(found)
    for origin in sorted(found.logs()):
        typer.echo(f"{found.head(origin).size} {origin}")


@witness.command("serve")
def serve(
    folder: Folder,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8081,
) -> None:
    """Answer `POST /add-checkpoint` until Ctrl-C. Put TLS in front of it where others can listen."""
    set_up_logging()
    try:
        server = witness_server(WitnessFolder(folder), host, port)
    except OSError as error:
        raise UsageError(f"Cannot listen on {host}:{port} ({error.strerror}): choose another --port.") from error
    notice(f"The witness listens on http://{host}:{server.server_port}/add-checkpoint. Ctrl-C stops it.")
    answer_in_a_thread(server.shutdown)
    with server:
        server.serve_forever()


def _tell_keys(made: WitnessFolder) -> None:
    for key in made.keys:
        typer.echo(key.vkey())


class _Server(ThreadingHTTPServer):
    """Outlives whoever goes away in the middle of a request, or sends it byte by byte, or many at once."""

    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._places = threading.BoundedSemaphore(_CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take the connection, if there is a place: a log that is turned away asks again."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            logger("witness").warning("connection_refused", why="too many at once", most=_CONNECTIONS)
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer it in the time that there is for all of it."""
        end = threading.Timer(_REQUEST_S, _cut, (request,))
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Note a broken connection; anything else is a defect, and shown as one."""
        error = sys.exception()
        if isinstance(error, OSError):
            logger("witness").info("connection_broken", why=type(error).__name__)
        else:
            super().handle_error(request, client_address)


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):  # it has ended meanwhile
        connection.shutdown(socket.SHUT_RDWR)


def witness_server(folder: WitnessFolder, host: str, port: int) -> ThreadingHTTPServer:
    """A server on that address, not serving yet; port 0 takes a free one."""

    class Handler(BaseHTTPRequestHandler):
        """One request."""

        timeout = _PATIENCE_S
        server_version = "trailseal-witness"
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            """Answer ``add-checkpoint``."""
            length = self.headers.get("Content-Length", "")
            if self.path != "/add-checkpoint":
                self._reply(Reply(404, "text/plain", _ONLY_RESOURCE))
            elif not _LENGTH.fullmatch(length) or int(length) > MAX_REQUEST_SIZE:
                self._reply(Reply(400, "text/plain", b"a request has a Content-Length, and is not that large\n"))
            else:
                self._reply(self._answer(int(length)))

        def do_GET(self) -> None:
            """Say what there is."""
            self._reply(Reply(405, "text/plain", _ONLY_RESOURCE))

        def _answer(self, length: int) -> Reply:
            body = self.rfile.read(length)
            if len(body) < length:
                return Reply(400, "text/plain", b"the request breaks off\n")
            try:
                return folder.add_checkpoint(body, int(time.time()))
            except (TrailsealError, OSError) as error:
                logger("witness").error("nothing_cosigned", why=str(error))
                return Reply(503, "text/plain", b"the witness cannot read or write its state\n")

        def _reply(self, reply: Reply) -> None:
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(reply.body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(reply.body)
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Requests go into our own log."""
            line = (format % args).encode("unicode_escape").decode("ascii")
            logger("witness").info("request", line=line)

    return _Server((host, port), Handler)
