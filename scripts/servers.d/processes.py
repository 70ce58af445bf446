"""Processes that outlive the command that started them, known by id and start time."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from errors import ServersError

POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Running:
    """A process as the system shows it now: `state` is a letter of `ps`, T being stopped by a signal."""

    state: str
    started: str


def look(pid: int) -> Running | None:
    """Return the living process of this id, or None; a zombie is not alive."""
    try:
        # The command's name, in parentheses, may hold spaces and parentheses itself.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        found = Running(fields[0], fields[19])
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
        line = subprocess.run(
            ["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        ).stdout.strip()
        if not line:
            return None
        state, _, started = line.partition(" ")
        found = Running(state[0], started.strip())
    except ProcessLookupError:
        return None
    return None if found.state in "ZX" else found


def start(command: list[str], log: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Start a server in a session of its own, its output appended to `log`; return its id and start time."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **environment},
        )
    found = look(process.pid)
    # It is not waited for on purpose: whoever adopts it when this command ends does that.
    process.returncode = 0
    if found is None:
        raise ServersError(f"{command[0]} ended at once: see {log}")
    return process.pid, found.started


def is_alive(pid: int, started: str) -> bool:
    """Tell whether the process of that id is still the one that was started then."""
    found = look(pid)
    return found is not None and found.started == started


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may have just ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll until a condition holds; return whether it did in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def stop(pid: int, started: str, patience: float) -> bool:
    """End a process: politely, and after `patience` seconds for sure; return whether it went politely."""
    send(pid, signal.SIGTERM)
    # A stopped process takes no SIGTERM before it goes on.
    send(pid, signal.SIGCONT)
    if until(lambda: not is_alive(pid, started), patience):
        return True
    kill(pid, started)
    return False


def kill(pid: int, started: str) -> None:
    """End a process like a power cut would, and wait until it is gone."""
    send(pid, signal.SIGKILL)
    if not until(lambda: not is_alive(pid, started), 10):
        raise ServersError(f"process {pid} survived SIGKILL: look at it with ps")
