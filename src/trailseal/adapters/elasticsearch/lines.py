"""Kept connections for short questions: one HTTP/1.1 exchange (RFC 9112) as bytes, and nothing else.

The official transport takes several times the time that sending a question and reading the answer does. So a
question goes over a connection of ours as long as everything is as expected; whatever is not (a connection that
cannot be made or that was closed, an answer of another form) is left to the transport, which knows what to do
(docs/decisions/0530).
"""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import suppress
from itertools import count
from typing import Final

from elastic_transport import NodeConfig

_KEPT: Final = 64
_RECEIVE: Final = 1 << 16
_MAX_HEAD: Final = 1 << 14
_REST_S: Final = 10.0
"""How long a node is left to the transport after it could not be used."""
_END: Final = b"\r\n\r\n"
_STATUS: Final = slice(9, 12)


class UnusableError(Exception):
    """Nothing was learned: the question may be asked another way."""


class OutOfTimeError(Exception):
    """The node took the question and did not answer in time: asking again would double the wait."""


class _Node:
    """One node's address, what every request to it says, and its idle connections."""

    def __init__(self, config: NodeConfig) -> None:
        self._address = (config.host, config.port)
        self._tls = ssl.create_default_context(cafile=config.ca_certs) if config.scheme == "https" else None
        name = f"[{config.host}]" if ":" in config.host else config.host
        said = {"host": f"{name}:{config.port}", **config.headers}
        fixed = "".join(f"{header}: {value}\r\n" for header, value in said.items())
        self.head = f"{fixed}accept: application/json\r\ncontent-type: application/json\r\n".encode()
        self.idle: list[socket.socket] = []
        self.rests_until = 0.0

    def connect(self, timeout_s: float) -> socket.socket:
        made = socket.create_connection(self._address, timeout_s)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made if self._tls is None else self._tls.wrap_socket(made, server_hostname=self._address[0])


class Lines:
    """Connections to the nodes, in turn. Safe to use from many threads; a connection is one thread's at a time."""

    def __init__(self, nodes: list[NodeConfig]) -> None:
        self._nodes = [_Node(config) for config in nodes]
        self._turns = count()

    def post(self, target: str, body: bytes, timeout_s: float) -> tuple[int, bytes]:
        """Status and body of the answer to one POST of JSON.

        Args:
            target: path and query, already percent-encoded.
            body: the exact bytes.
            timeout_s: for connecting, and for each wait for bytes.

        Raises:
            UnusableError: no node could be asked, or it hung up, or its answer has a form that is not known here.
            OutOfTimeError: no answer came.
        """
        node = self._next()
        line: socket.socket | None = None
        try:
            line = node.idle.pop() if node.idle else node.connect(timeout_s)
            line.settimeout(timeout_s)
            head = b"POST %b HTTP/1.1\r\n%bcontent-length: %d\r\n\r\n" % (target.encode(), node.head, len(body))
            line.sendall(head + body)
            status, answer, stays = _read(line)
        except TimeoutError as error:
            _close(line)
            node.rests_until = time.monotonic() + _REST_S
            raise OutOfTimeError from error
        except (OSError, ValueError) as error:
            _close(line)
            node.rests_until = time.monotonic() + _REST_S
            raise UnusableError from error
        if stays and len(node.idle) < _KEPT:
            node.idle.append(line)
        else:
            _close(line)
        return status, answer

    def _next(self) -> _Node:
        now = time.monotonic()
        for _ in self._nodes:
            node = self._nodes[next(self._turns) % len(self._nodes)]
            if node.rests_until <= now:
                return node
            while node.idle:
                _close(node.idle.pop())
        raise UnusableError

    def close(self) -> None:
        """Close what is idle."""
        for node in self._nodes:
            while node.idle:
                _close(node.idle.pop())


def _close(line: socket.socket | None) -> None:
    if line is not None:
        with suppress(OSError):
            line.close()


def _read(line: socket.socket) -> tuple[int, bytes, bool]:
    """Status, body, and whether the connection may be used again.

    Raises:
        OSError: the connection broke.
        ValueError: this is no answer that names its own end.
    """
    received = line.recv(_RECEIVE)
    while _END not in received:
        received = _more(line, received)
        if len(received) > _MAX_HEAD and _END not in received[: _MAX_HEAD + len(_END)]:
            raise ValueError("a head without an end")
    head, _, rest = received.partition(_END)
    fields = dict(_field(text) for text in head.split(b"\r\n")[1:])
    if not head.startswith(b"HTTP/1.1 ") or b"content-encoding" in fields:
        raise ValueError("an answer of another protocol")
    stays = fields.get(b"connection", b"").lower() != b"close"
    if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
        return int(head[_STATUS]), _chunked(line, rest), stays
    length = int(fields[b"content-length"]) if b"content-length" in fields else -1
    if length < len(rest):
        raise ValueError("an answer without an end, or with more than one")
    return int(head[_STATUS]), _whole(line, rest, length), stays


def _field(text: bytes) -> tuple[bytes, bytes]:
    name, _, value = text.partition(b":")
    return name.lower(), value.strip()


def _more(line: socket.socket, received: bytes) -> bytes:
    some = line.recv(_RECEIVE)
    if not some:
        raise ConnectionError("closed in the middle of an answer")
    return received + some


def _whole(line: socket.socket, received: bytes, length: int) -> bytes:
    parts, have = [received], len(received)
    while have < length:
        some = line.recv(min(_RECEIVE, length - have))
        if not some:
            raise ConnectionError("closed in the middle of an answer")
        parts.append(some)
        have += len(some)
    return b"".join(parts)


def _chunked(line: socket.socket, received: bytes) -> bytes:
    """A body in chunks, whose extensions and trailers, which nobody sends us, are not understood."""
    parts: list[bytes] = []
    while True:
        while b"\r\n" not in received:
            received = _more(line, received)
        size_text, _, received = received.partition(b"\r\n")
        if not size_text.isalnum():
            raise ValueError("a chunk without a size")
        size = int(size_text, 16)
        if len(received) < size + 2:
            received = _whole(line, received, size + 2)
        if received[size : size + 2] != b"\r\n":
            raise ValueError("a chunk that does not end where it says")
        if size == 0:
            if len(received) > 2:  # noqa: PLR2004 - the line's end
                raise ValueError("more than one answer")
            return b"".join(parts)
        parts.append(received[:size])
        received = received[size + 2 :]
