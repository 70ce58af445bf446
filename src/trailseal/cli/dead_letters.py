"""`trailseal dead-letters`: what could not be taken in, why, and how to try again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from trailseal.bootstrap import Role, open_engines
from trailseal.cli.options import Config, Data, examples, settings_from
from trailseal.cli.output import Form, as_table, console, draw_table, notice, write_ndjson
from trailseal.errors import UsageError
from trailseal.event_consumer.dead_letters import DeadLetter, DeadLetters
from trailseal.model.record import HEADER_SALT, Position, Record
from trailseal.model.timestamps import format_rfc3339
from trailseal.settings import Settings

dead_letters = typer.Typer(
    name="dead-letters",
    help="Records that could not be taken in: list, look at, append anew.",
    no_args_is_help=True,
)
_POSITION_PARTS = 3
Where = Annotated[str, typer.Argument(metavar="POSITION", help="LOG/PARTITION/OFFSET, as `list` shows it.")]


@dead_letters.command(
    "list", epilog=examples("trailseal dead-letters list", "trailseal dead-letters list --open | wc -l")
)
def list_letters(
    only_open: Annotated[bool, typer.Option("--open", help="Without those that were appended anew.")] = False,
    form: Annotated[Form, typer.Option("--form", help="How to write the rows.")] = Form.AUTO,
    data: Data = None,
    config: Config = None,
) -> None:
    """List all dead letters with the rule each one broke."""
    with _letters(settings_from(config, data=data), "read") as letters:
        found = letters.list(replayed=not only_open)
        if not as_table(form):
            write_ndjson(_line(letter) for letter in found)
            return
        rows = [_cells(letter) for letter in found]
    if rows:
        draw_table(("position", "code", "field", "what is wrong", "replayed to"), rows)
    else:
        notice("There are no dead letters.")


@dead_letters.command(
    "show", epilog=examples("trailseal dead-letters show 1/0/42", "trailseal dead-letters show 1/0/42 --raw")
)
def show(
    position: Where,
    raw: Annotated[bool, typer.Option("--raw", help="Write the record's value alone, byte for byte.")] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Show one dead letter: the problem, the headers, and the value as it was received."""
    with _letters(settings_from(config, data=data), "read") as letters:
        letter, record = letters.get(_position(position))
    if raw:
        stream = typer.get_binary_stream("stdout")
        stream.write(record.value or b"")
        return
    out = console()
    for name, value in _description(letter, record):
        out.print(f"[bold]{name:<9}[/bold] ", end="")
        out.print(value, markup=False)


@dead_letters.command("replay", epilog=examples("trailseal dead-letters replay 1/0/42"))
def replay(position: Where, data: Data = None, config: Config = None) -> None:
    """Append the record anew, after its cause was repaired; it is judged again."""
    with _letters(settings_from(config, data=data), "import") as letters:
        to = letters.replay(_position(position))
    notice(f"{position} was appended anew as {to}; `trailseal up` or `trailseal consume` takes it in.")


@contextmanager
def _letters(settings: Settings, role: Role) -> Iterator[DeadLetters]:
    engines = open_engines(settings, role)
    try:
        yield DeadLetters(engines.log, engines.ledger, engines.clock)
    finally:
        engines.close()


def _position(text: str) -> Position:
    parts = text.split("/")
    if len(parts) != _POSITION_PARTS or not all(part.isascii() and part.isdecimal() for part in parts):
        raise UsageError(f"{text!r} is no position; write LOG/PARTITION/OFFSET, for example 1/0/42.")
    return Position(*map(int, parts))


def _line(letter: DeadLetter) -> dict[str, Any]:
    row = letter.row
    line: dict[str, Any] = {
        "position": str(row.position),
        "code": row.code,
        "field": row.field,
        "detail": row.detail,
    }
    if letter.replay is not None:
        line["replayed_to"] = None if letter.replay.to is None else str(letter.replay.to)
    return line


def _cells(letter: DeadLetter) -> tuple[str, str, str, str, str]:
    row = letter.row
    to = "" if letter.replay is None else str(letter.replay.to or "unknown")
    return str(row.position), row.code or "", row.field or "", row.detail or "", to


def _description(letter: DeadLetter, record: Record) -> Iterator[tuple[str, str]]:
    row = letter.row
    yield "position", str(row.position)
    yield "received", format_rfc3339(record.timestamp_ms * 1000)
    yield "problem", f"{row.code}: {row.detail}"
    if row.field:
        yield "field", row.field
    if letter.replay is not None:
        yield "replayed", f"as {letter.replay.to or 'unknown'} at {format_rfc3339(letter.replay.at_us)}"
    for name, value in record.headers:
        shown = (
            "null"
            if value is None
            else value.hex()
            if name == HEADER_SALT
            else value.decode("utf-8", "backslashreplace")
        )
        yield "header", f"{name}: {shown}"
    yield "value", "null" if record.value is None else record.value.decode("utf-8", "backslashreplace")
