"""Files edited at random: both verifiers refuse every one, with a verdict and never with a traceback."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flow.evidence_edits import mended
from flow.test_evidence_files import Lines, Sealed
from flow.test_standalone_verifier import status_of
from trailseal.verification import standalone
from trailseal.verification.files import check_receipt
from trailseal.verification.trust import Trust

SEEDS = 400
Steps = tuple[str | int, ...]
GONE = object()
ODD: list[Any] = [
    *(GONE, None, True, False, 0, 1, -1, 2**70, 1.5, float("inf"), float("nan")),
    *("", "x", "1/0/5", "01", "\0", "\ud800", "1/0/99999999999999999999", [], {}, [[]], {"a": 1}),
]


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    return Sealed(tmp_path_factory.mktemp("forged") / "data")


def places(value: Any, at: Steps = ()) -> Iterator[Steps]:
    """The way to everything in a JSON value but itself."""
    for name in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*at, name)
        yield from places(value[name], (*at, name))


def put(value: Any, at: Steps, instead: Any) -> Any:
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(at) > 1:
        copy[at[0]] = put(value[at[0]], at[1:], instead)
    elif instead is GONE:
        del copy[at[0]]
    else:
        copy[at[0]] = instead
    return copy


def forged_line(line: bytes, chance: random.Random) -> bytes:
    """One value made another, or one bit, or one stretch."""
    kind = chance.randrange(6)
    if kind:
        body = json.loads(line)
        instead = put(body, chance.choice(list(places(body))), chance.choice(ODD))
        return json.dumps(instead, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass") + b"\n"
    at = chance.randrange(len(line) - 1)
    if chance.random() < 0.5:
        return line[:at] + bytes([line[at] ^ 1 << chance.randrange(8)]) + line[at + 1 :]
    return chance.choice([line[:at], b"\xef\xbb\xbf" + line, line[:at] + line[at : at + 5] + line[at:]])


def forged(lines: Lines, seed: int) -> Lines:
    """An export with one forged line; where that is not the end, every other time with an end made to fit."""
    chance = random.Random(seed)
    place = chance.choice([0, 1, 7, len(lines) - 1])
    instead = [*lines[:place], forged_line(lines[place], chance), *lines[place + 1 :]]
    return mended(instead) if place != len(lines) - 1 and seed % 2 else instead


def standalone_status(file: Path, vkey: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["verifier", str(file), "--key", vkey])
    try:
        standalone.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def same(one: bytes, other: bytes) -> bool:
    """Whether an end says the same in another spelling, which is no matter: nothing else is left to it."""
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


def test_no_edit_of_an_export_passes_or_breaks_a_verifier(
    sealed: Sealed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = 0
    for seed in range(SEEDS):
        lines = forged(sealed.lines, seed)
        if lines[:-1] == sealed.lines[:-1] and same(lines[-1], sealed.lines[-1]):
            continue
        file = tmp_path / "evidence.ndjson"
        file.write_bytes(b"".join(lines))
        with file.open("rb") as stream:
            ours = status_of(sealed.check(list(stream)))
        theirs = standalone_status(file, sealed.keys[0].vkey(), monkeypatch)
        assert ours, f"seed {seed}"
        assert theirs, f"seed {seed}"
        refused += 1
    assert refused > SEEDS * 0.9


def test_no_edit_of_a_receipt_passes_or_breaks_a_verifier(
    sealed: Sealed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(SEEDS):
        chance = random.Random(seed)
        at = chance.randrange(len(sealed.receipt))
        kept, rest = sealed.receipt[:at], sealed.receipt[at:]
        instead = chance.choice(
            [kept + bytes([rest[0] ^ 1 << chance.randrange(8)]) + rest[1:], kept, kept + rest[1:]]
        )
        file = tmp_path / "receipt.tlog-proof"
        file.write_bytes(instead)
        ours = status_of(check_receipt(instead, Trust(keys=sealed.keys)))
        assert ours, f"seed {seed}"
        assert standalone_status(file, sealed.keys[0].vkey(), monkeypatch), f"seed {seed}"
