"""Real CloudTrail records, where TRAILSEAL_TEST_REAL_DATA names a folder with .ndjson.gz and .json files."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from trailseal.formats import decode_record, detect
from trailseal.formats.rendering import render
from trailseal.formats.slicing import Slicer
from trailseal.model.projection import Hit, entry
from trailseal.model.record import Position, Record

FOLDER = os.environ.get("TRAILSEAL_TEST_REAL_DATA")
pytestmark = pytest.mark.skipif(
    FOLDER is None, reason="set TRAILSEAL_TEST_REAL_DATA to a folder with CloudTrail records"
)


def files() -> list[bytes]:
    folder = Path(FOLDER or "")
    packed = [gzip.decompress(path.read_bytes()) for path in sorted(folder.glob("*.ndjson.gz"))]
    return packed + [path.read_bytes() for path in sorted(folder.glob("*.json"))]


def test_every_real_record_decodes_projects_and_renders() -> None:
    count = 0
    for data in files():
        for part in Slicer(data[at : at + 65_536] for at in range(0, len(data), 65_536)):
            assert part.problem is None
            assert detect(part.value) == "cloudtrail"
            record = Record(
                Position(1, 0, count), 1_780_000_000_000, None, part.value, (("trailseal-format", b"cloudtrail"),)
            )
            decoded = decode_record(record, "origin")
            body = json.loads(part.value)
            made = entry(record, decoded.event, decoded.format, decoded.words)
            answer = json.loads(render(Hit(made.projection.sort_key, record)))
            assert (answer["id"], answer["action"]) == (body["eventID"], body["eventName"])
            assert answer["tenant_id"] == body["recipientAccountId"]
            assert answer["actor"]["id"]
            count += 1
    assert count
