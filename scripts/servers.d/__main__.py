"""The command line of `scripts/servers`: what the operator reads goes to stderr, what a shell evals to stdout."""

import argparse
import os
import shlex
import shutil
import sys
from pathlib import Path

from engines import ENGINES
from errors import ServersError
from instance import Instance, instances
from packages import cache_folder, fetch, locked

WAIT_SECONDS = 120.0
EXIT_NOT_RUNNING = 3

USAGE = """\
up       start what does not run, wait until it answers, print the addresses as export lines
down     stop cleanly; with --wipe remove data, logs and remembered ports too
status   show what runs where; exit status 3 unless all of them answer
env      print the export lines: eval "$(scripts/servers env)"
kill     end like a power cut (SIGKILL)
pause    freeze (SIGSTOP): connections stay open, nothing answers
resume   let it go on (SIGCONT) and wait until it answers
restart  down, then up
fetch    only put the programs into the cache, so that the next up needs no network
"""


def main() -> int:
    """Run one command and return its exit status."""
    arguments = _parse()
    root = Path(os.environ.get("TRAILSEAL_SERVERS_DIR") or cache_folder() / "run").absolute()
    chosen = instances(root, arguments.server)
    try:
        if arguments.command == "status":
            return _status(chosen)
        if arguments.command == "env":
            _print_exports(chosen)
            return 0
        if arguments.command == "fetch":
            fetch()
            return 0
        with locked(root / "lock"):
            _change(arguments.command, chosen, wipe=arguments.wipe)
    except ServersError as error:
        print(f"servers: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"servers: {error.filename or root}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/servers",
        description="The real Kafka, Elasticsearch and Redis without Docker (docs/howto/servers.md).",
        epilog=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = ["up", "down", "status", "env", "kill", "pause", "resume", "restart", "fetch"]
    parser.add_argument("command", choices=commands)
    parser.add_argument("server", nargs="*", help=f"{', '.join(ENGINES)}; all if none is named")
    parser.add_argument("--wipe", action="store_true", help="with down: remove the data too")
    arguments = parser.parse_intermixed_args()  # options may stand between the names too
    for name in arguments.server:
        if name not in ENGINES:
            parser.error(f"no server is called {name}: there are {', '.join(ENGINES)}")
    if arguments.wipe and arguments.command != "down":
        parser.error("--wipe goes with down")
    if arguments.command in {"kill", "pause", "resume"} and not arguments.server:
        parser.error(f"{arguments.command} wants to know which server")
    return arguments


def _change(command: str, chosen: list[Instance], *, wipe: bool) -> None:
    if command in {"down", "restart"}:
        for instance in chosen:
            _down(instance, wipe=wipe)
    if command in {"up", "restart"}:
        _up(chosen)
    for instance in chosen:
        if command == "kill":
            instance.kill()
        elif command == "pause":
            instance.pause()
        elif command == "resume":
            instance.resume()
            instance.wait(_patience())


def _up(chosen: list[Instance]) -> None:
    fresh = [instance.start() for instance in chosen]
    for instance, was_started in zip(chosen, fresh, strict=True):
        instance.wait(_patience())
        state = "started" if was_started else "already running"
        pid, _ = instance.process() or (0, "")
        title, where = instance.engine.title, f"127.0.0.1:{instance.port()}"
        print(f"{title:<20} {where:<17} {state}, pid {pid}, log {instance.log}", file=sys.stderr)
    _print_exports(chosen)


def _down(instance: Instance, *, wipe: bool) -> None:
    was_running = instance.stop()
    if wipe:
        shutil.rmtree(instance.folder, ignore_errors=True)
    done = "stopped" if was_running else "was not running"
    print(f"{instance.engine.title:<20} {done}{', data removed' if wipe else ''}", file=sys.stderr)


def _status(chosen: list[Instance]) -> int:
    states = [instance.status() for instance in chosen]
    for instance, state in zip(chosen, states, strict=True):
        pid, _ = instance.process() or (None, "")
        where = f"127.0.0.1:{instance.port()}"
        detail = f"pid {pid}, log {instance.log}" if pid else f"log {instance.log}"
        print(f"{instance.engine.title:<20} {where:<17} {state:<9} {detail}")
    return 0 if set(states) == {"running"} else EXIT_NOT_RUNNING


def _print_exports(chosen: list[Instance]) -> None:
    for instance in chosen:
        for name, value in instance.engine.exports(instance.folder, instance.port()).items():
            print(f"export {name}={shlex.quote(value)}")


def _patience() -> float:
    value = os.environ.get("TRAILSEAL_SERVERS_WAIT", str(WAIT_SECONDS))
    try:
        return float(value)
    except ValueError as error:
        raise ServersError(f"TRAILSEAL_SERVERS_WAIT={value} is not a number of seconds") from error


if __name__ == "__main__":
    sys.exit(main())
