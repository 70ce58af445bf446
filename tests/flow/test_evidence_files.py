"""Receipts and evidence files: what holds is proved with public keys alone, and whatever was changed is found."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flow.embedded import opened
from flow.evidence_edits import Lines, edit
from flow.running import caught_up, record, running, until
from trailseal.bootstrap import Engines
from trailseal.cli.pipeline import make_consumer
from trailseal.formats.rendering import render
from trailseal.merkle.notes import VerifierKey
from trailseal.merkle.signing import SeedSigner
from trailseal.model.query import Query
from trailseal.model.record import NewRecord
from trailseal.sealing.evidence import Evidence
from trailseal.sealing.evidence_file import evidence_lines
from trailseal.sealing.keys import KeyFile
from trailseal.settings import Settings
from trailseal.verification.files import EvidenceCheck, FileVerification, check_receipt
from trailseal.verification.trust import Trust

EVENTS = 40


def lines_of(engines: Engines, signers: tuple[SeedSigner, ...]) -> Lines:
    """An export with proofs of everything."""
    hits = engines.index.search(Query(order="asc"), None, 1_000)
    return list(
        evidence_lines(
            Evidence(engines.ledger, engines.clock.monotonic),
            [(hit.record, render(hit, with_record=True)) for hit in hits],
            made_at="2026-03-05T00:00:00Z",
            query=[("actor", "alice")],
            tenants=["acme"],
            signers=signers,
            now_s=1_772_668_800,
        )
    )


class Sealed:
    """A sealed log, its receipt of one event, and exports of all of them."""

    def __init__(self, data: Path, *more: NewRecord, post_quantum: bool = False) -> None:
        data.mkdir(parents=True)
        KeyFile(data / "seal.key").make("2026-01-02T03:04:05Z", post_quantum=post_quantum)
        with opened(data) as engines:
            engines.log.append([record(f"e{number}", metadata={"n": number}) for number in range(EVENTS)])
            if more:
                engines.log.append(list(more))
            with running(make_consumer(Settings(data=data), engines)):
                until(lambda: caught_up(engines.log, engines.ledger))
            evidence = Evidence(engines.ledger, engines.clock.monotonic)
            (log,) = evidence.pin().values()
            ring = KeyFile(data / "seal.key").ring()
            self.signers: tuple[SeedSigner, ...] = ring.signers(log.log.origin)
            self.keys: tuple[VerifierKey, ...] = ring.verifiers(log.log.origin)
            hits = engines.index.search(Query(order="asc"), None, 1_000)
            self.receipt = evidence.receipt(hits[7].record)
            self.lines, self.unsigned = lines_of(engines, self.signers), lines_of(engines, ())

    def check(self, lines: Lines, **trust: object) -> FileVerification:
        given = Trust(**({"keys": self.keys} | trust))  # type: ignore[arg-type] # as each test names them
        return EvidenceCheck(given).run(lines)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    return Sealed(tmp_path_factory.mktemp("evidence") / "data")


def test_an_evidence_file_is_proved_row_by_row_offline(sealed: Sealed) -> None:
    result = sealed.check(sealed.lines)
    assert (result.mismatches, result.open_questions) == ([], [])
    assert (result.rows, result.verified) == (EVENTS, EVENTS)
    assert result.checkpoints[0].checkpoint.size == EVENTS + 1


def rename(body: dict[str, Any]) -> None:
    body["event"]["actor"]["id"] = "mallory"


def move(body: dict[str, Any]) -> None:
    body["position"] = "1/0/5"


@pytest.mark.parametrize(
    "attack",
    [
        lambda lines: [*lines[:9], edit(lines[9], rename), *lines[10:]],
        lambda lines: [*lines[:9], edit(lines[9], move), *lines[10:]],
        lambda lines: [*lines[:9], *lines[10:]],
        lambda lines: [*lines[:9], lines[9], *lines[9:]],
        lambda lines: [*lines[:9], lines[10], lines[9], *lines[11:]],
        lambda lines: lines[:-1],
        lambda lines: lines[:9],
        lambda lines: [*lines, lines[9]],
        lambda lines: [edit(lines[0], lambda body: body.update(tenants=None)), *lines[1:]],
        lambda lines: lines[1:],
    ],
    ids=[
        "event",
        "position",
        "dropped",
        "doubled",
        "swapped",
        "endless",
        "cut off",
        "appended",
        "manifest",
        "headless",
    ],
)
def test_whatever_was_changed_is_found(sealed: Sealed, attack: Callable[[Lines], Lines]) -> None:
    assert sealed.check(attack(sealed.lines)).mismatches


def test_a_row_left_out_is_found_even_where_the_end_is_made_anew(sealed: Sealed) -> None:
    """Whoever edits the file can count and hash again, and not sign."""
    shorter = sealed.lines[:9] + sealed.lines[10:-1]
    from hashlib import sha256  # noqa: PLC0415 - what an attacker would do, beside the test that does it

    end = json.loads(sealed.lines[-1])["end"]
    end |= {"rows": EVENTS - 1, "sha256": sha256(b"".join(shorter)).hexdigest()}
    forged = [*shorter, json.dumps({"end": end}, separators=(",", ":")).encode() + b"\n"]
    assert [one.detail for one in sealed.check(forged).mismatches] == ["what was signed is another end"]
    bare = [*shorter, json.dumps({"end": end | {"note": None}}, separators=(",", ":")).encode() + b"\n"]
    assert "could be missing" in sealed.check(bare).open_questions[0]


def test_a_file_without_a_signed_end_leaves_a_question_open(sealed: Sealed) -> None:
    result = sealed.check(sealed.unsigned)
    assert (result.verified, result.mismatches) == (EVENTS, [])
    assert "could be missing" in result.open_questions[0]


def test_without_a_key_nothing_is_proved(sealed: Sealed) -> None:
    result = sealed.check(sealed.lines, keys=())
    assert (result.verified, result.mismatches) == (0, [])
    assert any("No key of" in question for question in result.open_questions)


def test_too_few_witnesses_leave_a_question_open(sealed: Sealed) -> None:
    result = sealed.check(sealed.lines, quorum=1)
    assert result.verified == 0
    assert any("cannot be relied on" in question for question in result.open_questions)


def test_no_single_flipped_bit_in_a_row_or_receipt_goes_unnoticed(sealed: Sealed) -> None:
    rng = random.Random(11)
    for _ in range(150):
        line = bytearray(sealed.lines[9])
        at, bit = rng.randrange(len(line) - 1), 1 << rng.randrange(7)
        line[at] ^= bit
        assert sealed.check([*sealed.lines[:9], bytes(line), *sealed.lines[10:]]).mismatches
    trust = Trust(keys=sealed.keys)
    for _ in range(300):
        receipt = bytearray(sealed.receipt)
        at, bit = rng.randrange(len(receipt)), 1 << rng.randrange(8)
        receipt[at] ^= bit
        result = check_receipt(bytes(receipt), trust)
        assert result.verified == 0 or at >= sealed.receipt.rindex(b"\n\n")


def test_a_receipt_is_proved_with_the_key_and_not_without(sealed: Sealed) -> None:
    assert check_receipt(sealed.receipt, Trust(keys=sealed.keys)).verified == 1
    assert check_receipt(sealed.receipt, Trust()).open_questions
    assert check_receipt(sealed.receipt[:-40], Trust(keys=sealed.keys)).verified == 0
