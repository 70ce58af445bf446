"""What outsiders check us by, over HTTP: tiles, checkpoints, consistency, receipts, and who may have them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from flow.http_system import HttpSystem, event, http_system
from flow.running import until
from trailseal.merkle.errors import MerkleError
from trailseal.merkle.genesis import Genesis
from trailseal.merkle.hash import leaf_hash, leaf_hashes, range_root, split_hashes
from trailseal.merkle.leaf import EntryType, LeafEntry
from trailseal.merkle.notes import VerifierKey, decode_base64
from trailseal.merkle.proofs import verify_consistency
from trailseal.merkle.receipts import verify_receipt
from trailseal.merkle.signing import OpenedCheckpoint, open_checkpoint
from trailseal.merkle.tiles import TILE_WIDTH, TileName, decode_bundle, partial_tiles

EVENTS = 600
BASE = "/integrity/logs/1/0"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpSystem]:
    with http_system(tmp_path_factory.mktemp("integrity") / "data", sealed=True) as running:
        running.post([event(f"e{number}") for number in range(EVENTS)])
        running.settle()
        until(lambda: signed_size(running) == EVENTS + 1, "a signature over everything")
        yield running


def signed_size(system: HttpSystem) -> int:
    stored = system.engines.ledger.seals.checkpoint(1, 0)
    return 0 if stored is None else stored.size


def listed(system: HttpSystem) -> dict[str, Any]:
    (log,) = system.get("/integrity/logs")["logs"]
    found: dict[str, Any] = log
    return found


def keys(system: HttpSystem) -> list[VerifierKey]:
    return [VerifierKey.parse(vkey) for vkey in listed(system)["vkeys"]]


def checkpoint(system: HttpSystem) -> OpenedCheckpoint:
    body = system.ask(f"{BASE}/checkpoint").data
    return open_checkpoint(body, listed(system)["origin"], keys(system))


def tile(system: HttpSystem, name: TileName) -> bytes:
    response = system.ask(f"{BASE}/{name.path()}")
    assert response.status_code == 200, response.text
    data: bytes = response.data
    return data


def bundles(system: HttpSystem, size: int) -> list[bytes]:
    """Every entry, by downloading bundles as any client of tlog-tiles would."""
    entries: list[bytes] = []
    for number in range(-(-size // TILE_WIDTH)):
        width = min(TILE_WIDTH, size - number * TILE_WIDTH)
        entries += decode_bundle(tile(system, TileName(None, number, width)), width)
    return entries


def test_a_log_is_listed_with_its_keys_size_and_base_url(system: HttpSystem) -> None:
    log = listed(system)
    assert (log["log"], log["partition"], log["size"], log["url"]) == (1, 0, EVENTS + 1, BASE)
    assert [key.name for key in keys(system)] == [log["origin"]]


def test_the_genesis_that_leaf_0_commits_to_is_published(system: HttpSystem) -> None:
    log, first = listed(system), LeafEntry.decode(bundles(system, EVENTS + 1)[0])
    assert sha256(log["genesis"].encode()).digest() == first.commit
    assert Genesis.parse(log["genesis"].encode()).keys == tuple(keys(system))


def test_the_signed_root_is_that_of_the_entries_anybody_can_download(system: HttpSystem) -> None:
    signed = checkpoint(system).checkpoint
    entries = bundles(system, signed.size)
    assert range_root(leaf_hashes(entries)) == signed.root
    assert LeafEntry.decode(entries[0]).type is EntryType.GENESIS
    assert [LeafEntry.decode(entry).offset for entry in entries[1:]] == list(range(EVENTS))


def test_tiles_full_and_partial_are_the_hashes_of_what_lies_below(system: HttpSystem) -> None:
    size = checkpoint(system).checkpoint.size
    hashes = leaf_hashes(bundles(system, size))
    first = split_hashes(tile(system, TileName(0, 0)))
    assert first == hashes[:TILE_WIDTH]
    for name in partial_tiles(size):
        got = split_hashes(tile(system, name))
        span = TILE_WIDTH ** (name.level or 0)
        start = name.index * TILE_WIDTH * span
        assert got == [
            range_root(hashes[start + place * span : start + (place + 1) * span]) for place in range(name.width)
        ]


def test_answers_say_how_long_they_hold_and_that_any_page_may_read_them(system: HttpSystem) -> None:
    for path, kind, caching in (
        (f"{BASE}/tile/0/000", "application/octet-stream", "immutable"),
        (f"{BASE}/tile/entries/002.p/1", "application/octet-stream", "immutable"),
        (f"{BASE}/checkpoint", "text/plain; charset=utf-8", "max-age=1"),
        ("/integrity/logs", "application/json", "no-store"),
    ):
        headers = system.ask(path).headers
        assert headers["Content-Type"] == kind
        assert caching in headers["Cache-Control"]
        assert headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    "path",
    ["tile/0/003", "tile/0/0", "tile/0/002.p/256", "tile/9/000", "tile/entries/x000/002", "tile/0/002"],
)
def test_a_tile_that_is_none_is_not_found(system: HttpSystem, path: str) -> None:
    assert system.get(f"{BASE}/{path}", 404)["code"] == "not-found"


def test_another_log_is_not_found(system: HttpSystem) -> None:
    for path in ("/integrity/logs/7/0/checkpoint", "/integrity/logs/1/9/tile/0/000"):
        assert system.get(path, 404)["code"] == "not-found"
    assert system.get("/integrity/checkpoints?log=7", 404)["code"] == "not-found"


def test_growth_between_any_two_sizes_can_be_proved(system: HttpSystem) -> None:
    entries = leaf_hashes(bundles(system, EVENTS + 1))
    for first, second in ((0, 5), (1, 1), (256, 601), (300, 512), (600, 601)):
        answer = system.get(f"/integrity/consistency?log=1&from={first}&to={second}")
        old, new = decode_base64(answer["first_root"]), decode_base64(answer["second_root"])
        assert (old, new) == (range_root(entries[:first]), range_root(entries[:second]))
        verify_consistency(first, second, [decode_base64(node) for node in answer["proof"]], old, new)
    assert system.get("/integrity/consistency?log=1&from=5&to=9999", 404)["code"] == "not-found"
    assert system.get("/integrity/consistency?log=1&from=5", 400)["code"] == "missing-parameter"
    assert system.get("/integrity/consistency?log=x&from=5&to=6", 400)["code"] == "invalid-value"


def test_checkpoints_are_listed_with_their_notes(system: HttpSystem) -> None:
    (newest, *_) = system.get("/integrity/checkpoints?log=1&limit=5")["checkpoints"]
    assert newest["note"].encode() == system.ask(f"{BASE}/checkpoint").data
    assert newest["size"] == EVENTS + 1
    assert system.get("/integrity/checkpoints?log=1&below=1")["checkpoints"] == []


def test_a_receipt_proves_the_record_offline(system: HttpSystem) -> None:
    log = listed(system)
    receipt = system.ask("/events/e77/proof").data
    proved = verify_receipt(receipt, log["origin"], keys(system))
    assert proved.frame is not None
    assert json.loads(proved.frame.value or b"")["id"] == "e77"
    assert (proved.index, proved.entry.offset) == (78, 77)
    with pytest.raises(MerkleError):
        verify_receipt(receipt.replace(b"index 78", b"index 79"), log["origin"], keys(system))


def test_an_event_shows_its_seal_where_asked_to(system: HttpSystem) -> None:
    entries = bundles(system, EVENTS + 1)
    note = system.ask(f"{BASE}/checkpoint").data.decode()
    for answer in (
        system.get("/events/e77?seal=1"),
        system.get("/events?id=e77&seal=1")["events"][0],
    ):
        seal = answer["seal"]
        assert (seal["index"], seal["origin"]) == (78, listed(system)["origin"])
        assert decode_base64(seal["leaf"]) == leaf_hash(entries[78])
        assert seal["checkpoint"] == note
    assert "seal" not in system.get("/events/e77")
    assert system.get("/events/e77?seal=2", 400)["errors"][0]["parameter"] == "seal"


def test_an_event_that_is_not_signed_yet_is_told_to_wait_for_its_receipt(tmp_path: Path) -> None:
    with http_system(tmp_path / "data", sealed=True) as system:
        system.post(event("first"))
        system.settle()
        until(lambda: signed_size(system) == 2)
        system.post(event("second"))
        system.settle()
        response = system.ask("/events/second/proof")
        assert response.status_code in {200, 503}
        if response.status_code == 503:
            assert int(response.headers["Retry-After"]) >= 1
        until(lambda: system.ask("/events/second/proof").status_code == 200)


def test_a_record_that_was_changed_gets_no_receipt(tmp_path: Path) -> None:
    with http_system(tmp_path / "data", sealed=True) as system:
        system.post(event("e1"))
        system.settle()
        until(lambda: signed_size(system) == 2)
        connection = sqlite3.connect(tmp_path / "data" / "log.sqlite")
        with connection:
            connection.execute("UPDATE records SET value = replace(value, 'alice', 'mallory')")
        connection.close()
        assert system.get("/events/e1/proof", 500)["code"] == "integrity-violation"


def test_tiles_need_a_key_once_there_are_keys_and_a_receipt_needs_the_events_tenant(tmp_path: Path) -> None:
    with http_system(tmp_path / "data", sealed=True) as system:
        system.post([event("a1", tenant_id="a"), event("b1", tenant_id="b")])
        system.settle()
        until(lambda: signed_size(system) == 3)
        ours = system.key("events:read", tenants=["a"])
        assert system.get(f"{BASE}/checkpoint", 401)["code"] == "not-authenticated"
        assert system.ask(f"{BASE}/checkpoint", headers={"Authorization": ours}).status_code == 200
        assert system.ask("/events/a1/proof", headers={"Authorization": ours}).status_code == 200
        for path in ("/events/b1/proof", "/events/b1/proof?tenant_id=b", "/events/a1/proof?tenant_id=b"):
            assert system.ask(path, headers={"Authorization": ours}).status_code == 404


def test_an_open_log_gives_tiles_to_everybody_and_events_to_nobody(tmp_path: Path) -> None:
    with http_system(tmp_path / "data", sealed=True, open_integrity=True) as system:
        system.post(event("e1"))
        system.settle()
        until(lambda: signed_size(system) == 2)
        system.key("admin", tenants=None)
        for path in (f"{BASE}/checkpoint", f"{BASE}/tile/entries/000.p/2", "/integrity/logs"):
            assert system.ask(path).status_code == 200
        assert system.ask("/events/e1/proof").status_code == 401
