"""The embedded index, on tantivy."""

from trailseal.adapters.indexes.tantivy_index.index import TantivyIndex

__all__ = ["TantivyIndex"]
