"""The embedded index, on tantivy."""

from trailseal.adapters.indexes.tantivy_folder.index import TantivyIndex

__all__ = ["TantivyIndex"]
