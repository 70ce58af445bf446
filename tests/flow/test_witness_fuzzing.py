"""A running witness that is sent anything: it answers, stays whole, and cosigns only what grew from the last."""

from __future__ import annotations

import itertools
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from flow.running import until
from flow.sealing import NOW, witness
from flow.test_commands import COMMAND, environment
from flow.test_http_up import free_port
from flow.witness_requests import LOG, MOST, ORIGIN, PARTS, checkpoint, malformed, post, request, send
from trailseal.adapters.witness import HttpWitness, witnesses_from
from trailseal.errors import SettingsError, UsageError
from trailseal.merkle.checkpoints import Checkpoint
from trailseal.merkle.notes import Algorithm, Note, SignatureLine, parse_signatures
from trailseal.merkle.signing import SeedSigner, verify_note
from trailseal.sealing.witness_folder import WitnessFolder

pytestmark = pytest.mark.crash
REQUESTS = 400
ANSWERS = {400, 403, 404, 405, 409, 414, 422, 431, 501}


class Running:
    """A witness in a process of its own, and what it has cosigned so far."""

    def __init__(self, folder: WitnessFolder, path: Path, port: int, complaints: Path) -> None:
        self.folder, self.path, self.port, self.complaints = folder, path, port, complaints
        self.last = Checkpoint(ORIGIN, 0, b"")

    def expect_growth(self, size: int) -> None:
        """Of the first history, by a request as it should be."""
        status, body = send(self.port, post(request(self.last.size, size)))
        assert status == 200, body
        self.last = checkpoint(size)
        note = Note(self.last.format(), parse_signatures(body.decode()))
        assert len(verify_note(note, self.folder.keys)) == len(self.folder.keys)

    def assert_whole(self) -> None:
        """The state is that of the last cosignature, and nothing lies beside it."""
        assert [file.name for file in (self.path / "heads").iterdir()] == [sha256(ORIGIN.encode()).hexdigest()]
        assert next((self.path / "heads").iterdir()).read_text() == self.last.format()
        assert "Traceback" not in self.complaints.read_text()


@contextmanager
def running(tmp_path: Path) -> Iterator[Running]:
    path, complaints, port = tmp_path / "w1", tmp_path / "complaints", free_port()
    folder = WitnessFolder.make(path, "witness.example/w1", NOW, post_quantum=True)
    folder.watch([LOG.key.vkey()])
    with complaints.open("w") as stream:
        words = [*COMMAND, "witness", "serve", str(path), "--port", str(port)]
        process = subprocess.Popen(words, env=environment(), stderr=stream, stdout=stream)
        try:
            until(lambda: "listens" in complaints.read_text(), "a witness that listens")
            yield Running(folder, path, port, complaints)
        finally:
            process.terminate()
            process.wait(30)


def test_whatever_is_sent_is_answered_and_only_growth_is_cosigned(tmp_path: Path) -> None:
    chance = random.Random(1)
    with running(tmp_path) as witness:
        witness.expect_growth(PARTS + 1)
        answers = dict.fromkeys(ANSWERS, 0)
        for number in range(REQUESTS):
            raw, then = malformed(witness.last.size, chance)
            status, body = send(witness.port, raw, then=then)
            if status:
                assert status in ANSWERS, (number, raw[:200], body)
                answers[status] += 1
            if number % 20 == 0:
                witness.expect_growth(witness.last.size + chance.randrange(1, 10))
            witness.assert_whole()
        assert sum(answers.values()) > REQUESTS / 2
        assert all(answers[status] for status in (400, 403, 404, 405, 409, 422)), answers


def test_of_parallel_requests_one_is_cosigned_and_one_history_remains(tmp_path: Path) -> None:
    with running(tmp_path) as witness, ThreadPoolExecutor(16) as pool:
        witness.expect_growth(PARTS)
        chosen = set()
        for size in range(PARTS + 1, MOST, 60):
            bodies = [post(request(witness.last.size, size, history)) for history in (0, 1)] * 8
            statuses = [status for status, _ in pool.map(partial(send, witness.port), bodies)]
            assert statuses.count(200) == 1
            assert {*statuses} <= {200, 409, 422}
            chosen.add(statuses.index(200) % 2)
            witness.last = checkpoint(size, statuses.index(200) % 2)
            witness.assert_whole()
        assert len(chosen) == 1


def test_a_damaged_state_cosigns_nothing_and_says_so(tmp_path: Path) -> None:
    with running(tmp_path) as witness:
        witness.expect_growth(PARTS)
        (head,) = (witness.path / "heads").iterdir()
        kept = head.read_text()
        head.write_text(kept[:-10])
        assert send(witness.port, post(request(PARTS, PARTS + 1)))[0] == 503
        assert "is damaged; restore it" in witness.complaints.read_text()
        head.write_text(kept)
        witness.expect_growth(PARTS + 1)
        witness.assert_whole()


def test_what_anybody_may_send_again_is_kept_once_and_without_their_lines(tmp_path: Path) -> None:
    """A checkpoint that the log published, below a wrong proof: no key is needed to fill a disk with it."""
    chance = random.Random(2)
    with running(tmp_path) as witness:
        witness.expect_growth(PARTS)
        genuine = request(PARTS + 1, PARTS + 5).replace(b"old %d\n" % (PARTS + 1), b"old %d\n" % PARTS)
        for _ in range(20):
            junk = SignatureLine("somebody.example", chance.randbytes(4), chance.randbytes(60_000)).format()
            assert send(witness.port, post(genuine + junk.encode()))[0] == 422
        (kept,) = (witness.path / "evidence").iterdir()
        assert kept.read_bytes() == genuine.partition(b"\n\n")[2]


def test_only_a_logs_key_of_a_name_that_can_be_cosigned_is_watched(tmp_path: Path) -> None:
    folder = WitnessFolder.make(tmp_path / "w1", "witness.example/w1", NOW, post_quantum=True)
    too_long = SeedSigner("x" * 256, Algorithm.ED25519, bytes(32)).key
    for key in (too_long, folder.keys[0]):
        with pytest.raises(UsageError):
            folder.watch([key.vkey()])
    assert folder.logs() == {}


@pytest.mark.parametrize(
    "url", ["http://w:99999", "http://w:x", "http://w:0", "http://[::1", "http://", "ftp://w", "http://\u00e4/"]
)
def test_a_url_at_which_nobody_can_be_asked_is_refused_before_anything_is_signed(tmp_path: Path, url: str) -> None:
    vkey = WitnessFolder.make(tmp_path / "w1", "witness.example/w1", NOW).keys[0].vkey()
    with pytest.raises(SettingsError, match="no http or https URL"):
        witnesses_from(f"{url} {vkey}")


def test_a_request_that_comes_byte_by_byte_ends_when_its_time_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trailseal.cli.witness._REQUEST_S", 0.3)
    with witness(tmp_path / "w1") as (_, reached), socket.create_connection(address_of(reached)) as slow:
        slow.settimeout(0.02)
        began = time.monotonic()
        drip(slow)
        assert time.monotonic() - began >= 0.2, "it had its time"


def drip(connection: socket.socket) -> None:
    """Send a request's first line for ever, until the other side has enough of it."""
    for byte in itertools.cycle(b"POST /add-checkpoint "):
        try:
            connection.sendall(bytes([byte]))
            if not connection.recv(1):
                return
        except TimeoutError:
            continue
        except OSError:
            return


def test_more_connections_than_there_are_places_are_turned_away_until_one_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trailseal.cli.witness._CONNECTIONS", 2)
    with witness(tmp_path / "w1") as (_, reached):
        host, port = address_of(reached)
        with socket.create_connection((host, port)), socket.create_connection((host, port)):
            until(lambda: send(port, b"GET / HTTP/1.1\r\n\r\n")[0] == 0, "no third place")
        until(lambda: send(port, b"GET / HTTP/1.1\r\n\r\n")[0] == 405, "a free place")


def address_of(reached: HttpWitness) -> tuple[str, int]:
    found = urlsplit(reached.url)
    return found.hostname or "", found.port or 0
