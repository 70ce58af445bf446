"""An event with everything in it, and what a forger without a key makes of its row in an evidence file."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

Lines = list[bytes]
RICH: dict[str, Any] = {
    "id": "rich",
    "timestamp": "2026-03-05T12:00:00.25+01:00",
    "tenant_id": "acme",
    "actor": "bob",
    "action": "document.delete",
    "resource": {"type": "document", "id": "7", "name": None},
    "outcome": "denied",
    "reason": None,
    "context": {"source_ip": "::ffff:192.0.2.7", "request_id": "req-1"},
    "changes": [{"path": "title", "before": None, "after": {"size": 1.5, "none": None}}],
    "metadata": {"department": "finance", "approved": True, "none": None, "share": 1e3},
}
"""It happened after the others of a test, so that its row is the last one."""
BARE: dict[str, Any] = {
    "id": "bare",
    "timestamp": "2026-03-04T23:59:60Z",
    "actor": {"id": "bob", "type": None},
    "action": "document.read",
    "resource": "document 7",
    "context": {},
    "changes": [],
    "metadata": {},
}
"""With nothing in it that an answer shows as it stands there."""
FORGED: tuple[tuple[str, object], ...] = (
    ("id", "poor"),
    ("timestamp", "2026-03-05T11:00:00.250001Z"),
    ("received_at", "2026-03-05T11:00:00Z"),
    ("tenant_id", "other"),
    ("actor", {"id": "bob", "name": "Bob"}),
    ("action", "document.read"),
    ("resource", {"type": "document", "id": "8"}),
    ("outcome", "success"),
    ("reason", "because"),
    ("context", {"source_ip": "192.0.2.8", "request_id": "req-1"}),
    ("changes", []),
    ("changes", [{"path": "title", "after": {"size": 1.5}}]),
    ("metadata", {"department": "finance", "approved": 1, "none": None, "share": 1e3}),
    ("metadata", {"department": "finance", "approved": True, "share": 1e3}),
    ("format", "cloudtrail"),
    ("position", "1/0/3"),
    ("schema_version", 2),
    ("flags", ["id-hashed"]),
    ("record", "{}"),
    ("approved_by", "counsel"),
)


def edit(line: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The line with its object changed."""
    body = json.loads(line)
    change(body)
    return json.dumps(body, separators=(",", ":")).encode() + b"\n"


def mended(lines: Lines) -> Lines:
    """With the end made anew, as far as that goes without a key: what is found now is found in a row."""
    end = {"rows": len(lines) - 2, "sha256": sha256(b"".join(lines[:-1])).hexdigest(), "note": None}
    return [*lines[:-1], json.dumps({"end": end}, separators=(",", ":")).encode() + b"\n"]


def forged(lines: Lines, name: str, value: object) -> Lines:
    """One field of the last row's event is another one."""
    row = edit(lines[-2], lambda body: body["event"].update({name: value}))
    return mended([*lines[:-2], row, lines[-1]])
