"""The parts of Elasticsearch's answers to searches that we read; everything else is filtered out over there."""

from __future__ import annotations

from typing import Final

import msgspec

from trailseal.adapters.elasticsearch.records import StoredRecord


class Shards(msgspec.Struct, frozen=True, gc=False):
    """How many shards took part."""

    total: int
    successful: int
    failed: int


class Source(msgspec.Struct, frozen=True, gc=False):
    """The part of a document that answers are rendered from."""

    record: StoredRecord


class PageHit(msgspec.Struct, frozen=True, gc=False):
    """One row and its sort values."""

    sort: tuple[int, str, str, int, int, int]
    source: Source = msgspec.field(name="_source")


class Page(msgspec.Struct, frozen=True, gc=False):
    """The rows."""

    hits: list[PageHit] = []


class PageAnswer(msgspec.Struct, frozen=True, gc=False):
    """A page."""

    timed_out: bool
    shards: Shards = msgspec.field(name="_shards")
    hits: Page = Page()


class Total(msgspec.Struct, frozen=True, gc=False):
    """A number of hits; ``relation`` is ``eq`` where it is exact."""

    value: int
    relation: str


class Counted(msgspec.Struct, frozen=True, gc=False):
    """A number of hits."""

    total: Total


class CountAnswer(msgspec.Struct, frozen=True, gc=False):
    """A count."""

    timed_out: bool
    shards: Shards = msgspec.field(name="_shards")
    hits: Counted = msgspec.field()


class OffsetHit(msgspec.Struct, frozen=True, gc=False):
    """One row's sort values."""

    sort: tuple[int, int, str, str]


class Offsets(msgspec.Struct, frozen=True, gc=False):
    """The rows."""

    hits: list[OffsetHit] = []


class OffsetAnswer(msgspec.Struct, frozen=True, gc=False):
    """A list of offsets."""

    timed_out: bool
    shards: Shards = msgspec.field(name="_shards")
    hits: Offsets = Offsets()


class Extreme(msgspec.Struct, frozen=True, gc=False):
    """A smallest or largest value; None where there are no documents."""

    value: float | None = None


class Extremes(msgspec.Struct, frozen=True, gc=False):
    """First and last timestamp."""

    oldest: Extreme = Extreme()
    newest: Extreme = Extreme()


class TotalValue(msgspec.Struct, frozen=True, gc=False):
    """A number of hits."""

    value: int


class SpreadHits(msgspec.Struct, frozen=True, gc=False):
    """A number of hits."""

    total: TotalValue


class SpreadAnswer(msgspec.Struct, frozen=True, gc=False):
    """How documents lie in time."""

    timed_out: bool
    hits: SpreadHits
    shards: Shards = msgspec.field(name="_shards")
    aggregations: Extremes = Extremes()


class PartitionBucket(msgspec.Struct, frozen=True, gc=False):
    """Documents of one partition."""

    key: int
    doc_count: int


class PartitionBuckets(msgspec.Struct, frozen=True, gc=False):
    """The partitions of one log."""

    buckets: list[PartitionBucket]


class LogBucket(msgspec.Struct, frozen=True, gc=False):
    """Documents of one log."""

    key: int
    partitions: PartitionBuckets


class LogBuckets(msgspec.Struct, frozen=True, gc=False):
    """All logs."""

    buckets: list[LogBucket] = []


class ByPartition(msgspec.Struct, frozen=True, gc=False):
    """What `BY_PARTITION` gives."""

    logs: LogBuckets = LogBuckets()


class InventoryAnswer(msgspec.Struct, frozen=True, gc=False):
    """Documents by log and partition."""

    timed_out: bool
    hits: Counted
    shards: Shards = msgspec.field(name="_shards")
    aggregations: ByPartition = ByPartition()


BY_PARTITION: Final = {
    "logs": {
        "terms": {"field": "log", "size": 1_000},
        "aggs": {"partitions": {"terms": {"field": "partition", "size": 10_000}}},
    }
}
INVENTORY_ANSWER: Final = msgspec.json.Decoder(InventoryAnswer)
SPREAD_ANSWER: Final = msgspec.json.Decoder(SpreadAnswer)
PAGE_ANSWER: Final = msgspec.json.Decoder(PageAnswer)
COUNT_ANSWER: Final = msgspec.json.Decoder(CountAnswer)
OFFSET_ANSWER: Final = msgspec.json.Decoder(OffsetAnswer)
