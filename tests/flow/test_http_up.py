"""`trailseal up` as a process: it starts at once, refuses clearly, and dies as a whole."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest

from flow.running import PATIENCE_S, until

pytestmark = pytest.mark.crash
COMMAND = [sys.executable, "-c", "from trailseal.cli import main; main()", "up"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRAILSEAL_")}
    return kept | {"TRAILSEAL_REFRESH_INTERVAL": "0.2"}


def ask(port: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        sent = None if body is None else json.dumps(body)
        connection.request(method, path, sent, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def ready(port: int) -> bool:
    try:
        return ask(port, "GET", "/readyz")[0] == 200
    except (OSError, HTTPException):
        return False


@contextmanager
def up(data: Path, port: int, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [*COMMAND, "--data", str(data), "--port", str(port), *flags],
        env=environment(),
        stderr=subprocess.PIPE,
        cwd=data,
    )
    try:
        until(lambda: ready(port) or process.poll() is not None, "readiness")
        assert process.poll() is None, process.stderr.read() if process.stderr else None
        yield process
    finally:
        process.kill()
        process.communicate()


def told(process: subprocess.Popen[bytes]) -> str:
    """What the process said, once it has ended."""
    return process.stderr.read().decode() if process.stderr else ""


def refused(*flags: str, cwd: Path) -> str:
    """The one line that a start which cannot work ends with."""
    done = subprocess.run(
        [*COMMAND, *flags], env=environment(), capture_output=True, timeout=PATIENCE_S, check=False, cwd=cwd
    )
    lines = done.stderr.decode().splitlines()
    assert (done.returncode, len(lines)) == (2, 1), lines
    return lines[0]


def event(event_id: str) -> dict[str, str]:
    return {"id": event_id, "timestamp": "2026-03-04T05:06:07Z", "actor": "alice", "action": "x.y"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_cleanly_and_the_next_start_has_everything(
    tmp_path: Path, number: signal.Signals
) -> None:
    port = free_port()
    with up(tmp_path, port) as process:
        assert ask(port, "POST", "/events", event("e1"))[1]["accepted"] == 1
        process.send_signal(number)
        assert process.wait(8) == 0, told(process)
    with up(tmp_path, port):
        until(lambda: ask(port, "GET", "/events/e1")[0] == 200)


def test_requests_under_way_are_answered_before_it_stops(tmp_path: Path) -> None:
    port = free_port()
    with up(tmp_path, port) as process:
        answers: list[tuple[int, int]] = []
        begun = threading.Event()

        def post(writer: int) -> None:
            for number in range(10_000):
                try:
                    status, _ = ask(port, "POST", "/events", event(f"w{writer}-{number}"))
                except (OSError, HTTPException):
                    return
                answers.append((writer, status))
                begun.set()

        writers = [threading.Thread(target=post, args=(writer,)) for writer in range(4)]
        for writer in writers:
            writer.start()
        assert begun.wait(PATIENCE_S)
        process.send_signal(signal.SIGTERM)
        assert process.wait(8) == 0, told(process)
        for writer in writers:
            writer.join(PATIENCE_S)
    assert {status for _, status in answers} == {200}
    with up(tmp_path, port):
        until(lambda: ask(port, "GET", "/events/count")[1].get("count", 0) >= len(answers))


def test_killed_it_leaves_no_process_behind_and_starts_again(tmp_path: Path) -> None:
    port = free_port()
    with up(tmp_path, port) as process:
        assert children_of(process.pid) == []
        ask(port, "POST", "/events", event("e1"))
        process.kill()
        process.wait(8)
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    with up(tmp_path, port):
        until(lambda: ask(port, "GET", "/events/e1")[0] == 200)


def children_of(pid: int) -> list[str]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += (task / "children").read_text().split()
    return found


def test_a_second_one_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    port = free_port()
    with up(tmp_path, port) as process:
        line = refused("--data", str(tmp_path), "--port", str(free_port()), cwd=tmp_path)
        assert "already runs" in line
        assert str(process.pid) in line
        assert ready(port)


def test_a_port_in_use_is_refused_by_name(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refused("--data", str(tmp_path / "new"), "--port", str(port), cwd=tmp_path)
    assert str(port) in line
    assert "--port" in line


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104 - refused, that is the test
def test_an_open_address_without_a_key_is_refused(tmp_path: Path, host: str) -> None:
    line = refused("--data", str(tmp_path / "new"), "--port", str(free_port()), "--host", host, cwd=tmp_path)
    assert "API key" in line


def test_demo_events_fill_an_empty_log_once(tmp_path: Path) -> None:
    port = free_port()
    for _ in range(2):
        with up(tmp_path, port, "--demo") as process:
            until(lambda: ask(port, "GET", "/events/count")[1].get("count") == 3_000)
            process.terminate()
            assert process.wait(8) == 0, told(process)
