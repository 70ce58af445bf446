"""Rows: `GET /events` on the cluster: not cached against the same searches, from Redis against an empty route."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from urllib.parse import urlsplit

from bench.cluster_ingest import consumed
from bench.cluster_servers import COMMAND, Servers, corner, servers
from bench.load import get, hammer, median_ratio, post
from bench.row import Row
from bench.servers import peer, started
from trailseal.adapters.indexes.elasticsearch.filters import query_clause
from trailseal.model.query import Condition, Exact, Field, Query
from trailseal.model.timestamps import format_rfc3339

_EVENTS = 20_000
_QUESTIONS = 5_000
_CLIENTS = 8
_SECONDS = 5.0
_ROUNDS = 3
_LIMIT = 20
_DAY_US = 86_400_000_000
_START_US = 1_767_225_600_000_000
_SORT = ("timestamp", "tenant_id", "id", "log", "partition", "offset")
_WANTED = "timed_out,_shards.total,_shards.successful,_shards.failed,hits.hits._source.record,hits.hits.sort"


def measure(size: float) -> list[Row]:
    """Requests a second; each asks for twenty events of one tenant and action, from a time of its own on."""
    running, seconds = servers(), _seconds(size)
    with _filled(running) as environment:
        port = int(environment["TRAILSEAL_PORT"])
        node = urlsplit(running.elasticsearch).port or 9200
        target = f"/{urlsplit(environment['TRAILSEAL_LOG']).path.strip('/')}-audit-2026.01/_search"
        target += f"?allow_partial_search_results=false&filter_path={_WANTED}"
        starts = [_START_US + number * 1_000 for number in range(_QUESTIONS)]
        asked = iter(range(10**9))

        def ours() -> float:
            # Questions of this round alone: what an earlier one cached must not answer.
            shift = next(asked)
            return hammer(port, [get(_path(at + shift), port) for at in starts], _CLIENTS, seconds).per_second

        def theirs() -> float:
            requests = [post(target, node, _search(at)) for at in starts]
            return hammer(node, requests, _CLIENTS, seconds).per_second

        with _served(environment):
            theirs()
            mine, other, ratio = median_ratio(ours, theirs, _ROUNDS)
    return [Row("GET /events, not cached, one worker", f"{mine:,.0f}/s", f"{other:,.0f}/s", ratio, 0.6)]


def measure_cached(size: float) -> list[Row]:
    """Requests a second; one page of twenty events, asked for again and again."""
    seconds = _seconds(size)
    with _filled(servers()) as environment, _served(environment), peer("empty") as other:
        port = int(environment["TRAILSEAL_PORT"])
        mine, theirs, ratio = median_ratio(
            lambda: hammer(port, [get(_path(_START_US), port)], _CLIENTS, seconds).per_second,
            lambda: hammer(other, [get("/events", other)], _CLIENTS, seconds).per_second,
            _ROUNDS,
        )
    return [Row("GET /events, cached in Redis, one worker", f"{mine:,.0f}/s", f"{theirs:,.0f}/s", ratio, 0.5)]


def _seconds(size: float) -> float:
    return max(1.0, _SECONDS * min(1.0, size))


@contextmanager
def _filled(running: Servers) -> Iterator[dict[str, str]]:
    """A corner of the servers in which the events are taken in; its environment."""
    with corner(running) as environment:
        with consumed(environment, _EVENTS) as (engines, _, _):
            engines.index.refresh()
        yield environment


def _served(environment: dict[str, str]) -> AbstractContextManager[int]:
    port = int(environment["TRAILSEAL_PORT"])
    return started([COMMAND, "serve", "--workers", "1"], port, "/healthz", environment)


def _path(start_us: int) -> str:
    times = f"time_from={format_rfc3339(start_us)}&time_to={format_rfc3339(_START_US + _DAY_US)}"
    return f"/events?tenant_id=tenant-3&action=document.viewed&{times}&limit={_LIMIT}"


def _search(start_us: int) -> bytes:
    """What our index asks for the same page; one more row, which tells whether there is a next page."""
    query = Query(
        conditions=(Condition(Field.ACTION, (Exact("document.viewed"),)),),
        tenants=("tenant-3",),
        time_from_us=start_us,
        time_to_us=_START_US + _DAY_US,
    )
    body = {
        "size": _LIMIT + 1,
        "query": query_clause(query),
        "sort": [{name: "desc"} for name in _SORT],
        "track_total_hits": False,
        "_source": ["record"],
        "timeout": "10000ms",
    }
    return json.dumps(body).encode()
