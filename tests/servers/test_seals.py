"""Seals on the real servers, from outside: two kinds of keys, a witness, and the verifier that is handed out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flow.running import record
from servers.deployment import COMMAND, PATIENCE_S, Deployment, Process, deployment, free_port
from servers.waiting import eventually
from trailseal.merkle.notes import Algorithm, VerifierKey
from trailseal.model.record import NewRecord

pytestmark = pytest.mark.timeout(300)

EVENTS = 600


def trailseal(*words: str) -> str:
    done = subprocess.run([str(COMMAND), *words], capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    return done.stdout


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[str]:
    """URL and keys, Ed25519 and ML-DSA-44, of a witness in ``w1`` below the folder, in a process of its own."""
    port = free_port()
    vkeys = trailseal("witness", "init", str(tmp_path / "w1"), "--name", "w.example/1", "--post-quantum").split()
    served = [str(COMMAND), "witness", "serve", str(tmp_path / "w1"), "--port", str(port)]
    with (tmp_path / "witness.log").open("wb") as output, subprocess.Popen(served, stderr=output) as process:
        yield " ".join([f"http://127.0.0.1:{port}", *vkeys])
        process.terminate()
        assert process.wait(30) == 0


@pytest.fixture
def vkeys(witness: str) -> list[str]:
    return witness.split()[1:]


def records(first: int, last: int) -> list[NewRecord]:
    """Of several keys, so that both partitions get some."""
    made = ((record(f"e{number}"), str(number).encode()) for number in range(first, last))
    return [NewRecord(one.value, key, one.headers) for one, key in made]


@pytest.fixture
def cluster(
    kafka_servers: str, elasticsearch_url: str, redis_url: str, tmp_path: Path, witness: str
) -> Iterator[Deployment]:
    """Two partitions, signed with two keys and watched by the witness; six hundred events came after that."""
    servers = (kafka_servers, elasticsearch_url, redis_url)
    with deployment(*servers, tmp_path, partitions=2, witnesses=witness) as made:
        assert made.run("keys", "make", "--post-quantum").returncode == 0
        made.append(records(0, 10))
        made.consume()
        made.wait_until_taken_in()
        trailseal("witness", "add", str(tmp_path / "w1"), *(key.vkey() for key in keys_of(made)))
        made.append(records(10, EVENTS))
        made.wait_until_taken_in()
        yield made


def keys_of(cluster: Deployment) -> list[VerifierKey]:
    return [VerifierKey.parse(line) for line in cluster.run("keys", "show").stdout.split()]


def texts(keys: list[VerifierKey], algorithm: Algorithm) -> str:
    return "\n".join(key.vkey() for key in keys if key.algorithm is algorithm)


def cosigned(cluster: Deployment, keys: list[VerifierKey], vkey: str) -> dict[str, int | None]:
    """How far that key of the witness has cosigned each log."""
    words = ("verify", "--form", "ndjson", "--key", "\n".join(key.vkey() for key in keys), "--witness", vkey)
    lines = [json.loads(line) for line in cluster.run(*words).stdout.splitlines()]
    return {line["origin"]: line.get("cosigned") for line in lines if "origin" in line}


def test_either_key_of_log_and_witness_alone_verifies_a_cluster(cluster: Deployment, vkeys: list[str]) -> None:
    keys = keys_of(cluster)
    assert len(keys) == 4
    for vkey in vkeys:
        eventually(partial(_all_cosigned, cluster, keys, vkey), PATIENCE_S)
    for algorithm, vkey in zip((Algorithm.ED25519, Algorithm.COSIGNATURE_ML_DSA_44), vkeys, strict=True):
        done = cluster.run("verify", "--key", texts(keys, algorithm), "--witness", vkey)
        assert done.returncode == 0, done.stdout + done.stderr
    stranger = VerifierKey.parse(vkeys[0])
    stranger = VerifierKey("w.example/2", stranger.algorithm, stranger.public_key)
    done = cluster.run("verify", "--key", texts(keys, Algorithm.ED25519), "--witness", stranger.vkey())
    assert done.returncode == 2, done.stdout + done.stderr


def _all_cosigned(cluster: Deployment, keys: list[VerifierKey], vkey: str) -> bool:
    sizes = cosigned(cluster, keys, vkey)
    return len(sizes) == 2 and sum(size or 0 for size in sizes.values()) == EVENTS + 2


def test_the_verifier_that_is_handed_out_checks_served_tiles_and_an_export(
    cluster: Deployment, vkeys: list[str], tmp_path: Path
) -> None:
    keys = keys_of(cluster)
    eventually(partial(_all_cosigned, cluster, keys, vkeys[1]), PATIENCE_S)
    served = cluster.start(str(COMMAND), "serve", wait=True, workers="1")
    (tmp_path / "verifier.py").write_text(trailseal("verifier"))
    export = tmp_path / "export.ndjson"
    done = cluster.run("export", "--with-proofs", "-o", str(export))
    assert done.returncode == 0, done.stderr
    given = ["--key", "\n".join(key.vkey() for key in keys), "--witness", "\n".join(vkeys)]
    assert cluster.run("verify", str(export), *given).returncode == 0
    assert _handed_out(tmp_path, str(export), *given) == 0
    for log in _logs(served):
        tiles = f"http://127.0.0.1:{served.port}{log['url']}"
        assert _handed_out(tmp_path, tiles, *given) == 0
        assert _handed_out(tmp_path, tiles, *given, "--rows", str(export)) == 2, "rows of the other partition"
    export.write_bytes(export.read_bytes().replace(b'"alice"', b'"mallory"', 1))
    assert cluster.run("verify", str(export), *given).returncode == 1
    assert _handed_out(tmp_path, str(export), *given) == 1


def _logs(served: Process) -> list[dict[str, Any]]:
    status, body = served.get("/integrity/logs")
    assert status == 200, body
    return list(json.loads(body)["logs"])


def _handed_out(folder: Path, *words: str) -> int:
    command = [sys.executable, str(folder / "verifier.py"), *words]
    return subprocess.run(command, timeout=PATIENCE_S, check=False).returncode
