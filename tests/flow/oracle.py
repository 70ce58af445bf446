"""What must have become of every record of a log, worked out the plain way from the log alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from trailseal.bootstrap import Engines
from trailseal.model.record import HEADER_ID, Record


@dataclass
class Expected:
    """Offsets by what becomes of them; ids that are indexed."""

    indexed: set[int] = field(default_factory=set)
    rows: dict[int, str] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)


def expected_of(engines: Engines) -> Expected:
    """First come, first indexed; the same content again is a duplicate, other content an id collision."""
    expected = Expected()
    held: dict[tuple[str, str], bytes | None] = {}
    end = engines.log.bounds(0).next
    at = 0
    while at < end:
        for item in engines.log.read(0, at, 1_000, 1 << 24):
            assert isinstance(item, Record)
            at = item.position.offset + 1
            try:
                body = json.loads(item.value or b"")
            except ValueError:
                expected.rows[item.position.offset] = "dead_letter"
                continue
            given = item.header(HEADER_ID)
            name = (body["tenant_id"], given.decode() if given else body["id"])
            if name not in held:
                held[name] = item.value
                expected.indexed.add(item.position.offset)
                expected.ids.add(name[1])
            elif held[name] == item.value:
                expected.rows[item.position.offset] = "duplicate"
            else:
                expected.indexed.add(item.position.offset)
                expected.rows[item.position.offset] = "id_collision"
    return expected
