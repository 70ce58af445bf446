"""`trailseal import`: files, folders and standard input into the log, and through the pipeline."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from trailseal.bootstrap import open_engines
from trailseal.cli.options import Config, Data, settings_from
from trailseal.cli.output import Form, as_table, console, notice, progress_bar, write_ndjson
from trailseal.cli.pipeline_process import pipeline_for_import
from trailseal.event_consumer.import_results import ImportResult
from trailseal.event_consumer.import_sources import Source, find_sources
from trailseal.event_consumer.importing import Importer, ImportProgress
from trailseal.telemetry import set_up_logging

_SHOWN_PROBLEMS = 20
_NAMED = 5
_LINES = (
    ("new", "indexed now"),
    ("already_there", "imported before, nothing added"),
    ("duplicates", "repeated inside this input"),
    ("dead_letters", "kept, but no events: `trailseal dead-letters list`"),
    ("erased", "erased before, stays erased"),
    ("expired", "of months past retention"),
    ("unreadable", "could not be read"),
)


def import_files(
    paths: Annotated[list[str], typer.Argument(metavar="FILE...", help="Files, folders, or - for standard input.")],
    format_name: Annotated[
        str | None,
        typer.Option("--format", help="native, cloudevents or cloudtrail; default: looked at per record."),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option("--tenant", help="Whose events these are, whatever they say themselves.")
    ] = None,
    form: Annotated[Form, typer.Option("--form", help="How to write the summary.")] = Form.AUTO,
    data: Data = None,
    config: Config = None,
) -> None:
    """Import NDJSON, JSON arrays, CloudTrail files, gzipped or not.

    Works beside a running `trailseal up` and without one. Interrupted and run again, nothing is lost or doubled.
    Exit status 1 if anything could not be taken in; it is named with file and line. In folders, files are taken
    whose names end in .json, .ndjson, .jsonl or .log, with .gz or without.
    """
    settings = settings_from(config, data=data)
    set_up_logging("error", settings.log_format)
    found = find_sources(paths, sys.stdin.buffer)
    engines = open_engines(settings, "import")
    try:
        with _shown(found.sources) as progress:
            importer = Importer(
                engines.log,
                engines.ledger,
                pipeline_for_import(settings, engines, found.sources),
                engines.clock,
                tenant=tenant,
                format_name=format_name,
                progress=progress,
            )
            result = importer.run(found.sources)
            if engines.profile == "cluster":
                engines.index.refresh()
    finally:
        engines.close()
    _write(result, form)
    if found.passed_over:
        names = ", ".join(str(path) for path in found.passed_over[:_NAMED])
        more = ", ..." if len(found.passed_over) > _NAMED else ""
        notice(f"Passed over, not named like records: {names}{more}. A file named by itself is always taken.")
    if result.dead_letters or result.unreadable:
        raise typer.Exit(1)


@contextmanager
def _shown(sources: list[Source]) -> Iterator[Callable[[ImportProgress], None]]:
    """A bar on standard error: bytes read, records a second, time left."""
    sizes = [source.size for source in sources]
    total = sum(size for size in sizes if size is not None) if None not in sizes else None
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[records]:,} records, {task.fields[rate]:,.0f}/s"),
        TimeRemainingColumn(),
    )
    with progress_bar(*columns) as bar:
        task = bar.add_task("Reading", total=total, records=0, rate=0.0)

        def show(progress: ImportProgress) -> None:
            spent = bar.tasks[task].elapsed or 0.001
            waiting = progress.source is None
            bar.update(
                task,
                description="Taking in" if waiting else "Reading",
                completed=progress.taken_in if waiting else progress.bytes_read,
                total=progress.appended if waiting else total,
                records=progress.appended,
                rate=progress.taken_in / spent,
            )

        yield show


def _write(result: ImportResult, form: Form) -> None:
    if not as_table(form):
        write_ndjson([result])
        return
    out = console()
    rate = result.read / result.seconds if result.seconds else 0.0
    out.print(f"{result.read:,} records read in {result.seconds:.1f} s ({rate:,.0f}/s)")
    for name, meaning in _LINES:
        count: int = getattr(result, name)
        if count or name in {"new", "already_there"}:
            out.print(f"{count:>12,} {name.replace('_', ' ')}: {meaning}", markup=False)
    if result.id_collisions:
        out.print(
            f"{result.id_collisions:>12,} of the new ones have an id that another event holds (id collisions)"
        )
    for problem in result.problems[:_SHOWN_PROBLEMS]:
        where = problem.source if problem.line is None else f"{problem.source}:{problem.line}"
        field = f" in {problem.field}" if problem.field else ""
        notice(f"{where}: {problem.code}{field}: {problem.detail}")
    untold = len(result.problems) - _SHOWN_PROBLEMS + result.problems_untold
    if untold > 0:
        notice(f"... and {untold:,} more; --form ndjson names the first thousand.")
