"""Whether a cluster is one we can work with."""

from __future__ import annotations

from typing import Final

import msgspec

from trailseal.adapters.elasticsearch.connection import Connection, decoded
from trailseal.errors import PipelineFault

OLDEST: Final = (8, 19)


class _Node(msgspec.Struct, frozen=True):
    version: str


class _Nodes(msgspec.Struct, frozen=True):
    nodes: dict[str, _Node]


class _Health(msgspec.Struct, frozen=True):
    number_of_data_nodes: int


_NODES: Final = msgspec.json.Decoder(_Nodes)
_HEALTH: Final = msgspec.json.Decoder(_Health)


def check_cluster(connection: Connection, replicas: int) -> list[str]:
    """Refuse clusters that are too old; say where copies will be missing.

    Returns:
        Sentences for an operator, often none.

    Raises:
        PipelineFault: a node is older than 8.19.
        Unavailable: it cannot be asked now.
    """
    # Not `GET /`: it is a module of the distribution and absent from a bare server.
    answer = connection.request("GET", "/_nodes/_all?filter_path=nodes.*.version", what="the nodes' versions")
    for node in decoded(_NODES, answer, "the nodes' versions").nodes.values():
        number = tuple(int(part) for part in node.version.split("-")[0].split(".")[:2])
        if number < OLDEST:
            raise PipelineFault(f"Elasticsearch {node.version} is too old: 8.19 is the oldest that works")
    health = connection.request("GET", "/_cluster/health", what="the cluster's health")
    data_nodes = decoded(_HEALTH, health, "the cluster's health").number_of_data_nodes
    if replicas >= data_nodes:
        return [f"{replicas} replicas were asked for but only {data_nodes} nodes hold data: copies stay unassigned"]
    return [] if replicas else ["no replicas: a lost node is lost data once the log's retention has passed"]
