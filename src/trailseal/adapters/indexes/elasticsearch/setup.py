"""Preparing a cluster for the month indices: `trailseal setup`, as often as one likes."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from trailseal.adapters.elasticsearch.connection import Connection, decoded, error_reason
from trailseal.adapters.elasticsearch.options import ElasticsearchOptions
from trailseal.adapters.elasticsearch.versions import check_cluster
from trailseal.adapters.indexes.elasticsearch import mapping
from trailseal.errors import PipelineFault

_TREE: Final = msgspec.json.Decoder(dict[str, Any])


def set_up_index(
    options: ElasticsearchOptions, *, shards: int = 1, replicas: int = 1, refresh_interval_s: float = 1.0
) -> list[str]:
    """Write the index template, or check the one that is there.

    Settings (shards, replicas, refresh interval) may change and count for months made from then on; a mapping
    never changes under its name.

    Args:
        options: where.
        shards: primary shards of a month.
        replicas: copies of each; 0 keeps no second copy of what may be the only one.
        refresh_interval_s: until what was written is found.

    Returns:
        Sentences: what was done and what an operator should know.

    Raises:
        PipelineFault: the cluster is too old, or holds a template under our name that is not ours.
        Unavailable: it cannot be asked now.
    """
    connection = Connection(options)
    try:
        notes = check_cluster(connection, replicas)
        body = mapping.template_body(
            options.prefix, shards=shards, replicas=replicas, refresh_interval_s=refresh_interval_s
        )
        return [*notes, _write_template(connection, body)]
    finally:
        connection.close()


def _write_template(connection: Connection, body: dict[str, Any]) -> str:
    name = mapping.template_name(connection.prefix)
    target = f"/_index_template/{name}"
    stored = connection.request("GET", target, what="the template", allow={404})
    if stored.ok:
        template = decoded(_TREE, stored, "the template")["index_templates"][0]["index_template"]
        if template.get("template", {}).get("mappings") != body["template"]["mappings"]:
            raise PipelineFault(
                f"the index template {name} is there with another mapping than layout {mapping.LAYOUT_VERSION}: "
                "delete it if nothing else needs it, or choose another prefix, then run setup again"
            )
        if template["template"].get("settings") == body["template"]["settings"]:
            return f"index template {name}: unchanged"
    answer = connection.request("PUT", target, msgspec.json.encode(body), what="the template", allow={400})
    if not answer.ok:
        raise PipelineFault(f"Elasticsearch refused the index template {name}: {error_reason(answer.body)}")
    return f"index template {name}: {'settings changed, for months made from now on' if stored.ok else 'created'}"
