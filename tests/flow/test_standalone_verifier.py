"""The verifier that is handed out: run as an auditor would, and in agreement with ours on every case."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flow.embedded import opened
from flow.evidence_edits import BARE, FORGED, RICH, Lines, edit, forged, mended
from flow.running import record
from flow.test_attacks import EVENTS, run_pipeline
from flow.test_evidence_files import EVENTS as EXPORTED
from flow.test_evidence_files import Sealed, lines_of, move, rename
from trailseal.errors import UsageError
from trailseal.merkle.notes import Algorithm
from trailseal.merkle.signing import SeedSigner
from trailseal.merkle.tiles import TILE_WIDTH, TileName
from trailseal.model.record import NewRecord
from trailseal.sealing.evidence import Evidence
from trailseal.sealing.keys import KeyFile
from trailseal.verification import standalone
from trailseal.verification.files import FileVerification, check_receipt
from trailseal.verification.trust import Trust, trust_from

Attack = Callable[[Lines], Lines]
ATTACKS: list[Attack] = [
    lambda lines: lines,
    lambda lines: [*lines[:9], edit(lines[9], rename), *lines[10:]],
    lambda lines: [*lines[:9], edit(lines[9], move), *lines[10:]],
    lambda lines: [*lines[:9], *lines[10:]],
    lambda lines: [*lines[:9], lines[9], *lines[9:]],
    lambda lines: [*lines[:9], lines[10], lines[9], *lines[11:]],
    lambda lines: lines[:-1],
    lambda lines: [*lines, lines[9]],
    lambda lines: [edit(lines[0], lambda body: body.update(tenants=None)), *lines[1:]],
]


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    """Signed with an ML-DSA-44 key too."""
    return Sealed(tmp_path_factory.mktemp("twice") / "data", post_quantum=True)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    return Sealed(tmp_path_factory.mktemp("standalone") / "data")


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    """The last row shows an event with everything in it, the one before it one with hardly anything."""
    records = [NewRecord(json.dumps(body).encode(), b"acme", ()) for body in (BARE, RICH)]
    return Sealed(tmp_path_factory.mktemp("rich") / "data", *records)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    """The last row shows a CloudEvent, told from its headers."""
    headers = (("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/x"), ("ce_type", b"x.y"))
    timed = (*headers, ("ce_time", b"2026-03-05T00:00:00Z"))
    return Sealed(tmp_path_factory.mktemp("foreign") / "data", NewRecord(b"{}", None, timed))


def status_of(result: FileVerification) -> int:
    return 1 if result.mismatches else 2 if result.open_questions or not result.checkpoints else 0


def standalone_export(lines: Lines, keys: list[str]) -> int:
    try:
        standalone.verify_export(lines, standalone.Keys(keys, [], None))
    except standalone.Unverified:
        return 2
    except standalone.Tampered:
        return 1
    return 0


def standalone_receipt(receipt: bytes, keys: list[str]) -> int:
    try:
        standalone.verify_receipt(receipt, standalone.Keys(keys, [], None))
    except standalone.Unverified:
        return 2
    except (standalone.Tampered, ValueError, IndexError):
        return 1
    return 0


@pytest.mark.parametrize("number", range(len(ATTACKS)))
def test_both_verifiers_agree_on_an_export(sealed: Sealed, number: int) -> None:
    lines = ATTACKS[number](sealed.lines)
    expected = status_of(sealed.check(lines))
    assert standalone_export(lines, [key.vkey() for key in sealed.keys]) == expected == (1 if number else 0)


def test_both_verifiers_read_events_with_everything_and_with_nothing_in_them(rich: Sealed) -> None:
    vkeys = [key.vkey() for key in rich.keys]
    assert [json.loads(line)["event"]["id"] for line in rich.lines[-3:-1]] == ["bare", "rich"]
    assert standalone_export(rich.lines, vkeys) == status_of(rich.check(rich.lines)) == 0
    assert standalone_export(mended(rich.lines), vkeys) == status_of(rich.check(mended(rich.lines))) == 2


@pytest.mark.parametrize(("name", "value"), FORGED, ids=lambda part: part if isinstance(part, str) else None)
def test_both_verifiers_hold_every_field_of_an_event_against_its_record(
    rich: Sealed, name: str, value: object
) -> None:
    lines = forged(rich.lines, name, value)
    assert status_of(rich.check(lines)) == 1
    assert standalone_export(lines, [key.vkey() for key in rich.keys]) == 1


def test_the_standalone_verifier_says_that_it_compared_no_event_of_a_foreign_format(foreign: Sealed) -> None:
    vkeys = [key.vkey() for key in foreign.keys]
    assert status_of(foreign.check(foreign.lines)) == 0
    with pytest.raises(standalone.Unverified, match="41 records are what was sealed; 1 of them"):
        standalone.verify_export(foreign.lines, standalone.Keys(vkeys, [], None))
    for name in ("format", "received_at", "record"):
        assert standalone_export(forged(foreign.lines, name, "native"), vkeys) == 1


def test_both_verifiers_agree_that_a_log_without_a_key_counts_only_where_a_row_is_of_it(sealed: Sealed) -> None:
    other = {"log": 2, "partition": 0, "origin": "other.example", "checkpoint": "other.example\n1\n\n"}
    manifest = edit(sealed.lines[0], lambda body: body["logs"].append(other))
    lines = mended([manifest, *sealed.lines[1:]])
    result = sealed.check(lines)
    assert (result.mismatches, result.verified, len(result.open_questions)) == ([], EXPORTED, 1)
    with pytest.raises(standalone.Unverified, match="the end is not signed"):
        standalone.verify_export(lines, standalone.Keys([key.vkey() for key in sealed.keys], [], None))


def test_both_verifiers_agree_that_an_unsigned_end_or_no_key_proves_nothing(sealed: Sealed) -> None:
    vkeys = [key.vkey() for key in sealed.keys]
    assert standalone_export(sealed.unsigned, vkeys) == status_of(sealed.check(sealed.unsigned)) == 2
    assert standalone_export(sealed.lines, []) == status_of(sealed.check(sealed.lines, keys=())) == 2


def test_neither_verifier_accepts_a_receipt_or_row_with_a_flipped_bit(sealed: Sealed) -> None:
    rng = random.Random(7)
    vkeys = [key.vkey() for key in sealed.keys]
    trust = Trust(keys=sealed.keys)
    assert standalone_receipt(sealed.receipt, vkeys) == 0
    signatures = sealed.receipt.rindex(b"\n\n")
    for _ in range(300):
        changed = bytearray(sealed.receipt)
        changed[rng.randrange(signatures)] ^= 1 << rng.randrange(8)
        assert standalone_receipt(bytes(changed), vkeys) != 0
        assert check_receipt(bytes(changed), trust).verified == 0
    for _ in range(100):
        line = bytearray(sealed.lines[9])
        line[rng.randrange(len(line) - 1)] ^= 1 << rng.randrange(7)
        assert standalone_export([*sealed.lines[:9], bytes(line), *sealed.lines[10:]], vkeys) == 1


@pytest.mark.parametrize("known", [[0], [1], [0, 1]], ids=["ed25519", "ml-dsa-44", "both"])
@pytest.mark.parametrize("number", range(len(ATTACKS)))
def test_both_verifiers_agree_whichever_of_two_keys_is_known(twice: Sealed, number: int, known: list[int]) -> None:
    keys = tuple(twice.keys[place] for place in known)
    vkeys = [key.vkey() for key in keys]
    lines = ATTACKS[number](twice.lines)
    expected = status_of(twice.check(lines, keys=keys))
    honest = 2 if known == [1] else 0  # the end is signed with Ed25519 only
    assert standalone_export(lines, vkeys) == expected == (1 if number else honest)
    assert (
        standalone_receipt(twice.receipt, vkeys) == status_of(check_receipt(twice.receipt, Trust(keys=keys))) == 0
    )
    assert standalone_receipt(twice.receipt, [" ".join(vkeys)]) == 0


def test_neither_verifier_accepts_a_flipped_bit_in_or_above_a_post_quantum_line(twice: Sealed) -> None:
    rng = random.Random(8)
    key = twice.keys[1]
    start = twice.receipt.rindex(b"\n", 0, -1)
    above = [(at, bit) for at in range(start) for bit in range(8)]
    below = [(at, rng.randrange(8)) for at in rng.sample(range(start, len(twice.receipt)), 200)]
    for at, bit in above + below:
        changed = bytearray(twice.receipt)
        changed[at] ^= 1 << bit
        ours = check_receipt(bytes(changed), Trust(keys=(key,))).verified
        assert (standalone_receipt(bytes(changed), [key.vkey()]) == 0) == bool(ours)
        assert not ours or b"\n\n" in twice.receipt[:at], "only a line that the key does not know may differ"


def test_a_cryptography_without_ml_dsa_verifies_nothing_by_such_a_key_and_all_by_the_other(
    twice: Sealed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.mldsa", None)
    one, other = (key.vkey() for key in twice.keys)
    assert (standalone_receipt(twice.receipt, [other]), standalone_receipt(twice.receipt, [one])) == (2, 0)
    with pytest.raises(standalone.Unverified, match="cannot verify ML-DSA-44"):
        standalone.verify_receipt(twice.receipt, standalone.Keys([other], [], None))


def test_a_logs_own_key_is_no_witness_and_a_witness_with_two_keys_is_one(twice: Sealed) -> None:
    one, other = (key.vkey() for key in twice.keys)
    with pytest.raises(standalone.Unverified, match="name or key of a log"):
        standalone.Keys([one], [other], None)
    with pytest.raises(standalone.Unverified, match="0 of the witnesses"):
        standalone.verify_receipt(twice.receipt, standalone.Keys([one], [witness_key("w1")], None))
    named = [witness_key("w1"), witness_key("w1", Algorithm.COSIGNATURE_ML_DSA_44)]
    assert standalone.Keys([], named, None).quorum == trust_from([], named, None, ()).quorum == 1


def witness_key(name: str, algorithm: Algorithm = Algorithm.COSIGNATURE_ED25519, seed: bytes = bytes(32)) -> str:
    return SeedSigner(name, algorithm, seed).key.vkey()


def log_key(algorithm: Algorithm = Algorithm.ED25519, seed: bytes = bytes(32)) -> str:
    return SeedSigner("audit.example/1", algorithm, seed).key.vkey()


@pytest.mark.parametrize(
    ("keys", "witnesses"),
    [
        ([], [witness_key("w1"), witness_key("w2")]),
        ([], [witness_key(name, Algorithm.COSIGNATURE_ML_DSA_44) for name in ("w1", "w2")]),
        ([log_key()[:-1]], []),
        ([""], []),
        ([log_key()], [witness_key("w1")]),
        ([log_key(Algorithm.COSIGNATURE_ML_DSA_44)], [witness_key("w1", Algorithm.COSIGNATURE_ML_DSA_44)]),
        ([log_key()], [witness_key("audit.example/1", seed=b"\1" * 32)]),
        ([witness_key("w1")], []),
        ([], [log_key()]),
    ],
    ids=[
        "doubled",
        "doubled-pq",
        "cut",
        "none",
        "the log's",
        "the log's-pq",
        "the log's name",
        "as log",
        "as witness",
    ],
)
def test_both_verifiers_refuse_a_key_that_would_count_for_somebody_else(
    keys: list[str], witnesses: list[str]
) -> None:
    with pytest.raises(UsageError):
        trust_from(keys, witnesses, None, ())
    with pytest.raises(standalone.Unverified):
        standalone.Keys(keys, witnesses, None)


class Site:
    """The tiles and checkpoint of a log in a folder, as a mirror holds them."""

    def __init__(self, data: Path, folder: Path) -> None:
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        with opened(data, "read") as engines:
            evidence = Evidence(engines.ledger, engines.clock.monotonic)
            (log,) = evidence.pin().values()
            assert log.signed is not None
            for number in range(-(-log.signed.size // TILE_WIDTH)):
                width = min(TILE_WIDTH, log.signed.size - number * TILE_WIDTH)
                name = TileName(None, number, width)
                path = folder / name.path()
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(evidence.tile(1, 0, name))
            (folder / "checkpoint").write_bytes(evidence.checkpoint(1, 0))
            ring = KeyFile(data / "seal.key").ring()
            self.vkey = ring.verifiers(log.log.origin)[0].vkey()
            self.rows = folder.with_suffix(".ndjson")
            self.rows.write_bytes(b"".join(lines_of(engines, ring.signers(log.log.origin))))

    def verify(self, *more: str) -> subprocess.CompletedProcess[str]:
        """As an auditor runs it: the printed file, with nothing of ours to import."""
        script = self.folder.parent / "trailseal_verifier.py"
        printed = subprocess.run(
            [sys.executable, "-c", "from trailseal.cli import main; main()", "verifier"],
            capture_output=True,
            check=True,
        )
        script.write_bytes(printed.stdout)
        block = "import sys; sys.modules['trailseal'] = None; sys.argv = sys.argv[1:]; import runpy;"
        return subprocess.run(
            [
                sys.executable,
                "-c",
                f"{block} runpy.run_path(sys.argv[0], run_name='__main__')",
                str(script),
                str(self.folder),
                "--key",
                self.vkey,
                *more,
            ],
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mirror") / "data"
    run_pipeline(folder, *(record(f"e{number}") for number in range(EVENTS)))
    return folder


def test_a_whole_tree_is_verified_from_its_tiles_and_an_older_checkpoint(data: Path, tmp_path: Path) -> None:
    grown = Path(shutil.copytree(data, tmp_path / "data"))
    (tmp_path / "old").write_bytes((Site(data, tmp_path / "before").folder / "checkpoint").read_bytes())
    run_pipeline(grown, record("more"), record("and more"))
    site = Site(grown, tmp_path / "site")
    done = site.verify("--old", str(tmp_path / "old"))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{EVENTS + 3} leaves" in done.stdout


def test_a_changed_bundle_or_another_history_is_tampering(data: Path, tmp_path: Path) -> None:
    site = Site(data, tmp_path / "site")
    bundle = site.folder / TileName(None, 1, TILE_WIDTH).path()
    bundle.write_bytes(bundle.read_bytes()[:-1] + b"x")
    done = site.verify()
    assert (done.returncode, done.stderr.startswith("TAMPERED")) == (1, True)

    other, ours = (Path(shutil.copytree(data, tmp_path / name)) for name in ("other", "ours"))
    run_pipeline(other, record("true"))
    (tmp_path / "old").write_bytes((Site(other, tmp_path / "before").folder / "checkpoint").read_bytes())
    run_pipeline(ours, record("false"), record("false too"))
    forked = Site(ours, tmp_path / "forked").verify("--old", str(tmp_path / "old"))
    assert (forked.returncode, "forked" in forked.stderr) == (1, True)


def test_without_the_logs_key_nothing_is_verified(data: Path, tmp_path: Path, sealed: Sealed) -> None:
    site = Site(data, tmp_path / "site")
    site.vkey = sealed.keys[0].vkey()
    done = site.verify()
    assert (done.returncode, done.stderr.startswith("COULD NOT VERIFY")) == (2, True)


def test_the_rows_of_an_export_are_looked_for_in_the_tree(data: Path, tmp_path: Path) -> None:
    grown = Path(shutil.copytree(data, tmp_path / "data"))
    before = Site(data, tmp_path / "before")
    run_pipeline(grown, record("more"), record("and more"))
    now = Site(grown, tmp_path / "now")
    done = now.verify("--rows", str(before.rows))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{EVENTS} of them shown in rows" in done.stdout


def test_a_tree_rolled_back_or_forked_since_an_export_is_tampering(data: Path, tmp_path: Path) -> None:
    grown, other = (Path(shutil.copytree(data, tmp_path / name)) for name in ("data", "data2"))
    run_pipeline(grown, record("true"))
    run_pipeline(other, record("false"), record("false too"))
    now = Site(grown, tmp_path / "now")
    rolled_back = Site(data, tmp_path / "before").verify("--rows", str(now.rows))
    assert (rolled_back.returncode, "rolled back" in rolled_back.stderr) == (1, True)
    forked = Site(other, tmp_path / "other").verify("--rows", str(now.rows))
    assert (forked.returncode, "is not that of its row" in forked.stderr) == (1, True)

    lines = now.rows.read_bytes().splitlines(keepends=True)
    unproved = mended([*lines[:1], edit(lines[1], lambda body: body.pop("proof")), lines[-1]])
    now.rows.write_bytes(b"".join(unproved))
    doubtful = Site(data, tmp_path / "before").verify("--rows", str(now.rows))
    assert doubtful.returncode == 1, "a tree that was rolled back outweighs what could not be verified"


def test_rows_of_other_logs_are_told_as_not_looked_for(data: Path, tmp_path: Path, sealed: Sealed) -> None:
    site = Site(data, tmp_path / "site")
    site.rows.write_bytes(b"".join(sealed.lines))
    done = site.verify("--rows", str(site.rows), "--key", sealed.keys[0].vkey())
    assert done.returncode == 2
    assert f"{EVENTS + 1} leaves" in done.stderr
    assert "0 of them shown in rows" in done.stderr
    assert f"{EXPORTED} rows are of other logs" in done.stderr
