"""Tables where a person reads, NDJSON where a program does."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import Progress, ProgressColumn
from rich.table import Table


class Form(StrEnum):
    """How rows are written; ``auto`` looks at standard output."""

    AUTO = "auto"
    TABLE = "table"
    NDJSON = "ndjson"


def as_table(form: Form) -> bool:
    """Whether to draw a table."""
    return form is Form.TABLE or (form is Form.AUTO and sys.stdout.isatty())


def console() -> Console:
    """A console on standard output, as wide as the terminal."""
    return Console(highlight=False)


def error_console() -> Console:
    """A console on standard error: progress and notices, out of the way of piped rows."""
    return Console(stderr=True, highlight=False)


def progress_bar(*columns: ProgressColumn) -> Progress:
    """A bar on standard error while somebody watches; gone at the end, nothing at all where nobody does."""
    watched = error_console()
    return Progress(*columns, console=watched, transient=True, disable=not watched.is_terminal)


def notice(text: str) -> None:
    """A line for the person at the terminal, on standard error, out of the way of piped rows."""
    sys.stderr.write(text + "\n")


def draw_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, numbers: frozenset[str] = frozenset()
) -> None:
    """Draw rows as a table; columns named in ``numbers`` are right-aligned."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    console().print(table)


def write_ndjson(rows: Iterable[Any]) -> None:
    """Write each row as one JSON line."""
    out = sys.stdout.buffer
    for row in rows:
        out.write(row if isinstance(row, bytes) else msgspec.json.encode(row))
        out.write(b"\n")
    out.flush()
