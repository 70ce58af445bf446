"""The commands as a person calls them: what they print, where, and how they end."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flow.running import PATIENCE_S
from flow.test_http_up import environment

COMMAND = [sys.executable, "-c", "from trailseal.cli import main; main()"]
BROKEN = b'{"id":"e9","timestamp":"2026-03-04T05:06:07","actor":"alice","action":"x.y"}'


def line(number: int) -> bytes:
    actor = ("alice", "bob")[number % 2]
    body = {"id": f"e{number}", "timestamp": f"2026-03-04T05:06:{number:02}Z", "actor": actor, "action": "x.y"}
    return json.dumps(body).encode()


def trailseal(*words: str, data: Path, stdin: bytes = b"", **variables: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *words, "--data", str(data)],
        input=stdin,
        env=environment() | variables,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
        cwd=data.parent,
    )


def rows(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    return [json.loads(text) for text in done.stdout.splitlines()]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder into which six good lines and a broken one were imported."""
    folder = tmp_path / "data"
    lines = [line(number) for number in range(6)]
    done = trailseal("import", "-", data=folder, stdin=b"\n".join([*lines[:3], BROKEN, *lines[3:]]))
    (summary,) = rows(done)
    assert done.returncode == 1, "something could not be taken in"
    assert (summary["read"], summary["new"], summary["dead_letters"]) == (7, 6, 1)
    (problem,) = summary["problems"]
    assert (problem["source"], problem["line"], problem["code"]) == ("-", 4, "invalid-timestamp")
    assert done.stderr == b"", "no progress bar where nobody watches"
    return folder


def test_an_import_run_again_finds_itself(data: Path) -> None:
    (summary,) = rows(trailseal("import", "-", data=data, stdin=b"\n".join(line(number) for number in range(6))))
    assert (summary["new"], summary["already_there"]) == (0, 6)


def test_a_search_in_a_pipe_writes_a_line_per_event_newest_first(data: Path) -> None:
    done = trailseal("search", "--actor", "alice", data=data)
    assert [row["id"] for row in rows(done)] == ["e4", "e2", "e0"]
    assert [row["id"] for row in rows(trailseal("search", "actor!=alice", "order=asc", data=data))] == [
        "e1",
        "e3",
        "e5",
    ]


def test_a_search_says_that_there_is_more(data: Path) -> None:
    done = trailseal("search", "--limit", "2", data=data)
    assert (len(rows(done)), b"There are more" in done.stderr) == (2, True)
    everything = trailseal("search", "--all", data=data)
    assert (len(rows(everything)), everything.stderr) == (6, b"")


def test_a_table_is_drawn_where_it_is_asked_for(data: Path) -> None:
    text = trailseal("search", "id=e0", "--form", "table", data=data, COLUMNS="200").stdout.decode()
    header, row = text.splitlines()
    assert header.split() == ["time", "tenant", "actor", "action", "resource", "outcome", "source"]
    assert row.split() == ["2026-03-04T05:06:00Z", "default", "alice", "x.y", "success"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("search", "actr=alice"), "Did you mean actor?"),
        (("search", "alice"), "write NAME=VALUE"),
        (("search", "--time-from", "yesterday"), "time_from"),
        (("dead-letters", "show", "1-0-3"), "LOG/PARTITION/OFFSET"),
        (("dead-letters", "show", "1/0/0"), "1/0/0"),
        (("import", "nowhere.ndjson"), "nowhere.ndjson"),
    ],
)
def test_what_cannot_work_ends_with_one_line_that_says_what_to_do(
    data: Path, words: tuple[str, ...], told: str
) -> None:
    done = trailseal(*words, data=data)
    (said,) = done.stderr.decode().splitlines()
    assert told in said
    assert (done.returncode, done.stdout) == (2, b"")


@pytest.mark.parametrize("words", [("search",), ("reconcile",), ("dead-letters", "list")])
def test_a_folder_without_anything_in_it_is_said_to_be_one(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = trailseal(*words, data=tmp_path / "nothing")
    (said,) = done.stderr.decode().splitlines()
    assert f"{tmp_path}/nothing" in said
    assert "trailseal up" in said
    assert (done.returncode, (tmp_path / "nothing").exists()) == (3, False)


def test_a_dead_letter_is_listed_shown_byte_for_byte_and_judged_again(data: Path) -> None:
    (letter,) = rows(trailseal("dead-letters", "list", data=data))
    assert (letter["position"], letter["code"], letter["field"]) == ("1/0/3", "invalid-timestamp", "timestamp")
    assert trailseal("dead-letters", "show", "1/0/3", "--raw", data=data).stdout == BROKEN
    shown = trailseal("dead-letters", "show", "1/0/3", data=data, COLUMNS="200").stdout.decode()
    assert "invalid-timestamp" in shown
    assert trailseal("dead-letters", "replay", "1/0/3", data=data).returncode == 0
    assert rows(trailseal("dead-letters", "list", data=data))[0]["replayed_to"] == "1/0/7"
    assert rows(trailseal("dead-letters", "list", "--open", data=data)) == []


def test_the_books_balance_and_a_lost_document_is_named(data: Path) -> None:
    done = trailseal("reconcile", data=data)
    (books,) = rows(done)
    assert done.returncode == 0
    assert (books["taken_in"], books["indexed"], books["dead_letters"], books["pending"]) == (7, 6, 1, 0)


def test_a_setting_is_shown_with_its_source_and_without_its_password(data: Path) -> None:
    done = trailseal("settings", "--form", "ndjson", data=data, TRAILSEAL_CACHE="redis://u:canary@127.0.0.1:1/0")
    shown = {row["name"]: row for row in rows(done)}
    assert (shown["cache"]["source"], shown["data"]["source"], shown["port"]["source"]) == (
        "environment",
        "flag",
        "default",
    )
    assert b"canary" not in done.stdout + done.stderr


def test_a_verification_ends_with_0_for_clean_1_for_tampering_2_for_undecided(data: Path, tmp_path: Path) -> None:
    (vkey,) = trailseal("keys", "show", data=data).stdout.decode().splitlines()
    clean = trailseal("verify", "--key", vkey, data=data)
    assert (clean.returncode, clean.stderr) == (0, b"")
    (log,) = rows(clean)
    assert (log["verified"], log["signed"], log["size"]) == (7, 8, 8)
    assert trailseal("verify", "--id", "e3", data=data).returncode == 0

    foreign = vkey.replace("/1/0+", "/1/9+")
    assert trailseal("verify", "--key", foreign, data=data).returncode == 2
    assert trailseal("verify", data=tmp_path / "nothing").returncode == 2

    with sqlite3.connect(data / "log.sqlite") as log_file:
        log_file.execute("UPDATE records SET value = replace(value, 'bob', 'eve') WHERE offset = 4")
    log_file.close()
    tampered = trailseal("verify", "--key", vkey, data=data)
    (_, suspicion) = rows(tampered)
    assert (tampered.returncode, suspicion["kind"], suspicion["position"]) == (1, "edited-record", "1/0/4")
    told = trailseal("verify", "--form", "table", data=data).stderr.decode()
    assert "1/0/4 (event default/e3): the record is not the one that was sealed here." in told


def test_an_export_is_a_file_that_is_whole_or_not_there(data: Path) -> None:
    target = data.parent / "out.csv"
    done = trailseal("export", "--actor", "alice", "-o", str(target), data=data)
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"3 events are in" in done.stderr
    assert [text.split(b",")[3] for text in target.read_bytes().splitlines()[1:]] == [b"e4", b"e2", b"e0"]
    (piped, searched) = (trailseal(word, data=data).stdout for word in ("export", "search"))
    assert piped == searched
    assert piped
    refused = trailseal("export", "limit=1", "-o", str(data.parent / "none.ndjson"), data=data)
    assert (refused.returncode, b"limit" in refused.stderr) == (2, True)
    shutil.rmtree(data / "index")
    away = trailseal("export", "-o", str(data.parent / "none.ndjson"), data=data)
    assert away.returncode == 3
    assert [path.name for path in data.parent.iterdir() if "none" in path.name] == []


def test_an_export_with_proofs_is_evidence_until_somebody_edits_it(data: Path) -> None:
    target = data.parent / "evidence.ndjson"
    done = trailseal("export", "--with-proofs", "--actor", "alice", "-o", str(target), data=data)
    assert (done.returncode, done.stderr) == (0, f"3 events are in {target}.\n".encode())
    vkey = trailseal("keys", "show", data=data).stdout.decode().split()[-1]
    lines = target.read_bytes().splitlines(keepends=True)
    assert [json.loads(text)["event"]["id"] for text in lines[1:-1]] == ["e4", "e2", "e0"]

    def verified(changed: list[bytes]) -> int:
        target.write_bytes(b"".join(changed))
        return trailseal("verify", str(target), "--key", vkey, data=data).returncode

    assert verified(lines) == 0
    for changed in (
        [*lines[:2], lines[2].replace(b"alice", b"mally"), *lines[3:]],
        [*lines[:2], *lines[3:]],
        [lines[0], lines[2], lines[1], *lines[3:]],
    ):
        assert verified(changed) == 1
    (data / "seal.key").rename(data.parent / "away.key")
    unsigned = trailseal("export", "--with-proofs", data=data)
    assert b"is not signed" in unsigned.stderr
    assert json.loads(unsigned.stdout.splitlines()[-1])["end"]["note"] is None
    refused = trailseal("export", "--with-proofs", "--format", "csv", data=data)
    assert (refused.returncode, b"no place for proofs" in refused.stderr) == (2, True)
