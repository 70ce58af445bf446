"""`trailseal export`: everything that matches, to a file or a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from trailseal.bootstrap import Engines, open_engines
from trailseal.cli import filters
from trailseal.cli.options import Config, Data, settings_from
from trailseal.cli.output import notice, progress_bar
from trailseal.errors import InvalidQuery, UsageError
from trailseal.model.query import Query
from trailseal.query.export import Lines, begin_export, lines_of
from trailseal.query.parsing import WHOLE, parse_parameters
from trailseal.query.question import Question, scoped


class ExportForm(StrEnum):
    """How the rows are written."""

    NDJSON = "ndjson"
    CSV = "csv"


def export(
    conditions: filters.Conditions = None,
    actor: filters.Actor = None,
    action: filters.Action = None,
    resource: filters.ResourcePath = None,
    tenant_id: filters.TenantId = None,
    outcome: filters.OutcomeName = None,
    source_ip: filters.SourceIp = None,
    words: filters.Words = None,
    time_from: filters.TimeFrom = None,
    time_to: filters.TimeTo = None,
    order: filters.OrderName = None,
    record: Annotated[bool, typer.Option("--record", help="With the original record (NDJSON).")] = False,
    format_name: Annotated[
        ExportForm | None, typer.Option("--format", help="Default: csv for a FILE named .csv, else ndjson.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write there, whole or not at all; default: the pipe."),
    ] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Export events: everything that was taken in by now and matches, as NDJSON or CSV.

    Memory stays flat however many there are. Works beside a running `trailseal up`.
    """
    repeated = {"actor": actor, "action": action, "resource": resource, "tenant_id": tenant_id}
    repeated |= {"outcome": outcome, "source_ip": source_ip}
    single = {"q": words, "time_from": time_from, "time_to": time_to, "order": order}
    pairs = filters.asked(conditions, repeated, single | {"record": "1" if record else None})
    named = ExportForm.CSV if output is not None and output.suffix == ".csv" else ExportForm.NDJSON
    question, lines = _asked(pairs, format_name or named)
    engines = open_engines(settings_from(config, data=data), "read")
    try:
        query = scoped(question.at(engines.clock.now_us()), None)
        with destination(output) as out:
            rows = _write(engines, query, lines, out)
    finally:
        engines.close()
    if output is not None:
        notice(f"{rows:,} events are in {output}.")


def _asked(pairs: list[tuple[str, str]], form: ExportForm) -> tuple[Question, Lines]:
    try:
        question = parse_parameters(pairs, beside=WHOLE)
        return question, lines_of(form.value, with_record=question.with_record)
    except InvalidQuery as error:
        raise UsageError(f"{error.problem.parameter or 'export'}: {error}") from error


def _write(engines: Engines, query: Query, lines: Lines, out: BinaryIO) -> int:
    begun = begin_export(engines.index, engines.ledger, engines.clock, query)
    rows = 0
    with export_bar() as bar:
        task = bar.add_task("Exporting", total=engines.index.count(query).value)
        out.write(lines.beginning)
        for hits in begun.batches():
            out.write(lines.lines(hits))
            rows += len(hits)
            bar.advance(task, len(hits))
    return rows


def export_bar() -> Progress:
    """Rows so far, rate and time left, while somebody watches."""
    return progress_bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(show_speed=True),
        TextColumn("{task.completed:,.0f} events"),
        TimeRemainingColumn(),
    )


@contextmanager
def destination(path: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that appears under its name once it is whole and on disk.

    Raises:
        UsageError: the file cannot be written.
    """
    if path is None or str(path) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        part.unlink(missing_ok=True)
