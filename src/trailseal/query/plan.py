"""From a question to everything an answer needs: the bound query, where to go on, and the cache's names for it."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import msgspec

from trailseal.model.freshness import watched
from trailseal.model.projection import SortKey
from trailseal.model.query import Query
from trailseal.query.cursors import CursorCodec, scope_key
from trailseal.query.question import Question, scoped

Tenants = tuple[str, ...] | None
"""Whose events a credential may see, sorted; None = every tenant's."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One page (or one count) to find.

    Attributes:
        query: with tenants and window filled in.
        after: the last event of the page before, or None.
        limit: events a page.
        with_record: whether each event brings the original record.
        with_seal: whether each event brings its seal; such a page is never cached, since seals go on changing.
        filter_key: see `Question.filter_key`.
        scope: see `scope_key`.
        digest: names this page of this query for these tenants.
        names: the freshness tokens the answer depends on.
    """

    query: Query
    after: SortKey | None
    limit: int
    with_record: bool
    with_seal: bool
    filter_key: bytes
    scope: bytes
    digest: str
    names: tuple[str, ...]


def plan(question: Question, tenants: Tenants, now_us: int, codec: CursorCodec) -> Plan:
    """Bind a question to tenants, to a moment and to its cursor.

    Raises:
        InvalidQuery: the cursor is not ours, or belongs to another question or credential.
    """
    query = scoped(question.at(now_us), tenants)
    scope = scope_key(tenants)
    after = None
    if question.cursor is not None:
        cursor = codec.decode(question.cursor, question.filter_key, scope)
        after = cursor.after
        query = msgspec.structs.replace(query, time_from_us=cursor.time_from_us, time_to_us=cursor.time_to_us)
    named = (query, after, question.limit, question.with_record, question.with_seal, question.filter_key, scope)
    return Plan(
        query=query,
        after=after,
        limit=question.limit,
        with_record=question.with_record,
        with_seal=question.with_seal,
        filter_key=question.filter_key,
        scope=scope,
        digest=sha256(msgspec.msgpack.encode(named)).hexdigest(),
        names=watched(query.tenants, query.time_from_us, query.time_to_us),
    )
