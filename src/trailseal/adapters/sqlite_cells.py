"""Cells of our SQLite files, held against the types they were written with.

SQLite takes a value of any type in any column, so whoever edits a file may leave a text where we wrote a number.
Such a row must never become a struct: every statement that reads rows gives them to `Cells` first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from trailseal.errors import IntegrityViolation

RECORD: Final = (
    "coalesce(CAST(timestamp_ms AS INTEGER), 0), CAST(key AS BLOB), CAST(value AS BLOB), CAST(headers AS BLOB)"
)
"""A record's columns, bytes and a number whatever is stored: a verifier reads on, and names what was edited."""

_KEYS: Final = frozenset({"log", "partition", "offset", "number", "size", "name"})
"""What tells which row it is, and nothing of an event."""
_BYTES: Final = (bytes,)
"""Else msgspec takes a text for the base64 of bytes."""
_FOUND: Final = {int: "a number", float: "a fraction", str: "a text", bytes: "bytes", type(None): "nothing"}


def text_or_bytes(stored: bytes) -> str | bytes:
    """A stored text; its bytes where somebody stored such that are no UTF-8, for `Cells` to refuse."""
    try:
        return str(stored, "utf-8")
    except UnicodeDecodeError:
        return stored


class Cells:
    """The columns that a statement reads, in order.

    Args:
        file: the noun for messages: ``log``, ``ledger``.
        table: whose they are.
        columns: the type of each.
    """

    def __init__(self, file: str, table: str, **columns: Any) -> None:
        self._file, self._table, self._columns = file, table, columns
        self._rows: Any = list[tuple[tuple(columns.values())]]  # type: ignore[misc] # made of what was given

    @property
    def names(self) -> str:
        """The columns as a statement lists them."""
        return ", ".join(self._columns)

    def rows(self, stored: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """The rows, every cell of its type.

        Raises:
            IntegrityViolation: a cell is of another one: somebody changed the file.
        """
        found = list(stored)
        try:
            checked: list[tuple[Any, ...]] = msgspec.convert(found, self._rows, builtin_types=_BYTES)
        except msgspec.ValidationError as error:
            raise IntegrityViolation(self._sentence(found)) from error
        return checked

    def row(self, stored: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        """The same for one row, or none."""
        return None if stored is None else self.rows((stored,))[0]

    def _sentence(self, found: Sequence[tuple[Any, ...]]) -> str:
        row, (column, cell) = next(
            (row, (column, cell))
            for row in found
            for (column, kind), cell in zip(self._columns.items(), row, strict=True)
            if not _is_a(kind, cell)
        )
        place = ", ".join(
            f"{name} {told!r}"
            for name, told in zip(self._columns, row, strict=True)
            if name in _KEYS and _is_a(self._columns[name], told)
        )
        return (
            f"The {self._file}'s table {self._table} holds {_FOUND[type(cell)]} as {column}"
            f"{f' ({place})' if place else ''}, which Trailseal never writes: restore the {self._file} from a"
            " backup."
        )


def _is_a(kind: Any, cell: object) -> bool:
    try:
        msgspec.convert(cell, kind, builtin_types=_BYTES)
    except msgspec.ValidationError:
        return False
    return True
