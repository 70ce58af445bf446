"""Where an import reads from: files, folders, standard input, compressed with gzip or not."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from trailseal.errors import UsageError

STANDARD_INPUT = "-"
CHUNK_BYTES = 256 << 10
RECORD_FILES = re.compile(r".+\.(json|ndjson|jsonl|log(\.\d+)?)(\.gz)?", re.ASCII | re.IGNORECASE)
"""What files are called that a folder is looked through for."""
_GZIP = b"\x1f\x8b"
_GZIP_WINDOW = 31
"""zlib's code for "a gzip header and a 32 KiB window" (zlib manual, inflateInit2)."""


@dataclass(frozen=True, slots=True)
class Source:
    """One input.

    Attributes:
        name: its path as given or found, or ``-``.
        size: bytes on disk, or None for standard input.
        open: opens it for reading from its start.
    """

    name: str
    size: int | None
    open: Callable[[], BinaryIO]


@dataclass(frozen=True, slots=True)
class Found:
    """What the paths of an import lead to.

    Attributes:
        sources: the inputs, in order.
        passed_over: files of folders whose names are not those of records (a licence, a picture), in order.
    """

    sources: list[Source]
    passed_over: list[Path]


class BrokenSource(Exception):
    """The input cannot be read on: its compression is broken or it ends too early."""


def find_sources(paths: Sequence[str], standard_input: BinaryIO) -> Found:
    """Every input the paths name, folders looked through in order of path; hidden files are left out.

    A file named by itself is taken whatever it is called; in a folder, only names like `RECORD_FILES`.

    Args:
        paths: files, folders, or ``-``.
        standard_input: what ``-`` stands for.

    Raises:
        UsageError: a path does not exist or a folder holds nothing to import.
    """
    found = Found([], [])
    for name in paths:
        path = Path(name)
        if name == STANDARD_INPUT:
            found.sources.append(Source(name, None, lambda: standard_input))
        elif path.is_dir():
            _look_through(path, found)
        elif path.exists():
            found.sources.append(_file(path))
        else:
            raise UsageError(f"There is no file {name}; check the path, or use - for standard input.")
    return found


def _look_through(folder: Path, found: Found) -> None:
    files = [file for file in sorted(folder.rglob("*")) if _visible(file, folder)]
    wanted = [file for file in files if RECORD_FILES.fullmatch(file.name)]
    if not wanted:
        raise UsageError(
            f"The folder {folder} holds no files to import: their names end in .json, .ndjson, .jsonl or .log, with"
            " .gz or without. A file named by itself is taken whatever it is called."
        )
    found.sources.extend(_file(file) for file in wanted)
    found.passed_over.extend(file for file in files if not RECORD_FILES.fullmatch(file.name))


def _visible(file: Path, folder: Path) -> bool:
    return file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)


def _file(path: Path) -> Source:
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    return Source(str(path), size or None, lambda: path.open("rb"))


def chunks(stream: BinaryIO, read_so_far: Callable[[int], None]) -> Iterator[bytes]:
    """The inflated bytes of an input, in pieces.

    Args:
        stream: the input; its first two bytes tell whether it is compressed.
        read_so_far: told the bytes read from the input itself after each piece.

    Raises:
        BrokenSource: the compression is broken, or the input cannot be read on.
    """
    pieces = _pieces(stream, read_so_far)
    first = next(pieces, b"")
    while 0 < len(first) < len(_GZIP) and (more := next(pieces, b"")):
        first += more
    if first.startswith(_GZIP):
        yield from _inflated(first, pieces)
    elif first:
        yield first
        yield from pieces


def _pieces(stream: BinaryIO, read_so_far: Callable[[int], None]) -> Iterator[bytes]:
    total = 0
    read = getattr(stream, "read1", stream.read)
    while True:
        try:
            piece = read(CHUNK_BYTES)
        except OSError as error:
            raise BrokenSource(f"reading failed: {error.strerror}") from error
        if not piece:
            return
        total += len(piece)
        read_so_far(total)
        yield piece


def _inflated(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    """All members of a gzip file, one after the other (RFC 1952 section 2.2)."""
    inflate = zlib.decompressobj(_GZIP_WINDOW)
    piece: bytes | None = first
    try:
        while piece is not None:
            data = piece
            while data:
                if inflate.eof:
                    data = data.lstrip(b"\0")
                    if not data:
                        break
                    inflate = zlib.decompressobj(_GZIP_WINDOW)
                inflated = inflate.decompress(data, CHUNK_BYTES * 4)
                data = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
                if inflated:
                    yield inflated
            piece = next(rest, None)
    except zlib.error as error:
        raise BrokenSource("its gzip compression is broken") from error
    if not inflate.eof:
        raise BrokenSource("its gzip compression ends in the middle: the file is cut off")
