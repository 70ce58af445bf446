"""What the index makes of trouble: item by item, whole calls, and our own mistakes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from servers.entries import JANUARY, entry
from servers.fault_proxy import (
    Fault,
    FaultProxy,
    altered,
    cut_off,
    cut_off_politely,
    fault_proxy,
    items_fail,
    larger_than,
    page,
    reset,
    silent,
    status,
)
from servers.raw_elasticsearch import RawElasticsearch
from trailseal.adapters.elasticsearch.bulk import BulkLimits
from trailseal.adapters.elasticsearch.options import ElasticsearchOptions
from trailseal.adapters.indexes.elasticsearch import ElasticsearchIndex, IndexOptions
from trailseal.adapters.ledgers.elasticsearch import ElasticsearchLedger
from trailseal.errors import PipelineFault, Unavailable
from trailseal.model.query import Query
from trailseal.model.record import Position
from trailseal.model.terms import metadata_terms
from trailseal.ports.index import Expired, Present, Refused, Retry, Stored, Tombstone


@pytest.fixture
def proxy(elasticsearch_url: str) -> Iterator[FaultProxy]:
    with fault_proxy(elasticsearch_url) as running:
        yield running


@pytest.fixture
def index(
    elasticsearch: ElasticsearchOptions, ledger: ElasticsearchLedger, proxy: FaultProxy
) -> Iterator[ElasticsearchIndex]:
    """An index whose every request passes the proxy; the register of months does not."""
    through = dataclasses.replace(
        elasticsearch, hosts=(("127.0.0.1", proxy.server_address[1]),), search_timeout_s=5.0
    )
    opened = ElasticsearchIndex(through, ledger, IndexOptions(bulk=BulkLimits(max_items=10)))
    yield opened
    opened.close()


def _offsets(index: ElasticsearchIndex) -> list[int]:
    index.refresh()
    return index.offsets(1, 0, 0, 1_000_000)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (429, "es_rejected_execution_exception"),
        (503, "unavailable_shards_exception"),
        (500, "circuit_breaking_exception"),
        (403, "cluster_block_exception"),
        (403, "security_exception"),
    ],
)
def test_only_the_items_that_failed_are_told_to_come_again(
    index: ElasticsearchIndex, proxy: FaultProxy, code: int, kind: str
) -> None:
    entries = [entry(offset) for offset in range(5)]
    proxy.script("/_bulk", items_fail(code, kind, 1, 3))

    verdicts = index.put(entries)

    assert [type(verdict) for verdict in verdicts] == [Stored, Retry, Stored, Retry, Stored]
    assert index.put([entries[1], entries[3]]) == [Stored(), Stored()]
    assert _offsets(index) == [0, 1, 2, 3, 4]


DENIED = (
    "action [indices:data/write/index] is unauthorized for user [canary] with effective roles [canary] on indices"
    " [audit-2026.03], this action is granted by the index privileges [create_doc,create,index,write,all]"
)
NEEDED = "our role needs the index privilege create_doc or create or index or write on audit-2026.03"


def test_a_denied_item_says_which_privilege_is_missing_and_on_which_index(
    index: ElasticsearchIndex, proxy: FaultProxy
) -> None:
    proxy.script("/_bulk", items_fail(403, "security_exception", 1, reason=DENIED))

    assert index.put([entry(0), entry(1)]) == [Stored(), Retry(f"403 security_exception: {NEEDED}")]

    proxy.script("/_bulk", status(403, "security_exception", DENIED))
    with pytest.raises(Unavailable, match=NEEDED) as denied:
        index.put([entry(1)])
    assert "canary" not in str(denied.value)


def test_why_an_item_failed_otherwise_is_not_told_for_it_may_quote_the_event(
    index: ElasticsearchIndex, proxy: FaultProxy
) -> None:
    proxy.script("/_bulk", items_fail(429, "es_rejected_execution_exception", 0, reason=f"canary {DENIED}"))

    assert index.put([entry(0)]) == [Retry("429 es_rejected_execution_exception")]


def test_a_document_that_cannot_be_shown_is_not_called_missing(
    index: ElasticsearchIndex, proxy: FaultProxy
) -> None:
    entries = [entry(0), entry(1)]
    index.put(entries)

    def deny(tree: dict[str, Any]) -> None:
        tree["docs"][1] = {"_index": "a", "_id": "b", "error": {"type": "no_shard_available_action_exception"}}

    proxy.script("/_mget", altered(deny))
    with pytest.raises(Unavailable, match="cannot show a document now \\(no_shard_available_action_exception\\)"):
        index.compare(entries)
    assert index.compare(entries) == [None, None]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(status(429, "es_rejected_execution_exception"), id="429"),
        pytest.param(status(408, "timeout"), id="408"),
        pytest.param(status(503, "master_not_discovered_exception"), id="503"),
        pytest.param(status(403, "cluster_block_exception"), id="403-block"),
        pytest.param(status(401, "security_exception"), id="401"),
        pytest.param(status(403, "security_exception"), id="403"),
        pytest.param(status(404, "no_handler"), id="404"),
        pytest.param(page(502, "<h1>Bad gateway</h1>"), id="502-page"),
        pytest.param(page(200, "<h1>Welcome</h1>"), id="200-page"),
        pytest.param(cut_off, id="connection-cut"),
        pytest.param(cut_off_politely, id="answer-cut"),
        pytest.param(reset, id="connection-reset"),
        pytest.param(silent, id="no-answer"),
        pytest.param(altered(lambda tree: tree["items"].pop()), id="one-item-short"),
        pytest.param(altered(lambda tree: tree["items"].append(tree["items"][0])), id="one-item-more"),
        pytest.param(altered(lambda tree: tree["items"][1].pop("create")), id="an-item-without-a-result"),
        pytest.param(altered(lambda tree: tree.pop("items")), id="no-items"),
    ],
)
def test_a_call_that_failed_as_a_whole_is_unavailable_and_its_repetition_harmless(
    index: ElasticsearchIndex, proxy: FaultProxy, fault: Fault
) -> None:
    entries = [entry(offset) for offset in range(3)]
    index.put([entry(100)])
    proxy.script("/_bulk", fault)

    with pytest.raises(Unavailable):
        index.put(entries)
    again = index.put(entries)

    for one, verdict in zip(entries, again, strict=True):
        assert isinstance(verdict, Stored) or verdict == Present(
            one.projection.position, one.projection.content_hash
        )
    assert _offsets(index) == [0, 1, 2, 100]


def test_when_one_of_several_requests_fails_nothing_is_left_in_flight(
    index: ElasticsearchIndex, proxy: FaultProxy
) -> None:
    entries = [entry(offset) for offset in range(45)]
    proxy.script("/_bulk", status(429, "es_rejected_execution_exception"))

    with pytest.raises(Unavailable):
        index.put(entries)
    requests = len(proxy.seen)

    assert sum(isinstance(verdict, Present) for verdict in index.put(entries)) == 35
    assert len(proxy.seen) == requests + 6  # five bulks and one look-up of the taken ids
    assert _offsets(index) == list(range(45))


def test_what_is_too_large_together_is_sent_in_halves(index: ElasticsearchIndex, proxy: FaultProxy) -> None:
    entries = [entry(offset, value=b'"' + b"x" * 1000 + b'"') for offset in range(8)]
    proxy.script("/_bulk", *[larger_than(4000)] * 20)

    assert index.put(entries) == [Stored()] * 8
    assert _offsets(index) == list(range(8))


def test_what_is_too_large_alone_is_refused_and_the_others_are_stored(
    index: ElasticsearchIndex, proxy: FaultProxy
) -> None:
    giant = entry(1, value=b'"' + b"x" * 10_000 + b'"')
    proxy.script("/_bulk", *[larger_than(5000)] * 20)

    verdicts = index.put([entry(0), giant, entry(2)])

    assert [type(verdict) for verdict in verdicts] == [Stored, Refused, Stored]
    assert isinstance(verdicts[1], Refused)
    assert verdicts[1].code == "too-large"


def test_an_entry_elasticsearch_cannot_parse_is_refused_without_its_contents(index: ElasticsearchIndex) -> None:
    odd = entry(1, source_ip="canary-5f3a is no address")

    verdicts = index.put([entry(0), odd, entry(2)])

    assert [type(verdict) for verdict in verdicts] == [Stored, Refused, Stored]
    assert "canary" not in repr(verdicts)


def test_an_id_elasticsearch_has_no_room_for_is_refused_alone(index: ElasticsearchIndex) -> None:
    verdicts = index.put([entry(0), entry(1, event_id="x" * 600), entry(2)])

    assert [type(verdict) for verdict in verdicts] == [Stored, Refused, Stored]


def test_a_mapping_that_is_not_ours_stops_the_pipeline_instead_of_refusing_events(
    index: ElasticsearchIndex,
    ledger: ElasticsearchLedger,
    raw: RawElasticsearch,
    elasticsearch: ElasticsearchOptions,
) -> None:
    alias = f"{elasticsearch.prefix}audit-2026.11"
    raw(
        "PUT",
        f"/{alias}-foreign",
        {"mappings": {"dynamic": "strict"}, "aliases": {alias: {"is_write_index": True}}},
    )
    ledger.put_document("index/months/2026.11", b'{"state":"open","index":"foreign"}', None)

    with pytest.raises(PipelineFault, match="mapping"):
        index.put([entry(0)])


def test_a_missing_template_stops_the_pipeline(
    index: ElasticsearchIndex, raw: RawElasticsearch, elasticsearch: ElasticsearchOptions
) -> None:
    raw("DELETE", f"/_index_template/{elasticsearch.prefix}audit-v1")

    with pytest.raises(PipelineFault, match="trailseal setup"):
        index.put([entry(0)])
    assert not [name for name in raw.indices(elasticsearch.prefix) if "audit" in name]


def test_a_registered_month_that_is_missing_stops_the_pipeline_and_fails_searches(
    index: ElasticsearchIndex, raw: RawElasticsearch, elasticsearch: ElasticsearchOptions
) -> None:
    index.put([entry(0), entry(1, at_us=JANUARY)])
    raw("DELETE", f"/{elasticsearch.prefix}audit-2026.11-v1-000001")

    with pytest.raises(PipelineFault, match=r"2026\.11"):
        index.put([entry(2)])
    with pytest.raises(Unavailable):
        index.search(Query(), None, 10)
    assert not [name for name in raw.indices(elasticsearch.prefix) if "2026.11" in name]
    within_january = Query(time_from_us=JANUARY, time_to_us=JANUARY + 1)
    index.put([entry(3, at_us=JANUARY)])
    assert index.count(within_january).value <= 2


def test_an_event_of_a_dropped_month_is_expired_also_for_a_writer_that_knew_the_month(
    index: ElasticsearchIndex,
    ledger: ElasticsearchLedger,
    raw: RawElasticsearch,
    elasticsearch: ElasticsearchOptions,
) -> None:
    index.put([entry(0)])
    month = ledger.document("index/months/2026.11")
    assert month is not None
    ledger.put_document("index/months/2026.11", b'{"state":"dropped","index":""}', month.version)
    raw("DELETE", f"/{elasticsearch.prefix}audit-2026.11-v1-000001")

    assert index.put([entry(1), entry(2, at_us=JANUARY)]) == [Expired(), Stored()]
    assert _offsets(index) == [2]
    assert index.put([entry(1)]) == [Expired()]


def test_a_read_only_month_is_waited_for_and_recovers(
    index: ElasticsearchIndex, raw: RawElasticsearch, elasticsearch: ElasticsearchOptions
) -> None:
    index.put([entry(0), entry(1, at_us=JANUARY)])
    blocked = f"/{elasticsearch.prefix}audit-2026.11-v1-000001/_settings"
    raw("PUT", blocked, {"index.blocks.read_only_allow_delete": True})

    verdicts = index.put([entry(2), entry(3, at_us=JANUARY)])
    assert [type(verdict) for verdict in verdicts] == [Retry, Stored]

    raw("PUT", blocked, {"index.blocks.read_only_allow_delete": None})
    assert index.put([entry(2)]) == [Stored()]


def test_a_month_that_was_closed_on_purpose_holds_nobody_up(
    index: ElasticsearchIndex, raw: RawElasticsearch, elasticsearch: ElasticsearchOptions
) -> None:
    index.put([entry(0), entry(1, at_us=JANUARY)])
    raw("POST", f"/{elasticsearch.prefix}audit-2026.01-v1-000001/_close")

    verdicts = index.put([entry(2), entry(3, at_us=JANUARY), entry(4)])

    assert [type(verdict) for verdict in verdicts] == [Stored, Refused, Stored]
    assert isinstance(verdicts[1], Refused)
    assert verdicts[1].code == "index_closed_exception"


def test_no_event_changes_the_mapping_however_odd_its_metadata(
    index: ElasticsearchIndex, raw: RawElasticsearch, elasticsearch: ElasticsearchOptions
) -> None:
    index.put([entry(0)])
    alias = f"/{elasticsearch.prefix}audit-2026.11/_mapping"
    before = raw("GET", alias)
    terms = [metadata_terms({f"key{n}.{n % 7}": {"a": n, "b": [None, True, "x" * 2000]}}) for n in range(1_200)]

    odd = [entry(n + 1, metadata=found) for n, found in enumerate(terms)]

    assert index.put(odd) == [Stored()] * 1_200
    assert raw("GET", alias) == before


def test_an_erased_id_is_never_filled_again_and_never_found(
    index: ElasticsearchIndex, raw: RawElasticsearch, elasticsearch: ElasticsearchOptions
) -> None:
    gone = entry(7, event_id="gone")
    index.put([entry(0)])
    tombstone = {"log": 1, "partition": 0, "offset": 7, "erased": True}
    raw("PUT", f"/{elasticsearch.prefix}audit-2026.11/_doc/acme%2Fgone", tombstone)

    assert index.put([gone]) == [Tombstone(Position(1, 0, 7))]
    assert _offsets(index) == [0]
    assert [hit.key.id for hit in index.search(Query(), None, 10)] == ["event-0-0"]
    assert index.count(Query()).value == 1


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(altered(lambda tree: tree["_shards"].update(failed=1)), id="a-shard-failed"),
        pytest.param(altered(lambda tree: tree["_shards"].update(successful=0)), id="a-shard-is-silent"),
        pytest.param(altered(lambda tree: tree.update(timed_out=True)), id="timed-out"),
        pytest.param(status(503, "search_phase_execution_exception"), id="503"),
        pytest.param(status(400, "too_many_clauses"), id="400"),
        pytest.param(cut_off_politely, id="answer-cut"),
    ],
)
def test_a_search_that_cannot_be_complete_is_unavailable(
    index: ElasticsearchIndex, proxy: FaultProxy, fault: Fault
) -> None:
    index.put([entry(0)])
    index.refresh()
    proxy.script("/_search", fault, fault, fault)

    with pytest.raises(Unavailable):
        index.search(Query(), None, 10)
    with pytest.raises(Unavailable):
        index.count(Query())
    with pytest.raises(Unavailable):
        index.offsets(1, 0, 0, 10)
    assert len(index.search(Query(), None, 10)) == 1


def test_wrong_credentials_are_waited_for_and_never_shown(
    elasticsearch: ElasticsearchOptions, ledger: ElasticsearchLedger, proxy: FaultProxy
) -> None:
    proxy.script("/_bulk", status(401, "security_exception"))
    secret = "canary-81d2"  # noqa: S105 - a canary, to see that it shows nowhere
    hosts = (("127.0.0.1", proxy.server_address[1]),)
    options = dataclasses.replace(elasticsearch, hosts=hosts, username="trailseal", password=secret)
    index = ElasticsearchIndex(options, ledger)
    try:
        with pytest.raises(Unavailable) as refused:
            index.put([entry(0)])
        assert secret not in str(refused.value) + repr(options)
        assert index.put([entry(0)]) == [Stored()]
    finally:
        index.close()


def test_a_server_that_is_not_there_is_unavailable(ledger: ElasticsearchLedger) -> None:
    index = ElasticsearchIndex(ElasticsearchOptions((("127.0.0.1", 1),)), ledger)
    try:
        with pytest.raises(Unavailable):
            index.put([entry(0)])
    finally:
        index.close()


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (b"\xff\xfe no text", b"\x00\xff"),
        (None, None),
        (b"", b""),
        (' "\u2028\U0001f512 \\ud800\x00 \n'.encode(), b"k"),
    ],
)
def test_a_record_comes_back_byte_for_byte(
    index: ElasticsearchIndex, value: bytes | None, key: bytes | None
) -> None:
    whole = entry(0, value=value, key=key, headers=(("a", b"\x80"), ("a", None), ("\u00e9", b"")))
    index.put([whole])
    index.refresh()

    assert [hit.record for hit in index.search(Query(), None, 10)] == [whole.record]


def test_a_thousand_and_one_events_with_one_id_are_told_apart(index: ElasticsearchIndex) -> None:
    entries = [entry(offset, event_id="same", value=b'{"n":%d}' % offset) for offset in range(1_001)]
    first = Present(entries[0].projection.position, entries[0].projection.content_hash)

    assert index.put(entries) == [Stored(), *[first] * 1_000]
    assert index.put(entries[1:]) == [first] * 1_000
