"""Whose document has an id already: what a conflict is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from trailseal.adapters.elasticsearch.connection import Connection, decoded
from trailseal.adapters.indexes.elasticsearch.documents import IDENTITY_FIELDS, StoredIdentity
from trailseal.errors import Unavailable
from trailseal.ports.index import Present, Retry, Tombstone

AT_ONCE: Final = 1_000
_WHAT: Final = "a look-up of taken ids"


class _Found(msgspec.Struct, frozen=True, gc=False):
    found: bool = False
    source: StoredIdentity | None = msgspec.field(name="_source", default=None)


class _Lookup(msgspec.Struct, frozen=True, gc=False):
    docs: list[_Found]


_LOOKUP: Final = msgspec.json.Decoder(_Lookup)


def holders(connection: Connection, names: Sequence[tuple[str, str]]) -> list[Present | Tombstone | Retry]:
    """Who holds each (index or alias, id): read by id, which sees what no refresh has shown yet.

    Raises:
        Unavailable: it cannot be asked now.
    """
    verdicts: list[Present | Tombstone | Retry] = []
    for start in range(0, len(names), AT_ONCE):
        part = names[start : start + AT_ONCE]
        wanted = [{"_index": index, "_id": name, "_source": IDENTITY_FIELDS} for index, name in part]
        answer = connection.request(
            "POST",
            "/_mget?filter_path=docs.found,docs.error.type,docs._source",
            msgspec.json.encode({"docs": wanted}),
            what=_WHAT,
        )
        found = decoded(_LOOKUP, answer, _WHAT).docs
        if len(found) != len(part):
            raise Unavailable("Elasticsearch answered for another number of ids than asked; they are asked again")
        verdicts += map(_holder, found)
    return verdicts


def _holder(found: _Found) -> Present | Tombstone | Retry:
    if not found.found or found.source is None:
        return Retry("the id was taken a moment ago and is free now")
    if found.source.erased:
        return Tombstone(found.source.position)
    return Present(found.source.position, found.source.content_hash)
