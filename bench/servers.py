"""Processes to measure against: `trailseal up` on a free port, and its peers on the same HTTP server."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def started(command: list[str], port: int, ready: str, environment: dict[str, str] | None = None) -> Iterator[int]:
    """The command's process id, from its first good answer on that path until the end of the block."""
    variables = os.environ | (environment or {})
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=variables
    )
    try:
        _await(f"http://127.0.0.1:{port}{ready}", process)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def trailseal_up(data: Path) -> Iterator[int]:
    """`trailseal up` on that folder; its port."""
    port = free_port()
    command = [str(Path(sys.executable).parent / "trailseal"), "up", "--data", str(data), "--port", str(port)]
    with started(command, port, "/readyz"):
        yield port


@contextmanager
def peer(name: str, *arguments: str, ready: str = "/ready") -> Iterator[int]:
    """A peer of `bench.peers` on the HTTP server that `up` uses; its port."""
    port = free_port()
    with started([sys.executable, "-m", "bench.peers", name, str(port), *arguments], port, ready):
        yield port


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with status {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                body = answer.read()
                if answer.status == 200 and (not body.startswith(b"{") or json.loads(body).get("pending", 0) == 0):
                    return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{url} did not become ready")
