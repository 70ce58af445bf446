"""A second, post-quantum signature line below checkpoints: from the start, adopted later, rotated, altered."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from flow.conftest import Bench
from flow.embedded import opened
from flow.running import caught_up, record, running, until
from flow.sealing import NOW, sealing_consumer, witness
from flow.test_attacks import edited, found, removal_order, run_pipeline, verified
from flow.test_backup import made, restored
from flow.test_commands import COMMAND, line, rows, trailseal
from trailseal.adapters.witness import witnesses_from
from trailseal.bootstrap import Engines
from trailseal.merkle.notes import Algorithm, Note, VerifierKey
from trailseal.merkle.signing import SeedSigner, open_checkpoint
from trailseal.sealing.checkpoints import CheckpointSigner, merged, published_keys
from trailseal.sealing.evidence import Evidence
from trailseal.sealing.keys import KeyFile
from trailseal.sealing.origin import SealedLog

EVENTS = 10


def log_of(engines: Engines) -> SealedLog:
    log = SealedLog.stored(engines.ledger, 1, 0)
    assert log is not None
    return log


def keys_of(data: Path, algorithm: Algorithm) -> list[VerifierKey]:
    with opened(data, "read") as engines:
        every = KeyFile(data / "seal.key").ring().verifiers(log_of(engines).origin)
    return [key for key in every if key.algorithm is algorithm]


def classical(data: Path) -> VerifierKey:
    return keys_of(data, Algorithm.ED25519)[-1]


def post_quantum(data: Path) -> VerifierKey:
    return keys_of(data, Algorithm.COSIGNATURE_ML_DSA_44)[-1]


def newest(data: Path) -> Note:
    with opened(data, "read") as engines:
        stored = engines.ledger.seals.checkpoint(1, 0)
    assert stored is not None
    return merged(stored)


def put_newest(data: Path, note: Note) -> None:
    """As whoever owns the machine can write it."""
    with edited(data / "ledger.sqlite") as ledger:
        ledger.execute("DELETE FROM signatures")
        ledger.execute(
            "UPDATE checkpoints SET note = ? WHERE size = (SELECT max(size) FROM checkpoints)", (note.to_bytes(),)
        )


@pytest.fixture(scope="module")
def from_start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log that both keys have signed since its first checkpoint."""
    data = tmp_path_factory.mktemp("both") / "data"
    data.mkdir()
    KeyFile(data / "seal.key").make(NOW, post_quantum=True)
    run_pipeline(data, *(record(f"e{number}") for number in range(EVENTS)))
    run_pipeline(data, record("more"))
    return data


@pytest.fixture(scope="module")
def adopted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log that was signed with Ed25519 alone, then with both keys; two records were erased since."""
    data = tmp_path_factory.mktemp("adopted") / "data"
    run_pipeline(data, *(record(f"e{number}") for number in range(5)))
    run_pipeline(data, *(record(f"e{number}") for number in range(5, EVENTS)))
    KeyFile(data / "seal.key").make(NOW, post_quantum=True)
    with opened(data, "import") as engines:
        order = removal_order(engines, data, 2, 4)
    run_pipeline(data, order, record("later"))
    return data


@pytest.fixture
def data(from_start: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(from_start, tmp_path / "data"))


def test_a_log_signed_with_both_from_the_start_is_clean_for_whoever_knows_one_of_them(from_start: Path) -> None:
    one, other = classical(from_start), post_quantum(from_start)
    assert [line.key_id for line in newest(from_start).signatures] == [one.key_id, other.key_id]
    for keys in ((one,), (other,), (one, other)):
        result = verified(from_start, keys=keys)
        assert (result.suspicions, result.open_questions) == ((), ())
        assert result.logs[0].signed == result.logs[0].size == EVENTS + 2


def test_the_genesis_and_the_list_of_a_log_name_both_keys(from_start: Path) -> None:
    with opened(from_start, "read") as engines:
        log = log_of(engines)
        assert log.genesis.keys == (classical(from_start), post_quantum(from_start))
        assert published_keys(engines.ledger, log) == list(log.genesis.keys)
        (listed,) = Evidence(engines.ledger, engines.clock.monotonic).logs(lambda *_: "/")
        assert listed.vkeys == tuple(key.vkey() for key in log.genesis.keys)


def test_older_checkpoints_of_another_key_are_covered_by_the_newest_of_the_key_given(adopted: Path) -> None:
    with opened(adopted, "read") as engines:
        lines = [len(merged(one).signatures) for one in engines.ledger.seals.checkpoints(1, 0)]
    assert lines == [2, 2, 1]
    result = verified(adopted, keys=(post_quantum(adopted),))
    assert result.suspicions == ()
    assert result.logs[0].signed == result.logs[0].size


def test_orders_of_removal_are_said_to_rest_on_keys_that_were_not_given(adopted: Path) -> None:
    for keys in ((classical(adopted),), (classical(adopted), post_quantum(adopted))):
        result = verified(adopted, keys=keys)
        assert (result.suspicions, result.open_questions, result.logs[0].unvouched) == ((), (), 0)
    result = verified(adopted, keys=(post_quantum(adopted),))
    assert (result.logs[0].removed, result.logs[0].unvouched) == (2, 1)
    assert "signed with Ed25519 only" in result.open_questions[0]


def test_removals_are_no_tampering_for_whoever_has_only_keys_of_another_log(
    adopted: Path, from_start: Path
) -> None:
    result = verified(adopted, keys=(classical(from_start),))
    assert (result.suspicions, result.logs[0].signed, result.logs[0].unvouched) == ((), 0, 1)


def test_an_edited_record_is_found_with_the_post_quantum_key_alone(data: Path) -> None:
    with edited(data / "log.sqlite") as log:
        log.execute("UPDATE records SET value = replace(value, 'alice', 'mallory') WHERE offset = 3")
    assert ("edited-record", 3) in found(data, keys=(post_quantum(data),))


def test_an_altered_line_spoils_the_checkpoint_for_whoever_knows_its_key_and_for_nobody_else(data: Path) -> None:
    note = newest(data)
    first, second = note.signatures
    altered = second.signature[:-1] + bytes([second.signature[-1] ^ 1])
    put_newest(data, Note(note.text, (first, type(second)(second.name, second.key_id, altered))))
    one, other = classical(data), post_quantum(data)
    assert found(data, keys=(other,)) == found(data, keys=(one, other)) == [("bad-signature", EVENTS)]
    assert found(data, keys=(one,)) == []


def test_a_newest_checkpoint_stripped_of_the_line_is_bad_for_whoever_knows_its_key_alone(data: Path) -> None:
    note = newest(data)
    put_newest(data, Note(note.text, note.signatures[:1]))
    assert found(data, keys=(post_quantum(data),)) == [("bad-signature", EVENTS)]
    assert found(data, keys=(classical(data),)) == []


def test_a_key_of_the_log_that_never_signed_proves_nothing(data: Path) -> None:
    stranger = SeedSigner(post_quantum(data).name, Algorithm.COSIGNATURE_ML_DSA_44, b"\x07" * 32).key
    result = verified(data, keys=(stranger,))
    assert (result.suspicions, result.logs[0].signed) == ((), 0)
    assert "No key given has signed" in result.open_questions[0]


def test_a_checkpoint_by_a_stranger_is_bad_whatever_else_is_signed(data: Path) -> None:
    note = newest(data)
    stranger = SeedSigner(post_quantum(data).name, Algorithm.COSIGNATURE_ML_DSA_44, b"\x07" * 32)
    put_newest(data, Note(note.text, (stranger.sign(note.text, 1),)))
    assert found(data, keys=(post_quantum(data),)) == [("bad-signature", EVENTS)]


def test_a_rotation_replaces_both_keys_and_the_new_ones_alone_verify_the_log(data: Path) -> None:
    file = KeyFile(data / "seal.key")
    before = (classical(data), post_quantum(data))
    file.rotate(NOW)
    run_pipeline(data, record("in the overlap"))
    assert len(newest(data).signatures) == 4
    file.finish()
    run_pipeline(data, record("after it"))
    after = (classical(data), post_quantum(data))
    assert {line.key_id for line in newest(data).signatures} == {key.key_id for key in after}
    assert not {*before} & {*after}
    for key in after:
        assert verified(data, keys=(key,)).suspicions == ()


def test_a_running_log_adopts_the_key_without_a_restart_and_signs_an_unchanged_tree_once(
    bench: Bench, tmp_path: Path
) -> None:
    bench.log.append([record("a")])
    seals = bench.ledger.seals

    def lines() -> list[bytes]:
        stored = seals.checkpoint(bench.number, 0)
        return [] if stored is None else [line.signature for line in merged(stored).signatures]

    with running(sealing_consumer(bench, tmp_path)):
        until(lambda: len(lines()) == 1)
        KeyFile(tmp_path / "seal.key").make(NOW, post_quantum=True)
        until(lambda: len(lines()) == 2, "a second line below the same tree")
    log, head = SealedLog.stored(bench.ledger, bench.number, 0), bench.ledger.head(bench.number, 0)
    assert log is not None
    assert head is not None
    kept = lines()
    again = CheckpointSigner(bench.ledger, KeyFile(tmp_path / "seal.key").ring, lambda: 2_000_000_000)
    assert [line.signature for line in again.publish(log, head).note.signatures] == kept == lines()


def test_a_witness_cosigns_by_either_key_and_passes_a_line_it_does_not_know(bench: Bench, tmp_path: Path) -> None:
    KeyFile(tmp_path / "seal.key").make(NOW, post_quantum=True)
    for place, number in ((0, "1"), (1, "2")):
        with witness(tmp_path / number, f"witness.example/{number}") as (folder, client):
            bench.log.append([record(f"a{number}")])
            with running(sealing_consumer(bench, tmp_path, witnesses=[client])):
                until(lambda: caught_up(bench.log, bench.ledger))
                log = SealedLog.stored(bench.ledger, bench.number, 0)
                assert log is not None
                key = KeyFile(tmp_path / "seal.key").ring().verifiers(log.origin)[place]
                folder.watch([key.vkey()])
                until(lambda: folder.head(key.name).size == place + 2, "its cosignature")  # noqa: B023 - awaited here


def test_a_witness_with_two_keys_cosigns_with_both_and_either_alone_is_believed(
    bench: Bench, tmp_path: Path
) -> None:
    with witness(tmp_path / "w", post_quantum=True) as (folder, client):
        assert [key.algorithm for key in client.keys] == [
            Algorithm.COSIGNATURE_ED25519,
            Algorithm.COSIGNATURE_ML_DSA_44,
        ]
        bench.log.append([record("a")])
        with running(sealing_consumer(bench, tmp_path, witnesses=[client])):
            until(lambda: caught_up(bench.log, bench.ledger))
            log = SealedLog.stored(bench.ledger, bench.number, 0)
            assert log is not None
            ring = KeyFile(tmp_path / "seal.key").ring()
            folder.watch([key.vkey() for key in ring.verifiers(log.origin)])

            def cosigned(key: VerifierKey) -> bool:
                stored = bench.ledger.seals.checkpoint(bench.number, 0)
                if stored is None:
                    return False
                note = merged(stored).to_bytes()
                return len(open_checkpoint(note, log.origin, ring.verifiers(log.origin), [key]).cosignatures) == 1

            until(lambda: all(cosigned(key) for key in client.keys), "a cosignature by each key")


def test_a_witness_takes_on_a_post_quantum_key_and_keeps_the_other(tmp_path: Path) -> None:
    def witness_command(*words: str) -> bytes:
        return subprocess.run([*COMMAND, "witness", *words], capture_output=True, timeout=60, check=True).stdout

    named = (str(tmp_path / "w"), "--name", "w.example/1")
    one = witness_command("init", *named)
    both = witness_command("init", *named, "--post-quantum")
    assert both.startswith(one)
    assert witness_command("show", named[0]) == both
    assert len(witnesses_from(f"http://w.example {both.decode()}")[0].keys) == 2


def test_the_commands_from_adopting_the_key_to_verifying_with_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    trailseal("import", "-", data=data, stdin=line(0))
    before = (data / "seal.key").read_text()
    assert trailseal("keys", "make", "--post-quantum", data=data).returncode == 0
    assert (data / "seal.key").read_text().startswith(before)
    adopted = (data / "seal.key").read_text()
    trailseal("keys", "make", "--post-quantum", data=data)
    assert (data / "seal.key").read_text() == adopted
    trailseal("import", "-", data=data, stdin=line(1))
    shown = trailseal("keys", "show", data=data).stdout.decode()
    one, other = shown.split()
    assert [VerifierKey.parse(vkey).algorithm for vkey in (one, other)] == [
        Algorithm.ED25519,
        Algorithm.COSIGNATURE_ML_DSA_44,
    ]
    for given in (one, other, shown):
        done = trailseal("verify", "--key", given, data=data)
        assert (done.returncode, done.stderr, rows(done)[0]["signed"]) == (0, b"", 3)
    assert trailseal("verify", "--key", one, "--witness", other, data=data).returncode == 2

    target = tmp_path / "evidence.ndjson"
    assert trailseal("export", "--with-proofs", "-o", str(target), data=data).returncode == 0
    assert trailseal("verify", str(target), "--key", shown, data=data).returncode == 0
    alone = trailseal("verify", str(target), "--key", other, data=data)
    assert (alone.returncode, b"signed with Ed25519 only" in alone.stderr) == (2, True)
    assert rows(alone)[0]["verified"] == 2

    assert trailseal("keys", "rotate", data=data).stderr == b"4 keys sign now.\n"
    assert trailseal("keys", "rotate", "--finish", data=data).stderr == b"2 keys sign now.\n"


def test_a_backup_with_its_keys_goes_on_under_both_and_its_new_epoch_names_both(tmp_path: Path) -> None:
    data = tmp_path / "data"
    trailseal("import", "-", data=data, stdin=line(0))
    trailseal("keys", "make", "--post-quantum", data=data)
    trailseal("import", "-", data=data, stdin=line(1))
    folder = restored(made(data, "--with-keys"))
    trailseal("import", "-", data=folder, stdin=line(2))
    assert trailseal("verify", data=folder).returncode == 0
    shown = trailseal("keys", "show", data=folder).stdout.decode().split()
    with opened(folder, "read") as engines:
        new = SealedLog.stored(engines.ledger, 2, 0)
        assert new is not None
        assert [key.vkey() for key in new.genesis.keys] == [
            text for text in shown if text.startswith(f"{new.origin}+")
        ]
    for vkey in shown[-2:]:
        assert trailseal("verify", "--key", vkey, data=folder).returncode == 0
