"""The part of the OpenAPI document about seals."""

from __future__ import annotations

from typing import Any

import msgspec

from trailseal.api.integrity import MAX_CHECKPOINTS
from trailseal.sealing.evidence import Consistency, PublicLog, SignedCheckpoint

_TILE = r"^(entries|\d+)/(x\d{3}/)*\d{3}(\.p/\d+)?$"
_NUMBER = {"type": "integer", "minimum": 0}


class PublicLogs(msgspec.Struct, frozen=True):
    """Every log that is sealed here."""

    logs: list[PublicLog]


class SignedCheckpoints(msgspec.Struct, frozen=True):
    """Checkpoints, the largest first."""

    checkpoints: list[SignedCheckpoint]


INTEGRITY_STRUCTS = (PublicLogs, SignedCheckpoints, Consistency)


def integrity_paths() -> dict[str, Any]:
    """The paths, as `openapi` puts them into its document."""
    log = [_query("log", "The log's number.", required=True), _query("partition", "Default 0.")]
    here = [_path("log", "The log's number."), _path("partition", "Its partition.")]
    base = "/integrity/logs/{log}/{partition}"
    return {
        "/events/{id}/proof": {
            "get": _operation(
                "getEventProof",
                "A receipt (C2SP tlog-proof) that `trailseal verify` accepts offline.",
                [
                    _path("id", "The producer's id.", {"type": "string", "minLength": 1}),
                    _query("tenant_id", "Whose event.", {"type": "string", "minLength": 1}),
                    _query("timestamp", "When it happened, as a hint.", {"type": "string", "minLength": 1}),
                ],
                _content("text/plain", {"type": "string"}),
            )
        },
        "/integrity/logs": {
            "get": _operation("listSealedLogs", "Every sealed log with its base URL.", [], _json("PublicLogs"))
        },
        "/integrity/checkpoints": {
            "get": _operation(
                "listCheckpoints",
                "Signed checkpoints, the largest first.",
                [
                    *log,
                    _query("below", "Only sizes below this one."),
                    _query("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": MAX_CHECKPOINTS}),
                ],
                _json("SignedCheckpoints"),
            )
        },
        "/integrity/consistency": {
            "get": _operation(
                "proveConsistency",
                "That the tree of one size grew out of an earlier one.",
                [
                    *log,
                    _query("from", "The earlier size.", required=True),
                    _query("to", "The later size.", required=True),
                ],
                _json("Consistency"),
            )
        },
        f"{base}/checkpoint": {
            "get": _operation(
                "getCheckpoint",
                "The newest signed checkpoint (C2SP tlog-checkpoint).",
                here,
                _content("text/plain", {"type": "string"}),
            )
        },
        f"{base}/tile/{{tile}}": {
            "get": _operation(
                "getTile",
                "A tile or an entry bundle: <level>/<index>[.p/<width>] or entries/<index>[.p/<width>].",
                [*here, _path("tile", "Which.", {"type": "string", "pattern": _TILE})],
                _content("application/octet-stream", {}),
            )
        },
    }


def _operation(name: str, summary: str, parameters: list[Any], ok: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": summary, "content": ok},
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }


def _query(
    name: str, description: str, schema: dict[str, Any] | None = None, *, required: bool = False
) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": required,
        "description": description,
        "schema": schema or _NUMBER,
    }


def _path(name: str, description: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema or _NUMBER}


def _json(schema: str) -> dict[str, Any]:
    return _content("application/json", {"$ref": f"#/components/schemas/{schema}"})


def _content(media: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {media: {"schema": schema}}
