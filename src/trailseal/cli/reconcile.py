"""`trailseal reconcile`: do the books balance, and if not, what does not add up."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from trailseal.bootstrap import open_engines
from trailseal.cli.options import Config, Data, settings_from
from trailseal.cli.output import Form, as_table, draw_table, notice, progress_bar, write_ndjson
from trailseal.event_consumer.books import Reconciliation

_COLUMNS = (
    "partition",
    "taken in",
    "indexed",
    "duplicates",
    "dead letters",
    "gaps",
    "expired",
    "erased",
    "pending",
    "balanced",
)


def reconcile(
    form: Annotated[Form, typer.Option("--form", help="How to write the rows.")] = Form.AUTO,
    data: Data = None,
    config: Config = None,
) -> None:
    """Check the books: taken in = indexed + duplicates + dead letters + gaps + expired + erased.

    Compares log, index and ledger offset by offset, beside a running `trailseal up` too, and names what does not
    add up; in the cluster of logs that have ended as well. Exit status 1 if the books do not balance.
    """
    from trailseal.event_consumer.books import reconcile as compare  # noqa: PLC0415 - only this command needs it

    engines = open_engines(settings_from(config, data=data), "read")
    try:
        with progress_bar(
            TextColumn("Checking offsets"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        ) as progress:
            task = progress.add_task("", total=None)
            result = compare(
                engines.log,
                engines.index,
                engines.ledger,
                lambda done, total: progress.update(task, completed=done, total=total),
                ended=engines.ended_logs(),
            )
    finally:
        engines.close()
    _write(result, form)
    if not result.balanced:
        raise typer.Exit(1)


def _write(result: Reconciliation, form: Form) -> None:
    if not as_table(form):
        write_ndjson([*result.books, *result.findings])
        return
    rows = [
        (
            f"{books.log}/{books.partition}",
            *(f"{getattr(books, name.replace(' ', '_')):,}" for name in _COLUMNS[1:-1]),
            "yes" if books.balanced else "NO",
        )
        for books in result.books
    ]
    if not rows:
        notice("Nothing was taken in yet.")
        return
    draw_table(_COLUMNS, rows, numbers=frozenset(_COLUMNS[1:-1]))
    for finding in result.findings:
        notice(str(finding))
    if result.untold:
        notice(f"... and {result.untold:,} more findings.")
    notice("The books balance." if result.balanced else "The books do NOT balance.")
