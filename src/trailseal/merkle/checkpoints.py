"""C2SP tlog-checkpoint: the text of a checkpoint, three lines that name a log, its size and its root.

    audit.example/cluster-1/events/topic-id/0/1
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

Lines that follow are extensions: they are kept when read, since a signature may cover them, but this code
writes none, since no monitor could check what they say. Source: ``tlog-checkpoint.md`` in C2SP/C2SP.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from trailseal.merkle.errors import InvalidNote
from trailseal.merkle.hash import EMPTY_ROOT, HASH_SIZE, MAX_TREE_SIZE
from trailseal.merkle.notes import check_key_name, check_text, decode_base64, encode_base64

MAX_ORIGIN_SIZE: Final = 255
"""Bytes of the longest origin that is written: what an ML-DSA-44 cosignature can name."""

_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_REQUIRED_LINES: Final = 3


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint says; whether it is to be believed is for its signatures to show.

    Attributes:
        origin: the log's name.
        size: the number of leaves.
        root: the root of the tree of that size.
        extensions: further lines, opaque; always empty in what this code writes.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def format(self) -> str:
        """Return the three lines.

        Raises:
            InvalidNote: the origin, size or root is out of its range, an empty tree has another root than
                the empty one, or there are extensions.
        """
        if self.extensions:
            raise InvalidNote("a checkpoint is never written with extension lines")
        check_origin(self.origin)
        if not 0 <= self.size <= MAX_TREE_SIZE or len(self.root) != HASH_SIZE:
            raise InvalidNote("a checkpoint's size or root is out of range")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise InvalidNote("a checkpoint of size 0 whose root is not the empty tree's")
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a checkpoint's text.

        Raises:
            InvalidNote: a line is missing, empty, or not in its only spelling.
        """
        check_text(text)
        lines = text[:-1].split("\n")
        if len(lines) < _REQUIRED_LINES or not all(lines):
            raise InvalidNote("a checkpoint has at least three lines, none of them empty")
        origin, size, root, *extensions = lines
        decoded = decode_base64(root)
        if len(decoded) != HASH_SIZE:
            raise InvalidNote(f"the root in a checkpoint is {len(decoded)} bytes long, not {HASH_SIZE}")
        return cls(origin, parse_size(size), decoded, tuple(extensions))


def check_origin(origin: str) -> None:
    """Refuse what this code does not sign as an origin.

    Raises:
        InvalidNote: it is empty, holds spaces, plus signs or control characters, or is longer than 255 bytes.
    """
    check_key_name(origin)
    if len(origin.encode()) > MAX_ORIGIN_SIZE:
        raise InvalidNote(f"an origin is longer than {MAX_ORIGIN_SIZE} bytes")


def parse_size(text: str) -> int:
    """Read a tree size or leaf index: ASCII decimal without leading zeroes, below 2**63.

    Raises:
        InvalidNote: it is anything else.
    """
    if not _DECIMAL.fullmatch(text) or int(text) > MAX_TREE_SIZE:
        raise InvalidNote("a size is not a decimal number below 2^63 without leading zeroes")
    return int(text)
