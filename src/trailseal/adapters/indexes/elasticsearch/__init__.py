"""The index on Elasticsearch: `ElasticsearchIndex` and what prepares a cluster for it."""

from __future__ import annotations

from trailseal.adapters.indexes.elasticsearch.index import ElasticsearchIndex, IndexOptions
from trailseal.adapters.indexes.elasticsearch.setup import set_up_index

__all__ = ["ElasticsearchIndex", "IndexOptions", "set_up_index"]
