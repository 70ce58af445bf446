"""Writing many documents at once: bytes in, one result per document out.

A line is an action and a document, encoded by the caller once; here lines are only joined. Requests are cut by
size and count, several are in flight, and what Elasticsearch finds too large is halved.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import msgspec

from trailseal.adapters.elasticsearch.connection import (
    NDJSON,
    Answer,
    Connection,
    decoded,
    error_type,
    missing_right,
)
from trailseal.errors import Unavailable

_FILTER: Final = "filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason"
_DENIED: Final = "security_exception"
_UNREADABLE: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE})
_ELSEWHERE: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_ACCEPTABLE})
_WHAT: Final = "a bulk request"
_NAME: Final = re.compile(rb'"_index":"([^"]+)"')


class _Cause(msgspec.Struct, frozen=True, gc=False):
    """The reason may quote an event, so nobody shows it."""

    type: str
    reason: str | None = None


class ItemResult(msgspec.Struct, frozen=True, gc=False):
    """What became of one document.

    Attributes:
        status: as an HTTP status: 201 = created, 409 = the id is taken, …
        error: the type of the error, or None.
    """

    status: int
    error: _Cause | None = None

    @property
    def error_type(self) -> str:
        """The error's type in Elasticsearch's words, or ``none``."""
        return "none" if self.error is None else self.error.type

    @property
    def told(self) -> str:
        """Status and type for messages; of what was denied, the privilege that would have allowed it, and where."""
        short = f"{self.status} {self.error_type}"
        if self.error is None or self.error.type != _DENIED or self.status != HTTPStatus.FORBIDDEN:
            return short
        return f"{short}: {missing_right(self.error.reason or '')}"


class _Item(msgspec.Struct, frozen=True, gc=False):
    """One result, under the name of its action."""

    create: ItemResult | None = None
    index: ItemResult | None = None
    delete: ItemResult | None = None


class _BulkAnswer(msgspec.Struct, frozen=True, gc=False):
    errors: bool
    items: list[_Item]


_ANSWER: Final = msgspec.json.Decoder(_BulkAnswer)


@dataclass(frozen=True, slots=True)
class BulkLimits:
    """How large a request gets and how many are under way.

    Attributes:
        max_bytes: of one request; Elasticsearch advises "a couple tens of megabytes" at most.
        max_items: documents in one request.
        in_flight: requests at the same time.
    """

    max_bytes: int = 5 * 1024 * 1024
    max_items: int = 5_000
    in_flight: int = 2


class BulkWriter:
    """Sends lines to ``_bulk``. Safe to use from many threads, which share its requests in flight."""

    def __init__(self, connection: Connection, limits: BulkLimits, *, require_alias: bool) -> None:
        self._connection = connection
        self._limits = limits
        self._target = f"/_bulk?{'require_alias=true&' if require_alias else ''}{_FILTER}"
        self._pool = ThreadPoolExecutor(limits.in_flight, thread_name_prefix="elasticsearch-bulk")

    def send(self, lines: Iterable[bytes]) -> list[ItemResult]:
        """Send every line, an action and its document; one result each, in order.

        The next request is built while others are under way.
        Returns when nothing is in flight any more, so that a caller who tries again meets no earlier self.

        Raises:
            Unavailable: at least one request got no usable answer; any part may have been written.
            PipelineFault: Elasticsearch refused the call as such.
        """
        requests: list[Future[list[ItemResult]]] = []
        try:
            chunk: list[bytes] = []
            size = 0
            for line in lines:
                if chunk and (size + len(line) > self._limits.max_bytes or len(chunk) >= self._limits.max_items):
                    requests.append(self._pool.submit(self._send, chunk))
                    chunk, size = [], 0
                chunk.append(line)
                size += len(line)
            if chunk:
                requests.append(self._pool.submit(self._send, chunk))
        finally:
            wait(requests)
        return [result for request in requests for result in request.result()]

    def _send(self, chunk: Sequence[bytes]) -> list[ItemResult]:
        answer = self._connection.request(
            "POST",
            self._target,
            b"".join(chunk),
            what=_told(chunk),
            allow=_UNREADABLE | _ELSEWHERE,
            content_type=NDJSON,
        )
        if answer.ok:
            return _results(answer, len(chunk))
        if answer.status in _ELSEWHERE:
            raise Unavailable(f"what answers {_WHAT} is not Elasticsearch's bulk endpoint ({answer.status})")
        if len(chunk) == 1:
            return [ItemResult(answer.status, _Cause(error_type(answer.body)))]
        middle = len(chunk) // 2
        return [*self._send(chunk[:middle]), *self._send(chunk[middle:])]

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()


def _told(chunk: Sequence[bytes]) -> str:
    """The request in words, with where it goes: of one that is denied as a whole Elasticsearch names no index."""
    found = (_NAME.search(line) for line in (chunk[0], chunk[-1]))
    names = dict.fromkeys(one[1].decode() for one in found if one is not None)
    return f"{_WHAT} to {', '.join(names)}" if names else _WHAT


def _results(answer: Answer, expected: int) -> list[ItemResult]:
    items = decoded(_ANSWER, answer, _WHAT).items
    if len(items) != expected:
        raise Unavailable(f"Elasticsearch answered for {len(items)} documents of {expected}; all are sent again")
    results = [item.create or item.index or item.delete for item in items]
    if None in results:
        raise Unavailable(f"Elasticsearch's answer to {_WHAT} lacks a result; all are sent again")
    return [result for result in results if result is not None]
