"""One server in one state folder: what is written down about it, and what can be done to it."""

import json
import os
import shlex
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import processes
from engines import ENGINES, Engine
from errors import ServersError

STOP_SECONDS = 30.0
LOG_LINES_SHOWN = 15
HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Instance:
    """A server of this state folder, running or not."""

    engine: Engine
    folder: Path

    @property
    def log(self) -> Path:
        """The file that takes what the server prints."""
        return self.folder / "server.log"

    def remembered(self) -> dict[str, Any]:
        """Return what the last start wrote down: `ports`, and `pid` and `started` unless it was ended."""
        try:
            found = json.loads((self.folder / "state.json").read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def remember(self, state: dict[str, Any]) -> None:
        """Replace what is written down, whole or not at all."""
        written = self.folder / "state.json.new"
        written.write_text(json.dumps(state))
        written.replace(self.folder / "state.json")

    def process(self) -> tuple[int, str] | None:
        """Return id and start time of the living process, if there is one."""
        state = self.remembered()
        if "pid" not in state or not processes.is_alive(state["pid"], state["started"]):
            return None
        return state["pid"], state["started"]

    def port(self) -> int:
        """Return the port that clients connect to: the one in use, or the one a start would take."""
        return self.ports()["port"]

    def ports(self) -> dict[str, int]:
        """Return all ports: from the environment, else as remembered, else the defaults."""
        known = self.remembered().get("ports", {})
        if self.process():
            return dict(known)
        chosen: dict[str, int] = {}
        for port in self.engine.ports:
            asked = _asked(port.variable)
            first = chosen.get("port")
            if asked is not None:
                chosen[port.name] = asked
            elif port.name in known and first in (None, known["port"]):
                chosen[port.name] = known[port.name]
            elif first is None:
                chosen[port.name] = port.default
            else:
                chosen[port.name] = first + port.default if first else 0
        return chosen

    def status(self) -> str:
        """Return `running`, `starting`, `paused`, `crashed` or `stopped`."""
        process = self.process()
        if process is None:
            return "crashed" if "pid" in self.remembered() else "stopped"
        found = processes.look(process[0])
        if found is not None and found.state in "Tt":
            return "paused"
        return "running" if self.engine.is_ready(self.port()) else "starting"

    def start(self) -> bool:
        """Start the server unless it runs; return whether it had to be started."""
        if self.process():
            wanted = _asked(self.engine.ports[0].variable)
            if wanted not in (None, 0, self.port()):
                raise ServersError(
                    f"{self.engine.name} already runs on port {self.port()}, not {wanted}: "
                    f"stop it first (down {self.engine.name}), or name another TRAILSEAL_SERVERS_DIR"
                )
            self.resume()
            return False
        self.folder.mkdir(parents=True, exist_ok=True)
        ports = _bindable(self.engine, self.ports())
        command = self.engine.prepare(self.folder, ports)
        self.log.unlink(missing_ok=True)
        pid, started = processes.start(command, self.log, {})
        self.remember({"pid": pid, "started": started, "ports": ports, "command": shlex.join(command)})
        return True

    def wait(self, seconds: float) -> None:
        """Wait until the server answers.

        Raises:
            ServersError: it ended, or did not answer in time; the message shows the end of its log.
        """
        port = self.port()
        processes.until(lambda: self.process() is None or self.engine.is_ready(port), seconds)
        if self.process() is not None and self.engine.is_ready(port):
            return
        what = f"does not answer after {seconds:.0f} s" if self.process() else "ended while starting"
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        raise ServersError("\n  ".join([f"{self.engine.name} {what}; the end of {self.log}:", *lines]))

    def stop(self) -> bool:
        """End the server cleanly; return whether it ran."""
        process = self.process()
        polite = processes.stop(*process, STOP_SECONDS) if process else True
        self._forget_process()
        if not polite:
            raise ServersError(f"{self.engine.name} did not stop in {STOP_SECONDS:.0f} s and was killed")
        return process is not None

    def kill(self) -> None:
        """End the server like a power cut (SIGKILL)."""
        processes.kill(*self._living())
        self._forget_process()

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): connections stay open and nothing answers."""
        pid, _ = self._living()
        processes.send(pid, signal.SIGSTOP)
        if not processes.until(lambda: self.status() == "paused", STOP_SECONDS):
            raise ServersError(f"{self.engine.name} (process {pid}) does not stop on SIGSTOP")

    def resume(self) -> None:
        """Let a paused server go on (SIGCONT)."""
        processes.send(self._living()[0], signal.SIGCONT)

    def _living(self) -> tuple[int, str]:
        process = self.process()
        if process is None:
            raise ServersError(f"{self.engine.name} does not run: start it with up {self.engine.name}")
        return process

    def _forget_process(self) -> None:
        ports = self.remembered().get("ports")
        if ports:
            self.remember({"ports": ports})


def instances(root: Path, names: list[str]) -> list[Instance]:
    """Return the named servers of a state folder; all of them if none is named."""
    return [Instance(ENGINES[name], root / name) for name in names or list(ENGINES)]


def _asked(variable: str) -> int | None:
    value = os.environ.get(variable)
    if not value:
        return None
    if not value.isdecimal() or int(value) > HIGHEST_PORT:
        raise ServersError(
            f"{variable}={value} is not a port: give a number from 0 (any free one) to {HIGHEST_PORT}"
        )
    return int(value)


def _bindable(engine: Engine, ports: dict[str, int]) -> dict[str, int]:
    """Replace every 0 by a free port, and refuse a port that somebody else listens on."""
    found: dict[str, int] = {}
    held: list[socket.socket] = []
    try:
        for port in engine.ports:
            listener = socket.socket()
            held.append(listener)
            # As the servers do: a connection of the last run that is still closing does not hold a port.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", ports[port.name]))
            except OSError as error:
                raise ServersError(
                    f"port {ports[port.name]} is taken ({error.strerror}): set {port.variable} to a free one"
                ) from error
            found[port.name] = listener.getsockname()[1]
    finally:
        for listener in held:
            listener.close()
    return found
