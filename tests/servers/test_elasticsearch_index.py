"""The index on the real Elasticsearch keeps the contract of every index."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Iterator

import pytest

from conformance.index_contract import ErasableIndexContract, IndexContract
from servers.raw_elasticsearch import RawElasticsearch
from trailseal.adapters.elasticsearch.options import ElasticsearchOptions, options_from_url
from trailseal.adapters.indexes.elasticsearch import ElasticsearchIndex, set_up_index
from trailseal.adapters.ledgers.elasticsearch import ElasticsearchLedger, set_up_ledger
from trailseal.ports.ledger import Document

Reopen = Callable[[], ElasticsearchIndex]


class RegisterOfItsOwn:
    """The real ledger's documents under a name of this test: setting up a ledger for each takes too long."""

    def __init__(self, ledger: ElasticsearchLedger) -> None:
        self._ledger = ledger
        self._scope = f"{secrets.token_hex(5)}/"

    def document(self, name: str) -> Document | None:
        return self._ledger.document(self._scope + name)

    def documents(self, prefix: str) -> dict[str, Document]:
        found = self._ledger.documents(self._scope + prefix)
        return {name.removeprefix(self._scope): document for name, document in found.items()}

    def put_document(self, name: str, body: bytes, expected: str | None) -> str:
        return self._ledger.put_document(self._scope + name, body, expected)

    def delete_document(self, name: str, expected: str) -> None:
        self._ledger.delete_document(self._scope + name, expected)


@pytest.fixture(scope="module")
def books(elasticsearch_url: str, raw: RawElasticsearch) -> Iterator[ElasticsearchLedger]:
    options = options_from_url(f"{elasticsearch_url}?prefix=t{secrets.token_hex(5)}-")
    set_up_ledger(options, replicas=0)
    ledger = ElasticsearchLedger(options)
    yield ledger
    ledger.close()
    raw.forget(options.prefix)


class TestElasticsearchIndex(IndexContract, ErasableIndexContract):
    @pytest.fixture
    def opener(self, elasticsearch_options: ElasticsearchOptions, books: ElasticsearchLedger) -> Iterator[Reopen]:
        """Refreshes come from the tests alone: a scheduled one may show half of a bulk, as it may in production."""
        set_up_index(elasticsearch_options, replicas=0, refresh_interval_s=60.0)
        register = RegisterOfItsOwn(books)
        patient = dataclasses.replace(elasticsearch_options, search_timeout_s=30.0)
        opened: list[ElasticsearchIndex] = []

        def open_index() -> ElasticsearchIndex:
            for one in opened:
                one.close()
            opened[:] = [ElasticsearchIndex(patient, register)]
            return opened[0]

        yield open_index
        for one in opened:
            one.close()

    @pytest.fixture
    def index(self, opener: Reopen) -> ElasticsearchIndex:
        return opener()

    @pytest.fixture
    def reopen(self, index: ElasticsearchIndex, opener: Reopen) -> Reopen:
        assert index.is_complete()
        return opener
