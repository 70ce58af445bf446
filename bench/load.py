"""Clients that keep their connection open and count finished requests; in a process of their own."""

from __future__ import annotations

import multiprocessing
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

_BUFFER = 1 << 16


@dataclass(frozen=True, slots=True)
class Load:
    """What came out: requests a second, and the slowest hundredth in seconds."""

    per_second: float
    p99_s: float
    requests: int


def get(path: str, port: int) -> bytes:
    """A GET request as bytes."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()


def post(path: str, port: int, body: bytes, content_type: str = "application/json") -> bytes:
    """A POST request as bytes."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {content_type}\r\n"
    return head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


class Connection:
    """One kept connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, request: bytes) -> bytes:
        """Send a request, return the body; anything but 200 is an error."""
        self._socket.sendall(request)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._more()
        head, _, body = received.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"unexpected answer: {head[:200]!r} {body[:200]!r}")
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            return self._chunked(body)
        length = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
        parts, have = [body], len(body)
        while have < length:
            parts.append(self._more())
            have += len(parts[-1])
        return b"".join(parts)

    def _chunked(self, received: bytes) -> bytes:
        """A body that ends with an empty chunk, its chunks' lengths left in it: nobody reads it."""
        while not received.endswith(b"\r\n0\r\n\r\n"):
            received += self._more()
        return received

    def _more(self) -> bytes:
        chunk = self._socket.recv(_BUFFER)
        if not chunk:
            raise RuntimeError("the server closed the connection")
        return chunk


def hammer(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    """``clients`` connections send the requests round-robin for that long."""
    queue: Any = multiprocessing.get_context("spawn").Queue()
    process = multiprocessing.get_context("spawn").Process(
        target=_clients, args=(port, requests, clients, seconds, queue)
    )
    process.start()
    found: Load | None
    found, failure = queue.get(timeout=seconds + 60)
    process.join()
    if found is None:
        raise RuntimeError(failure)
    return found


def _clients(port: int, requests: Sequence[bytes], clients: int, seconds: float, queue: Any) -> None:
    times: list[list[float]] = [[] for _ in range(clients)]
    failures: list[str] = []
    end = time.perf_counter() + seconds

    def run(number: int) -> None:
        try:
            _ask_until(port, requests, number, clients, end, times[number])
        except (OSError, RuntimeError) as error:
            failures.append(str(error))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = time.perf_counter() - started
    every = sorted(value for values in times for value in values)
    if failures or not every:
        queue.put((None, failures[0] if failures else "nothing was answered"))
        return
    queue.put((Load(len(every) / spent, every[int(len(every) * 0.99)], len(every)), ""))


def _ask_until(port: int, requests: Sequence[bytes], first: int, step: int, end: float, times: list[float]) -> None:
    connection = Connection(port)
    at = first
    while (before := time.perf_counter()) < end:
        connection.ask(requests[at % len(requests)])
        times.append(time.perf_counter() - before)
        at += step


def median_ratio(ours: Callable[[], float], theirs: Callable[[], float], rounds: int) -> tuple[float, float, float]:
    """Medians of ours and theirs measured in turn, and the median of the pairs' ratios."""
    pairs = [(ours(), theirs()) for _ in range(rounds)]
    middle = rounds // 2
    ratios = sorted(a / b for a, b in pairs)
    return sorted(a for a, _ in pairs)[middle], sorted(b for _, b in pairs)[middle], ratios[middle]
