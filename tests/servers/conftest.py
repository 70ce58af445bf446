"""The real servers for tests: where they are, and a clean corner of each for every test."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.raw_elasticsearch import RawElasticsearch
from trailseal.adapters.elasticsearch.options import ElasticsearchOptions, options_from_url
from trailseal.adapters.indexes.elasticsearch import set_up_index
from trailseal.adapters.ledgers.elasticsearch import ElasticsearchLedger, set_up_ledger

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("servers")


def _address(variable: str, server: str) -> str:
    """The server's address from the environment; without one the test is skipped, or fails where CI says so."""
    address = os.environ.get(variable)
    if address:
        return address
    how = f'{variable} is not set, so {server} is not tested: scripts/servers up && eval "$(scripts/servers env)"'
    if os.environ.get("CI") == "true":
        pytest.fail(how, pytrace=False)
    pytest.skip(how)


@pytest.fixture(scope="session")
def kafka_servers() -> str:
    return _address("TRAILSEAL_TEST_KAFKA", "Kafka")


@pytest.fixture(scope="session")
def elasticsearch_url() -> str:
    return _address("TRAILSEAL_TEST_ELASTICSEARCH", "Elasticsearch")


@pytest.fixture(scope="session")
def redis_url() -> str:
    return _address("TRAILSEAL_TEST_REDIS", "Redis")


@pytest.fixture(scope="session")
def raw(elasticsearch_url: str) -> RawElasticsearch:
    return RawElasticsearch(elasticsearch_url)


@pytest.fixture
def elasticsearch_options(elasticsearch_url: str, raw: RawElasticsearch) -> Iterator[ElasticsearchOptions]:
    """A prefix of its own on the real server; what is made under it goes when the test ends."""
    prefix = f"t{secrets.token_hex(5)}-"
    yield options_from_url(f"{elasticsearch_url}?prefix={prefix}")
    raw.forget(prefix)


@pytest.fixture
def elasticsearch(elasticsearch_options: ElasticsearchOptions) -> ElasticsearchOptions:
    """The same with everything that `trailseal setup` makes."""
    set_up_index(elasticsearch_options, replicas=0)
    set_up_ledger(elasticsearch_options, replicas=0)
    return elasticsearch_options


@pytest.fixture
def ledger(elasticsearch: ElasticsearchOptions) -> Iterator[ElasticsearchLedger]:
    opened = ElasticsearchLedger(elasticsearch)
    yield opened
    opened.close()


@pytest.fixture
def redis_prefix() -> str:
    return f"t{secrets.token_hex(5)}:"
