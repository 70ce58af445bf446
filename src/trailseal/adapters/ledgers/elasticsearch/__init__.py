"""The ledger on Elasticsearch: `ElasticsearchLedger` and what prepares a cluster for it."""

from __future__ import annotations

from trailseal.adapters.ledgers.elasticsearch.layout import set_up_ledger
from trailseal.adapters.ledgers.elasticsearch.ledger import ElasticsearchLedger

__all__ = ["ElasticsearchLedger", "set_up_ledger"]
