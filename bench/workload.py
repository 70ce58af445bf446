"""The events everything is measured with: about 360 bytes each, the same ones for ours and theirs."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from trailseal.model.timestamps import format_rfc3339

SEED = 7
START_US = 1_767_225_600_000_000
"""2026-01-01T00:00:00Z."""
APPENDED_MS = 1_900_000_000_000
"""An append time after all of them, milliseconds since 1970: no event may lie more than a day ahead of its own."""
_ACTIONS = (
    "document.viewed",
    "document.updated",
    "user.signed_in",
    "invoice.approved",
    "role.assigned",
    "report.exported",
)
_PLACES = ("berlin", "lagos", "lima", "osaka", "pune", "quito")


def events(count: int, *, seed: int = SEED, step_us: int = 250_000, tenants: int = 20) -> Iterator[bytes]:
    """``count`` native events as JSON, in order of time, ``step_us`` microseconds apart."""
    rng = random.Random(seed)
    for number in range(count):
        actor = f"user-{rng.randrange(5_000)}@example.com"
        yield msgspec.json.encode(
            {
                "id": f"{seed:02x}-{number:012d}-{rng.getrandbits(32):08x}",
                "timestamp": format_rfc3339(START_US + number * step_us),
                "tenant_id": f"tenant-{rng.randrange(tenants)}",
                "actor": {"id": actor, "type": "user"},
                "action": rng.choice(_ACTIONS),
                "resource": {"type": "document", "id": f"doc-{rng.randrange(50_000)}"},
                "context": {"source_ip": f"10.{rng.randrange(4)}.{rng.randrange(256)}.{rng.randrange(256)}"},
                "metadata": {
                    "place": rng.choice(_PLACES),
                    "size": rng.randrange(1_000),
                    "request": f"{number:08x}",
                },
            }
        )


def batched(values: Iterable[bytes], size: int) -> Iterator[bytes]:
    """NDJSON bodies of ``size`` events each."""
    rest = iter(values)
    while part := list(islice(rest, size)):
        yield b"\n".join(part)
