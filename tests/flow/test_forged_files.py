"""Files edited at random: both verifiers refuse every one, with the same verdict and never with a traceback."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from flow.embedded import opened
from flow.evidence_edits import mended
from flow.json_edits import with_a_name_twice, with_an_odd_number
from flow.running import event
from flow.test_evidence_files import EVENTS, Lines, Sealed
from flow.test_standalone_verifier import status_of
from interop.public_client import PublicClient, built
from trailseal.merkle.notes import Algorithm, VerifierKey
from trailseal.model.record import HEADER_FORMAT, NewRecord, Position
from trailseal.model.timestamps import format_rfc3339
from trailseal.sealing.evidence import Evidence
from trailseal.sealing.evidence_file import evidence_lines
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


def full_width(digits: str) -> str:
    return "".join(chr(ord(digit) + ord("\uff10") - ord("0")) for digit in digits)


ODD_SPELLINGS = [*(odd.format for odd in ("0{}", "+{}", " {}", "{} ", "\t{}", "{}\r", "{}.0", "{}_0")), full_width]
TWICE = event("twice").replace(b'"actor"', b'"actor":"mallory","actor"', 1)
CLOUDTRAIL_TWICE = (
    b'{"eventVersion":"1.08","eventTime":"2026-03-05T08:00:00Z","eventName":"StopLogging",'
    b'"eventSource":"cloudtrail.amazonaws.com","userIdentity":{"type":"IAMUser","userName":"bob"},'
    b'"eventID":"00000000-0000-0000-0000-000000000001","x":1,"x":2}'
)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    return Sealed(tmp_path_factory.mktemp("forged") / "data")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> PublicClient:
    return built(tmp_path_factory.mktemp("program"))


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


def forged_receipt(receipt: bytes, chance: random.Random) -> bytes:
    """One bit made another, one byte left out, or all behind a place."""
    at = chance.randrange(len(receipt))
    kept, rest = receipt[:at], receipt[at:]
    return chance.choice([kept + bytes([rest[0] ^ 1 << chance.randrange(8)]) + rest[1:], kept, kept + rest[1:]])


def with_an_odd_index(receipt: bytes, spell: Callable[[str], str]) -> bytes:
    edited = re.sub(r"(?<=\nindex )\d+", lambda found: spell(found[0]), receipt.decode()).encode()
    assert edited != receipt
    return edited


def forged(lines: Lines, seed: int, make: Callable[[bytes, random.Random], bytes] = forged_line) -> Lines:
    """An export with one forged line; where that is not the end, every other time with an end made to fit."""
    chance = random.Random(seed)
    place = chance.choice([0, 1, 7, len(lines) - 1])
    instead = [*lines[:place], make(lines[place], chance), *lines[place + 1 :]]
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
        assert theirs == ours, f"seed {seed}"
        refused += 1
    assert refused > SEEDS * 0.9


def test_no_edit_of_a_receipt_passes_or_breaks_a_verifier(
    sealed: Sealed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(SEEDS):
        instead = forged_receipt(sealed.receipt, random.Random(seed))
        file = tmp_path / "receipt.tlog-proof"
        file.write_bytes(instead)
        ours = status_of(check_receipt(instead, Trust(keys=sealed.keys)))
        assert ours, f"seed {seed}"
        assert standalone_status(file, sealed.keys[0].vkey(), monkeypatch) == ours, f"seed {seed}"


@pytest.mark.parametrize("make", [with_a_name_twice, with_an_odd_number])
def test_a_name_given_twice_or_an_oddly_spelled_number_is_tampering_to_both(
    sealed: Sealed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[bytes, random.Random], bytes],
) -> None:
    file = tmp_path / "evidence.ndjson"
    for seed in range(SEEDS):
        lines = forged(sealed.lines, seed, make)
        file.write_bytes(b"".join(lines))
        assert status_of(sealed.check(lines)) == 1, f"seed {seed}"
        assert standalone_status(file, sealed.keys[0].vkey(), monkeypatch) == 1, f"seed {seed}"


@pytest.mark.parametrize("spell", ODD_SPELLINGS)
def test_an_oddly_spelled_index_of_a_receipt_is_tampering_to_both(
    sealed: Sealed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spell: Callable[[str], str]
) -> None:
    edited = with_an_odd_index(sealed.receipt, spell)
    (tmp_path / "receipt").write_bytes(edited)
    assert status_of(check_receipt(edited, Trust(keys=sealed.keys))) == 1
    assert standalone_status(tmp_path / "receipt", sealed.keys[0].vkey(), monkeypatch) == 1


@pytest.mark.crash
@pytest.mark.parametrize("make", [forged_line, with_a_name_twice, with_an_odd_number])
def test_the_verifier_made_from_the_page_gives_the_same_verdict(
    sealed: Sealed, client: PublicClient, tmp_path: Path, make: Callable[[bytes, random.Random], bytes]
) -> None:
    file = tmp_path / "evidence.ndjson"
    for seed in range(SEEDS):
        lines = forged(sealed.lines, seed, make)
        file.write_bytes(b"".join(lines))
        status, _, complaint = client.run("evidence", str(file), sealed.keys[0].vkey())
        assert status == status_of(sealed.check(list(BytesIO(b"".join(lines))))), f"seed {seed}: {complaint}"


@pytest.mark.crash
def test_the_verifier_made_from_the_page_refuses_edited_receipts(
    sealed: Sealed, client: PublicClient, tmp_path: Path
) -> None:
    file = tmp_path / "receipt.tlog-proof"
    for spell in ODD_SPELLINGS:
        file.write_bytes(with_an_odd_index(sealed.receipt, spell))
        assert client.run("receipt", str(file), sealed.keys[0].vkey())[0] == 1
    for seed in range(SEEDS):
        file.write_bytes(forged_receipt(sealed.receipt, random.Random(seed)))
        assert client.run("receipt", str(file), sealed.keys[0].vkey())[0] in (1, 2), f"seed {seed}"


@pytest.mark.crash
def test_the_verifier_made_from_the_page_takes_no_key_for_somebody_else_s(
    sealed: Sealed, client: PublicClient, tmp_path: Path
) -> None:
    (tmp_path / "receipt").write_bytes(sealed.receipt)
    log, cosigning = sealed.keys[0], Algorithm.COSIGNATURE_ED25519
    for others in (
        [VerifierKey("w1", cosigning, log.public_key)],
        [VerifierKey(name, cosigning, bytes([1]) + bytes(31)) for name in ("w1", "w2")],
    ):
        vkeys = " ".join(key.vkey() for key in (log, *others))
        assert client.run("receipt", str(tmp_path / "receipt"), vkeys)[0] == 2
    assert client.run("receipt", str(tmp_path / "receipt"), log.vkey())[0] == 0


class Ambiguous:
    """A native record with two readings, which is a dead letter; who holds the log can prove it all the same."""

    def __init__(self, data: Path) -> None:
        self.sealed = Sealed(data, NewRecord(TWICE, b"acme"))
        with opened(data, "read") as engines:
            (record,) = engines.log.fetch([Position(1, 0, EVENTS)])
            assert record is not None
            evidence = Evidence(engines.ledger, engines.clock.monotonic)
            self.receipt = evidence.receipt(record)
            of_it = [(record, b"{}")]
            row = json.loads(list(evidence_lines(evidence, of_it, made_at="", query=[], tenants=None))[1])
        like = json.loads(self.sealed.lines[1])["event"]
        del like["record"]
        about = {"received_at": format_rfc3339(record.timestamp_ms * 1_000), "position": str(record.position)}
        row["event"] = like | json.loads(TWICE) | about
        lines = self.sealed.lines
        self.lines = mended([*lines[:-1], json.dumps(row).encode() + b"\n", lines[-1]])


@pytest.fixture(scope="module")
def ambiguous(tmp_path_factory: pytest.TempPathFactory) -> Ambiguous:
    return Ambiguous(tmp_path_factory.mktemp("ambiguous") / "data")


def test_a_native_record_with_two_readings_is_tampering_to_both_in_receipts_and_rows(
    ambiguous: Ambiguous, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ambiguous.sealed.keys
    ours = (check_receipt(ambiguous.receipt, Trust(keys=keys)), ambiguous.sealed.check(ambiguous.lines))
    for result, data in zip(ours, (ambiguous.receipt, b"".join(ambiguous.lines)), strict=True):
        (tmp_path / "file").write_bytes(data)
        assert [one.detail for one in result.mismatches] == ["a name stands twice in one object"]
        assert standalone_status(tmp_path / "file", keys[0].vkey(), monkeypatch) == 1


@pytest.mark.crash
def test_the_verifier_made_from_the_page_refuses_a_record_with_two_readings(
    ambiguous: Ambiguous, client: PublicClient, tmp_path: Path
) -> None:
    for kind, data in (("receipt", ambiguous.receipt), ("evidence", b"".join(ambiguous.lines))):
        (tmp_path / kind).write_bytes(data)
        status, _, complaint = client.run(kind, str(tmp_path / kind), ambiguous.sealed.keys[0].vkey())
        assert (status, "stands twice" in complaint) == (1, True)


def test_a_foreign_record_with_a_name_twice_is_shown_as_it_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = Sealed(tmp_path / "data", NewRecord(CLOUDTRAIL_TWICE, None, ((HEADER_FORMAT, b"cloudtrail"),)))
    assert status_of(foreign.check(foreign.lines)) == 0
    (tmp_path / "evidence").write_bytes(b"".join(foreign.lines))
    assert standalone_status(tmp_path / "evidence", foreign.keys[0].vkey(), monkeypatch) == 2, "not decoded there"
