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

from trailseal.adapters.indexes.tantivy_folder.schema import LAYOUT, build_schema
from trailseal.errors import Unavailable
from trailseal.model.projection import PROJECTION_VERSION

_MARKER: Final = "complete.json"
_STATE: Final = "meta.json"


class _Marker(msgspec.Struct, frozen=True):
    layout: int
    projection: int


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn tantivy's and the system's errors into ours; no event contents are in them."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise Unavailable(
            f"The index cannot {what} ({reason}): see that its folder can be written and its disk has room."
        ) from error


class IndexFolder:
    """Opens, empties and marks the folder. Not a lock: tantivy's writer holds its own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def state(self) -> tuple[int, int] | None:
        """What changes with every commit, cheap to ask; None where there is no index."""
        try:
            stat = (self.path / _STATE).stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_ino

    def open(self) -> tantivy.Index | None:
        """The index in the folder, or None where there is none that this version can read."""
        if self.state() is None:
            return None
        try:
            return tantivy.Index(build_schema(), str(self.path), reuse=True)
        except (OSError, ValueError):
            return None

    def create(self) -> tantivy.Index:
        """An empty index in an empty folder.

        Raises:
            Unavailable: it cannot be made.
        """
        with translated("be made"):
            self._clear()
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            index = tantivy.Index(build_schema(), str(self.path), reuse=False)
            _sync(self.path.parent)
            return index

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
        """Remove the marker first, so that a crash half-way never leaves a marked, broken folder."""
        with suppress(FileNotFoundError):
            (self.path / _MARKER).unlink()
            _sync(self.path)
        if self.path.exists():
            shutil.rmtree(self.path)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
