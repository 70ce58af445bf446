"""The real servers for tests: where they are, and a clean corner of each for every test."""

from __future__ import annotations

import json
import os
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

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


class RawElasticsearch:
    """Plain requests beside the adapters: to look at what they stored, and to break it."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def __call__(self, method: str, path: str, body: object = None) -> Any:
        """The answer's JSON; errors are answers too."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - the address of the test's own server
            self._url + path, data, {"content-type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - as above
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                return json.loads(error.read())

    def indices(self, prefix: str) -> list[str]:
        found: dict[str, Any] = self("GET", f"/{prefix}*/_settings?filter_path=*.settings.index.uuid")
        return sorted(found)

    def forget(self, prefix: str) -> None:
        """Delete everything that begins so."""
        for name in self.indices(prefix):
            self("DELETE", f"/{name}")
        templates = self("GET", f"/_index_template/{prefix}*?filter_path=index_templates.name")
        for template in templates.get("index_templates", []):
            self("DELETE", f"/_index_template/{template['name']}")


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

