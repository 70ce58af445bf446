"""A real HTTP server before the real Elasticsearch that does, on demand, what a real node will not."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

JSON = "application/json"


class Exchange(BaseHTTPRequestHandler):
    """One request; a fault answers it in its own way, everything else goes through."""

    protocol_version = "HTTP/1.1"
    server: FaultProxy

    def log_message(self, *_args: object) -> None:
        """Stay quiet."""

    def _any(self) -> None:
        self.sent = self.rfile.read(int(self.headers.get("content-length") or 0))
        fault = self.server.next_fault(self)
        if fault is None:
            self.answer(*self.forward(self.sent))
        else:
            fault(self)

    do_GET = do_PUT = do_POST = do_DELETE = _any  # noqa: N815 - the names http.server calls

    def forward(self, body: bytes) -> tuple[int, bytes]:
        """What the real server says to this body."""
        connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=30)
        try:
            headers = {"content-type": self.headers.get("content-type") or JSON}
            connection.request(self.command, self.path, body or None, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def answer(self, status: int, body: bytes, *, content_type: str = JSON, shown: int | None = None) -> None:
        """Send an answer; ``shown``: only so many of its bytes, then hang up."""
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:shown])
        if shown is not None:
            self.close_connection = True


Fault = Callable[[Exchange], None]


class FaultProxy(ThreadingHTTPServer):
    """Answers on a port of its own; ``faults`` for paths that begin so are used up one by one."""

    daemon_threads = True

    def __init__(self, url: str) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 9200
        self.faults: dict[str, deque[Fault]] = {}
        self.seen: list[str] = []
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def script(self, part: str, *faults: Fault) -> None:
        """The next requests whose path holds ``part`` meet these faults, one each."""
        self.faults[part] = deque(faults)

    def next_fault(self, exchange: Exchange) -> Fault | None:
        with self._lock:
            self.seen.append(f"{exchange.command} {exchange.path}")
            for part, faults in self.faults.items():
                if part in exchange.path and faults:
                    return faults.popleft()
        return None


@contextmanager
def fault_proxy(url: str) -> Iterator[FaultProxy]:
    """The proxy, while the block runs."""
    proxy = FaultProxy(url)
    thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()


def status(code: int, kind: str, reason: str = "scripted") -> Fault:
    """The whole request fails and reaches nothing."""
    body = json.dumps({"error": {"type": kind, "reason": reason}, "status": code}).encode()
    return lambda exchange: exchange.answer(code, body)


def page(code: int, text: str) -> Fault:
    """Some proxy answers with a page of its own."""
    return lambda exchange: exchange.answer(code, text.encode(), content_type="text/html")


def cut_off(exchange: Exchange) -> None:
    """Everything is done, and the answer breaks off in the middle."""
    code, body = exchange.forward(exchange.sent)
    exchange.answer(code, body, shown=len(body) // 2)


def cut_off_politely(exchange: Exchange) -> None:
    """The same, with a length that agrees with what is sent."""
    code, body = exchange.forward(exchange.sent)
    exchange.answer(code, body[: len(body) // 2])


def altered(change: Callable[[Any], None]) -> Fault:
    """The real answer with one thing changed."""

    def fault(exchange: Exchange) -> None:
        code, body = exchange.forward(exchange.sent)
        tree = json.loads(body)
        change(tree)
        exchange.answer(code, json.dumps(tree).encode())

    return fault


def items_fail(code: int, kind: str, *places: int, reason: str = "scripted") -> Fault:
    """Some items of a bulk fail and are not written; the others are."""

    def fault(exchange: Exchange) -> None:
        lines = exchange.sent.splitlines(keepends=True)
        pairs = [b"".join(lines[i : i + 2]) for i in range(0, len(lines), 2)]
        through = [pair for place, pair in enumerate(pairs) if place not in places]
        written = iter(json.loads(exchange.forward(b"".join(through))[1])["items"] if through else [])
        failed = {"create": {"status": code, "error": {"type": kind, "reason": reason}}}
        items = [failed if place in places else next(written) for place in range(len(pairs))]
        exchange.answer(200, json.dumps({"errors": True, "items": items}).encode())

    return fault


def larger_than(limit: int) -> Fault:
    """413 for bodies over a limit, as ``http.max_content_length`` does."""

    def fault(exchange: Exchange) -> None:
        if len(exchange.sent) > limit:
            exchange.answer(413, b"")
        else:
            exchange.answer(*exchange.forward(exchange.sent))

    return fault


def reset(exchange: Exchange) -> None:
    """Everything is done, and the connection is reset in the middle of the answer."""
    code, body = exchange.forward(exchange.sent)
    exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    exchange.answer(code, body, shown=len(body) // 2)
    exchange.connection.close()


def silent(exchange: Exchange) -> None:
    """Everything is done, and the connection ends without an answer."""
    exchange.forward(exchange.sent)
    exchange.close_connection = True


class Held:
    """A request that is kept on its way until the test lets it go on, with what became of it then.

    Attributes:
        arrived: it is here.
        status: what the real server said in the end; 0 before.
    """

    def __init__(self) -> None:
        self.arrived, self._go_on = threading.Event(), threading.Event()
        self.status = 0

    def __call__(self, exchange: Exchange) -> None:
        self.arrived.set()
        self._go_on.wait(120)
        self.status, body = exchange.forward(exchange.sent)
        exchange.answer(self.status, body)

    def let_go(self) -> None:
        """Send it on."""
        self._go_on.set()


class Guard:
    """Lets through who presents one of these headers; asks everybody else for a password."""

    def __init__(self, *accepted: str) -> None:
        self._accepted = accepted
        self.refused = 0
        self.content_types: set[str] = set()

    def __call__(self, exchange: Exchange) -> None:
        self.content_types |= {exchange.headers.get(name) or "" for name in ("accept", "content-type")}
        if exchange.headers.get("authorization") in self._accepted:
            exchange.answer(*exchange.forward(exchange.sent))
            return
        self.refused += 1
        exchange.answer(401, b'{"error":{"type":"security_exception","reason":"missing"},"status":401}')
