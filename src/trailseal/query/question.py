"""A question as it was asked: filters, page and cursor, before anybody's tenants are applied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from trailseal.model.query import Condition, Exact, Field, Query
from trailseal.query.times import Bound, resolve

DEFAULT_LIMIT = 100
MAX_LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class Question:
    """What the parameters say.

    Attributes:
        query: the filters; its times are open until `at` fills them in, its tenants until `scoped` does.
        filter_key: names the filters, the order and the times *as written*; a cursor is bound to it.
        time_from: inclusive start, or None.
        time_to: exclusive end, or None.
        limit: events a page, 1-1000.
        cursor: where to go on, as received, or None.
        with_record: whether each event brings the original record.
        with_seal: whether each event brings its leaf and the checkpoint that covers it.
    """

    query: Query
    filter_key: bytes
    time_from: Bound | None = None
    time_to: Bound | None = None
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None
    with_record: bool = False
    with_seal: bool = False

    @property
    def relative(self) -> bool:
        """Whether the window moves with the clock."""
        return any(bound is not None and bound.relative for bound in (self.time_from, self.time_to))

    def at(self, now_us: int) -> Query:
        """The query with its window as of ``now_us`` (microseconds since 1970 UTC)."""
        if self.time_from is None and self.time_to is None:
            return self.query
        return msgspec.structs.replace(
            self.query, time_from_us=resolve(self.time_from, now_us), time_to_us=resolve(self.time_to, now_us)
        )


def scoped(query: Query, tenants: Sequence[str] | None) -> Query:
    """The query bound to the tenants a credential may see, narrowed by its own tenant filters.

    Plain ``tenant_id=`` filters move into `Query.tenants`, so that two ways to ask for the same tenants share
    their answers; anything else about tenants stays a condition on top.

    Args:
        query: what was asked.
        tenants: what the credential may see; None = every tenant.
    """
    allowed = None if tenants is None else set(tenants)
    kept: list[Condition] = []
    for condition in query.conditions:
        exact = [match.text for match in condition.any_of if isinstance(match, Exact)]
        if condition.field is Field.TENANT and not condition.negated and len(exact) == len(condition.any_of):
            allowed = set(exact) if allowed is None else allowed & set(exact)
        else:
            kept.append(condition)
    bound = None if allowed is None else tuple(sorted(allowed))
    return msgspec.structs.replace(query, tenants=bound, conditions=tuple(kept))
