"""A process of its own that appends to an embedded log, for tests that kill it, race it or starve it of room.

python sqlite_child.py PATH append THREADS COUNT SIZE    acknowledge each append on a line of standard output
python sqlite_child.py PATH starve BYTES                 append until files may not grow, then go on with room
python sqlite_child.py PATH lock                         hold a file lock until killed
"""

from __future__ import annotations

import resource
import sys
import threading
from pathlib import Path

from trailseal.adapters.clock import SystemClock
from trailseal.adapters.locks import FileLock
from trailseal.adapters.logs.sqlite import SqliteLog
from trailseal.errors import Unavailable
from trailseal.model.record import NewRecord

_PRINTING = threading.Lock()


def say(line: str) -> None:
    """One whole line, at once."""
    with _PRINTING:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def open_log(path: str) -> SqliteLog:
    """The log in that file."""
    return SqliteLog(Path(path), log_number=lambda _origin: 7, clock=SystemClock())


def append(log: SqliteLog, name: str, count: int, size: int) -> None:
    """Append batches of one to three records and acknowledge each batch."""
    filler = b"." * size
    for n in range(count):
        batch = [NewRecord(b"%s %d %d " % (name.encode(), n, k) + filler, name.encode()) for k in range(1 + n % 3)]
        positions = log.append(batch)
        say(f"{name} {n} {positions[0].offset} {len(positions)}")


def append_from_many(path: str, threads: int, count: int, size: int) -> None:
    """Run `append` in so many threads; ``go`` on standard input begins it."""
    log = open_log(path)
    say("ready")
    sys.stdin.readline()
    writers = [
        threading.Thread(target=append, args=(log, f"t{n}", count, size), daemon=True) for n in range(threads)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    log.close()


def starve(path: str, limit: int) -> None:
    """Append until no file may grow past the limit, then lift it and append once more."""
    log = open_log(path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    written = 0
    try:
        while True:
            written += len(log.append([NewRecord(b"x" * 10_000)] * 10))
    except Unavailable as error:
        say(f"refused {written} {log.bounds(0).next} {error}")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    (position,) = log.append([NewRecord(b"after")])
    say(f"went on {position.offset}")
    log.close()


def hold(path: str) -> None:
    """Hold the lock until killed."""
    lock = FileLock(Path(path))
    say("held" if lock.acquire() else "refused")
    sys.stdin.readline()


if __name__ == "__main__":
    match sys.argv[1:]:
        case [path, "append", threads, count, size]:
            append_from_many(path, int(threads), int(count), int(size))
        case [path, "starve", limit]:
            starve(path, int(limit))
        case [path, "lock"]:
            hold(path)
