"""Elasticsearch with security, as far as it can be shown without the distribution that has it.

A real TLS server stands before the real node and lets nobody in without the right header, as the distribution's
security does; it also writes down every call, so that nothing is asked of a cluster that 8.19 does not have.
"""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.certificates import Authority
from servers.entries import entry
from servers.fault_proxy import FaultProxy, Guard, fault_proxy, status
from trailseal.adapters.clock import SystemClock
from trailseal.adapters.elasticsearch.options import ElasticsearchOptions, options_from_url
from trailseal.adapters.indexes.elasticsearch import ElasticsearchIndex, set_up_index
from trailseal.adapters.ledgers.elasticsearch import ElasticsearchLedger, set_up_ledger
from trailseal.errors import Unavailable
from trailseal.model.outcomes import Delta, OutcomeRow
from trailseal.model.query import Query
from trailseal.model.record import Position, Record
from trailseal.ports.index import Present, Stored
from trailseal.ports.seals import AddedSignature

ACCOUNT = "Basic " + base64.b64encode(b"trailseal:pass:word").decode()
API_KEY = "ApiKey a2V5OnNlY3JldA=="
IN_8_19 = [
    "GET /_nodes/_all",
    "GET /_cluster/health",
    "(GET|PUT) /_index_template/NAME",
    "(GET|PUT|DELETE) /NAME",
    "POST /_bulk",
    "POST /_mget",
    "POST /_aliases",
    "GET /_alias/NAME",
    "GET /NAME/_alias",
    "GET /NAME/_mapping",
    "GET /NAME/_stats/docs",
    "PUT /NAME/_settings",
    "PUT /NAME/_block/write",
    "POST /NAME/_refresh",
    "POST /NAME/_search",
    "POST /NAME/_mget",
    "(GET|PUT|DELETE) /NAME/_doc/NAME",
    "PUT /NAME/_create/NAME",
]
"""Every call that Trailseal makes: method and path. All of them are in Elasticsearch 8.19 and in 9."""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def secured(elasticsearch_url: str, authority: Authority) -> Iterator[FaultProxy]:
    """The node behind TLS."""
    with fault_proxy(elasticsearch_url) as proxy:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.sign("elasticsearch"))
        proxy.socket = context.wrap_socket(proxy.socket, server_side=True)
        yield proxy


def _options(secured: FaultProxy, prefix: str, **more: str | None) -> ElasticsearchOptions:
    return options_from_url(f"https://127.0.0.1:{secured.server_address[1]}?prefix={prefix}", **more)


def _everything(options: ElasticsearchOptions) -> None:
    """One of each thing that setup, the consumer, the API and an operator do."""
    set_up_index(options, replicas=0)
    set_up_index(options, replicas=0, refresh_interval_s=0.5)
    set_up_ledger(options, replicas=0)
    ledger = ElasticsearchLedger(options)
    index = ElasticsearchIndex(options, ledger)
    try:
        assert index.put([entry(0), entry(1)]) == [Stored(), Stored()]
        assert isinstance(index.put([entry(0)])[0], Present)
        index.refresh()
        assert len(index.search(Query(), None, 10)) == 2
        assert index.count(Query()).value == 2
        assert index.offsets(1, 0, 0, 10) == [0, 1]
        head = ledger.open_partition(ledger.register_log("kafka/x/y/1"), 0, 0)
        ledger.keep([Record(Position(1, 0, 2), 1, None, b"x", ())])
        row = OutcomeRow(Position(1, 0, 2), "dead_letter", code="not-json")
        head = ledger.advance(head, Delta(3, (row,), b"edge"))
        ledger.advance(head, Delta(4))
        assert list(ledger.outcomes(1, 0)) == [row]
        ledger.seals.keep_tiles({b"r" * 32: b"tile"})
        assert ledger.seals.tiles([b"r" * 32]) == {b"r" * 32: b"tile"}
        ledger.seals.put_checkpoint(1, 0, 3, b"note")
        ledger.seals.add_signatures(1, 0, 3, [AddedSignature("witness 1", 1, "line\n")])
        assert ledger.seals.checkpoint(1, 0) is not None
        ledger.delete_document("key", ledger.put_document("key", b"body", None))
        upkeep = index.upkeep(SystemClock())
        upkeep.reproject("2026.11", lambda record: entry(record.position.offset), lambda *_: None)
        assert [status.documents for status in upkeep.months()] == [2]
        index.begin_rebuild()
        index.mark_complete()
    finally:
        index.close()
        ledger.close()


@pytest.mark.parametrize(
    "credentials",
    [
        pytest.param({"username": "trailseal", "password": "pass:word"}, id="account"),
        pytest.param({"api_key": "a2V5OnNlY3JldA=="}, id="api-key"),
    ],
)
def test_everything_works_behind_tls_and_credentials_with_calls_that_8_19_has(
    elasticsearch_options: ElasticsearchOptions,
    secured: FaultProxy,
    authority: Authority,
    credentials: dict[str, str],
) -> None:
    guard = Guard(ACCOUNT, API_KEY)
    secured.script("/", *[guard] * 10_000)

    _everything(_options(secured, elasticsearch_options.prefix, ca_certs=str(authority.path), **credentials))

    assert guard.refused == 0
    assert guard.content_types <= {"", "application/json", "application/x-ndjson"}
    known = [re.compile(pattern.replace("NAME", "[^/_][^/]*") + r"(\?.*)?") for pattern in IN_8_19]
    unknown = {seen for seen in secured.seen if not any(pattern.fullmatch(seen) for pattern in known)}
    assert unknown == set()


def test_no_password_or_a_wrong_one_is_said_to_be_refused_and_shown_nowhere(
    elasticsearch_options: ElasticsearchOptions, secured: FaultProxy, authority: Authority
) -> None:
    guard = Guard(ACCOUNT)
    secured.script("/", *[guard] * 100)
    for credentials in ({}, {"username": "trailseal", "password": "canary-77"}, {"api_key": "canary-77"}):
        options = _options(secured, elasticsearch_options.prefix, ca_certs=str(authority.path), **credentials)
        with pytest.raises(Unavailable, match="refuses our credentials") as refused:
            set_up_index(options, replicas=0)
        assert "canary" not in str(refused.value) + repr(options)
    assert guard.refused == 3


def test_a_certificate_that_nobody_vouches_for_is_not_spoken_to(
    elasticsearch_options: ElasticsearchOptions, secured: FaultProxy
) -> None:
    options = _options(secured, elasticsearch_options.prefix, username="trailseal", password="pass:word")  # noqa: S106 - the test's own
    with pytest.raises(Unavailable):
        set_up_index(options, replicas=0)
    assert secured.seen == []


def test_a_right_that_our_role_lacks_is_named_in_one_sentence(
    elasticsearch_options: ElasticsearchOptions, secured: FaultProxy, authority: Authority
) -> None:
    options = _options(secured, elasticsearch_options.prefix, ca_certs=str(authority.path), api_key="canary-77")
    for action, kind, names, said in (
        (
            "indices:admin/index_template/put",
            "cluster",
            "manage_index_templates,manage,all",
            "manage_index_templates or manage",
        ),
        (
            "indices:admin/create",
            "index",
            "auto_configure,create_index,manage,all",
            "auto_configure or create_index or manage",
        ),
    ):
        reason = (
            f"action [{action}] is unauthorized for API key id [canary-77] of user [canary-77],"
            f" this action is granted by the {kind} privileges [{names}]"
        )
        secured.script("/", status(403, "security_exception", reason))
        with pytest.raises(Unavailable) as denied:
            set_up_index(options, replicas=0)
        assert str(denied.value).endswith(f"our role needs the {kind} privilege {said}")
        assert "canary" not in str(denied.value)
    secured.script("/", status(403, "security_exception"))
    with pytest.raises(Unavailable, match="our role lacks a privilege"):
        set_up_index(options, replicas=0)


def test_wrong_credentials_are_told_from_missing_rights_and_right_ones_work_at_once(
    elasticsearch_options: ElasticsearchOptions, secured: FaultProxy, authority: Authority
) -> None:
    guard = Guard(API_KEY)
    secured.script("/", *[guard] * 100)
    wrong, right = (
        _options(secured, elasticsearch_options.prefix, ca_certs=str(authority.path), api_key=key)
        for key in ("d3Jvbmc=", "a2V5OnNlY3JldA==")
    )
    with pytest.raises(Unavailable, match=r"refuses our credentials .*user and password or API key"):
        set_up_index(wrong, replicas=0)
    assert set_up_index(right, replicas=0)
