"""One HTTP exchange, byte by byte: what a real node sends only now and then, in pieces cut anywhere."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest
from elastic_transport import NodeConfig
from hypothesis import given, settings
from hypothesis import strategies as st

from trailseal.adapters.elasticsearch.connection import Connection
from trailseal.adapters.elasticsearch.lines import Lines, OutOfTimeError, UnusableError, _read
from trailseal.adapters.elasticsearch.options import ElasticsearchOptions
from trailseal.errors import Unavailable

OK = b"HTTP/1.1 200 OK\r\nX-elastic-product: Elasticsearch\r\n"


def answered(pieces: list[bytes]) -> tuple[int, bytes, bool]:
    """What is made of an answer that comes in these pieces, before the other side hangs up."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for piece in pieces:
            theirs.sendall(piece)
        theirs.shutdown(socket.SHUT_WR)
        return _read(ours)


def chunked(*parts: bytes) -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))
    return OK + b"Transfer-Encoding: chunked\r\n\r\n" + body


def cut(whole: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(whole), *(place % len(whole) for place in places)})
    return [whole[start:stop] for start, stop in pairwise(edges)]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=60), max_size=4), st.lists(st.integers(0, 10_000), max_size=6))
def test_a_body_is_whole_wherever_it_was_cut(parts: list[bytes], places: list[int]) -> None:
    body = b"".join(parts)
    assert answered(cut(chunked(*parts), places)) == (200, body, True)
    plain = OK + b"content-length: %d\r\n\r\n%b" % (len(body), body)
    assert answered(cut(plain, places)) == (200, body, True)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        OK + b"\r\n{}",
        OK + b"content-length: 5\r\n\r\n{}",
        OK + b"content-length: 1\r\n\r\n{}",
        OK + b"content-length: x\r\n\r\n{}",
        OK + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}",
        OK + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n2\r\n{}0\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
        chunked(b"{}") + b"HTTP/1.1 200 OK\r\n",
        OK + b"x: y\r\n" * 10_000,
    ],
)
def test_an_answer_of_another_form_is_no_answer(answer: bytes) -> None:
    with pytest.raises((OSError, ValueError)):
        answered([answer])


def test_a_connection_that_will_be_closed_is_not_kept() -> None:
    assert answered([OK + b"Connection: close\r\ncontent-length: 2\r\n\r\n{}"]) == (200, b"{}", False)


class Listener:
    """Answers one request per script entry, on one connection each unless it says that it stays."""

    def __init__(self, script: list[bytes | None]) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._script = script
        self.requests: list[bytes] = []
        self.connections = 0
        self.done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def node(self) -> NodeConfig:
        return NodeConfig("http", "127.0.0.1", self._socket.getsockname()[1], headers={"authorization": "Basic x"})

    def _run(self) -> None:
        while self._script:
            connection, _ = self._socket.accept()
            self.connections += 1
            with connection:
                while self._script:
                    self.requests.append(connection.recv(65_536))
                    answer = self._script.pop(0)
                    if answer is None:
                        break
                    connection.sendall(answer)
        self.done.wait(30)

    def close(self) -> None:
        self.done.set()
        self._socket.close()


@contextmanager
def listener(*script: bytes | None) -> Iterator[Listener]:
    running = Listener(list(script))
    try:
        yield running
    finally:
        running.close()


def test_one_connection_serves_many_questions_and_says_who_asks() -> None:
    with listener(chunked(b"1"), chunked(b"2")) as node:
        lines = Lines([node.node])
        assert lines.post("/a/_search?x=1", b"{}", 5) == (200, b"1")
        assert lines.post("/b/_search", b"{}", 5) == (200, b"2")
        lines.close()
        assert node.connections == 1
        first = node.requests[0]
        assert first.startswith(b"POST /a/_search?x=1 HTTP/1.1\r\nhost: 127.0.0.1:")
        assert b"authorization: Basic x\r\n" in first
        assert first.endswith(b"content-length: 2\r\n\r\n{}")


def test_a_node_that_hangs_up_is_left_alone_for_a_while_and_another_one_asked() -> None:
    with listener(None) as bad, listener(chunked(b"1"), chunked(b"2")) as good:
        lines = Lines([bad.node, good.node])
        with pytest.raises(UnusableError):
            lines.post("/a", b"{}", 5)
        assert [lines.post("/a", b"{}", 5)[1] for _ in range(2)] == [b"1", b"2"]
        lines.close()


def test_a_node_that_says_nothing_is_not_asked_twice() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        lines = Lines([NodeConfig("http", "127.0.0.1", silent.getsockname()[1])])
        with pytest.raises(OutOfTimeError):
            lines.post("/a", b"{}", 0.05)
        connection = Connection(ElasticsearchOptions((silent.getsockname()[:2],)))
        with pytest.raises(Unavailable, match="in time"):
            connection.ask("/a", b"{}", what="a search", allow=(), timeout_s=0.05)
        connection.close()


def test_a_connection_that_broke_while_it_was_idle_costs_nobody_an_answer() -> None:
    body = json.dumps({"took": 1}).encode()
    with listener(chunked(b"first"), None, chunked(body)) as node:
        connection = Connection(ElasticsearchOptions(((node.node.host, node.node.port),)))
        assert connection.ask("/a", b"{}", what="a search", allow=(), timeout_s=5).body == b"first"
        assert connection.ask("/a", b"{}", what="a search", allow=(), timeout_s=5).body == body
        connection.close()
