"""Names, mapping and settings of the month indices.

Every index has the same, strict mapping whatever events hold: metadata and words are exact terms in one array
each, so no event can add a field.
"""

from __future__ import annotations

from typing import Any, Final

LAYOUT_VERSION: Final = 1
"""Grows with every change of the mapping; part of the concrete indices' names."""

KEYWORD: Final = {"type": "keyword"}
TERMS_ONLY: Final = {"type": "keyword", "doc_values": False}
STORED_ONLY: Final = {"type": "keyword", "index": False, "doc_values": False}

MAPPING: Final[dict[str, Any]] = {
    "dynamic": "strict",
    "_meta": {"trailseal_layout": LAYOUT_VERSION},
    "properties": {
        "timestamp": {"type": "long"},
        "tenant_id": KEYWORD,
        "id": KEYWORD,
        "actor": KEYWORD,
        "action": KEYWORD,
        "outcome": KEYWORD,
        "resource": KEYWORD,
        "resource_type": KEYWORD,
        "source_ip": {"type": "ip"},
        "request_id": TERMS_ONLY,
        "metadata": TERMS_ONLY,
        "words": TERMS_ONLY,
        "log": {"type": "integer", "index": False},
        "partition": {"type": "integer", "index": False},
        "offset": {"type": "long"},
        "content_hash": STORED_ONLY,
        "format": STORED_ONLY,
        "flags": TERMS_ONLY,
        "projection_version": {"type": "integer", "index": False, "doc_values": False},
        "erased": {"type": "boolean", "doc_values": False},
        "record": {"type": "object", "enabled": False},
    },
}


def alias_name(prefix: str, month: str) -> str:
    """The name a month is written and searched by: ``audit-2026.11``."""
    return f"{prefix}audit-{month}"


def index_name(prefix: str, month: str, generation: int) -> str:
    """The concrete index behind the alias: ``audit-2026.11-v1-000001``."""
    return f"{prefix}audit-{month}-v{LAYOUT_VERSION}-{generation:06d}"


def generation_of(index: str) -> int:
    """The generation in a concrete index's name."""
    return int(index.rpartition("-")[2])


def is_current(index: str) -> bool:
    """Whether a concrete index's name says that it has this layout."""
    return index.rpartition("-")[0].endswith(f"-v{LAYOUT_VERSION}")


def template_name(prefix: str) -> str:
    """The template's name; the next layout gets its own beside it."""
    return f"{prefix}audit-v{LAYOUT_VERSION}"


def template_pattern(prefix: str) -> str:
    """What the template applies to: every concrete month index of this layout."""
    return f"{prefix}audit-*-v{LAYOUT_VERSION}-*"


def template_body(prefix: str, *, shards: int, replicas: int, refresh_interval_s: float) -> dict[str, Any]:
    """The composable index template."""
    return {
        "index_patterns": [template_pattern(prefix)],
        # Elasticsearch takes the patterns of two layouts for overlapping, and refuses two of one priority.
        "priority": 499 + LAYOUT_VERSION,
        "_meta": {"trailseal_layout": LAYOUT_VERSION},
        "template": {
            "settings": {
                "index": {
                    "number_of_shards": str(shards),
                    "number_of_replicas": str(replicas),
                    "refresh_interval": f"{round(refresh_interval_s * 1000)}ms",
                    "translog": {"durability": "request"},
                    "mapping": {"ignore_malformed": "false"},
                },
            },
            "mappings": MAPPING,
        },
    }
