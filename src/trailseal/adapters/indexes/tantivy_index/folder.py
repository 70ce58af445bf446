"""The folder on disk: tantivy's files, and the marker that says they hold everything below the heads."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
import tantivy

from trailseal.adapters.indexes.tantivy_index.schema import LAYOUT, build_schema
from trailseal.errors import Unavailable
from trailseal.model.projection import PROJECTION_VERSION

_MARKER: Final = "complete.json"
_STATE: Final = "meta.json"
_PANIC: Final = "PanicException"
_REASONS: Final = (
    ("LockBusy", "another process writes to its folder. Stop that one, or wait until it ends."),
    ("No space left", "its disk is full. Make room; it goes on by itself."),
    ("StorageFull", "its disk is full. Make room; it goes on by itself."),
    ("os error 24", "this process has too many files open. Raise its limit (ulimit -n)."),
    ("was killed", "writing failed, probably for want of room on its disk; the next call opens it anew."),
)
_UNREADABLE: Final = ("corrupt", "schema", "Incompatible", "version", "FileDoesNotExist", "does not exist")
"""How tantivy's messages name a folder that no retry will make readable."""


class _Marker(msgspec.Struct, frozen=True):
    layout: int
    projection: int


class FolderState(msgspec.Struct, frozen=True):
    """What tells one commit from the next, and one folder from another made in its place."""

    folder: int
    meta: tuple[int, int, int]


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the errors of tantivy and of the system into `Unavailable`, without what they quote from events."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        raise Unavailable(f"The index cannot {what}: {_reason(error)}") from error
    except BaseException as error:
        if type(error).__name__ != _PANIC:
            raise
        raise Unavailable(f"The index cannot {what}: its engine broke off; the next call opens it anew.") from error


def _reason(error: Exception) -> str:
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}. See that its folder can be written and its disk has room."
    for sign, reason in _REASONS:
        if sign in text:
            return reason
    return "its engine failed. See that its folder can be written and its disk has room."


class IndexFolder:
    """Opens, empties and marks the folder. Not a lock: tantivy's writer holds its own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def state(self) -> FolderState | None:
        """What changes with every commit, cheap to ask; None where there is no index."""
        try:
            meta = (self.path / _STATE).stat()
            return FolderState(self.path.stat().st_ino, (meta.st_mtime_ns, meta.st_ino, meta.st_size))
        except OSError:
            return None

    def open(self) -> tantivy.Index | None:
        """The index in the folder, or None where there is none that this version can read.

        Raises:
            Unavailable: it may be readable later.
        """
        if self.state() is None:
            return None
        try:
            with translated("be opened"):
                index = tantivy.Index(build_schema(), str(self.path), reuse=True)
                index.config_reader("manual")
                index.reload()
        except Unavailable as error:
            if any(sign in str(error.__cause__) for sign in _UNREADABLE):
                return None
            raise
        return index

    def create(self) -> tantivy.Index:
        """An empty index in an empty folder.

        Raises:
            Unavailable: it cannot be made.
        """
        with translated("be made"):
            self._clear()
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            index = tantivy.Index(build_schema(), str(self.path), reuse=False)
            index.config_reader("manual")
            self.sync()
            _sync(self.path.parent)
            return index

    def sync(self) -> None:
        """Make the names in the folder durable.

        tantivy syncs every file and, before it writes ``meta.json``, the folder; the renaming that puts the new
        ``meta.json`` in place it leaves to chance.
        """
        _sync(self.path)

    def is_marked(self) -> bool:
        """Whether the marker of this version is there."""
        try:
            marker = msgspec.json.decode((self.path / _MARKER).read_bytes(), type=_Marker)
        except (OSError, msgspec.MsgspecError):
            return False
        return marker == _Marker(LAYOUT, PROJECTION_VERSION)

    def mark(self) -> None:
        """Write the marker, whole or not at all.

        Raises:
            Unavailable: it cannot be written.
        """
        with translated("be marked complete"):
            fresh = self.path / f"{_MARKER}.new"
            with fresh.open("wb") as file:
                file.write(msgspec.json.encode(_Marker(LAYOUT, PROJECTION_VERSION)))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path / _MARKER)
            _sync(self.path)

    def _clear(self) -> None:
        """Remove the marker first, so that a crash half-way never leaves a marked, broken folder.

        The folder itself stays: it may be a link to another disk, or a disk of its own.
        """
        with suppress(FileNotFoundError):
            (self.path / _MARKER).unlink()
            _sync(self.path)
        if self.path.exists():
            for child in self.path.iterdir():
                shutil.rmtree(child) if child.is_dir() and not child.is_symlink() else child.unlink()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
