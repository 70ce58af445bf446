"""What an index holds: documents by partition, and how far each shard is on all its copies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from trailseal.adapters.elasticsearch.connection import Connection, decoded
from trailseal.errors import Unavailable
from trailseal.model.outcomes import Head

_LOGS: Final = 1_000
_PARTITIONS: Final = 10_000
_BY_PARTITION: Final = {
    "logs": {
        "terms": {"field": "log", "size": _LOGS},
        "aggs": {
            "partitions": {
                "terms": {"field": "partition", "size": _PARTITIONS},
                "aggs": {"erased": {"filter": {"term": {"erased": True}}}},
            }
        },
    }
}
_WHAT: Final = "a count of documents"


class _SeqNo(msgspec.Struct, frozen=True, gc=False):
    max_seq_no: int
    global_checkpoint: int


class _Routing(msgspec.Struct, frozen=True, gc=False):
    primary: bool


class _Copy(msgspec.Struct, frozen=True, gc=False):
    routing: _Routing
    seq_no: _SeqNo | None = None


class _Docs(msgspec.Struct, frozen=True, gc=False):
    count: int


class _Primaries(msgspec.Struct, frozen=True, gc=False):
    docs: _Docs


class _IndexStats(msgspec.Struct, frozen=True, gc=False):
    primaries: _Primaries
    shards: dict[str, list[_Copy]]


class _Stats(msgspec.Struct, frozen=True, gc=False):
    indices: dict[str, _IndexStats] = {}


class _Filtered(msgspec.Struct, frozen=True, gc=False):
    doc_count: int


class _PartitionBucket(msgspec.Struct, frozen=True, gc=False):
    key: int
    doc_count: int
    erased: _Filtered


class _PartitionBuckets(msgspec.Struct, frozen=True, gc=False):
    buckets: list[_PartitionBucket]


class _LogBucket(msgspec.Struct, frozen=True, gc=False):
    key: int
    partitions: _PartitionBuckets


class _LogBuckets(msgspec.Struct, frozen=True, gc=False):
    buckets: list[_LogBucket]


class _Aggregations(msgspec.Struct, frozen=True, gc=False):
    logs: _LogBuckets = _LogBuckets([])


class _Value(msgspec.Struct, frozen=True, gc=False):
    value: int


class _Total(msgspec.Struct, frozen=True, gc=False):
    total: _Value


class _Shards(msgspec.Struct, frozen=True, gc=False):
    total: int
    successful: int


class _Counted(msgspec.Struct, frozen=True, gc=False):
    timed_out: bool
    shards: _Shards = msgspec.field(name="_shards")
    hits: _Total = _Total(_Value(0))
    aggregations: _Aggregations = _Aggregations()


_STATS: Final = msgspec.json.Decoder(_Stats)
_COUNTED: Final = msgspec.json.Decoder(_Counted)


class Checkpoints(msgspec.Struct, frozen=True):
    """How far an index is.

    Attributes:
        shards: by shard, the sequence number up to which every operation is on every copy.
        settled: whether no operation is beyond that.
        documents: how many it holds.
    """

    shards: dict[str, int]
    settled: bool
    documents: int


class Counts(msgspec.Struct, frozen=True):
    """Documents by (log, partition), tombstones included; and tombstones alone."""

    documents: dict[tuple[int, int], int]
    erased: dict[tuple[int, int], int]


def checkpoints(connection: Connection, index: str) -> Checkpoints:
    """How far the index is, by the word of its primaries.

    Raises:
        Unavailable: one of them does not answer.
    """
    target = (
        f"/{index}/_stats/docs?level=shards&filter_path=indices.*.primaries.docs.count,"
        "indices.*.shards.*.routing.primary,indices.*.shards.*.seq_no"
    )
    what = f"the state of {index}"
    found = decoded(_STATS, connection.request("GET", target, what=what), what).indices.get(index)
    primaries = {
        shard: copy.seq_no
        for shard, copies in (found.shards if found else {}).items()
        for copy in copies
        if copy.routing.primary and copy.seq_no is not None
    }
    if found is None or len(primaries) < len(found.shards):
        raise Unavailable(f"not every shard of {index} says how far it is; try again")
    settled = all(state.max_seq_no == state.global_checkpoint for state in primaries.values())
    goals = {shard: state.global_checkpoint for shard, state in primaries.items()}
    return Checkpoints(goals, settled, found.primaries.docs.count)


def refreshed(connection: Connection, index: str) -> None:
    """Make everything written so far visible to searches.

    Raises:
        Unavailable: some copy could not be refreshed.
    """
    answer = connection.request("POST", f"/{index}/_refresh", what=f"a refresh of {index}")
    if b'"failed":0' not in answer.body:
        raise Unavailable(f"not every copy of {index} could be refreshed; try again")


def counts(connection: Connection, index: str) -> Counts:
    """Documents by partition, as visible now."""
    answer = _search(connection, index, {"aggs": _BY_PARTITION}, "aggregations")
    documents: dict[tuple[int, int], int] = {}
    erased: dict[tuple[int, int], int] = {}
    for log in answer.aggregations.logs.buckets:
        for bucket in log.partitions.buckets:
            documents[log.key, bucket.key] = bucket.doc_count
            if bucket.erased.doc_count:
                erased[log.key, bucket.key] = bucket.erased.doc_count
    return Counts(documents, erased)


def differences(before: Counts, after: Counts) -> str:
    """The partitions whose counts differ, as text; empty where none do."""
    named = (("documents", before.documents, after.documents), ("tombstones", before.erased, after.erased))
    return ", ".join(
        f"partition {key[0]}/{key[1]}: {new.get(key, 0)} {what} instead of {old.get(key, 0)}"
        for what, old, new in named
        for key in sorted(old.keys() | new.keys())
        if old.get(key, 0) != new.get(key, 0)
    )


def below(connection: Connection, indices: Iterable[str], heads: Sequence[Head]) -> dict[tuple[int, int], int]:
    """How many living documents the indices hold below each head, by (log, partition)."""
    names = list(indices)
    found = {(head.log, head.partition): 0 for head in heads}
    for head in heads:
        filters: list[dict[str, Any]] = [
            {"range": {"offset": {"lt": head.next}}},
            {"term": {"log": head.log}},
            {"term": {"partition": head.partition}},
        ]
        query = {"bool": {"filter": filters, "must_not": [{"term": {"erased": True}}]}}
        for name in names:
            answer = _search(connection, name, {"query": query, "track_total_hits": True}, "hits.total.value")
            found[head.log, head.partition] += answer.hits.total.value
    return found


def _search(connection: Connection, index: str, body: dict[str, Any], wanted: str) -> _Counted:
    target = (
        f"/{index}/_search?allow_partial_search_results=false"
        f"&filter_path=timed_out,_shards.total,_shards.successful,{wanted}"
    )
    answer = connection.request("POST", target, msgspec.json.encode({"size": 0, **body}), what=_WHAT)
    counted = decoded(_COUNTED, answer, _WHAT)
    if counted.timed_out or counted.shards.successful < counted.shards.total:
        raise Unavailable(f"not every shard of {index} could be counted; try again")
    return counted
