"""The ledger's indices: names, mappings, and setting them up.

Heads and small documents are read by id, which is realtime; only rows of outcomes and lists of small documents
are found by search.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from trailseal.adapters.elasticsearch.connection import Connection, decoded, error_reason, error_type
from trailseal.adapters.elasticsearch.options import ElasticsearchOptions
from trailseal.adapters.elasticsearch.versions import check_cluster
from trailseal.errors import PipelineFault

LAYOUT_VERSION: Final = 1
HEADS: Final = "heads"
OUTCOMES: Final = "outcomes"
KEPT: Final = "kept"
DOCUMENTS: Final = "documents"
TILES: Final = "tiles"
CHECKPOINTS: Final = "checkpoints"

_META: Final = {"trailseal_ledger_layout": LAYOUT_VERSION}
_OPAQUE: Final = {"type": "object", "enabled": False}
_KEYWORD: Final = {"type": "keyword"}
_LONG: Final = {"type": "long"}
_STORED: Final = {"type": "keyword", "index": False, "doc_values": False}

MAPPINGS: Final[dict[str, dict[str, Any]]] = {
    HEADS: {"_meta": _META, "enabled": False},
    OUTCOMES: {
        "dynamic": "strict",
        "_meta": _META,
        "properties": {
            "log": {"type": "integer"},
            "partition": {"type": "integer"},
            "offset": _LONG,
            "last": _LONG,
            "kind": _KEYWORD,
            "code": _KEYWORD,
            "tenant_id": _KEYWORD,
            "row": _OPAQUE,
        },
    },
    KEPT: {"_meta": _META, "enabled": False},
    DOCUMENTS: {
        "dynamic": "strict",
        "_meta": _META,
        "properties": {"name": _KEYWORD, "content": _OPAQUE},
    },
    TILES: {"_meta": _META, "enabled": False},
    CHECKPOINTS: {
        "dynamic": "strict",
        "_meta": _META,
        "properties": {
            "log": {"type": "integer"},
            "partition": {"type": "integer"},
            "size": _LONG,
            "note": _STORED,
            "added": _OPAQUE,
        },
    },
}
_TREE: Final = msgspec.json.Decoder(dict[str, Any])


def ledger_alias(prefix: str, part: str) -> str:
    """The name one part of the ledger is used by, such as ``trailseal-heads``.

    Always an alias, and every write demands one, so that a ledger that was never set up is an error and not an
    index that Elasticsearch makes up.
    """
    return f"{prefix}trailseal-{part}"


def set_up_ledger(options: ElasticsearchOptions, *, replicas: int = 1) -> list[str]:
    """Create the ledger's indices, or check those that are there.

    Args:
        options: where.
        replicas: copies of each; may be changed by a later call.

    Returns:
        Sentences: what was done and what an operator should know.

    Raises:
        PipelineFault: an index under one of our names has another mapping, or the cluster is too old.
        Unavailable: it cannot be asked now.
    """
    connection = Connection(options)
    try:
        return [*check_cluster(connection, replicas), *(_set_up(connection, part, replicas) for part in MAPPINGS)]
    finally:
        connection.close()


def _set_up(connection: Connection, part: str, replicas: int) -> str:
    alias = ledger_alias(connection.prefix, part)
    name = f"{alias}-v{LAYOUT_VERSION}"
    settings = {"number_of_shards": 1, "number_of_replicas": replicas, "translog": {"durability": "request"}}
    body = msgspec.json.encode(
        {
            "settings": {"index": settings},
            "mappings": MAPPINGS[part],
            "aliases": {alias: {"is_write_index": True}},
        }
    )
    created = connection.request("PUT", f"/{name}", body, what=f"creating {name}", allow={400})
    if created.ok:
        return f"ledger index {name}: created"
    if error_type(created.body) != "resource_already_exists_exception":
        raise PipelineFault(f"Elasticsearch refused the ledger index {name}: {error_reason(created.body)}")
    answer = connection.request("GET", f"/{name}", what=f"the index {name}")
    stored = decoded(_TREE, answer, f"the index {name}")[name]
    if stored["mappings"] != MAPPINGS[part] or alias not in stored["aliases"]:
        raise PipelineFault(
            f"the index {name} is there but is not layout {LAYOUT_VERSION} of the ledger: it belongs to something "
            "else or to another version; choose another prefix, or upgrade as its release notes say"
        )
    if stored["settings"]["index"]["number_of_replicas"] == str(replicas):
        return f"ledger index {name}: unchanged"
    change = msgspec.json.encode({"index": {"number_of_replicas": replicas}})
    connection.request("PUT", f"/{name}/_settings", change, what=f"the settings of {name}")
    return f"ledger index {name}: now {replicas} replicas"
