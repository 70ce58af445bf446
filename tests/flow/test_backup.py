"""Backups of a folder that is in use, and what a restored one may and may not do."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from flow.embedded import assert_balanced, opened
from flow.running import caught_up, running, until
from flow.sealing import witness
from flow.test_commands import line, rows, trailseal
from flow.test_http_up import ask, environment, free_port, up
from trailseal.cli.pipeline import make_consumer
from trailseal.model.outcomes import Delta, OutcomeRow
from trailseal.model.record import Position
from trailseal.sealing.origin import SealedLog
from trailseal.settings import Settings

DIES_IN = """
import os, sys
from trailseal import bootstrap
real = bootstrap.{name}
calls = []
def dying(*given):
    calls.append(given)
    if len(calls) == {call}:
        os._exit(9)
    return real(*given)
bootstrap.{name} = dying
from trailseal.cli import main
main()
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with six events in it, signed."""
    folder = tmp_path / "data"
    trailseal("import", "-", data=folder, stdin=b"\n".join(line(number) for number in range(6)))
    return folder


def made(data: Path, *flags: str, name: str = "backup") -> Path:
    target = data.parent / name
    done = trailseal("backup", str(target), *flags, data=data)
    assert done.returncode == 0, done.stderr
    return target


def restored(backup: Path, *flags: str, name: str = "restored", **variables: str) -> Path:
    target = backup.parent / name
    done = trailseal("restore", str(backup), *flags, data=target, **variables)
    assert done.returncode == 0, done.stderr
    return target


def refused(backup: Path, *flags: str, status: int = 2, **variables: str) -> str:
    """What a restore says that must not happen, and leaves nothing."""
    target = backup.parent / "refused"
    done = trailseal("restore", str(backup), *flags, data=target, **variables)
    assert done.returncode == status, done.stderr
    assert [path.name for path in backup.parent.iterdir() if "refused" in path.name] == []
    return done.stderr.decode()


def taken_in(folder: Path) -> list[dict[str, Any]]:
    """Every event of a folder once its pipeline is through, and its books balance."""
    with opened(folder, "import") as engines, running(make_consumer(Settings(data=folder), engines)):
        until(lambda: caught_up(engines.log, engines.ledger) and engines.index.is_complete())
        assert_balanced(engines)
    return rows(trailseal("search", "--all", "--order", "asc", data=folder))


def test_a_backup_beside_writers_holds_everything_acknowledged_before_it(tmp_path: Path) -> None:
    data, port = tmp_path / "data", free_port()
    data.mkdir()
    acknowledged: list[str] = []
    enough, stop = threading.Event(), threading.Event()

    def write(writer: int) -> None:
        for number in range(100_000):
            event = {
                "id": f"w{writer}-{number}",
                "timestamp": "2026-03-04T05:06:07Z",
                "actor": "a",
                "action": "x.y",
            }
            if stop.is_set() or ask(port, "POST", "/events", event)[0] != 200:
                return
            acknowledged.append(event["id"])
            if len(acknowledged) > 60:
                enough.set()

    with up(data, port):
        writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
        for writer in writers:
            writer.start()
        try:
            assert enough.wait(30)
            before = set(acknowledged)
            backup = made(data)
        finally:
            stop.set()
            for writer in writers:
                writer.join()
    assert not any("-wal" in path.name or "-shm" in path.name for path in backup.iterdir())
    found = [event["id"] for event in taken_in(restored(backup))]
    assert before <= set(found) <= set(acknowledged)
    assert len(found) == len(set(found))


def test_restored_records_begin_a_new_epoch_that_names_the_old_ones_end(data: Path) -> None:
    was = rows(trailseal("search", "--all", "--order", "asc", data=data))
    folder = restored(made(data), "--reason", "the disk died")
    found = taken_in(folder)
    assert [event["position"] for event in found] == [f"2/0/{number}" for number in range(6)]
    assert [event | {"position": ""} for event in found] == [event | {"position": ""} for event in was]
    trailseal("import", "-", data=folder, stdin=line(7))
    with opened(folder, "read") as engines:
        old, new = (SealedLog.stored(engines.ledger, number, 0) for number in (1, 2))
        assert old is not None
        assert new is not None
        final = engines.ledger.seals.checkpoint(1, 0)
        assert final is not None
        assert [(log.origin, log.size) for log in new.genesis.previous] == [(old.origin, 7)]
        assert final.size == 7
        assert "the disk died" in new.genesis.reason
    assert trailseal("verify", data=folder).returncode == 0
    evidence, vkeys = data.parent / "evidence", trailseal("keys", "show", data=folder).stdout.decode().split()
    assert trailseal("export", "--with-proofs", "-o", str(evidence), data=folder).returncode == 0
    (vkey,) = (text for text in vkeys if text.startswith(f"{new.origin}+"))
    checked = trailseal("verify", str(evidence), "--key", vkey, data=folder)
    assert (checked.returncode, json.loads(checked.stdout.splitlines()[0])["verified"]) == (0, 7)


def test_keys_are_in_a_backup_only_where_they_are_asked_for(data: Path) -> None:
    without, with_keys = made(data), made(data, "--with-keys", name="with-keys")
    assert sorted(path.name for path in without.iterdir()) == ["ledger.sqlite", "log.sqlite", "manifest.json"]
    assert (with_keys / "seal.key").read_bytes() == (data / "seal.key").read_bytes()
    for path in (*without.iterdir(), *with_keys.iterdir()):
        assert path.stat().st_mode & 0o077 == 0
    assert (restored(with_keys, name="two") / "seal.key").read_bytes() == (data / "seal.key").read_bytes()


def test_a_backup_that_is_not_what_its_manifest_says_is_refused(data: Path) -> None:
    backup = made(data)
    log = backup / "log.sqlite"
    good = log.read_bytes()
    log.write_bytes(good.replace(b"alice", b"mally", 1))
    assert "hash differs" in refused(backup)
    log.write_bytes(good)
    manifest = json.loads((backup / "manifest.json").read_text())
    manifest["partitions"][0]["next"] = 5
    (backup / "manifest.json").write_text(json.dumps(manifest))
    assert "not those its manifest speaks of" in refused(backup)
    (backup / "manifest.json").write_text("{}")
    assert "no manifest" in refused(backup)
    (backup / "manifest.json").unlink()
    assert "is no backup" in refused(backup)


def test_a_ledger_ahead_of_its_log_and_an_edited_record_are_refused_whatever_the_manifest_says(data: Path) -> None:
    earlier = made(data, name="earlier")
    trailseal("import", "-", data=data, stdin=line(8))
    later = made(data, name="later")
    (later / "log.sqlite").write_bytes((earlier / "log.sqlite").read_bytes())
    described(later)
    assert "ends before that" in refused(later)
    with closing(sqlite3.connect(earlier / "log.sqlite", isolation_level=None)) as log:
        log.execute("UPDATE records SET value = replace(CAST(value AS TEXT), 'alice', 'mally') WHERE offset = 2")
    described(earlier)
    assert "1/0/2 in the backup is not the one that was sealed" in refused(earlier, status=1)


def test_a_record_that_the_books_say_was_erased_is_let_through_and_a_blank_one_is_not(data: Path) -> None:
    with closing(sqlite3.connect(data / "log.sqlite", isolation_level=None)) as log:
        log.execute("UPDATE records SET key = NULL, value = NULL, headers = NULL WHERE offset = 2")
    assert "is not the one that was sealed" in refused(made(data, name="blank"), status=1)
    with opened(data, "import") as engines:
        head = engines.ledger.head(1, 0)
        assert head is not None
        engines.ledger.advance(head, Delta(head.next, (OutcomeRow(Position(1, 0, 2), "erased"),)))
    restored(made(data, name="erased"))


def described(backup: Path) -> None:
    """Let the manifest speak of the files as they are, as an attacker would."""
    manifest = json.loads((backup / "manifest.json").read_text())
    for file in manifest["files"]:
        content = (backup / file["name"]).read_bytes()
        file |= {"size": len(content), "sha256": sha256(content).hexdigest()}
    (backup / "manifest.json").write_text(json.dumps(manifest))


def test_a_folder_that_is_not_empty_is_left_alone(data: Path) -> None:
    backup = made(data)
    before = sorted(path.name for path in data.iterdir())
    for words in (("restore", str(backup)), ("backup", str(data)), ("backup", str(backup))):
        done = trailseal(*words, data=data)
        assert (done.returncode, b"is not empty" in done.stderr) == (2, True)
    assert sorted(path.name for path in data.iterdir()) == before


def test_a_log_goes_on_only_where_no_witness_knows_more_of_it(data: Path, tmp_path: Path) -> None:
    vkey = trailseal("keys", "show", data=data).stdout.decode().split()[-1]
    with witness(tmp_path / "witness") as (folder, there):
        folder.watch([vkey])
        settings = {"TRAILSEAL_WITNESSES": f"{there.url} {there.keys[0].vkey()}"}
        backup = made(data, "--with-keys")
        same = restored(backup, "--continue", name="same", **settings)
        assert [event["position"] for event in taken_in(same)][-1] == "1/0/5"
        trailseal("import", "-", data=data, stdin=line(9), **settings)
        assert folder.head(vkey.partition("+")[0]).size == 8
        assert "knows 8 leaves, the backup brings forth 7" in refused(backup, "--continue", **settings)
        fresh = restored(backup, **settings)
        assert [event["position"] for event in taken_in(fresh)][-1] == "2/0/5"
    assert "does not answer" in refused(backup, "--continue", status=3, **settings)


def test_a_log_goes_on_only_where_a_kept_checkpoint_is_within_reach(data: Path) -> None:
    backup = made(data, "--with-keys")
    trailseal("import", "-", data=data, stdin=line(9))
    kept = data.parent / "kept"
    with opened(data, "read") as engines:
        newest = engines.ledger.seals.checkpoint(1, 0)
        assert newest is not None
        kept.write_bytes(newest.note)
    assert "a kept checkpoint knows 8 leaves" in refused(backup, "--continue", "--checkpoint", str(kept))


@pytest.mark.crash
@pytest.mark.parametrize(
    ("words", "name", "call"),
    [
        ("backup", "copy_database", 2),
        ("backup", "settle_database", 2),
        ("restore", "begin_next_epoch", 1),
        ("restore", "settle_database", 2),
    ],
)
def test_a_crash_leaves_no_folder_under_the_name(data: Path, words: str, name: str, call: int) -> None:
    backup = made(data)
    target, into = (data.parent / "new", data) if words == "backup" else (backup, data.parent / "new")
    died = subprocess.run(
        [sys.executable, "-c", DIES_IN.format(name=name, call=call), words, str(target), "--data", str(into)],
        env=environment(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert died.returncode == 9, died.stderr
    assert not (data.parent / "new").exists()
    done = trailseal(words, str(target), data=into)
    assert done.returncode == 0, done.stderr
