"""Questions in, complete answers out: the query service behind the API, the viewer and the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from trailseal.errors import InvalidQuery, NotFound, Problem, Rebuilding, Unavailable
from trailseal.formats.rendering import EventSeal, render
from trailseal.model.projection import Hit
from trailseal.model.query import Condition, Exact, Field, Query
from trailseal.model.timestamps import month
from trailseal.ports.cache import Found, QueryCache
from trailseal.ports.clock import Clock
from trailseal.ports.index import EventIndex
from trailseal.query.answers import Answer, page_body, unpack
from trailseal.query.cursors import CursorCodec
from trailseal.query.flights import SingleFlight
from trailseal.query.plan import Plan, Tenants, plan
from trailseal.query.question import Question
from trailseal.sealing.evidence import Evidence
from trailseal.telemetry import CACHE_REQUESTS

FRESH_TTL_S = 2.0
"""Life of an answer computed while a write may not be visible yet."""
OPEN_TTL_S = 5.0
PAST_TTL_S = 600.0
STALE_TTL_S = 60.0
"""How old an answer may be that is shown, marked, because the index does not answer."""
_CLAIM_TTL_S = 5.0
_CLAIM_POLL_S = 0.025
_CLAIM_POLLS = 40
_SAME_ID = 64
_hit = CACHE_REQUESTS.labels(result="hit")
_miss = CACHE_REQUESTS.labels(result="miss")
_bypass = CACHE_REQUESTS.labels(result="bypass")
_stale = CACHE_REQUESTS.labels(result="stale")


class QueryService:
    """Answers questions from the index, rendered from the records, through the cache.

    The bound it keeps: while the consumer reaches the cache, a write is never hidden longer than the refresh
    interval plus two seconds. An answer is bound to tokens read *before* its search; the consumer renews them
    around each write, and an answer computed within two refreshes of a renewal lives two seconds, counted from
    that reading.
    """

    def __init__(
        self, index: EventIndex, cache: QueryCache, clock: Clock, secret: bytes, evidence: Evidence | None
    ) -> None:
        self._index = index
        self._evidence = evidence
        self._cache = cache
        self._clock = clock
        self._codec = CursorCodec(secret)
        self._flights = SingleFlight(clock.monotonic)

    def plan(self, question: Question, tenants: Tenants) -> Plan:
        """Bind a question to a credential's tenants as of now; see `query.plan.plan`."""
        return plan(question, tenants, self._clock.now_us(), self._codec)

    def search(self, page: Plan) -> Answer:
        """One page: ``{"events": […], "next_cursor": …, "has_more": …}``.

        Raises:
            Unavailable: the index cannot answer completely, and no earlier answer may stand in.
        """
        return self._find(page) if page.with_seal else self._cached("search", page, self._find)

    def count(self, page: Plan) -> Answer:
        """How many events match: ``{"count": …, "exact": …}``.

        Raises:
            Unavailable: as `search`.
        """
        return self._cached("count", page, self._count)

    def event(
        self,
        event_id: str,
        tenants: Tenants,
        *,
        timestamp_us: int | None = None,
        with_record: bool = False,
        with_seal: bool = False,
    ) -> bytes:
        """The event of that id as JSON.

        Args:
            event_id: the producer's id.
            tenants: who may be looked at.
            timestamp_us: when it happened, as a hint: its month is looked at first.
            with_record: whether to bring the original record.
            with_seal: whether to bring its leaf and the checkpoint that covers it.

        Raises:
            NotFound: no visible event has that id.
            InvalidQuery: several tenants or months have it, and nothing says which is meant.
            Unavailable: the index cannot answer.
        """
        hit = self.find(event_id, tenants, timestamp_us=timestamp_us)
        (seal,) = self._seals([hit]) if with_seal else (None,)
        return render(hit, with_record=with_record, seal=seal)

    def find(self, event_id: str, tenants: Tenants, *, timestamp_us: int | None = None) -> Hit:
        """The event of that id with its record; see `event`."""
        query = Query(tenants=tenants, conditions=(Condition(Field.ID, (Exact(event_id),)),), order="asc")
        hits = () if tenants == () else self._index.search(query, None, _SAME_ID)
        if timestamp_us is not None:
            hits = [hit for hit in hits if month(hit.key.timestamp_us) == month(timestamp_us)] or hits
        if not hits:
            raise NotFound("No event has this id here. An event shows up one refresh after it was accepted.")
        if len({(hit.key.tenant_id, month(hit.key.timestamp_us)) for hit in hits}) > 1:
            detail = "Several events have this id, in different tenants or months: add tenant_id or timestamp."
            raise InvalidQuery(Problem("ambiguous-id", detail, parameter="tenant_id"))
        return min(hits, key=lambda hit: hit.key.position)

    def _seals(self, hits: Sequence[Hit]) -> Sequence[EventSeal | None]:
        if self._evidence is None:
            return [None] * len(hits)
        return self._evidence.seals([hit.record.position for hit in hits])

    def _find(self, page: Plan) -> Answer:
        hits: Sequence[Hit] = ()
        if page.query.tenants != ():
            hits = self._index.search(page.query, page.after, page.limit + 1)
        rows = hits[: page.limit]
        next_cursor = None
        if len(hits) > page.limit:
            window = (page.query.time_from_us, page.query.time_to_us)
            next_cursor = self._codec.encode(rows[-1].key, window, page.filter_key, page.scope)
        seals = self._seals(rows) if page.with_seal else [None] * len(rows)
        events = [
            render(hit, with_record=page.with_record, seal=seal) for hit, seal in zip(rows, seals, strict=True)
        ]
        return Answer(page_body(events, next_cursor), next_cursor)

    def _count(self, page: Plan) -> Answer:
        if page.query.tenants == ():
            return Answer(b'{"count":0,"exact":true}')
        counted = self._index.count(page.query)
        return Answer(msgspec.json.encode({"count": counted.value, "exact": counted.exact}))

    def _cached(self, kind: str, page: Plan, compute: Callable[[Plan], Answer]) -> Answer:
        name = f"{kind}:{page.digest}"
        try:
            return unpack(self._flights.run(name, lambda: self._answer(name, page, compute)))
        except Rebuilding:
            raise
        except Unavailable:
            earlier = self._cache.earlier(name)
            if earlier is None:
                raise
            _stale.inc()
            return unpack(earlier, stale=True)

    def _answer(self, name: str, page: Plan, compute: Callable[[Plan], Answer]) -> bytes:
        """The answer from the cache, from another process that is at it, or computed and kept."""
        polls_left = _CLAIM_POLLS
        while True:
            started = self._clock.monotonic()
            found = self._cache.find(name, page.names, _CLAIM_TTL_S)
            if found is None:
                _bypass.inc()
                return compute(page).packed()
            if found.value is not None:
                _hit.inc()
                return found.value
            if found.claim is not None or not polls_left:
                _miss.inc()
                return self._compute(name, page, found, started, compute)
            polls_left -= 1
            self._clock.wait(_CLAIM_POLL_S)

    def _compute(
        self, name: str, page: Plan, found: Found, started: float, compute: Callable[[Plan], Answer]
    ) -> bytes:
        try:
            packed = compute(page).packed()
        except BaseException:
            self._cache.release(name, found)
            raise
        spent = self._clock.monotonic() - started
        self._cache.keep(name, found, packed, self._ttl(page, found) - spent, STALE_TTL_S)
        return packed

    def _ttl(self, page: Plan, found: Found) -> float:
        if found.age_s < 2 * self._index.refresh_interval_s:
            return FRESH_TTL_S
        end = page.query.time_to_us
        return PAST_TTL_S if end is not None and end <= self._clock.now_us() else OPEN_TTL_S
