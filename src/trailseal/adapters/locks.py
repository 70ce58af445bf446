"""Advisory locks on files: one owner at a time, given back by the kernel when the owner dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from trailseal.errors import Unavailable, UsageError

SERVER_LOCK = "server.lock"
CONSUMER_LOCK = "consumer.lock"
_PID_BYTES = 32


class FileLock:
    """An exclusive ``flock(2)`` on a file, held by this object, not by the process.

    Two objects exclude each other also inside one process. The file stays behind after `release`: deleting
    it would let a third party lock a name that no longer leads to the locked file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def path(self) -> Path:
        """The file that is locked."""
        return self._path

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def acquire(self) -> bool:
        """Take the lock if it is free, without waiting; True when this object holds it.

        Raises:
            Unavailable: the file cannot be made or locked.
        """
        if self._descriptor is not None:
            return True
        try:
            self._descriptor = self._locked_descriptor()
        except OSError as error:
            raise Unavailable(
                f"The lock {self._path} cannot be used ({error.strerror}): make its folder writable for this user,"
                " on a file system that supports flock."
            ) from error
        return self._descriptor is not None

    def _locked_descriptor(self) -> int | None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not self._still_named(descriptor):
                os.close(descriptor)
                return None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _still_named(self, descriptor: int) -> bool:
        """Whether the path still leads to the file that was locked, and not to one made after a deletion."""
        ours = os.fstat(descriptor)
        try:
            named = self._path.stat()
        except FileNotFoundError:
            return False
        return (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino)

    def owner(self) -> int | None:
        """The process id the last owner wrote; for messages only, the lock itself is what counts."""
        try:
            return int(self._path.read_bytes()[:_PID_BYTES])
        except (OSError, ValueError):
            return None

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def lock_server(folder: Path) -> FileLock:
    """Take ``server.lock`` of a data folder for as long as the returned lock is not released.

    Raises:
        UsageError: another ``trailseal up`` runs on that folder; the text names its process.
        Unavailable: the folder cannot be written.
    """
    lock = FileLock(folder / SERVER_LOCK)
    if lock.acquire():
        return lock
    owner = lock.owner()
    process = "another process" if owner is None else f"process {owner}"
    raise UsageError(
        f"`trailseal up` already runs on {folder} ({process}): stop it first, or give this one another folder with"
        " --data."
    )
