"""Preparing a cluster, again and again, and the register of months under a race."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from servers.entries import JANUARY, entry
from servers.fault_proxy import FaultProxy, altered, fault_proxy
from servers.raw_elasticsearch import RawElasticsearch
from trailseal.adapters.elasticsearch.options import ElasticsearchOptions, options_from_url
from trailseal.adapters.indexes.elasticsearch import ElasticsearchIndex, set_up_index
from trailseal.adapters.ledgers.elasticsearch import ElasticsearchLedger, set_up_ledger
from trailseal.errors import PipelineFault, Rebuilding, SettingsError
from trailseal.model.query import Query
from trailseal.ports.index import Present, Stored


@pytest.fixture
def proxy(elasticsearch_url: str) -> Iterator[FaultProxy]:
    with fault_proxy(elasticsearch_url) as running:
        yield running


@pytest.fixture
def index(elasticsearch: ElasticsearchOptions, ledger: ElasticsearchLedger) -> Iterator[ElasticsearchIndex]:
    opened = ElasticsearchIndex(elasticsearch, ledger)
    yield opened
    opened.close()


def test_setting_up_twice_changes_nothing(
    elasticsearch_options: ElasticsearchOptions, raw: RawElasticsearch
) -> None:
    first = [*set_up_index(elasticsearch_options, replicas=0), *set_up_ledger(elasticsearch_options, replicas=0)]
    indices = raw.indices(elasticsearch_options.prefix)
    second = [*set_up_index(elasticsearch_options, replicas=0), *set_up_ledger(elasticsearch_options, replicas=0)]

    assert sum("created" in note for note in first) == 7
    assert sum("unchanged" in note for note in second) == 7
    assert raw.indices(elasticsearch_options.prefix) == indices


def test_replicas_and_refresh_interval_may_change_and_missing_copies_are_pointed_out(
    elasticsearch: ElasticsearchOptions, raw: RawElasticsearch
) -> None:
    notes = [
        *set_up_index(elasticsearch, replicas=2, refresh_interval_s=0.25),
        *set_up_ledger(elasticsearch, replicas=2),
    ]

    assert any("2 replicas" in note and "1 nodes" in note for note in notes)
    template = raw("GET", f"/_index_template/{elasticsearch.prefix}audit-v1")["index_templates"][0][
        "index_template"
    ]
    assert template["template"]["settings"]["index"]["refresh_interval"] == "250ms"
    heads = raw("GET", f"/{elasticsearch.prefix}trailseal-heads/_settings")
    assert [one["settings"]["index"]["number_of_replicas"] for one in heads.values()] == ["2"]


def test_a_template_of_ours_with_another_mapping_is_refused(
    elasticsearch: ElasticsearchOptions, raw: RawElasticsearch
) -> None:
    name = f"{elasticsearch.prefix}audit-v1"
    body = {"index_patterns": [f"{elasticsearch.prefix}audit-*-v1-*"], "priority": 500}
    raw("PUT", f"/_index_template/{name}", {**body, "template": {"mappings": {"dynamic": "true"}}})

    with pytest.raises(PipelineFault, match=name):
        set_up_index(elasticsearch, replicas=0)


def test_a_ledger_index_that_is_not_ours_is_refused(
    elasticsearch_options: ElasticsearchOptions, raw: RawElasticsearch
) -> None:
    raw("PUT", f"/{elasticsearch_options.prefix}trailseal-outcomes-v1", {})

    with pytest.raises(PipelineFault, match="trailseal-outcomes"):
        set_up_ledger(elasticsearch_options, replicas=0)


def test_an_elasticsearch_that_is_too_old_is_refused(
    elasticsearch_options: ElasticsearchOptions, proxy: FaultProxy
) -> None:
    def age(tree: dict[str, dict[str, dict[str, str]]]) -> None:
        for node in tree["nodes"].values():
            node["version"] = "8.18.3"

    proxy.script("/_nodes", altered(age))
    options = options_from_url(f"{proxy.url}?prefix={elasticsearch_options.prefix}")

    with pytest.raises(PipelineFault, match=r"8\.18\.3"):
        set_up_index(options, replicas=0)


def test_two_writers_that_meet_in_a_new_month_make_it_once(
    elasticsearch: ElasticsearchOptions, ledger: ElasticsearchLedger, raw: RawElasticsearch
) -> None:
    indexes = [ElasticsearchIndex(elasticsearch, ledger) for _ in range(4)]
    entries = [entry(offset) for offset in range(20)]
    together = threading.Barrier(len(indexes))
    verdicts: list[list[object]] = []

    def write(index: ElasticsearchIndex) -> None:
        together.wait()
        verdicts.append(list(index.put(entries)))

    threads = [threading.Thread(target=write, args=(index,)) for index in indexes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(verdicts) == len(indexes)
    for place, one in enumerate(entries):
        told = [each[place] for each in verdicts]
        there = Present(one.projection.position, one.projection.content_hash)
        assert sorted(told, key=repr) == [there, there, there, Stored()]
    assert [name for name in raw.indices(elasticsearch.prefix) if "audit" in name] == [
        f"{elasticsearch.prefix}audit-2026.11-v1-000001"
    ]
    for index in indexes:
        index.close()


def test_a_month_whose_maker_died_before_registering_it_is_taken_over(
    index: ElasticsearchIndex, elasticsearch: ElasticsearchOptions, raw: RawElasticsearch
) -> None:
    alias = f"{elasticsearch.prefix}audit-2026.11"
    raw("PUT", f"/{alias}-v1-000001", {"aliases": {alias: {"is_write_index": True}}})

    assert index.put([entry(0)]) == [Stored()]


def test_something_else_under_a_months_name_stops_the_pipeline(
    index: ElasticsearchIndex, elasticsearch: ElasticsearchOptions, raw: RawElasticsearch
) -> None:
    raw("PUT", f"/{elasticsearch.prefix}audit-2026.11", {})

    with pytest.raises(PipelineFault, match=r"2026\.11"):
        index.put([entry(0)])


def test_a_rebuild_hides_what_was_there_and_deletes_nothing(
    index: ElasticsearchIndex,
    elasticsearch: ElasticsearchOptions,
    ledger: ElasticsearchLedger,
    raw: RawElasticsearch,
) -> None:
    reader = ElasticsearchIndex(elasticsearch, ledger)
    index.put([entry(0), entry(1), entry(2, at_us=JANUARY)])
    index.refresh()
    assert index.count(Query()).value == 3

    index.begin_rebuild()
    assert not reader.is_complete()
    for one in (index, reader):
        with pytest.raises(Rebuilding):
            one.search(Query(), None, 10)
    assert index.put([entry(1)]) == [Stored()]
    index.mark_complete()
    index.refresh()

    assert reader.is_complete()
    assert [hit.key.id for hit in index.search(Query(), None, 10)] == ["event-0-1"]
    kept = raw("GET", f"/{elasticsearch.prefix}audit-2026.11-v1-000001/_count")
    assert kept["count"] == 2
    reader.close()


def test_another_process_sees_a_new_month_within_the_promised_time(
    index: ElasticsearchIndex, elasticsearch: ElasticsearchOptions, ledger: ElasticsearchLedger
) -> None:
    reader = ElasticsearchIndex(elasticsearch, ledger)
    index.put([entry(0)])
    index.refresh()
    assert reader.count(Query()).value == 1
    index.put([entry(1, at_us=JANUARY)])
    index.refresh()

    waited = threading.Event()
    waited.wait(reader.refresh_interval_s)
    assert reader.count(Query()).value == 2
    reader.close()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host",
        "http://host:port",
        "http://host/path",
        "http://host?prefix=Upper",
        "http://host?prefix=-x",
        "http://host?unknown=1",
        "http://host?prefix=" + "x" * 25,
    ],
)
def test_an_url_that_cannot_work_is_refused(url: str) -> None:
    with pytest.raises(SettingsError):
        options_from_url(url)


def test_an_url_gives_hosts_credentials_and_prefix() -> None:
    options = options_from_url("elasticsearch+https://user:p%40ss@a:1,b?prefix=x-&ca=/etc/ca.pem")

    assert options.hosts == (("a", 1), ("b", 9200))
    assert (options.tls, options.ca_certs, options.prefix) == (True, "/etc/ca.pem", "x-")
    assert (options.username, options.password) == ("user", "p@ss")
    assert "p@ss" not in repr(options)
